import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { LEASE_TIMING, type LeaseTiming } from '#libs/leases';
import { type Rotation, Rotations } from '#libs/roles';
import { RotateKey } from './rotate-key.js';

/** Rotations that one issuer is at work on at once. */
const lanes = 8;

/**
 * The timed pass over rotations: begins what is due and goes on with whatever was left, by whomever. Any number of issuers do it
 * at once; each row is claimed by one.
 */
@Injectable()
export class RotationSweep implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(RotationSweep.name);
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private stopped = false;
  private underWay = 0;

  constructor(
    private readonly rotations: Rotations,
    private readonly rotateKey: RotateKey,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  onApplicationBootstrap(): void {
    this.pass();
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private pass(): void {
    this.running = this.once().finally(() => {
      if (!this.stopped) this.timer = setTimeout(() => this.pass(), this.timing.sweepEveryMs);
    });
  }

  private async once(): Promise<void> {
    try {
      await this.rotations.endUnmounted();
      await this.rotations.beginDue();
      const room = lanes - this.underWay;
      if (room === 0) return;
      for (const claimed of await this.rotations.claimDue(room, this.timing.claimMs)) void this.work(claimed);
    } catch (error) {
      this.logger.error({ msg: 'rotations could not be looked at; the next pass will', error: String(error) });
    }
  }

  private async work(claimed: Rotation): Promise<void> {
    this.underWay += 1;
    try {
      await this.rotateKey.advance(claimed);
    } finally {
      this.underWay -= 1;
    }
  }
}
