import { Inject, Injectable } from '@nestjs/common';
import { Fence, keyAcceptance, type MadeIamUser } from '#libs/aws';
import type { IssueLeaseReply } from '#libs/contracts';
import { Issuing, LEASE_TIMING, type LeaseTiming } from '#libs/leases';
import { Metrics } from '#libs/runtime';
import type { Order } from './order.js';

/** Injection token of how many commands of this issuer may wait for AWS to accept a key at once. */
export const READY_AT_ONCE = Symbol('waits for a key at once');

/** What is told of whether a key works: nothing where nobody wants to know. */
export type Readiness = Pick<IssueLeaseReply, 'ready' | 'usableFrom'>;

/** A new key is known everywhere after so long, milliseconds (aws-facts.md, "Eventual consistency"). */
const slowestMs = 15_000;
/** One that is not known by then is given so much more. */
const graceMs = 5_000;

/**
 * Keeps an answer until AWS accepts the key of a new IAM user, where role or caller want that (docs/decisions/0024). The lease's
 * row is an intent meanwhile: whatever becomes of this wait, the intent's end takes back what nobody was offered.
 */
@Injectable()
export class KeyReady {
  private readonly seconds;
  private waiting = 0;

  constructor(
    private readonly issuing: Issuing,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
    @Inject(READY_AT_ONCE) private readonly most: number,
    metrics: Metrics,
  ) {
    this.seconds = metrics.histogram(
      'leasehold_key_usable_seconds',
      'From the making of a key to the end of the wait for AWS to accept it: "accepted", "not_yet" in time, "unwanted" when its ' +
        'caller left, "not_waited" when too many waited.',
      [0.5, 1, 2, 3, 5, 7, 10, 15],
      ['outcome'],
    );
  }

  /** As long as the caller surely still waits, and as `readyWithinMs` allows; ends at once when nobody waits any more. */
  async wait(
    { ready, account, answerBy }: Order,
    leaseId: string,
    { accessKeyId, secretAccessKey }: MadeIamUser,
  ): Promise<Readiness> {
    if (!ready) return {};
    const madeAt = Date.now();
    const { readyTimes: timesInARow, readyEveryMs: everyMs, readyWithinMs } = this.timing;
    const startedAt = performance.now();
    const until = new Fence(startedAt + Math.min(readyWithinMs, answerBy.remainingMs()));
    const isWanted = () => this.issuing.isWanted(leaseId);
    const outcome = await this.inPlace(() =>
      keyAcceptance(account, { accessKeyId, secretAccessKey }, { timesInARow, everyMs, until, isWanted }),
    );
    this.seconds.observe({ outcome }, (performance.now() - startedAt) / 1000);
    if (outcome === 'accepted') return { ready: true };
    return { usableFrom: new Date(Math.max(madeAt + slowestMs, Date.now() + graceMs)).toISOString() };
  }

  /** Who waits here takes a place from those who wait for AWS's work; beyond the places that may be taken nobody waits. */
  private async inPlace<Outcome>(wait: () => Promise<Outcome>): Promise<Outcome | 'not_waited'> {
    if (this.waiting >= this.most) return 'not_waited';
    this.waiting += 1;
    try {
      return await wait();
    } finally {
      this.waiting -= 1;
    }
  }
}
