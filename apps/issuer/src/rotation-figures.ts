import { Injectable } from '@nestjs/common';
import { Rotations } from '#libs/roles';
import { Metrics } from '#libs/runtime';

/** What came of a rotation, or of a try of one. */
export type RotationOutcome = 'switched' | 'refused' | 'not_accepted' | 'left';

/** What is told of rotations: how they end, and those of the whole system that are under way. */
@Injectable()
export class RotationFigures {
  private readonly total;

  constructor(metrics: Metrics, rotations: Rotations) {
    this.total = metrics.counter(
      'leasehold_rotations_total',
      'Rotations of root keys and static roles: the new key in use, refused by AWS, never accepted, or left behind in AWS.',
      ['of', 'outcome'],
    );
    metrics.gauges('leasehold_rotations', 'Rotations under way by state, of the whole system.', 'state', async () => {
      return (await rotations.figures()).byState;
    });
    metrics.gauge(
      'leasehold_longest_rotation_seconds',
      'For how long the longest rotation has not been finished.',
      async () => (await rotations.figures()).longestSeconds,
    );
  }

  ended({ staticRole }: { staticRole: string | null }, outcome: RotationOutcome): void {
    this.total.inc({ of: staticRole === null ? 'root' : 'static_role', outcome });
  }
}
