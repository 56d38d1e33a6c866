import { Injectable } from '@nestjs/common';
import { Batches } from '#libs/runtime';
import { EntityManager } from 'typeorm';
import { type EndReason, type Lease, type LeaseState, poolDisplayName } from './lease.entity.js';
import { elementsOf, isOneOf } from './lock-leases.js';

/** A lease as its look-up shows it; `ttlMs` is what is left, negative once its time is over. */
export interface FoundLease {
  id: string;
  state: LeaseState;
  renewable: boolean;
  issuedAt: Date;
  expiresAt: Date;
  lastRenewedAt: Date | null;
  ttlMs: number;
  attempts: number;
  lastError: string | null;
}

/** A lease, living or ended, with whose it is and was. */
export interface LentKey {
  id: string;
  state: LeaseState;
  credentialType: Lease['credentialType'];
  accountId: string;
  /** Null for a credential of STS. */
  userName: string | null;
  roleName: string;
  mountPath: string;
  mountAccessor: string;
  tokenAccessor: string | null;
  displayName: string;
  requestId: string;
  issuedAt: Date;
  acceptedAt: Date | null;
  lastRenewedAt: Date | null;
  expiresAt: Date | null;
  endedAt: Date | null;
  endReason: EndReason | null;
}

/** $1: the access key id. Of one row of the index on it, however many leases there are. */
export const byAccessKeySql = `
  select l.id, l.state, l.credential_type as "credentialType", l.account_id as "accountId",
    coalesce(l.renamed_to, l.user_name) as "userName", l.role_name as "roleName", m.path as "mountPath",
    m.accessor as "mountAccessor", t.accessor as "tokenAccessor", coalesce(t.display_name, '${poolDisplayName}') as "displayName",
    l.request_id as "requestId", coalesce(l.issued_at, l.created_at) as "issuedAt", l.accepted_at as "acceptedAt",
    l.last_renewed_at as "lastRenewedAt", l.expires_at as "expiresAt", l.ended_at as "endedAt",
    l.end_reason as "endReason"
  from leases l join mounts m on m.id = l.mount_id left join tokens t on t.id = l.token_id
  where l.access_key_id = $1 order by l.created_at desc limit 1`;

/** What a caller may know of: handed over and not ended; and what a person must look at, handed over or not. */
const visible = `(state in ('active', 'revoking') and accepted_at is not null or state = 'irrevocable')
  and (credential_type = 'iam_user' or expires_at > now())`;

/** Reading leases. */
@Injectable()
export class Finding {
  private readonly looks = new Batches<string[], Map<string, OpenLease>>((asked) => this.open(asked));

  constructor(private readonly manager: EntityManager) {}

  async find(leaseId: string): Promise<FoundLease | null> {
    const [lease] = (await this.manager.query(
      `select id, state, renewable and state = 'active' as renewable, coalesce(issued_at, created_at) as "issuedAt",
         coalesce(expires_at, created_at) as "expiresAt", last_renewed_at as "lastRenewedAt",
         extract(epoch from coalesce(expires_at, created_at) - now())::float8 * 1000 as "ttlMs",
         attempts, last_error as "lastError"
       from leases where id = $1 and ${visible}`,
      [leaseId],
    )) as FoundLease[];
    return lease ?? null;
  }

  /** Whose access key that is or was; null when it is none of ours, or its row is no longer kept. */
  async byAccessKey(accessKeyId: string): Promise<LentKey | null> {
    const [lease] = (await this.manager.query(byAccessKeySql, [accessKeyId])) as LentKey[];
    return lease ?? null;
  }

  /** Whether this lease was asked for with this token, whatever has become of it. */
  async wasAskedForBy(tokenId: string, leaseId: string): Promise<boolean> {
    const found = (await this.manager.query(`select 1 from leases where id = $1 and token_id = $2`, [
      leaseId,
      tokenId,
    ])) as unknown[];
    return found.length > 0;
  }

  /** How many leases of a role callers have now. */
  async countOfRole(mountId: string, roleName: string): Promise<number> {
    const [row] = (await this.manager.query(
      `select count(*)::float8 as count from leases
       where mount_id = $1 and role_name = $2 and state <> 'ended' and ${visible}`,
      [mountId, roleName],
    )) as { count: number }[];
    return row!.count;
  }

  /** What follows `prefix` (empty, or with its closing slash) in the ids of leases: whole ids' ends, and folders ending in `/`. */
  async children(prefix: string): Promise<string[]> {
    const rows = (await this.manager.query(
      `select distinct case when position('/' in rest) > 0 then split_part(rest, '/', 1) || '/' else rest end as key
       from (select substr(id, length($1) + 1) as rest from leases
             where id >= $1 and ($1 = '' or id < $2) and ${visible}) found order by key`,
      [prefix, `${prefix.slice(0, -1)}0`],
    )) as { key: string }[];
    return rows.map((row) => row.key);
  }

  /** How these leases stand: of those that a revocation was asked for, which have not ended, and which failed since. */
  async progress(asked: { id: string; attempts: number }[]): Promise<{ pending: string[]; failed: FailedLease[] }> {
    const open = await this.looks.ask(asked.map(({ id }) => id));
    const pending: string[] = [];
    const failed: FailedLease[] = [];
    for (const { id, attempts } of asked) {
      const lease = open.get(id);
      if (!lease) continue;
      if (lease.state === 'irrevocable' || lease.attempts > attempts) failed.push({ id, error: lease.error });
      else pending.push(id);
    }
    return { pending: pending.sort(), failed: failed.sort(({ id: a }, { id: b }) => (a < b ? -1 : 1)) };
  }

  private async open(asked: string[][]): Promise<Map<string, OpenLease>[]> {
    const rows = (await this.manager.query(
      `select id, state, attempts, last_error as error from leases where ${isOneOf(elementsOf('$1'))} and state <> 'ended'`,
      [[...new Set(asked.flat())]],
    )) as OpenLease[];
    const open = new Map(rows.map((lease) => [lease.id, lease]));
    return asked.map(() => open);
  }
}

/** A lease that has not ended. */
interface OpenLease {
  id: string;
  state: LeaseState;
  attempts: number;
  error: string;
}

/** A lease whose revocation was refused, and by what text. */
export interface FailedLease {
  id: string;
  error: string;
}
