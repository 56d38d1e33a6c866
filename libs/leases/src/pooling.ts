import { Inject, Injectable, Logger } from '@nestjs/common';
import { Keyring, notSealed } from '#libs/access';
import { freezes } from '#libs/roles';
import { EntityManager } from 'typeorm';
import { Alarms } from './alarms.js';
import type { DueNow } from './bell.js';
import { placesLeft } from './foreign-users.js';
import { IdempotentAnswers, type KeptAnswer } from './idempotent-answers.js';
import { type CountStanding, unlessOwn, type UserIntent } from './issuing.js';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';
import { allowed, type Asker, isLimited, lockLimits, mountIsAlive } from './opening.js';

/** A pool that has fewer users than its role wants. */
export interface ShortPool {
  mountId: string;
  mountPath: string;
  roleName: string;
  roleVersion: string;
  missing: number;
}

/** The intent to make a user ahead: nobody has asked for it. */
export type PoolIntent = Omit<UserIntent, 'commandId' | 'tokenId' | 'limited'>;

/** How opening one went; `not wanted`: its pool is full, or its role not the one of that version any more; `no place`: in its account. */
export type PoolStanding = CountStanding | 'not wanted' | 'no place';

/** Who is to be given a user of a pool, and for how long. */
export interface PoolAsker extends Asker {
  commandId: string;
  requestId: string;
  roleVersion: string;
  ttlMs: number;
}

/** A user of a pool that is somebody's offer now. */
export interface HandedOut {
  leaseId: string;
  accessKeyId: string;
  secretAccessKey: string;
}

/** The least part of `pooledMaxMs` that a user of a pool gets old. */
const leastPartOfAge = 0.8;

/** How many of the places that leases have in an account are left to callers: a tenth. */
const spared = (usersPerAccount: string) => `ceil(${usersPerAccount}::integer * 0.1)`;

const purpose = (leaseId: string) => `secret key of pooled lease ${leaseId}`;

/** Of rows `l` that are in a pool of a role, or are being made for it. */
const ofPool = (mountId: string, roleName: string) =>
  `l.mount_id = ${mountId} and l.role_name = ${roleName} and l.token_id is null and l.state <> 'ended'
    and l.state in ('issuing', 'pooled')`;

/**
 * Whether what a pooled user `l` with its key `k` was made with is what would be taken now: role, root, and the identity in its
 * account. Versions are on one number line and never repeat, so one of another mount's or account's is none of these.
 */
const isCurrent = `(
  exists (select 1 from roles r where r.mount_id = l.mount_id and r.name = l.role_name and r.version = l.role_version)
  and k.config_version = coalesce(
    (select c.version from root_configs c where c.mount_id = l.mount_id and c.superseded_at is null), 0)
  and (l.root_version = k.config_version or exists (
    select 1 from account_identities i
    where i.mount_id = l.mount_id and i.version = l.root_version and i.superseded_at is null))
  and not exists (
    select 1 from root_configs c
    where c.mount_id = l.mount_id and c.version = l.root_version and c.account_id <> l.account_id))`;

/**
 * Pools: users that are made ahead for roles that want it (docs/decisions/0028). One is a lease without a token from its intent
 * on, so that whatever is promised of leases holds for it; once made it is `pooled`, and handing it out makes it an offer like
 * any. Never the other way round: what has left a pool is accepted or taken back.
 */
@Injectable()
export class Pooling {
  private readonly logger = new Logger(Pooling.name);

  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
    private readonly answers: IdempotentAnswers,
    private readonly alarms: Alarms,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /** Pools that want more users now: of living mounts, not frozen, and while the system is not sealed. */
  async short(): Promise<ShortPool[]> {
    return this.manager.query(
      `select m.id as "mountId", m.path as "mountPath", r.name as "roleName", r.version as "roleVersion",
         (r.definition ->> 'poolSize')::integer - pool.users as missing
       from roles r join mounts m on m.id = r.mount_id and m.tainted_at is null and m.removed_at is null
         cross join lateral (
           select count(*)::integer as users from leases l where ${ofPool('r.mount_id', 'r.name')}
         ) pool
       where r.definition ? 'poolSize' and (r.definition ->> 'poolSize')::integer > pool.users and ${notSealed}
         and ${isNotFrozen('r.mount_id', 'r.name')}
       order by m.path, r.name`,
    );
  }

  /** How many users all pools lack together. */
  async missing(): Promise<number> {
    return (await this.short()).reduce((sum, pool) => sum + pool.missing, 0);
  }

  /**
   * Commits the intent, if the pool is still short of it. The role's row is locked, so that of several issuers none counts what
   * another one is just opening. The last places of an account are left to callers.
   */
  async open(intent: PoolIntent): Promise<PoolStanding> {
    const { mountId, roleName, accountId, usersPerAccount } = intent;
    const [opened] = await this.manager.transaction(async (manager) => {
      await manager.query(`select 1 from roles where mount_id = $1 and name = $2 for no key update`, [
        mountId,
        roleName,
      ]);
      return (await manager.query(
        `with wanted as (
           select 1 from roles r, mounts
           where r.mount_id = $2 and r.name = $4 and r.version = $5 and mounts.id = $2 and ${mountIsAlive('$3')}
             and ${notSealed} and ${isNotFrozen('$2', '$4')}
             and (select count(*) from leases l where ${ofPool('$2', '$4')}) < (r.definition ->> 'poolSize')::integer
         ), place as (
           select count_due_at from aws_accounts where id = $7 and ${placesLeft('$12')} > ${spared('$12')} for update
         ), intent as (
           insert into leases (command_id, id, mount_id, mount_version, role_name, role_version, root_version, account_id,
             request_id, user_name, made, due_at, credential_type, state, renewable)
           select gen_random_uuid(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + $11 * interval '1 ms', 'iam_user', 'issuing',
             true
           from wanted, place where count_due_at is not null returning id
         ) select count_due_at <= now() as "countIsDue" from intent, place`,
        [
          intent.leaseId,
          mountId,
          intent.mountVersion,
          roleName,
          intent.roleVersion,
          intent.rootVersion,
          accountId,
          intent.requestId,
          intent.userName,
          intent.made,
          Math.ceil(intent.waitMs) + this.timing.marginMs,
          usersPerAccount,
        ],
      )) as { countIsDue: boolean }[];
    });
    if (opened) return opened.countIsDue ? 'due' : 'fresh';
    const [found] = (await this.manager.query(
      `select ${placesLeft('$2')} > ${spared('$2')} as "hasPlace"
       from aws_accounts where id = $1 and count_due_at is not null`,
      [accountId, usersPerAccount],
    )) as { hasPlace: boolean }[];
    if (!found) return 'missing';
    return found.hasPlace ? 'not wanted' : 'no place';
  }

  /** Forgets an intent of which nothing was made: no call to AWS is owed, and nobody will ask for it. */
  async forget(leaseId: string): Promise<void> {
    await this.manager.query(`delete from leases where id = $1 and state = 'issuing' and token_id is null`, [leaseId]);
  }

  /**
   * Keeps what was made, its secret sealed, until it is handed out or too old.
   * @param late whether a call that nobody waits for may make the user once more, when it has been taken back.
   * @param configVersion of config/root.
   * @returns false when the intent was taken back meanwhile: the user is to be taken back too.
   */
  async keep(
    leaseId: string,
    { accessKeyId, secretAccessKey, late }: { accessKeyId: string; secretAccessKey: string; late: boolean },
    configVersion: string,
  ): Promise<boolean> {
    const { pooledMaxMs, tombstoneLooksMs } = this.timing;
    const livesMs = pooledMaxMs * (leastPartOfAge + (1 - leastPartOfAge) * Math.random());
    const kept = await this.manager.transaction(async (manager) => {
      const sealed = await this.keyring.seal(secretAccessKey, purpose(leaseId), manager);
      return (await manager.query(
        `with pooled as (
           update leases set state = 'pooled', access_key_id = $2, pooled_at = now(), due_at = now() + $3 * interval '1 ms',
             looks_left = $4
           where id = $1 and state = 'issuing' and due_at > now() returning id
         ), key as (
           insert into pooled_keys (lease_id, config_version, sealed_secret_key) select id, $5, $6 from pooled returning 1
         ) select 1 from key`,
        [leaseId, accessKeyId, livesMs, late ? tombstoneLooksMs.length : 0, configVersion, sealed],
      )) as unknown[];
    });
    return kept.length > 0;
  }

  /**
   * Makes the oldest user of the role's pool that AWS surely knows everywhere the caller's offer, on the conditions on which an
   * intent is opened, and if it was made with what would be taken now. One commit, and no call to AWS.
   * @param keep seals the answer, where it was asked for with an idempotency key.
   * @returns null when there is none, something else is in its way, or its secret cannot be opened: then the ordinary way says what
   * is to be said, and takes back what was handed out to nobody.
   * @throws OutOfTime when another command has the idempotency key.
   */
  async handOut(asker: PoolAsker, keep?: (user: HandedOut) => Promise<KeptAnswer>): Promise<HandedOut | null> {
    if (!isLimited(asker) && !keep) return this.opened(await this.take(this.manager, asker));
    return this.manager.transaction(async (manager) => {
      await lockLimits(manager, asker);
      const user = await this.opened(await this.take(manager, asker));
      if (user && keep) await this.answers.keep(manager, user.leaseId, await keep(user));
      return user;
    });
  }

  private async take(manager: EntityManager, asker: PoolAsker): Promise<SealedUser | null> {
    const [taken] = (await manager.query(
      `with asked as (
         select $3::uuid as token_id, $4::uuid as mount_id, $5::bigint as mount_version, $6::text as role_name
       ), allowed as (${allowed(isLimited(asker))}), ready as (
         select l.id from allowed, leases l join pooled_keys k on k.lease_id = l.id
         where l.mount_id = $4 and l.role_name = $6 and l.token_id is null and l.state <> 'ended' and l.state = 'pooled'
           and l.role_version = $7 and ${isCurrent}
           and l.pooled_at <= now() - $10 * interval '1 ms' and l.due_at > now()
           and exists (select 1 from mounts where mounts.id = l.mount_id and path_version <= l.mount_version)
         order by l.pooled_at limit 1 for update of l skip locked
       ), command as (
         insert into commands as c (id, lease_id, token_id) select $1, id, $3::uuid from ready ${unlessOwn} returning lease_id
       ), handed as (
         update leases l set state = 'offered', command_id = $1, request_id = $2, token_id = $3, mount_version = $5,
           issued_at = now(), expires_at = now() + $8 * interval '1 ms', due_at = now() + $9 * interval '1 ms'
         from command where l.id = command.lease_id and l.state = 'pooled' returning l.id, l.access_key_id
       ), key as (
         delete from pooled_keys k using handed where k.lease_id = handed.id
         returning handed.id, handed.access_key_id, k.sealed_secret_key
       ) select id as "leaseId", access_key_id as "accessKeyId", sealed_secret_key as sealed from key`,
      [
        asker.commandId,
        asker.requestId,
        asker.tokenId,
        asker.mountId,
        asker.mountVersion,
        asker.roleName,
        asker.roleVersion,
        asker.ttlMs,
        this.timing.handOverMs,
        this.timing.pooledMinMs,
      ],
    )) as SealedUser[];
    return taken ?? null;
  }

  /** Null when it cannot be opened: it stays an offer that nobody will accept. */
  private async opened(taken: SealedUser | null): Promise<HandedOut | null> {
    if (!taken) return null;
    const { leaseId, accessKeyId, sealed } = taken;
    try {
      return { leaseId, accessKeyId, secretAccessKey: await this.keyring.unseal(sealed, purpose(leaseId)) };
    } catch (error) {
      this.logger.error({ msg: 'the secret of a pooled user cannot be opened', leaseId, error: String(error) });
      return null;
    }
  }

  /**
   * Gives back what was made with another role, root or identity than those of now. It is not handed out any more as it is: this only
   * makes room. Any number of processes may do it at once.
   * @returns how many.
   */
  async drain(): Promise<number> {
    return this.giveBack(`(${isCurrent}) is not true`);
  }

  /**
   * Gives back all pools. After a restore what they say may be long past: a user that stands in one now may have been handed out
   * since.
   * @returns how many users.
   */
  async empty(): Promise<number> {
    return this.giveBack('true');
  }

  private async giveBack(which: string): Promise<number> {
    const back = (await this.manager.query(
      `with outdated as (
         select l.id from leases l left join pooled_keys k on k.lease_id = l.id
         where l.token_id is null and l.state <> 'ended' and l.state = 'pooled' and ${which}
         for update of l skip locked
       ), back as (
         update leases set state = 'revoking', end_reason = 'outdated', due_at = now(), claim_id = null
         from outdated where leases.id = outdated.id returning leases.id, mount_id
       ) select id, mount_id as "mountId" from back`,
    )) as DueNow[];
    this.alarms.ring(back);
    return back.length;
  }
}

/** What is taken out of a pool, as it was kept. */
interface SealedUser {
  leaseId: string;
  accessKeyId: string;
  sealed: string;
}

/** No operator has frozen issuing for the mount or the role; freezes of tokens are their callers'. */
function isNotFrozen(mountId: string, roleName: string): string {
  return `not exists (select 1 from freezes where ${freezes(mountId, roleName, 'null::uuid')})`;
}
