import { Inject, Injectable } from '@nestjs/common';
import { type CredentialType, OutOfTime } from '#libs/contracts';
import { EntityManager } from 'typeorm';
import { Alarms, type Due } from './alarms.js';
import { placesLeft } from './foreign-users.js';
import { IdempotentAnswers, type KeptAnswer } from './idempotent-answers.js';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';
import type { MadeOfUser } from './lease.entity.js';
import {
  allowed,
  type Asker,
  lockLimits,
  noPlace,
  type Opening,
  openingValues,
  placeForUser,
  requireAllowed,
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
const unlessOwn = `on conflict (id) do update set lease_id = excluded.lease_id, token_id = excluded.token_id,
  withdrawn_at = null, forget_at = excluded.forget_at where c.lease_id is null and c.token_id <> excluded.token_id`;

/** Selects a row for a command that was delivered or withdrawn before: what `unlessOwn` does not give way to. */
function knownCommand(id: string, token: string): string {
  return `select 1 from commands where id = ${id} and coalesce(lease_id is not null or token_id = ${token}::uuid, true)`;
}

/** Of a lease: its caller has not left. */
const notWithdrawn = `not exists (select 1 from commands c where c.id = command_id and c.withdrawn_at is not null)`;

/** What the issuer writes: intents, offers, and what becomes of an issue that failed. */
@Injectable()
export class Issuing {
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
      const [opened] = await this.withinLimits(intent, (manager) => this.openIn(manager, intent));
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

  private openIn(manager: EntityManager, intent: UserIntent): Promise<{ countIsDue: boolean }[]> {
    return manager.query(
      `with allowed as (${allowed(intent)}), place as (
         ${placeForUser('$9', '$14')}
       ), command as (
         insert into commands as c (id, lease_id, token_id)
         select $1, $2, $3::uuid from allowed, place where count_due_at is not null ${unlessOwn} returning id
       ), intent as (${insertIntent('command')})
       select count_due_at <= now() as "countIsDue" from intent, place`,
      [...this.intentValues(intent), intent.usersPerAccount],
    );
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
           where id = $1 and state in ('issuing', 'offered') returning id, due_at
         ) select id, due_at as "dueAt", 0 as "dueInMs" from back`,
        [
          command.lease_id,
          spent === null ? 'issuer_lost' : 'issue_failed',
          // Delivered again: whoever worked on it may be paused, not dead.
          this.looks(late),
        ],
      )) as Due[];
      if (!back) throw new OutOfTime();
      const places = (await manager.query(placeForUser('$1', '$2'), [
        intent.accountId,
        intent.usersPerAccount,
      ])) as unknown[];
      if (places.length === 0) {
        const [users] = (await manager.query(
          `select foreign_users as "foreignUsers", quota from aws_accounts where id = $1`,
          [intent.accountId],
        )) as Users[];
        throw noPlace(intent, users!);
      }
      await manager.query(`update commands set lease_id = $2, attempts = attempts + 1 where id = $1`, [
        intent.commandId,
        intent.leaseId,
      ]);
      const opened = (await manager.query(
        `with allowed as (${allowed(intent)}), command as (
           select commands.id from commands, allowed where commands.id = $1
         ) ${insertIntent('command', command.attempts + 1)}`,
        this.intentValues(intent),
      )) as unknown[];
      if (opened.length === 0) {
        await requireAllowed(manager, intent);
        throw new OutOfTime();
      }
      return back;
    });
    this.alarms.setSoon([takenBack]);
  }

  /**
   * Offers what was made; from here on the asker may accept it, for the hand-over time.
   * @param ttlMs time until it expires, in milliseconds.
   * @param late whether a call that nobody waits for may make its user once more, when it has been taken back.
   * @param kept the answer to keep, where it was asked for with an idempotency key.
   * @throws OutOfTime when the intent was taken back meanwhile or its caller has left, or another command has the key.
   */
  async offer(leaseId: string, accessKeyId: string, ttlMs: number, late: boolean, kept?: KeptAnswer): Promise<void> {
    await this.keeping(this.manager, leaseId, kept, (manager) =>
      this.offerIn(manager, [leaseId, accessKeyId, ttlMs], late),
    );
  }

  private async offerIn(manager: EntityManager, made: [string, string, number], late: boolean): Promise<void> {
    const offered = (await manager.query(
      `with offered as (
         update leases set state = 'offered', access_key_id = $2, issued_at = now(),
           expires_at = now() + $3 * interval '1 ms', due_at = now() + $4 * interval '1 ms', looks_left = $5
         where id = $1 and state = 'issuing' and due_at > now()
           and ${notWithdrawn}
         returning id
       ) select id from offered`,
      [...made, this.timing.handOverMs, this.looks(late)],
    )) as unknown[];
    if (offered.length === 0) throw new OutOfTime();
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
   */
  async abandon(leaseId: string, error: string, late: boolean): Promise<void> {
    const back = (await this.manager.query(
      `with back as (
         update leases set
           due_at = case when state in ('issuing', 'offered', 'ended') then now() else due_at end,
           looks_left = greatest(looks_left, case when state in ('issuing', 'offered') and due_at > now()
                                                  then $3::smallint else $4::smallint end),
           end_reason = coalesce(end_reason, 'issue_failed'), last_error = coalesce(last_error, $2),
           state = case when state in ('issuing', 'offered') then 'revoking' else state end
         where id = $1 returning id, due_at
       ) select id, due_at as "dueAt", 0 as "dueInMs" from back where due_at <= now()`,
      [leaseId, error, this.looks(late), this.looks(true)],
    )) as Due[];
    this.alarms.setSoon(back);
  }

  /**
   * Stores a lease of STS, active at once: nothing in AWS must be taken back, so there is nothing to accept.
   * @param kept the answer to keep, where it was asked for with an idempotency key.
   * @returns milliseconds until AWS ends it.
   * @throws OutOfTime when the command was delivered before or its caller has left, or another command has the key;
   * OverBudget, PermissionDenied, NoRoute as `open`.
   */
  async openSts(lease: StsLease, kept?: KeptAnswer): Promise<number> {
    return this.withinLimits(lease, (manager) =>
      this.keeping(manager, lease.leaseId, kept, (within) => this.openStsIn(within, lease)),
    );
  }

  private async openStsIn(manager: EntityManager, lease: StsLease): Promise<number> {
    for (;;) {
      const [opened] = (await manager.query(
        `with allowed as (${allowed(lease)}), command as (
           insert into commands as c (id, lease_id, token_id, forget_at)
           select $1, $2, $3::uuid, $12::timestamptz + $13 * interval '1 ms' from allowed ${unlessOwn} returning id
         )
         insert into leases (command_id, id, token_id, mount_id, mount_version, role_name, role_version, root_version,
           account_id, request_id, access_key_id, expires_at, due_at, credential_type, state, renewable, issued_at, accepted_at)
         select id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::timestamptz, $12::timestamptz, $14, 'active', false, now(), now()
         from command returning extract(epoch from expires_at - now())::float8 * 1000 as "ttlMs"`,
        [
          ...openingValues(lease),
          lease.accessKeyId,
          lease.expiresAt,
          this.timing.commandMemoryMs,
          lease.credentialType,
        ],
      )) as { ttlMs: number }[];
      if (opened) return opened.ttlMs;
      const [command] = (await manager.query(knownCommand('$1', '$2'), [lease.commandId, lease.tokenId])) as unknown[];
      if (command) throw new OutOfTime();
      await requireAllowed(manager, lease);
    }
  }

  /** Where role or token are limited, their others who ask meanwhile wait until what `write` has opened is counted. */
  private withinLimits<T>(asker: Asker, write: (manager: EntityManager) => Promise<T>): Promise<T> {
    if (!asker.limited.role && !asker.limited.token) return write(this.manager);
    return this.manager.transaction(async (manager) => {
      await lockLimits(manager, asker);
      return write(manager);
    });
  }

  /** Answer and lease are one commit: no lease that may be accepted is without its answer, and no key has two. */
  private async keeping<T>(
    manager: EntityManager,
    leaseId: string,
    kept: KeptAnswer | undefined,
    write: (manager: EntityManager) => Promise<T>,
  ): Promise<T> {
    if (!kept) return write(manager);
    return manager.transaction(async (within) => {
      const written = await write(within);
      await this.answers.keep(within, leaseId, kept);
      return written;
    });
  }

  /** How often its tombstone is looked at: AWS refuses calls that were signed longer ago than all of these looks take. */
  private looks(late: boolean): number {
    return late ? this.timing.tombstoneLooksMs.length : 0;
  }

  /** The values of `insertIntent`; the intent is due a margin after its caller's wait. */
  private intentValues(intent: UserIntent): unknown[] {
    return [...openingValues(intent), intent.userName, intent.made, Math.ceil(intent.waitMs) + this.timing.marginMs];
  }
}

/** The insert of an intent for each row (one or none) of the relation `command`; values as `intentValues` gives them. */
function insertIntent(command: string, attempt = 1): string {
  return `insert into leases (command_id, id, token_id, mount_id, mount_version, role_name, role_version, root_version,
      account_id, request_id, user_name, made, due_at, credential_type, state, renewable, attempt)
    select id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now() + $13 * interval '1 ms', 'iam_user', 'issuing', true,
      ${attempt}
    from ${command} returning id`;
}
