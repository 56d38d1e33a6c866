import { Inject, Injectable } from '@nestjs/common';
import { type CredentialType, OutOfTime } from '#libs/contracts';
import { Batches, recordset } from '#libs/runtime';
import { EntityManager } from 'typeorm';
import { Alarms } from './alarms.js';
import type { DueNow } from './bell.js';
import { placesLeft } from './foreign-users.js';
import { IdempotentAnswers, type KeptAnswer } from './idempotent-answers.js';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';
import type { MadeOfUser } from './lease.entity.js';
import { lockLeases } from './lock-leases.js';
import {
  allowed,
  asked,
  askedValues,
  type Asker,
  isLimited,
  lockLimits,
  noPlace,
  type Opening,
  requireAllowed,
  taken,
  type Users,
} from './opening.js';

/** The intent to make an IAM user: committed before AWS is asked for anything. */
export interface UserIntent extends Opening {
  userName: string;
  made: MadeOfUser;
  /** How long the caller still waits, in milliseconds. */
  waitMs: number;
  /** How many users of leases its account may have; all users, where AWS does not tell the account's quota. */
  usersPerAccount: number;
}

/**
 * How the count of an account's foreign users stands (`ForeignUsers`): `missing` when AWS was never asked, so that nothing
 * was opened; `due` when it is time to ask again.
 */
export type CountStanding = 'fresh' | 'due' | 'missing';

/** A credential of STS, which ends by itself. */
export interface StsLease extends Opening {
  credentialType: Exclude<CredentialType, 'iam_user'>;
  accessKeyId: string;
  expiresAt: Date;
}

/** A command may be tried again twice: by a delivery after its worker died, or when AWS's answer was lost. */
const mostAttempts = 3;

/** Of the insert of a command `c`: the mark that another token left under its id gives way, and nothing else does. */
export const unlessOwn = `on conflict (id) do update set lease_id = excluded.lease_id, token_id = excluded.token_id,
  withdrawn_at = null, forget_at = excluded.forget_at where c.lease_id is null and c.token_id <> excluded.token_id`;

/** Selects a row for a command that was delivered or withdrawn before: what `unlessOwn` does not give way to. */
function knownCommand(id: string, token: string): string {
  return `select 1 from commands where id = ${id} and coalesce(lease_id is not null or token_id = ${token}::uuid, true)`;
}

/** Of a lease: its caller has not left. */
const notWithdrawn = `not exists (select 1 from commands c where c.id = command_id and c.withdrawn_at is not null)`;

/** An intent was opened; whether it is time to count its account's foreign users again. */
interface CountIsDue {
  countIsDue: boolean;
}

/** A lease of STS was opened; milliseconds until AWS ends it. */
interface TtlLeft {
  ttlMs: number;
}

/** What was made of an intent. */
interface MadeUser {
  leaseId: string;
  accessKeyId: string;
  /** Time until it expires, in milliseconds. */
  ttlMs: number;
  looksLeft: number;
}

/** What the issuer writes: intents, offers, and what becomes of an issue that failed. */
@Injectable()
export class Issuing {
  private readonly intents = new Batches<UserIntent, CountIsDue | null>((intents) =>
    this.openAll(this.manager, intents),
  );
  private readonly offers = new Batches<MadeUser, boolean>((made, alone) => this.offerAll(this.manager, made, alone));
  private readonly stsLeases = new Batches<StsLease, TtlLeft | null>((leases) => this.openAllSts(this.manager, leases));

  constructor(
    private readonly manager: EntityManager,
    private readonly alarms: Alarms,
    private readonly answers: IdempotentAnswers,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /**
   * Refuses what role, token or mount do not allow, by a look that locks nothing: `open` and `openSts` decide.
   * @throws OverBudget, PermissionDenied, NoRoute as `open`.
   */
  async mayIssue(asker: Asker): Promise<void> {
    await requireAllowed(this.manager, asker);
  }

  /**
   * Commits the intent, unless the account's foreign users have yet to be counted. A command that was delivered before takes its
   * first attempt back and opens another one, in one transaction, unless that attempt is past the point where anything may
   * be doubled.
   * @throws OverBudget when its account has no place for another user, its role or token has as many leases as it may
   * have, or issuing is frozen.
   * @throws OutOfTime when the command was settled before, or its caller has left.
   * @throws Sealed when the system was sealed, PermissionDenied when the token has ended, NoRoute when the mount has.
   */
  async open(intent: UserIntent): Promise<CountStanding> {
    for (;;) {
      const opened = await this.opened(intent);
      if (opened) return opened.countIsDue ? 'due' : 'fresh';
      const [found] = (await this.manager.query(
        `select exists (${knownCommand('$1', '$4')}) as known, count_due_at is not null as counted,
           ${placesLeft('$3')} > 0 as "hasPlace", foreign_users as "foreignUsers", quota
         from (select 1) one left join aws_accounts on aws_accounts.id = $2`,
        [intent.commandId, intent.accountId, intent.usersPerAccount, intent.tokenId],
      )) as (Users & { known: boolean; counted: boolean; hasPlace: boolean })[];
      if (found!.known) {
        await this.reopen(intent, null, true);
        return 'fresh';
      }
      await requireAllowed(this.manager, intent);
      if (!found!.counted) return 'missing';
      if (!found!.hasPlace) throw noPlace(intent, found!);
      // Otherwise a place has become free since, or a freeze was lifted.
    }
  }

  /** Where role or token are limited, their others who ask meanwhile wait until what this has opened is counted. */
  private async opened(intent: UserIntent): Promise<CountIsDue | null> {
    // Whoever holds an account's row holds up nobody of another account.
    if (!isLimited(intent)) return this.intents.ask(intent, intent.accountId);
    return this.manager.transaction(async (manager) => {
      await lockLimits(manager, intent);
      const [opened] = await this.openAll(manager, [intent], true);
      return opened!;
    });
  }

  /** Opens those that may be; null: that one may not, or its command was delivered before. */
  private async openAll(
    manager: EntityManager,
    intents: UserIntent[],
    underLimits = false,
  ): Promise<(CountIsDue | null)[]> {
    const opened = (await manager.query(
      `with ${asked(intentColumns)}, allowed as (${allowed(underLimits)}), ${taken}, command as (
         insert into commands as c (id, lease_id, token_id)
         select command_id, lease_id, token_id from taken order by command_id ${unlessOwn} returning id
       ), intent as (
         ${insertIntents(`taken where command_id in (select id from command)`)} returning id
       )
       select nth, count_due_at <= now() as "countIsDue" from taken join intent on intent.id = taken.lease_id`,
      [this.intentValues(intents.map((intent) => [intent, 1]))],
    )) as (CountIsDue & { nth: string })[];
    return atTheirPlaces(intents, opened);
  }

  /**
   * Opens another attempt of a command whose attempt `spent` met an ambiguous answer: that one is taken back.
   * @param late whether a call that nobody waits for may make its user yet.
   * @throws OutOfTime when the command was tried often enough, or `spent` is not in force any more.
   */
  async startOver(spent: string, intent: UserIntent, late: boolean): Promise<void> {
    await this.reopen(intent, spent, late);
  }

  private async reopen(intent: UserIntent, spent: string | null, late: boolean): Promise<void> {
    const takenBack = await this.manager.transaction(async (manager) => {
      await lockLimits(manager, intent);
      const [command] = (await manager.query(
        `select lease_id, attempts, withdrawn_at from commands where id = $1 and coalesce(token_id, $2) = $2 for update`,
        [intent.commandId, intent.tokenId],
      )) as { lease_id: string | null; attempts: number; withdrawn_at: Date | null }[];
      if (!command) throw new OutOfTime(); // forgotten meanwhile, or another token's
      const inForce = spent === null || command.lease_id === spent;
      if (command.withdrawn_at || command.attempts >= mostAttempts || !command.lease_id || !inForce)
        throw new OutOfTime();
      const [back] = (await manager.query(
        `with back as (
           update leases set state = 'revoking', due_at = now(), claim_id = null, end_reason = $2,
             looks_left = case when state = 'issuing' then $3::smallint else looks_left end
           where id = $1 and state in ('issuing', 'offered') returning id, mount_id
         ) select id, mount_id as "mountId" from back`,
        [
          command.lease_id,
          spent === null ? 'issuer_lost' : 'issue_failed',
          // Delivered again: whoever worked on it may be paused, not dead.
          this.looks(late),
        ],
      )) as DueNow[];
      if (!back) throw new OutOfTime();
      const [place] = (await manager.query(
        `select ${placesLeft('$2')} > 0 as "isThere", foreign_users as "foreignUsers", quota
         from aws_accounts where id = $1 for update`,
        [intent.accountId, intent.usersPerAccount],
      )) as (Users & { isThere: boolean })[];
      if (!place!.isThere) throw noPlace(intent, place!);
      await manager.query(`update commands set lease_id = $2, attempts = attempts + 1 where id = $1`, [
        intent.commandId,
        intent.leaseId,
      ]);
      const opened = (await manager.query(
        `with ${asked(intentColumns)}, allowed as (${allowed(isLimited(intent))})
         ${insertIntents('allowed')} returning id`,
        [this.intentValues([[intent, command.attempts + 1]])],
      )) as unknown[];
      if (opened.length === 0) {
        await requireAllowed(manager, intent);
        throw new OutOfTime();
      }
      return back;
    });
    this.alarms.ring([takenBack]);
  }

  /**
   * Offers what was made; from here on the asker may accept it, for the hand-over time.
   * @param ttlMs time until it expires, in milliseconds.
   * @param late whether a call that nobody waits for may make its user once more, when it has been taken back.
   * @param kept the answer to keep, where it was asked for with an idempotency key.
   * @throws OutOfTime when the intent was taken back meanwhile or its caller has left, or another command has the key.
   */
  async offer(leaseId: string, accessKeyId: string, ttlMs: number, late: boolean, kept?: KeptAnswer): Promise<void> {
    const made: MadeUser = { leaseId, accessKeyId, ttlMs, looksLeft: this.looks(late) };
    if (!kept) {
      if (!(await this.offers.ask(made))) throw new OutOfTime();
      return;
    }
    // Answer and lease are one commit: no lease that may be accepted is without its answer, and no key has two.
    await this.manager.transaction(async (manager) => {
      const [isOffered] = await this.offerAll(manager, [made], true);
      if (!isOffered) throw new OutOfTime();
      await this.answers.keep(manager, leaseId, kept);
    });
  }

  private async offerAll(manager: EntityManager, made: MadeUser[], alone: boolean): Promise<(boolean | undefined)[]> {
    const offered = (await manager.query(
      `with made as (
         select * from jsonb_to_recordset($1) as made (lease_id text, access_key_id text, ttl_ms float8, looks_left smallint)
       ), held as (${lockLeases('select lease_id from made', alone)}), offered as (
         update leases set state = 'offered', access_key_id = made.access_key_id, issued_at = now(),
           expires_at = now() + made.ttl_ms * interval '1 ms', due_at = now() + $2 * interval '1 ms',
           looks_left = made.looks_left
         from made join held on held.id = made.lease_id
         where leases.id = made.lease_id and state = 'issuing' and due_at > now() and ${notWithdrawn}
         returning leases.id
       ) select id from offered`,
      [
        recordset(
          made.map(({ leaseId, accessKeyId, ttlMs, looksLeft }) => ({
            lease_id: leaseId,
            access_key_id: accessKeyId,
            ttl_ms: ttlMs,
            looks_left: looksLeft,
          })),
        ),
        this.timing.handOverMs,
      ],
    )) as { id: string }[];
    const ids = new Set(offered.map(({ id }) => id));
    return made.map(({ leaseId }) => ids.has(leaseId) || (alone ? false : undefined));
  }

  /** Whether its offer would still be taken: nobody took the intent back, and its caller has not left. */
  async isWanted(leaseId: string): Promise<boolean> {
    const wanted = (await this.manager.query(
      `select 1 from leases where id = $1 and state = 'issuing' and due_at > now() and ${notWithdrawn}`,
      [leaseId],
    )) as unknown[];
    return wanted.length > 0;
  }

  /** Ends an intent of which nothing was made: no call to AWS is owed. */
  async endUnmade(leaseId: string, error: string): Promise<void> {
    await this.manager.query(
      `with ended as (
         update leases set state = 'ended', ended_at = now(), due_at = null, end_reason = 'issue_failed', last_error = $2
         where id = $1 and state = 'issuing' returning command_id
       ) update commands set forget_at = now() + $3 * interval '1 ms' from ended where id = command_id`,
      [leaseId, error, this.timing.commandMemoryMs],
    );
  }

  /**
   * Marks an issue that failed half way for the revoker, due now, and rings it. Where it is late, or was taken back meanwhile,
   * the looks of a tombstone are owed: what it made is younger than its row, and AWS may not know it yet.
   * @param late whether a call that nobody waits for may make its user yet.
   * @returns whether it had been taken back meanwhile, so that what AWS complained of may be that.
   */
  async abandon(leaseId: string, error: string, late: boolean): Promise<boolean> {
    const back = (await this.manager.query(
      `with back as (
         update leases set
           due_at = case when state in ('issuing', 'pooled', 'offered', 'ended') then now() else due_at end,
           looks_left = greatest(looks_left, case when state in ('issuing', 'pooled', 'offered') and due_at > now()
                                                  then $3::smallint else $4::smallint end),
           end_reason = coalesce(end_reason, 'issue_failed'), last_error = coalesce(last_error, $2),
           state = case when state in ('issuing', 'pooled', 'offered') then 'revoking' else state end
         -- Where only the answer to its offer, or to its keeping, was lost, somebody may have it by now.
         where id = $1 and state <> 'active' returning id, mount_id, due_at, end_reason
       ) select id, mount_id as "mountId", coalesce(due_at <= now(), false) as "isDue",
           end_reason <> 'issue_failed' as "wasTaken" from back`,
      [leaseId, error, this.looks(late), this.looks(true)],
    )) as (DueNow & { isDue: boolean; wasTaken: boolean })[];
    this.alarms.ring(back.filter(({ isDue }) => isDue));
    return back.some(({ wasTaken }) => wasTaken);
  }

  /**
   * Stores a lease of STS, active at once: nothing in AWS must be taken back, so there is nothing to accept.
   * @param kept the answer to keep, where it was asked for with an idempotency key.
   * @returns milliseconds until AWS ends it.
   * @throws OutOfTime when the command was delivered before or its caller has left, or another command has the key;
   * OverBudget, PermissionDenied, NoRoute as `open`.
   */
  async openSts(lease: StsLease, kept?: KeptAnswer): Promise<number> {
    for (;;) {
      const opened = await this.openedSts(lease, kept);
      if (opened) return opened.ttlMs;
      const [command] = (await this.manager.query(knownCommand('$1', '$2'), [
        lease.commandId,
        lease.tokenId,
      ])) as unknown[];
      if (command) throw new OutOfTime();
      await requireAllowed(this.manager, lease);
    }
  }

  /** Where role or token are limited, their others who ask meanwhile wait until what this has opened is counted. */
  private openedSts(lease: StsLease, kept: KeptAnswer | undefined): Promise<TtlLeft | null> {
    if (!kept && !isLimited(lease)) return this.stsLeases.ask(lease);
    return this.manager.transaction(async (manager) => {
      await lockLimits(manager, lease);
      const [opened] = await this.openAllSts(manager, [lease], isLimited(lease));
      if (opened && kept) await this.answers.keep(manager, lease.leaseId, kept);
      return opened!;
    });
  }

  private async openAllSts(
    manager: EntityManager,
    leases: StsLease[],
    underLimits = false,
  ): Promise<(TtlLeft | null)[]> {
    const opened = (await manager.query(
      `with ${asked('access_key_id text, ends_at timestamptz, credential_type text')},
         allowed as (${allowed(underLimits)}), command as (
           insert into commands as c (id, lease_id, token_id, forget_at)
           select command_id, lease_id, token_id, ends_at + $2 * interval '1 ms' from allowed order by command_id
           ${unlessOwn} returning id
         ), opened as (
           insert into leases (${openingColumns}, access_key_id, expires_at, due_at, credential_type, state, renewable,
             issued_at, accepted_at)
           select ${openedColumns}, access_key_id, ends_at, ends_at, credential_type, 'active', false, now(), now()
           from allowed where command_id in (select id from command)
           returning id, extract(epoch from expires_at - now())::float8 * 1000 as ttl_ms
         )
       select nth, ttl_ms as "ttlMs" from allowed join opened on opened.id = allowed.lease_id`,
      [
        askedValues(
          leases.map((lease) => [
            lease,
            { access_key_id: lease.accessKeyId, ends_at: lease.expiresAt, credential_type: lease.credentialType },
          ]),
        ),
        this.timing.commandMemoryMs,
      ],
    )) as (TtlLeft & { nth: string })[];
    return atTheirPlaces(leases, opened);
  }

  /** How often its tombstone is looked at: AWS refuses calls that were signed longer ago than all of these looks take. */
  private looks(late: boolean): number {
    return late ? this.timing.tombstoneLooksMs.length : 0;
  }

  /** Each intent and which attempt it is; it is due a margin after its caller's wait. */
  private intentValues(intents: [intent: UserIntent, attempt: number][]): string {
    return askedValues(
      intents.map(([intent, attempt]) => [
        intent,
        {
          user_name: intent.userName,
          made: intent.made,
          due_in_ms: Math.ceil(intent.waitMs) + this.timing.marginMs,
          users_per_account: intent.usersPerAccount,
          attempt,
        },
      ]),
    );
  }
}

/** What an intent has beside what every opening has. */
const intentColumns = 'user_name text, made jsonb, due_in_ms float8, users_per_account integer, attempt smallint';

/** Columns of a lease, and what they are opened with. */
const openingColumns = `command_id, id, token_id, mount_id, mount_version, role_name, role_version, root_version, account_id,
  request_id`;
const openedColumns = openingColumns.replace(' id,', ' lease_id,');

/** The insert of an intent for each row of a relation with the columns of `asked`. */
function insertIntents(relation: string): string {
  return `insert into leases (${openingColumns}, user_name, made, due_at, credential_type, state, renewable, attempt)
    select ${openedColumns}, user_name, made, now() + due_in_ms * interval '1 ms', 'iam_user', 'issuing', true, attempt
    from ${relation}`;
}

/** The answers to those who asked, `nth` in their order; null for who has none. */
function atTheirPlaces<Answer extends { nth: string }>(items: unknown[], answers: Answer[]): (Answer | null)[] {
  const places = new Map(answers.map((answer) => [Number(answer.nth), answer]));
  return items.map((_, place) => places.get(place + 1) ?? null);
}
