import { Inject, Injectable } from '@nestjs/common';
import { InvalidRequest } from '#libs/contracts';
import { Metrics, type Span } from '#libs/runtime';
import { EntityManager } from 'typeorm';
import { Alarms, type Due } from './alarms.js';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';
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
  leftMs: number;
  leaseMs: number | null;
  leaseMaxMs: number | null;
  mountDefaultS: string;
  mountMaxS: string;
  ownerLeftMs: number | null;
}

/** Renewal: one locked row, what its role, while that is there, and `config/lease` say now, no call to AWS (contract.md 4.3). */
@Injectable()
export class Renewing {
  private readonly measured: Span;

  constructor(
    private readonly manager: EntityManager,
    private readonly alarms: Alarms,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
    metrics: Metrics,
  ) {
    this.measured = metrics.span('vault.expire.renew', 'Renewing a lease.');
  }

  /**
   * Sets the lease to end `incrementMs` from now (0 = the engine's TTL): it replaces what was left, it is not added.
   * @param commandId of a command that may be delivered again: then it changes nothing, and what is left is told.
   * @throws InvalidRequest with the texts of contract.md 3.2 and 4.4.
   */
  renew(leaseId: string, incrementMs: number, commandId?: string): Promise<Renewed> {
    return this.measured(() => this.extend(leaseId, incrementMs, commandId));
  }

  private async extend(leaseId: string, incrementMs: number, commandId: string | undefined): Promise<Renewed> {
    const { renewed, due } = await this.manager.transaction(async (manager) => {
      const [lease] = (await manager.query(
        `select l.state, l.renewable, l.expires_at <= now() as expired, m.tainted_at is not null as unmounted,
           extract(epoch from now() - l.issued_at)::float8 * 1000 as "ageMs",
           extract(epoch from l.expires_at - now())::float8 * 1000 as "leftMs",
           coalesce((r.definition ->> 'defaultUserTtlSeconds')::float8 * 1000, m.lease_ms) as "leaseMs",
           coalesce((r.definition ->> 'maxUserTtlSeconds')::float8 * 1000, m.lease_max_ms) as "leaseMaxMs",
           m.default_lease_ttl_seconds as "mountDefaultS", m.max_lease_ttl_seconds as "mountMaxS",
           case when t.type = 'batch' then extract(epoch from t.expires_at - now())::float8 * 1000 end as "ownerLeftMs"
         from leases l join mounts m on m.id = l.mount_id join tokens t on t.id = l.token_id
           left join roles r on r.mount_id = l.mount_id and r.name = l.role_name
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
      if (commandId && !(await this.isFirst(manager, commandId, leaseId))) {
        return { renewed: { leaseId, ttlMs: lease.leftMs }, due: null };
      }
      const rules = {
        engineTtlMs: lease.leaseMs ?? 0,
        engineMaxMs: lease.leaseMaxMs ?? 0,
        mountDefaultMs: Number(lease.mountDefaultS) * 1000,
        mountMaxMs: Number(lease.mountMaxS) * 1000,
        ownerLeftMs: lease.ownerLeftMs ?? undefined,
      };
      const granted = ttl(rules, incrementMs, lease.ageMs);
      const [row] = (await manager.query(
        `with renewed as (
           update leases set expires_at = now() + $2 * interval '1 ms', due_at = now() + $2 * interval '1 ms',
             last_renewed_at = now()
           where id = $1 returning id, mount_id, due_at
         ) select id, mount_id as "mountId", due_at as "dueAt", $2::float8 as "dueInMs" from renewed`,
        [leaseId, granted.ttlMs],
      )) as Due[];
      return { renewed: { leaseId, ...granted }, due: row! };
    });
    // A renewal may shorten a lease; beyond the horizon this does nothing.
    if (due) this.alarms.setSoon([due]);
    return renewed;
  }

  /** Whether this command was not seen before: carried out again, it would undo what was asked for since. */
  private async isFirst(manager: EntityManager, commandId: string, leaseId: string): Promise<boolean> {
    const inserted = (await manager.query(
      `insert into commands (id, lease_id, forget_at) values ($1, $2, now() + $3 * interval '1 ms')
       on conflict (id) do nothing returning id`,
      [commandId, leaseId, this.timing.commandMemoryMs],
    )) as unknown[];
    return inserted.length > 0;
  }
}
