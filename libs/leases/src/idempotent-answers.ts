import { Inject, Injectable } from '@nestjs/common';
import { IdempotencyKeyReused, OutOfTime } from '#libs/contracts';
import { EntityManager } from 'typeorm';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';

/** A request with an idempotency key, as it is known here: hashes, and who is at work on it. */
export interface Asking {
  /** Keyed hash of token, path and idempotency key. */
  id: Buffer;
  /** Keyed hash of the rest of the request. */
  bodyHash: Buffer;
  commandId: string;
  /** Of this delivery of the command: one that was delivered again has another. */
  claimId: string;
}

/** An answer to keep, sealed under what only its caller holds. */
export interface KeptAnswer {
  asking: Asking;
  sealed: string;
}

/** What became of asking for a key. */
export type Found =
  /** The asker makes the answer. */
  | { kind: 'claimed' }
  /** Somebody is at work on it, or it is just ending: look again. */
  | { kind: 'in_flight' }
  /** `ttlMs`: until the lease expires, in milliseconds. */
  | { kind: 'answered'; sealed: string; ttlMs: number };

/**
 * The answers kept for who asks again (docs/decisions/0011). Where several rows are locked, the lease is locked before its
 * answer.
 */
@Injectable()
export class IdempotentAnswers {
  constructor(
    private readonly manager: EntityManager,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /**
   * Looks for the answer, and claims its making for `waitMs` milliseconds and the margin where nobody does. Such a claim
   * takes the key away from a command whose time is over, and from an earlier delivery of the same command: neither
   * can offer anything any more.
   * @throws IdempotencyKeyReused when the key stands for a request with another body.
   */
  async find(asking: Asking, waitMs: number): Promise<Found> {
    const [row] = (await this.manager.query(
      `select k.body_hash as "bodyHash", k.sealed_answer as sealed, k.lease_id as "leaseId", l.state,
         k.command_id = $2 and k.claim_id <> $3 as "deliveredBefore",
         extract(epoch from l.expires_at - now())::float8 * 1000 as "ttlMs"
       from idempotent_answers k left join leases l on l.id = k.lease_id where k.id = $1 and k.ends_at > now()`,
      [asking.id, asking.commandId, asking.claimId],
    )) as Row[];
    if (row && !row.bodyHash.equals(asking.bodyHash)) throw new IdempotencyKeyReused();
    if (!row || (!row.sealed && row.deliveredBefore)) return this.claim(asking, waitMs);
    // One whose time is just over is wiped when it is taken back.
    if (!row.sealed || row.ttlMs! <= 0) return { kind: 'in_flight' };
    if (row.state === 'offered' && !(await this.offerAgain(row.leaseId!))) return { kind: 'in_flight' };
    return { kind: 'answered', sealed: row.sealed, ttlMs: row.ttlMs! };
  }

  private async claim({ id, bodyHash, commandId, claimId }: Asking, waitMs: number): Promise<Found> {
    const claimed = (await this.manager.query(
      `insert into idempotent_answers as k (id, body_hash, command_id, claim_id, ends_at)
       values ($1, $2, $3, $4, now() + $5 * interval '1 ms')
       on conflict (id) do update set body_hash = excluded.body_hash, command_id = excluded.command_id,
         claim_id = excluded.claim_id, ends_at = excluded.ends_at, lease_id = null, sealed_answer = null, holders = '{}'
       where k.ends_at <= now() or k.command_id = excluded.command_id and k.sealed_answer is null
       returning 1`,
      [id, bodyHash, commandId, claimId, Math.ceil(waitMs) + this.timing.marginMs],
    )) as unknown[];
    return { kind: claimed.length > 0 ? 'claimed' : 'in_flight' };
  }

  /** Gives an offer that nobody has accepted its whole hand-over time again; false when that is over, or it was accepted. */
  private async offerAgain(leaseId: string): Promise<boolean> {
    const again = (await this.manager.query(
      `with again as (
         update leases set due_at = now() + $2 * interval '1 ms'
         where id = $1 and state = 'offered' and due_at > now() returning id
       ) select id from again`,
      [leaseId, this.timing.handOverMs],
    )) as unknown[];
    return again.length > 0;
  }

  /**
   * Keeps an answer, in the transaction that makes its lease one that can be accepted. For at least the hand-over time, so
   * that the acceptance finds it, and no longer than the lease lives.
   * @throws OutOfTime when the claim was taken over: another command makes the answer.
   */
  async keep(manager: EntityManager, leaseId: string, { asking, sealed }: KeptAnswer): Promise<void> {
    const kept = (await manager.query(
      `with kept as (
         update idempotent_answers k set lease_id = l.id, sealed_answer = $4,
           ends_at = least(now() + $5 * interval '1 ms', l.expires_at)
         from leases l where k.id = $1 and k.claim_id = $2 and k.sealed_answer is null and l.id = $3 returning 1
       ) select 1 from kept`,
      [asking.id, asking.claimId, leaseId, sealed, Math.max(this.timing.idempotencyMs, this.timing.handOverMs)],
    )) as unknown[];
    if (kept.length === 0) throw new OutOfTime();
  }

  /** Gives up a claim of which nothing came: a refusal is not kept. */
  async release({ id, claimId }: Asking): Promise<void> {
    await this.manager.query(
      `delete from idempotent_answers where id = $1 and claim_id = $2 and sealed_answer is null`,
      [id, claimId],
    );
  }

  /** Notes that the asker of this command hands the credential on; false when no answer is kept any more. */
  async hold(leaseId: string, commandId: string): Promise<boolean> {
    const held = (await this.manager.query(
      `with held as (
         update idempotent_answers set holders = array_append(array_remove(holders, $2::uuid), $2::uuid)
         where lease_id = $1 returning 1
       ) select 1 from held`,
      [leaseId, commandId],
    )) as unknown[];
    return held.length > 0;
  }

  /**
   * Notes that the asker of this command does not have the credential, in a transaction that has locked the lease.
   * @returns whether somebody else may have it.
   */
  async letGo(manager: EntityManager, leaseId: string, commandId: string): Promise<boolean> {
    const [left] = (await manager.query(
      `with left_over as (
         update idempotent_answers set holders = array_remove(holders, $2::uuid) where lease_id = $1 returning holders
       ) select cardinality(holders) > 0 as held from left_over`,
      [leaseId, commandId],
    )) as { held: boolean }[];
    return left?.held ?? false;
  }
}

interface Row {
  bodyHash: Buffer;
  sealed: string | null;
  leaseId: string | null;
  state: string | null;
  deliveredBefore: boolean;
  ttlMs: number | null;
}
