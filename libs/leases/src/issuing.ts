import { Inject, Injectable } from '@nestjs/common';
import { tokenIsAlive } from '#libs/access';
import { NoRoute, OutOfTime, OverBudget, PermissionDenied } from '#libs/contracts';
import { EntityManager } from 'typeorm';
import { Alarms, type Due } from './alarms.js';
import { IdempotentAnswers, type KeptAnswer } from './idempotent-answers.js';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';
import type { MadeOfUser } from './lease.entity.js';

/** What a lease is opened with: the definitions it was issued under, and who asked. */
export interface Opening {
  leaseId: string;
  commandId: string;
  mountId: string;
  mountVersion: string;
  roleName: string;
  roleVersion: string;
  rootVersion: string;
  accountId: string;
  tokenId: string;
  requestId: string;
}

/** The intent to make an IAM user: committed before AWS is asked for anything. */
export interface UserIntent extends Opening {
  userName: string;
  made: MadeOfUser;
  /** How long the caller still waits, in milliseconds. */
  waitMs: number;
  /** How many users of leases its account may have. */
  usersPerAccount: number;
}

/** A credential of STS, which ends by itself. */
export interface StsLease extends Opening {
  credentialType: 'assumed_role' | 'federation_token';
  accessKeyId: string;
  expiresAt: Date;
}

/** A command may be tried again twice: by a delivery after its worker died, or when AWS's answer was lost. */
const mostAttempts = 3;

const mountIsAlive = `(tainted_at is null and removed_at is null)`;

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
   * Commits the intent. A command that was delivered before takes its first attempt back and opens another one, in
   * one transaction, unless that attempt is past the point where anything may be doubled.
   * @throws OverBudget when its account has no place for another user.
   * @throws OutOfTime when the command was settled before, or its caller has left.
   * @throws PermissionDenied when the token has ended, NoRoute when the mount has.
   */
  async open(intent: UserIntent): Promise<void> {
    for (;;) {
      const opened = (await this.manager.query(
        `with alive as (
           select 1 from tokens, mounts where tokens.id = $3 and ${tokenIsAlive} and mounts.id = $4 and ${mountIsAlive}
         ), place as (
           ${placeForUser('$9', '$14')}
         ), command as (
           insert into commands (id, lease_id) select $1, $2 from alive, place on conflict (id) do nothing returning id
         )
         ${insertIntent('command')}`,
        [...this.intentValues(intent), intent.usersPerAccount],
      )) as unknown[];
      if (opened.length > 0) return;
      const [found] = (await this.manager.query(
        `select exists (select 1 from commands where id = $1) as known,
           (select users from aws_accounts where id = $2) as users`,
        [intent.commandId, intent.accountId],
      )) as { known: boolean; users: number | null }[];
      if (found!.known) return this.reopen(intent, null);
      if (found!.users !== null && found!.users >= intent.usersPerAccount) throw noPlace(intent);
      // The first user of this account; or a place has become free since.
      await this.manager.query(`insert into aws_accounts (id) values ($1) on conflict do nothing`, [intent.accountId]);
      await requireAlive(this.manager, intent);
    }
  }

  /**
   * Opens another attempt of a command whose attempt `spent` met an ambiguous answer: that one is taken back.
   * @throws OutOfTime when the command was tried often enough, or `spent` is not in force any more.
   */
  async startOver(spent: string, intent: UserIntent): Promise<void> {
    await this.reopen(intent, spent);
  }

  private async reopen(intent: UserIntent, spent: string | null): Promise<void> {
    const takenBack = await this.manager.transaction(async (manager) => {
      const [command] = (await manager.query(
        `select lease_id, attempts, withdrawn_at from commands where id = $1 for update`,
        [intent.commandId],
      )) as { lease_id: string | null; attempts: number; withdrawn_at: Date | null }[];
      if (!command) throw new OutOfTime(); // forgotten meanwhile
      const inForce = spent === null || command.lease_id === spent;
      if (command.withdrawn_at || command.attempts >= mostAttempts || !command.lease_id || !inForce)
        throw new OutOfTime();
      const [back] = (await manager.query(
        `with back as (
           update leases set state = 'revoking', due_at = now(), claim_id = null, end_reason = $2,
             looks_left = case when state = 'issuing' and $3 then $4::smallint else looks_left end
           where id = $1 and state in ('issuing', 'offered') returning id, due_at
         ) select id, due_at as "dueAt", 0 as "dueInMs" from back`,
        [
          command.lease_id,
          spent === null ? 'issuer_lost' : 'issue_failed',
          // Delivered again: whoever worked on it may be paused, not dead. Its own start-over: nothing is in flight.
          spent === null,
          this.timing.tombstoneLooksMs.length,
        ],
      )) as Due[];
      if (!back) throw new OutOfTime();
      const places = (await manager.query(placeForUser('$1', '$2'), [
        intent.accountId,
        intent.usersPerAccount,
      ])) as unknown[];
      if (places.length === 0) throw noPlace(intent);
      await manager.query(`update commands set lease_id = $2, attempts = attempts + 1 where id = $1`, [
        intent.commandId,
        intent.leaseId,
      ]);
      await manager.query(
        `with command as (select id from commands where id = $1 and $3::uuid is not null and $4::uuid is not null)
         ${insertIntent('command', command.attempts + 1)}`,
        this.intentValues(intent),
      );
      return back;
    });
    this.alarms.setSoon([takenBack]);
  }

  /**
   * Offers what was made; from here on the asker may accept it, for the hand-over time.
   * @param ttlMs time until it expires, in milliseconds.
   * @param kept the answer to keep, where it was asked for with an idempotency key.
   * @throws OutOfTime when the intent was taken back meanwhile or its caller has left, or another command has the key.
   */
  async offer(leaseId: string, accessKeyId: string, ttlMs: number, kept?: KeptAnswer): Promise<void> {
    await this.keeping(leaseId, kept, (manager) => this.offerIn(manager, leaseId, accessKeyId, ttlMs));
  }

  private async offerIn(manager: EntityManager, leaseId: string, accessKeyId: string, ttlMs: number): Promise<void> {
    const offered = (await manager.query(
      `with offered as (
         update leases set state = 'offered', access_key_id = $2, issued_at = now(),
           expires_at = now() + $3 * interval '1 ms', due_at = now() + $4 * interval '1 ms'
         where id = $1 and state = 'issuing' and due_at > now()
           and not exists (select 1 from commands c where c.id = command_id and c.withdrawn_at is not null)
         returning id
       ) select id from offered`,
      [leaseId, accessKeyId, ttlMs, this.timing.handOverMs],
    )) as unknown[];
    if (offered.length === 0) throw new OutOfTime();
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
   * Marks an issue that failed half way for the revoker, due now, and rings it. Where it was taken back meanwhile, another
   * look is owed: something was made after the last one.
   */
  async abandon(leaseId: string, error: string): Promise<void> {
    const back = (await this.manager.query(
      `with back as (
         update leases set
           due_at = case when state in ('issuing', 'offered', 'ended') then now() else due_at end,
           looks_left = case when state in ('issuing', 'offered') then looks_left else greatest(looks_left, 1) end,
           end_reason = coalesce(end_reason, 'issue_failed'), last_error = coalesce(last_error, $2),
           state = case when state in ('issuing', 'offered') then 'revoking' else state end
         where id = $1 returning id, due_at
       ) select id, due_at as "dueAt", 0 as "dueInMs" from back where due_at <= now()`,
      [leaseId, error],
    )) as Due[];
    this.alarms.setSoon(back);
  }

  /**
   * Stores a lease of STS, active at once: nothing in AWS must be taken back, so there is nothing to accept.
   * @param kept the answer to keep, where it was asked for with an idempotency key.
   * @returns milliseconds until AWS ends it.
   * @throws OutOfTime when the command was delivered before or its caller has left, or another command has the key;
   * PermissionDenied, NoRoute as `open`.
   */
  async openSts(lease: StsLease, kept?: KeptAnswer): Promise<number> {
    return this.keeping(lease.leaseId, kept, (manager) => this.openStsIn(manager, lease));
  }

  private async openStsIn(manager: EntityManager, lease: StsLease): Promise<number> {
    const [opened] = (await manager.query(
      `with alive as (
         select 1 from tokens, mounts where tokens.id = $3 and ${tokenIsAlive} and mounts.id = $4 and ${mountIsAlive}
       ), command as (
         insert into commands (id, lease_id, forget_at)
         select $1, $2, $12::timestamptz + $13 * interval '1 ms' from alive on conflict (id) do nothing returning id
       )
       insert into leases (command_id, id, token_id, mount_id, mount_version, role_name, role_version, root_version,
         account_id, request_id, access_key_id, expires_at, due_at, credential_type, state, renewable, issued_at, accepted_at)
       select id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::timestamptz, $12::timestamptz, $14, 'active', false, now(), now()
       from command returning extract(epoch from expires_at - now())::float8 * 1000 as "ttlMs"`,
      [...openingValues(lease), lease.accessKeyId, lease.expiresAt, this.timing.commandMemoryMs, lease.credentialType],
    )) as { ttlMs: number }[];
    if (opened) return opened.ttlMs;
    const [command] = (await manager.query(`select 1 from commands where id = $1`, [lease.commandId])) as unknown[];
    if (!command) await requireAlive(manager, lease);
    throw new OutOfTime();
  }

  /** Answer and lease are one commit: no lease that may be accepted is without its answer, and no key has two. */
  private async keeping<T>(
    leaseId: string,
    kept: KeptAnswer | undefined,
    write: (manager: EntityManager) => Promise<T>,
  ): Promise<T> {
    if (!kept) return write(this.manager);
    return this.manager.transaction(async (manager) => {
      const written = await write(manager);
      await this.answers.keep(manager, leaseId, kept);
      return written;
    });
  }

  /** The values of `insertIntent`; the intent is due a margin after its caller's wait. */
  private intentValues(intent: UserIntent): unknown[] {
    return [...openingValues(intent), intent.userName, intent.made, Math.ceil(intent.waitMs) + this.timing.marginMs];
  }
}

function openingValues(opening: Opening): unknown[] {
  return [
    opening.commandId,
    opening.leaseId,
    opening.tokenId,
    opening.mountId,
    opening.mountVersion,
    opening.roleName,
    opening.roleVersion,
    opening.rootVersion,
    opening.accountId,
    opening.requestId,
  ];
}

/** The insert of an intent for each row (one or none) of the relation `command`; values as `intentValues` gives them. */
function insertIntent(command: string, attempt = 1): string {
  return `insert into leases (command_id, id, token_id, mount_id, mount_version, role_name, role_version, root_version,
      account_id, request_id, user_name, made, due_at, credential_type, state, renewable, attempt)
    select id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now() + $13 * interval '1 ms', 'iam_user', 'issuing', true,
      ${attempt}
    from ${command} returning id`;
}

/**
 * A row when the account has a place for another user, and then a lock that makes the next one who asks wait until this one's
 * intent is counted.
 */
function placeForUser(account: string, usersPerAccount: string): string {
  return `select 1 from aws_accounts where id = ${account} and users < ${usersPerAccount}::integer for update`;
}

/** What is lent ends all the time: soon is a good time to ask again. */
const placeWithinSeconds = 10;

function noPlace({ accountId, usersPerAccount }: UserIntent): OverBudget {
  return new OverBudget(
    `AWS account ${accountId} has no place for another IAM user: it may have ${usersPerAccount}, and they are all taken; ` +
      'try again when a lease has ended.',
    placeWithinSeconds,
  );
}

/** Refuses when token or mount have ended, and says which of the two. */
async function requireAlive(manager: EntityManager, opening: Opening): Promise<void> {
  const [found] = (await manager.query(
    `select exists (select 1 from tokens where id = $1 and ${tokenIsAlive}) as token,
       exists (select 1 from mounts where id = $2 and ${mountIsAlive}) as mount`,
    [opening.tokenId, opening.mountId],
  )) as { token: boolean; mount: boolean }[];
  if (!found!.token) throw new PermissionDenied();
  if (!found!.mount) {
    throw new NoRoute(`no handler for route "${opening.leaseId}". route entry or namespace is tainted.`);
  }
}
