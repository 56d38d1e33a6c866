import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import type { LeaseState } from './lease.entity.js';

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

/** What a caller may know of: handed over and not ended; and what a person must look at, handed over or not. */
const visible = `(state in ('active', 'revoking') and accepted_at is not null or state = 'irrevocable')
  and (credential_type = 'iam_user' or expires_at > now())`;

/** Reading leases. */
@Injectable()
export class Finding {
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

  /** Whether this lease was asked for with this token, whatever has become of it. */
  async wasAskedForBy(tokenId: string, leaseId: string): Promise<boolean> {
    const found = (await this.manager.query(`select 1 from leases where id = $1 and token_id = $2`, [
      leaseId,
      tokenId,
    ])) as unknown[];
    return found.length > 0;
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
    const open = (await this.manager.query(
      `select id, last_error as error, l.state = 'irrevocable' or l.attempts > asked.attempts as "hasFailed"
       from unnest($1::text[], $2::int[]) as asked(lease_id, attempts)
       join leases l on l.id = asked.lease_id where l.state <> 'ended' order by id`,
      [asked.map((lease) => lease.id), asked.map((lease) => lease.attempts)],
    )) as { id: string; error: string; hasFailed: boolean }[];
    return {
      pending: open.filter((lease) => !lease.hasFailed).map((lease) => lease.id),
      failed: open.filter((lease) => lease.hasFailed).map(({ id, error }) => ({ id, error })),
    };
  }
}

/** A lease whose revocation was refused, and by what text. */
export interface FailedLease {
  id: string;
  error: string;
}
