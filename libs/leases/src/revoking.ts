import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { Batches, recordset } from '#libs/runtime';
import { DataSource, EntityManager } from 'typeorm';
import { Alarms, type Due } from './alarms.js';
import type { DueNow } from './bell.js';
import { LeaseNews } from './lease-news.js';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';
import { type EndReason, Lease } from './lease.entity.js';
import { elementsOf, isOneOf, lockLeases } from './lock-leases.js';

/**
 * Which leases to take back: one, all below a prefix of whole path segments, all of a mount, for a move of it those that it has
 * while the move is under way, or all living ones of tokens.
 */
export type Which =
  { leaseId: string } | { prefix: string } | { mountId: string; moveId?: string } | { tokenIds: string[] };

/** How a try to destroy went; the row's next state follows from it in one place. */
export type Outcome =
  | { kind: 'gone'; reason?: EndReason }
  /** AWS says that there is no such user; `wasHeld`: its credential had been handed over. */
  | { kind: 'absent'; wasHeld: boolean }
  /** No answer, or asked to come again later (`throttled`): tried again soon, and not counted. */
  | { kind: 'unanswered'; error: string; throttled: boolean }
  /** `mayBeLag`: of a young user it says nothing yet, since lists and look-ups lag behind. */
  | { kind: 'refused'; error: string; permanent: boolean; mayBeLag: boolean }
  /** The holder renamed the user: look again under the new name, at once. */
  | { kind: 'renamed'; userName: string };

/** What the row became of a settled try. */
export interface Settlement {
  state: Lease['state'];
  endReason: EndReason | null;
  /** Milliseconds since the lease was to end: its expiry, or when somebody asked for it back. Null: it never had an end. */
  lateMs: number | null;
}

/** Taking leases back: who asks for it, who claims the work, and what becomes of the row. */
@Injectable()
export class Revoking {
  private readonly requests = new Batches<{ leaseId: string; reason: EndReason; force: boolean }, AskedLease[]>(
    (requests, alone) => this.askEach(requests, alone),
  );
  private readonly ends = new Batches<Written, (Due & Settlement) | null>((ends, alone) =>
    this.writeAll(this.manager, ends, alone),
  );

  constructor(
    private readonly manager: EntityManager,
    private readonly source: DataSource,
    private readonly alarms: Alarms,
    private readonly news: LeaseNews,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /**
   * Ends the time of these leases in Postgres, so that no renewal slips in, and rings for them. STS leases end at
   * once: there is nothing to take back. `force`: if AWS refuses, the row goes all the same.
   * @returns those still to be destroyed that a caller can know of, each with its count of failed tries so far. What was
   * never handed over is taken back as well, in a time of its own that nobody waits for.
   */
  async ask(which: Which, reason: EndReason, force = false): Promise<{ id: string; attempts: number }[]> {
    const asked =
      'leaseId' in which
        ? await this.requests.ask({ ...which, reason, force }, `${reason} ${force}`)
        : await this.askAll(which, reason, force, true);
    this.alarms.ring(asked);
    return asked.filter((lease) => lease.known);
  }

  /** Those of one lane: the same is asked for. */
  private async askEach(
    requests: { leaseId: string; reason: EndReason; force: boolean }[],
    alone: boolean,
  ): Promise<(AskedLease[] | undefined)[]> {
    const [{ reason, force }] = requests as [(typeof requests)[0]];
    const asked = await this.askAll({ leaseIds: requests.map(({ leaseId }) => leaseId) }, reason, force, alone);
    return requests.map(({ leaseId }) => {
      const found = asked.filter(({ id }) => id === leaseId);
      return found.length > 0 || alone ? found : undefined;
    });
  }

  private async askAll(
    which: Which | { leaseIds: string[] },
    reason: EndReason,
    force: boolean,
    alone: boolean,
  ): Promise<AskedLease[]> {
    const [condition, values] = conditionOf(which);
    const [given, looks, forced] = [values.length + 1, values.length + 2, values.length + 3].map((nth) => `$${nth}`);
    return this.manager.query(
      `with sts as (
         update leases set state = 'ended', ended_at = now(), due_at = null, end_reason = ${given}
         where ${condition} and credential_type <> 'iam_user' and state = 'active'
       ), found as (
         select id, accepted_at is not null or state = 'irrevocable' as known from leases
         where ${condition} and credential_type = 'iam_user' and state <> 'ended'
         order by id for update ${alone ? '' : 'skip locked'}
       ), asked as (
         update leases set state = 'revoking', expires_at = least(expires_at, now()),
           -- Somebody may be at work on it: then the end of that work says what is next.
           due_at = case when state in ('revoking', 'irrevocable') and claim_id is not null and due_at > now()
                         then due_at else now() end,
           claim_id = case when state in ('revoking', 'irrevocable') then claim_id end,
           looks_left = case when state = 'issuing' then ${looks}::smallint else looks_left end,
           end_reason = coalesce(end_reason, ${given}),
           absences = case when ${forced} and not forced then 0 else absences end,
           forced = forced or ${forced}
         from found where leases.id = found.id
         returning leases.id, mount_id, attempts, known
       ) select id, mount_id as "mountId", attempts, known from asked`,
      [...values, reason, this.timing.tombstoneLooksMs.length, force],
    );
  }

  /** The mounts that have a lease which is due, whatever became of its alarm. */
  async mountsWithDue(): Promise<string[]> {
    const rows = (await this.manager.query(
      `select distinct mount_id as id from leases where due_at <= now() and credential_type = 'iam_user'`,
    )) as { id: string }[];
    return rows.map((row) => row.id);
  }

  /** Of leases whose alarm rang: the mounts of those that are due, and the living ones that are not due yet. */
  async standingOf(leaseIds: string[]): Promise<{ dueMounts: string[]; early: Due[] }> {
    const rows = (await this.manager.query(
      `select id, mount_id as "mountId", due_at as "dueAt", due_at <= now() as "isDue", state,
         greatest(250, extract(epoch from due_at - now())::float8 * 1000) as "dueInMs"
       from leases where id = any($1) and due_at is not null and credential_type = 'iam_user'`,
      [leaseIds],
    )) as (Due & { isDue: boolean; state: Lease['state'] })[];
    const dueMounts = new Set(rows.filter((row) => row.isDue).map((row) => row.mountId));
    return { dueMounts: [...dueMounts], early: rows.filter((row) => !row.isDue && row.state === 'active') };
  }

  /** Claims leases of a mount that are due and that nobody else is at work on, the longest due first. */
  async claimDue(mountId: string, atMost: number): Promise<Lease[]> {
    const claimed = (await this.manager.query(
      `with due as (
         select id from leases where mount_id = $3 and due_at <= now() and credential_type = 'iam_user'
         order by due_at limit $4 for update skip locked
       ), claimed as (
         update leases set
           state = case when state in ('issuing', 'pooled', 'offered', 'active') then 'revoking' else state end,
           end_reason = coalesce(end_reason, case state
             when 'issuing' then 'issuer_lost' when 'pooled' then 'retired' when 'offered' then 'not_accepted' when 'active' then 'expired' end),
           -- Whoever wrote the intent may be paused, not dead, and may yet make the user.
           looks_left = case when state = 'issuing' then ${this.timing.tombstoneLooksMs.length} else looks_left end,
           last_error = case when state <> 'ended' and claim_id is not null
             then 'a worker stopped while it was taking this lease back' else last_error end,
           claim_id = $1, due_at = now() + $2 * interval '1 ms'
         from due where leases.id = due.id returning leases.*
       ) select * from claimed`,
      [randomUUID(), this.timing.claimMs, mountId, atMost],
    )) as Record<string, unknown>[];
    return claimed.map((row) => this.toLease(row));
  }

  /** Keeps the claim for another span; false when it was lost. */
  async extend(lease: Lease): Promise<boolean> {
    const kept = (await this.manager.query(
      `with kept as (update leases set due_at = now() + $3 * interval '1 ms'
         where id = $1 and claim_id = $2 and due_at > now() returning id) select id from kept`,
      [lease.id, lease.claimId, this.timing.claimMs],
    )) as unknown[];
    return kept.length > 0;
  }

  /**
   * Writes what came of a claimed try; the only place that decides a lease's end, its next try, or that it is
   * irrevocable. Does nothing when the claim was lost: whoever has it now decides.
   */
  async settle(lease: Lease, outcome: Outcome): Promise<Settlement | null> {
    const settled =
      outcome.kind === 'gone' && lease.state !== 'ended'
        ? // The usual one, and the only one that whatever became of the row meanwhile cannot change: no need to lock it first.
          await this.ends.ask([lease, this.ended(lease, outcome.reason)], lease.accountId)
        : await this.manager.transaction(async (manager) => {
            const [row] = (await manager.query(
              `select extract(epoch from now() - created_at)::float8 * 1000 as "ageMs", state, forced,
                 coalesce(extract(epoch from now() - ended_at)::float8 * 1000, 0) as "endedMs" from leases
               where id = $1 and claim_id = $2 for update`,
              [lease.id, lease.claimId],
            )) as Settling[];
            return row ? this.write(manager, lease, this.next(lease, row, outcome)) : null;
          });
    if (!settled) return null;
    this.news.tell(lease.id);
    if (settled.dueAt) this.alarms.setSoon([settled]);
    return settled;
  }

  private async write(manager: EntityManager, lease: Lease, next: Next): Promise<(Due & Settlement) | null> {
    const [settled] = await this.writeAll(manager, [[lease, next]], true);
    return settled!;
  }

  private async writeAll(
    manager: EntityManager,
    written: Written[],
    alone: boolean,
  ): Promise<((Due & Settlement) | null | undefined)[]> {
    const rows = (await manager.query(
      `with next as (
         select * from jsonb_to_recordset($1) as next (id text, claim_id uuid, state text, end_reason text, due_in_ms float8,
           attempts integer, absences integer, looks_left smallint, last_error text, renamed_to text)
       ), held as (${lockLeases('select id from next', alone)}), settled as (
         update leases set state = next.state, end_reason = coalesce(next.end_reason, leases.end_reason), claim_id = null,
           due_at = now() + next.due_in_ms * interval '1 ms',
           ended_at = case when next.state = 'ended' then coalesce(ended_at, now()) end, attempts = next.attempts,
           absences = next.absences, looks_left = next.looks_left, last_error = next.last_error,
           renamed_to = next.renamed_to
         from next join held on held.id = next.id
         where leases.id = next.id and leases.claim_id = next.claim_id
         returning leases.id, leases.mount_id, next.claim_id, leases.due_at, next.due_in_ms, leases.command_id, leases.state, leases.end_reason, leases.expires_at
       ), forgotten as (
         update commands set forget_at = now() + $2 * interval '1 ms' from settled
         where commands.id = settled.command_id and commands.lease_id = settled.id and settled.state = 'ended'
       )
       select id, mount_id as "mountId", claim_id as "claimId", due_at as "dueAt", due_in_ms as "dueInMs", state, end_reason as "endReason",
         extract(epoch from now() - expires_at)::float8 * 1000 as "lateMs" from settled`,
      [
        recordset(
          written.map(([lease, next]) => ({
            id: lease.id,
            claim_id: lease.claimId,
            state: next.state,
            end_reason: next.endReason ?? null,
            due_in_ms: next.dueInMs,
            attempts: next.attempts ?? lease.attempts,
            absences: next.absences ?? lease.absences,
            looks_left: next.looksLeft ?? lease.looksLeft,
            last_error: next.lastError === undefined ? lease.lastError : next.lastError,
            renamed_to: next.renamedTo ?? lease.renamedTo,
          })),
        ),
        this.timing.commandMemoryMs,
      ],
    )) as (Due & Settlement & { claimId: string })[];
    const settled = new Map(rows.map(({ claimId, ...row }) => [`${row.id} ${claimId}`, row]));
    return written.map(([lease]) => settled.get(`${lease.id} ${lease.claimId}`) ?? (alone ? null : undefined));
  }

  /** The rules of promises 1 and 5, as a plain decision. */
  private next(lease: Lease, row: Settling, outcome: Outcome): Next {
    const { timing } = this;
    if (row.state === 'ended') return this.nextLook(lease, row, outcome);
    const mayBeLag = 'mayBeLag' in outcome && outcome.mayBeLag && row.ageMs < timing.propagationMs;
    if (row.forced && outcome.kind === 'refused' && !mayBeLag) {
      // The operator gave the lease up, not the user: what AWS would not do now is tried a few times more.
      const looksLeft = timing.tombstoneLooksMs.length;
      return { ...this.ended({ ...lease, looksLeft }), looksLeft, lastError: outcome.error };
    }
    if (row.forced && outcome.kind === 'unanswered' && !outcome.throttled) {
      const absences = lease.absences + 1;
      const lastError = outcome.error;
      // Its AWS may be gone for good, and whoever forced it is waiting: the row is dropped, and still looked at.
      if (absences >= silencesOfForced) {
        return {
          state: 'ended',
          looksLeft: Math.max(1, lease.looksLeft),
          dueInMs: timing.tombstoneLooksMs[0]!,
          lastError,
        };
      }
      return { state: row.state, dueInMs: jitter(timing.unansweredRetryMs / 2), absences, lastError };
    }
    switch (outcome.kind) {
      case 'gone':
        return this.ended(lease, outcome.reason);
      case 'renamed':
        return { state: row.state, dueInMs: 0, renamedTo: outcome.userName };
      case 'absent': {
        if (row.ageMs >= timing.propagationMs) {
          // Not lag, and no try of ours before this one: its holder removed it.
          const untouched = lease.attempts === 0 && lease.absences === 0 && !lease.lastError && !lease.renamedTo;
          return this.ended(lease, outcome.wasHeld && untouched ? 'user_missing' : undefined);
        }
        return this.lookAgain(lease, row);
      }
      case 'unanswered':
        return { state: row.state, dueInMs: jitter(timing.unansweredRetryMs / 2), lastError: outcome.error };
      case 'refused': {
        if (mayBeLag) {
          return { ...this.lookAgain(lease, row), lastError: outcome.error };
        }
        const attempts = lease.attempts + 1;
        const spent = attempts >= timing.maxAttempts;
        // What we removed a moment ago lags too, however old the user is: one conflict is not final.
        const permanent = outcome.permanent && !(outcome.mayBeLag && lease.attempts === 0);
        if (permanent || spent || row.state === 'irrevocable') {
          const lastError = `${spent && !permanent ? 'out of retries: ' : ''}${outcome.error}`.slice(0, 240);
          return { state: 'irrevocable', dueInMs: timing.irrevocableEveryMs, attempts, lastError };
        }
        return {
          state: row.state,
          dueInMs: jitter(timing.retryBaseMs * 2 ** lease.attempts),
          attempts,
          lastError: outcome.error,
        };
      }
    }
  }

  /** A young user that AWS does not know well yet: soon again, at the latest when the propagation window closes. */
  private lookAgain(lease: Lease, row: { ageMs: number; state: Lease['state'] }): Next {
    const { absenceDelaysMs, propagationMs } = this.timing;
    const delay = absenceDelaysMs[lease.absences] ?? absenceDelaysMs.at(-1)!;
    return {
      state: row.state,
      dueInMs: Math.min(delay, propagationMs - row.ageMs + 1),
      absences: lease.absences + 1,
    };
  }

  private ended(lease: { looksLeft: number }, endReason?: EndReason): Next {
    const dueInMs = lease.looksLeft > 0 ? this.timing.tombstoneLooksMs.at(-lease.looksLeft)! : null;
    return { state: 'ended', dueInMs, endReason, lastError: null };
  }

  /**
   * A tombstone was looked at. Only what AWS says about the user counts as a look: that it is gone, or not there. Silence
   * and refusals leave the look to be done; refused to the last try, a person must look, unless one has already.
   */
  private nextLook(lease: Lease, row: { endedMs: number; forced: boolean }, outcome: Outcome): Next {
    const { timing } = this;
    switch (outcome.kind) {
      case 'renamed':
        return { state: 'ended', dueInMs: 0, renamedTo: outcome.userName };
      case 'gone':
      case 'absent': {
        const looksLeft = lease.looksLeft - 1;
        const dueInMs = looksLeft > 0 ? timing.tombstoneLooksMs.at(-looksLeft)! : null;
        return { state: 'ended', looksLeft, dueInMs, lastError: null };
      }
      case 'unanswered': {
        // One that was forced out may belong to an AWS that never answers again: ever later, and not for ever.
        if (!row.forced) return { state: 'ended', dueInMs: timing.unansweredRetryMs, lastError: outcome.error };
        const later = Math.max(timing.tombstoneLooksMs[0]!, Math.min(timing.irrevocableEveryMs, row.endedMs));
        return { state: 'ended', dueInMs: row.endedMs < forcedLooksForMs ? later : null, lastError: outcome.error };
      }
      case 'refused': {
        const attempts = lease.attempts + 1;
        const lastError = outcome.error;
        if (attempts < timing.maxAttempts)
          return { state: 'ended', dueInMs: jitter(timing.retryBaseMs * 2 ** lease.attempts), attempts, lastError };
        if (row.forced) return { state: 'ended', dueInMs: null, attempts, lastError };
        return { state: 'irrevocable', dueInMs: timing.irrevocableEveryMs, attempts, lastError };
      }
    }
  }

  private toLease(row: Record<string, unknown>): Lease {
    const columns = this.source.getMetadata(Lease).columns;
    return Object.assign(
      new Lease(),
      Object.fromEntries(columns.map((column) => [column.propertyName, row[column.databaseName]])),
    );
  }
}

/** A lease that is asked back; `known`: a caller can know of it. */
type AskedLease = DueNow & { attempts: number; known: boolean };

/** A claimed lease and what it becomes. */
type Written = [lease: Lease, next: Next];

/** A row as it is when a try is settled. */
interface Settling {
  ageMs: number;
  /** Since it ended; 0 while it has not. */
  endedMs: number;
  state: Lease['state'];
  forced: boolean;
}

/** Unanswered tries after which a lease that is forced out is dropped all the same. */
const silencesOfForced = 3;

/** How long a lease that was forced out is looked at while its AWS is silent, milliseconds. */
const forcedLooksForMs = 7 * 86_400_000;

interface Next {
  state: Lease['state'];
  /** null = nobody must look again. */
  dueInMs: number | null;
  endReason?: EndReason;
  attempts?: number;
  absences?: number;
  looksLeft?: number;
  lastError?: string | null;
  renamedTo?: string;
}

/** ± 50 %, so that leases refused together do not come back together. */
function jitter(ms: number): number {
  return Math.round(ms * (0.5 + Math.random()));
}

/** The SQL condition and its values; a prefix is one range of the "C"-collated key, since `0` follows `/`. */
export function conditionOf(which: Which | { leaseIds: string[] }): [string, unknown[]] {
  if ('leaseIds' in which) return [isOneOf(elementsOf('$1')), [which.leaseIds]];
  if ('leaseId' in which) return [`id = $1`, [which.leaseId]];
  if ('mountId' in which) {
    const { mountId, moveId } = which;
    if (moveId === undefined) return [`mount_id = $1`, [mountId]];
    // Somebody else may have ended the move meanwhile: then the mount serves again, and what it lends is its callers'.
    return [
      `mount_id = $1 and exists (select 1 from mount_moves where id = $2::uuid and state = 'in-progress')`,
      [mountId, moveId],
    ];
  }
  if ('tokenIds' in which)
    return [`token_id = any($1) and state in ('issuing', 'offered', 'active')`, [which.tokenIds]];
  const prefix = which.prefix.replace(/\/+$/, '');
  return [`(id = $1 or (id >= $2 and id < $3))`, [prefix, `${prefix}/`, `${prefix}0`]];
}
