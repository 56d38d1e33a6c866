import { Injectable } from '@nestjs/common';
import type { Metrics } from '#libs/runtime';
import { EntityManager } from 'typeorm';
import type { LeaseState } from './lease.entity.js';

/** A count is taken from memory for this long, milliseconds, whatever it cost. */
const freshForMs = 2_000;
/** And for as long as it cost, this many times: however many leases there are, counting takes at most half a percent. */
const rest = 200;

/** How many leases are in each living state. */
export type LeaseCounts = Record<Exclude<LeaseState, 'ended'>, number>;

/** Figures over all leases. Exact, and cheap enough to be asked for at every scrape. */
@Injectable()
export class Counting {
  private readonly few = remembered(() => this.countFew());
  private readonly active = remembered(() => this.countActive());

  constructor(private readonly manager: EntityManager) {}

  /** Shows the figures that Vault has of leases, under its names (contract.md 3.6). */
  show(metrics: Metrics): void {
    metrics.gauge('vault.expire.num_leases', 'Leases that callers hold, of the whole system.', async () => {
      const { active, revoking, irrevocable } = await this.byState();
      return active + revoking + irrevocable;
    });
    metrics.gauge(
      'vault.expire.num_irrevocable_leases',
      'Leases that AWS does not let go, of the whole system.',
      async () => (await this.byState()).irrevocable,
    );
  }

  /** What was counted last, if that is fresh enough. */
  async byState(): Promise<LeaseCounts> {
    const [few, active] = await Promise.all([this.few(), this.active()]);
    return { ...few, active };
  }

  /** For how many seconds the lease that is longest due has waited for somebody to look; 0 when none is due. */
  async longestDueSeconds(): Promise<number> {
    const [row] = (await this.manager.query(
      `select coalesce(extract(epoch from now() - min(due_at)), 0)::float8 as seconds from leases where due_at < now()`,
    )) as { seconds: number }[];
    return row!.seconds;
  }

  /** The states that few leases are in: some probes of an index per mount. */
  private async countFew(): Promise<Omit<LeaseCounts, 'active'>> {
    const rows = (await this.manager.query(
      `select state, (
         select coalesce(sum(found.count), 0) from mounts cross join lateral (
           select count(*) from leases
           where leases.mount_id = mounts.id and leases.state = asked.state and leases.state <> 'ended'
         ) found where removed_at is null
       )::float8 as count
       from unnest('{issuing,pooled,offered,revoking,irrevocable}'::text[]) as asked(state)`,
    )) as { state: LeaseState; count: number }[];
    return Object.fromEntries(rows.map((row) => [row.state, row.count])) as Omit<LeaseCounts, 'active'>;
  }

  /** Reads one index from end to end: 70 to 350 ms for a million of them. */
  private async countActive(): Promise<number> {
    const [row] = (await this.manager.query(
      `select count(*)::float8 as count from leases where state = 'active' and state <> 'ended'`,
    )) as { count: number }[];
    return row!.count;
  }
}

/** Runs `count` when its last result has had its rest; those who ask meanwhile share one run. */
function remembered<T>(count: () => Promise<T>): () => Promise<T> {
  let last: Promise<T> | null = null;
  let freshUntil = 0;
  return () => {
    if (last && performance.now() < freshUntil) return last;
    const startedAt = performance.now();
    freshUntil = Infinity;
    last = count().finally(() => {
      const endedAt = performance.now();
      freshUntil = endedAt + Math.max(freshForMs, rest * (endedAt - startedAt));
    });
    // One that failed is asked again at once.
    last.catch(() => {
      freshUntil = 0;
    });
    return last;
  };
}
