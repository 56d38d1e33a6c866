import { Injectable } from '@nestjs/common';
import { InvalidRequest } from '#libs/contracts';
import { Metrics, type Span } from '#libs/runtime';
import { EntityManager } from 'typeorm';
import { Alarms, type Due } from './alarms.js';
import type { LeaseState } from './lease.entity.js';
import { type Ttl, ttl } from './ttl.js';

/** A renewed lease: its new TTL in milliseconds. */
export interface Renewed extends Ttl {
  leaseId: string;
}

interface Locked {
  state: LeaseState;
  renewable: boolean;
  expired: boolean;
  unmounted: boolean;
  ageMs: number;
  leaseMs: number | null;
  leaseMaxMs: number | null;
  mountDefaultS: string;
  mountMaxS: string;
}

/** Renewal: one locked row, the current `config/lease`, no call to AWS (contract.md 4.3). */
@Injectable()
export class Renewing {
  private readonly measured: Span;

  constructor(
    private readonly manager: EntityManager,
    private readonly alarms: Alarms,
    metrics: Metrics,
  ) {
    this.measured = metrics.span('vault.expire.renew', 'Renewing a lease.');
  }

  /**
   * Sets the lease to end `incrementMs` from now (0 = the engine's TTL): it replaces what was left, it is not added.
   * @throws InvalidRequest with the texts of contract.md 3.2 and 4.4.
   */
  renew(leaseId: string, incrementMs: number): Promise<Renewed> {
    return this.measured(() => this.extend(leaseId, incrementMs));
  }

  private async extend(leaseId: string, incrementMs: number): Promise<Renewed> {
    const { renewed, due } = await this.manager.transaction(async (manager) => {
      const [lease] = (await manager.query(
        `select l.state, l.renewable, l.expires_at <= now() as expired, m.tainted_at is not null as unmounted,
           extract(epoch from now() - l.issued_at)::float8 * 1000 as "ageMs",
           m.lease_ms as "leaseMs", m.lease_max_ms as "leaseMaxMs",
           m.default_lease_ttl_seconds as "mountDefaultS", m.max_lease_ttl_seconds as "mountMaxS"
         from leases l join mounts m on m.id = l.mount_id
         where l.id = $1 and (l.state in ('active', 'revoking') and l.accepted_at is not null or l.state = 'irrevocable')
         for update of l`,
        [leaseId],
      )) as Locked[];
      if (!lease) throw new InvalidRequest('lease not found');
      if (lease.state === 'irrevocable') {
        throw new InvalidRequest('lease is expired and has failed previous revocation attempts');
      }
      if (!lease.renewable) throw new InvalidRequest('lease is not renewable');
      if (lease.state === 'revoking' || lease.expired || lease.unmounted) throw new InvalidRequest('lease expired');
      const rules = {
        engineTtlMs: lease.leaseMs ?? 0,
        engineMaxMs: lease.leaseMaxMs ?? 0,
        mountDefaultMs: Number(lease.mountDefaultS) * 1000,
        mountMaxMs: Number(lease.mountMaxS) * 1000,
      };
      const granted = ttl(rules, incrementMs, lease.ageMs);
      const [row] = (await manager.query(
        `with renewed as (
           update leases set expires_at = now() + $2 * interval '1 ms', due_at = now() + $2 * interval '1 ms',
             last_renewed_at = now()
           where id = $1 returning id, due_at
         ) select id, due_at as "dueAt", $2::float8 as "dueInMs" from renewed`,
        [leaseId, granted.ttlMs],
      )) as Due[];
      return { renewed: { leaseId, ...granted }, due: row! };
    });
    // A renewal may shorten a lease; beyond the horizon this does nothing.
    this.alarms.setSoon([due]);
    return renewed;
  }
}
