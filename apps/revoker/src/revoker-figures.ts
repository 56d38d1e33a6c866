import { Injectable } from '@nestjs/common';
import { AwsAccounts } from '#libs/aws';
import { Alarms, Counting, type EndReason, ForeignUsers, type Lease, type Settlement } from '#libs/leases';
import { Metrics } from '#libs/runtime';

/** Ends that somebody set an instant for: of the others it means nothing to be late. */
const timedEnds = new Set<EndReason | null>(['expired', 'revoked', 'token_ended', 'unmounted']);

/** Ends of what was made and nobody has received. */
const undelivered = new Set<EndReason | null>(['not_received', 'not_accepted']);

/** Ends of what a caller may never have held. */
const rollBacks = new Set<EndReason | null>(['issue_failed', 'issuer_lost', 'not_accepted', 'not_received']);

/** What is told of taking leases back, and of all leases together. */
@Injectable()
export class RevokerFigures {
  private readonly expirations;
  private readonly inQueue;
  private readonly failures;
  private readonly tries;
  private readonly lateness;
  private readonly ended;
  private readonly undelivered;

  constructor(
    private readonly metrics: Metrics,
    counting: Counting,
    alarms: Alarms,
    foreignUsers: ForeignUsers,
    { usersPerAccount }: AwsAccounts,
  ) {
    this.expirations = metrics.counter('vault.expire.lease_expiration', 'Tries to take an expired lease back.');
    this.inQueue = metrics.summary(
      'vault.expire.lease_expiration.time_in_queue',
      'From the expiry of a lease to the begin of a try to take it back.',
    );
    this.failures = metrics.counter('vault.expire.lease_expiration.error', 'Those of the tries that failed.');
    this.tries = metrics.summary('vault.expire.revoke', 'One try to take a lease back, for whatever reason.');
    this.lateness = metrics.histogram(
      'leasehold_lateness_seconds',
      'From the instant a lease was to end, by expiry or by request, until it was gone from AWS.',
      [0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 1_800],
      ['reason'],
    );
    this.ended = metrics.counter('leasehold_leases_ended_total', 'Leases of IAM users that ended, and why.', [
      'reason',
    ]);
    this.undelivered = metrics.counter(
      'leasehold_undelivered_total',
      'Credentials taken back because nobody received them: not accepted in time, or the caller was seen to leave.',
      ['reason'],
    );
    counting.show(metrics);
    metrics.gauges('leasehold_leases', 'Leases by state, of the whole system.', 'state', () => counting.byState());
    metrics.gauge('leasehold_longest_due_seconds', 'How long the longest due lease has waited for a revoker.', () =>
      counting.longestDueSeconds(),
    );
    metrics.gauge('leasehold_aws_places_left', 'IAM users that the fullest account still takes.', () =>
      foreignUsers.fewestPlacesLeft(usersPerAccount),
    );
    metrics.gauges('leasehold_alarms', 'Alarms in the queue, of the whole system.', 'state', () => alarms.counts());
  }

  /** A try to take `lease` back, as it was claimed, is over. `settled` is null when its claim was lost meanwhile. */
  tried(lease: Lease, settled: Settlement | null, tookMs: number): void {
    this.tries.observe(tookMs);
    if (rollBacks.has(lease.endReason)) {
      // The last three segments of its id are door, role and its own name.
      const mountPath = `${lease.id.split('/').slice(0, -3).join('/')}/`;
      this.metrics
        .summaryOfMount('vault.rollback.attempt', mountPath, 'One try to roll back what a mount has made.')
        .observe(tookMs);
    }
    if (lease.state === 'ended' || !settled) return; // a tombstone's look ends nothing
    const { endReason: reason, lateMs } = settled;
    const isGone = settled.state === 'ended';
    if (reason === 'expired') {
      this.expirations.inc();
      if (lateMs !== null) this.inQueue.observe(Math.max(0, lateMs - tookMs));
      if (!isGone) this.failures.inc();
    }
    if (!isGone || !reason) return;
    this.ended.inc({ reason });
    if (timedEnds.has(reason) && lateMs !== null) this.lateness.observe({ reason }, Math.max(0, lateMs / 1000));
    if (undelivered.has(reason)) this.undelivered.inc({ reason });
  }
}
