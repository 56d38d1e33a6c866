import { Injectable } from '@nestjs/common';
import { Pooling } from '#libs/leases';
import { Metrics } from '#libs/runtime';

/** What is told of pools: whether they have what is asked for, and what becomes of filling them. */
@Injectable()
export class PoolFigures {
  private readonly requests;
  private readonly fills;

  constructor(metrics: Metrics, pooling: Pooling) {
    this.requests = metrics.counter(
      'leasehold_pool_requests_total',
      'Credentials asked of roles with a pool: "handed_out" of it, or "none_ready", so that a user was made.',
      ['outcome'],
    );
    this.fills = metrics.counter('leasehold_pool_fills_total', 'Users made for pools: "made", or "failed".', [
      'outcome',
    ]);
    metrics.gauge('leasehold_pool_missing', 'Users that pools want and do not have, of the whole system.', () =>
      pooling.missing(),
    );
  }

  asked(outcome: 'handed_out' | 'none_ready'): void {
    this.requests.inc({ outcome });
  }

  filled(outcome: 'made' | 'failed'): void {
    this.fills.inc({ outcome });
  }
}
