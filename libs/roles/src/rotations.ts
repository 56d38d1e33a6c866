import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Keyring } from '#libs/access';
import { EntityManager } from 'typeorm';
import { RootConfigs } from './root-configs.js';
import { staticKeyPurpose, type StaticRole } from './static-roles.js';

/**
 * Where a rotation stands (docs/decisions/0023):
 * - `creating`: no key of it is known yet; once one was asked for, `attemptedAt` says since when AWS may have made it.
 * - `trying`: the new key is kept, sealed, beside the old one, until AWS accepts it.
 * - `retiring`: the new key is in use; the old one is to be removed.
 * - `undoing`: what it made is to be removed; of a static role that is being deleted, every key.
 * - `watching`: it is over, and a key that was asked for without an answer might still appear.
 */
export type RotationState = 'creating' | 'trying' | 'retiring' | 'undoing' | 'watching';

/** The rotation of one key, as it is kept until nothing is left to do. */
export interface Rotation {
  id: string;
  mountId: string;
  /** Null: of the mount's root key. */
  staticRole: string | null;
  state: RotationState;
  stateBefore: RotationState | null;
  accountId: string | null;
  userName: string | null;
  /** The key that is replaced; null where there is none yet. */
  oldKeyId: string | null;
  /** The user's keys before a new one was asked for; null until they were listed. */
  knownKeyIds: string[] | null;
  attemptedAt: Date | null;
  isAmbiguous: boolean;
  newKeyId: string | null;
  sealedSecretKey: string | null;
  madeAt: Date | null;
  /** How long ago that was, milliseconds. */
  madeAgoMs: number;
  looksLeft: number;
  attempts: number;
  lastError: string | null;
  /** Of the request that asked for it; null: it was due. */
  commandId: string | null;
  requestId: string;
  claimId: string | null;
  /** Milliseconds until somebody must look again, or its claim lapses. */
  dueInMs: number;
  /** Its mount is being taken down, or gone. */
  mountHasEnded: boolean;
}

/** What a step found out; absent = unchanged. */
export type Progress = Partial<
  Pick<Rotation, 'accountId' | 'userName' | 'knownKeyIds' | 'isAmbiguous' | 'attempts' | 'lastError' | 'looksLeft'>
> & {
  state?: Exclude<RotationState, 'trying'>;
  /** A key is asked for from now on; false: it is known that there is none of it. */
  attempted?: boolean;
};

/** Somebody else has this rotation now: what this worker knows of it is old. */
export class ClaimLost extends Error {}

/** The condition of a mount that is being taken down or gone; one that is being moved serves nothing either, and lives on. */
const hasEnded = `(removed_at is not null or tainted_at is not null and not exists (
  select 1 from mount_moves where mount_id = mounts.id and state = 'in-progress'))`;
const ended = `select id from mounts where ${hasEnded}`;

const names: [property: keyof Rotation, expression: string][] = [
  ['id', 'r.id'],
  ['mountId', 'r.mount_id'],
  ['staticRole', 'r.static_role'],
  ['state', 'r.state'],
  ['stateBefore', 'r.state_before'],
  ['accountId', 'r.account_id'],
  ['userName', 'r.user_name'],
  ['oldKeyId', 'r.old_key_id'],
  ['knownKeyIds', 'r.known_key_ids'],
  ['attemptedAt', 'r.attempted_at'],
  ['isAmbiguous', 'r.is_ambiguous'],
  ['newKeyId', 'r.new_key_id'],
  ['sealedSecretKey', 'r.sealed_secret_key'],
  ['madeAt', 'r.made_at'],
  ['madeAgoMs', 'coalesce(extract(epoch from now() - r.made_at)::float8 * 1000, 0)'],
  ['looksLeft', 'r.looks_left'],
  ['attempts', 'r.attempts'],
  ['lastError', 'r.last_error'],
  ['commandId', 'r.command_id'],
  ['requestId', 'r.request_id'],
  ['claimId', 'r.claim_id'],
  ['dueInMs', 'extract(epoch from r.due_at - now())::float8 * 1000'],
  ['mountHasEnded', `exists (select 1 from mounts where id = r.mount_id and ${hasEnded})`],
];
const columns = names.map(([property, expression]) => `${expression} as "${property}"`).join(', ');

/** The keys that mounts are configured with: of their roots, and of their own identities in other accounts. */
const configured = `select mount_id, settings->>'accessKey' as key_id from root_configs where superseded_at is null
  union all select mount_id, access_key from account_identities where superseded_at is null`;

const purpose = ({ id }: { id: string }) => `new key of rotation ${id}`;

/** Rotations under way, one row each. Due ones are claimed; a claim lapses, and somebody else goes on where the row stands. */
@Injectable()
export class Rotations {
  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
    private readonly rootConfigs: RootConfigs,
  ) {}

  /**
   * Begins to rotate a root key, as far as the mount is alive; what is returned is claimed.
   * @returns null when one of it is under way.
   */
  async beginRoot(
    {
      mountId,
      oldKeyId,
      commandId,
      requestId,
    }: Pick<Rotation, 'mountId' | 'commandId' | 'requestId'> & {
      oldKeyId: string;
    },
    claimMs: number,
  ): Promise<Rotation | null> {
    return this.one(
      `with begun as (
         insert into rotations (mount_id, state, old_key_id, command_id, request_id, claim_id, due_at)
         select id, 'creating', $2, $3, $4, $5, now() + $6 * interval '1 ms' from mounts
         where id = $1 and id not in (${ended})
         on conflict do nothing returning *
       ) select ${columns} from begun r`,
      [mountId, oldKeyId, commandId, requestId, randomUUID(), claimMs],
    );
  }

  /**
   * Stores a new static role and begins to make its first key, in one commit; what is returned is claimed.
   * @returns null when there is one of that name or user, or the mount has ended.
   */
  async beginStatic(
    role: Omit<StaticRole, 'accessKeyId' | 'isBeingDeleted'>,
    asked: Pick<Rotation, 'commandId' | 'requestId'>,
    claimMs: number,
  ): Promise<Rotation | null> {
    return this.one(
      `with role as (
         insert into static_roles (mount_id, name, account_id, user_name, user_id, rotation_period_seconds)
         select id, $2, $3, $4, $5, $6 from mounts where id = $1 and id not in (${ended})
         on conflict do nothing returning *
       ), begun as (
         insert into rotations (mount_id, static_role, state, account_id, user_name, command_id, request_id, claim_id, due_at)
         select mount_id, name, 'creating', account_id, user_name, $7, $8, $9, now() + $10 * interval '1 ms' from role
         returning *
       ) select ${columns} from begun r`,
      [
        role.mountId,
        role.name,
        role.accountId,
        role.userName,
        role.userId,
        role.rotationPeriodSeconds,
        asked.commandId,
        asked.requestId,
        randomUUID(),
        claimMs,
      ],
    );
  }

  /**
   * Marks a static role as deleted, and has all its keys removed, whatever is under way.
   * @returns what is to be done for that, claimed; null when there is no such role.
   */
  async beginDeletion(mountId: string, name: string, requestId: string, claimMs: number): Promise<Rotation | null> {
    return this.manager.transaction(async (manager) => {
      const marked = (await manager.query(
        `with marked as (
           update static_roles set deleted_at = coalesce(deleted_at, now()) where mount_id = $1 and name = $2 returning 1
         ) select 1 from marked`,
        [mountId, name],
      )) as unknown[];
      if (marked.length === 0) return null;
      const [undoing] = (await manager.query(
        `with undoing as (
           insert into rotations (mount_id, static_role, state, account_id, user_name, request_id, claim_id, due_at)
           select mount_id, name, 'undoing', account_id, user_name, $3, $4, now() + $5 * interval '1 ms' from static_roles
           where mount_id = $1 and name = $2
           on conflict (mount_id, static_role) where state <> 'watching' do update
             set ${turnedAround}, claim_id = excluded.claim_id, due_at = excluded.due_at
           returning *
         ) select ${columns} from undoing r`,
        [mountId, name, requestId, randomUUID(), claimMs],
      )) as Rotation[];
      return undoing!;
    });
  }

  /** Begins what is due: root keys and static roles whose period is over. */
  async beginDue(): Promise<void> {
    await this.manager.query(
      `insert into rotations (mount_id, state, old_key_id, request_id, due_at)
       select mount_id, 'creating', settings->>'accessKey', gen_random_uuid(), now() from root_configs
       where superseded_at is null and rotates_at <= now() and mount_id not in (${ended})
       on conflict do nothing`,
    );
    await this.manager.query(
      `insert into rotations (mount_id, static_role, state, account_id, user_name, old_key_id, request_id, due_at)
       select mount_id, name, 'creating', account_id, user_name, access_key_id, gen_random_uuid(), now() from static_roles
       where next_rotation_at <= now() and deleted_at is null and mount_id not in (${ended})
       on conflict do nothing`,
    );
  }

  /** Turns round what is under way in mounts that end: new keys go, and static roles with all theirs. */
  async endUnmounted(): Promise<void> {
    await this.manager.transaction(async (manager) => {
      await manager.query(
        `update static_roles set deleted_at = now() where deleted_at is null and mount_id in (${ended})`,
      );
      await manager.query(
        `update rotations set ${turnedAround}, claim_id = null, due_at = now()
         where mount_id in (${ended}) and (state in ('creating', 'trying') or (static_role is not null and state = 'retiring'))`,
      );
      await manager.query(
        `insert into rotations (mount_id, static_role, state, account_id, user_name, request_id, due_at)
         select mount_id, name, 'undoing', account_id, user_name, gen_random_uuid(), now() from static_roles
         where deleted_at is not null and mount_id in (${ended})
         on conflict do nothing`,
      );
    });
  }

  /** How many keys of a mount that ends are still to be removed and have not been refused. */
  async leftToUndo(mountId: string): Promise<number> {
    const [row] = (await this.manager.query(
      `select count(*)::int as left from rotations where mount_id = $1 and state = 'undoing' and attempts = 0`,
      [mountId],
    )) as { left: number }[];
    return row!.left;
  }

  async find(id: string): Promise<Rotation | null> {
    return this.one(`select ${columns} from rotations r where id = $1`, [id]);
  }

  /** The one under way; null when there is none, or it only watches. */
  async underWay(mountId: string, staticRole: string | null): Promise<Rotation | null> {
    return this.one(
      `select ${columns} from rotations r
       where mount_id = $1 and static_role is not distinct from $2 and state <> 'watching'`,
      [mountId, staticRole],
    );
  }

  /** Claims those that are due and nobody else is at work on. */
  async claimDue(atMost: number, claimMs: number): Promise<Rotation[]> {
    return this.claimWhere(`due_at <= now()`, [], atMost, claimMs);
  }

  /** Claims one, due or not, that nobody is at work on. */
  async claim(id: string, claimMs: number): Promise<Rotation | null> {
    const [claimed] = await this.claimWhere(`id = $4 and (claim_id is null or due_at <= now())`, [id], 1, claimMs);
    return claimed ?? null;
  }

  /** Keeps the claim for another span; never waits for whoever writes the row, which keeps it too. */
  async extend({ id, claimId }: Rotation, claimMs: number): Promise<void> {
    await this.manager.query(
      `update rotations set due_at = now() + $3 * interval '1 ms'
       where id = (select id from rotations where id = $1 and claim_id = $2 and due_at > now() for update skip locked)`,
      [id, claimId, claimMs],
    );
  }

  /** Writes what was found out, and keeps the claim for another span. @throws ClaimLost */
  async note(rotation: Rotation, progress: Progress, claimMs: number): Promise<Rotation> {
    return this.write(rotation, progress, claimMs, rotation.claimId);
  }

  /** Writes what was found out, and leaves it to whoever looks again then. @throws ClaimLost */
  async leave(rotation: Rotation, progress: Progress, dueInMs: number): Promise<void> {
    await this.write(rotation, progress, dueInMs, null);
  }

  /** Keeps the new key, sealed, beside the old one. @throws ClaimLost */
  async keepKey(
    rotation: Rotation,
    key: { accessKeyId: string; secretAccessKey: string },
    claimMs: number,
  ): Promise<Rotation> {
    return this.manager.transaction(async (manager) => {
      const sealed = await this.keyring.seal(key.secretAccessKey, purpose(rotation), manager);
      const [kept] = (await manager.query(
        `with kept as (
           update rotations set state = 'trying', new_key_id = $3, sealed_secret_key = $4, made_at = now(),
             attempted_at = null, attempts = 0, last_error = null, due_at = now() + $5 * interval '1 ms'
           where id = $1 and claim_id = $2 returning *
         ) select ${columns} from kept r`,
        [rotation.id, rotation.claimId, key.accessKeyId, sealed, claimMs],
      )) as Rotation[];
      if (!kept) throw new ClaimLost();
      return kept;
    });
  }

  /** The secret of the new key. */
  async secretOf(rotation: Rotation): Promise<string> {
    return this.keyring.unseal(rotation.sealedSecretKey!, purpose(rotation));
  }

  /**
   * Puts the new key in the old one's place, in one commit: for a root key a new version of its configuration, for a static role
   * the pair that is served. The old key is to be removed after `retireAfterMs`, of a static role after half a period at most.
   * @returns false when that key is not the one to be replaced any more.
   * @throws ClaimLost
   */
  async switchOver(rotation: Rotation, secretAccessKey: string, retireAfterMs: number): Promise<boolean> {
    const { mountId, staticRole, oldKeyId, newKeyId, madeAt } = rotation;
    return this.manager.transaction(async (manager) => {
      let afterMs = retireAfterMs;
      if (staticRole === null) {
        const key = { accessKeyId: newKeyId!, secretAccessKey, madeAt: madeAt! };
        if (!(await this.rootConfigs.replaceKey(manager, mountId, oldKeyId!, key))) return false;
      } else {
        const sealed = await this.keyring.seal(secretAccessKey, staticKeyPurpose(mountId, staticRole), manager);
        const [switched] = (await manager.query(
          `with switched as (
             update static_roles set access_key_id = $3, sealed_secret_key = $4,
               next_rotation_at = now() + rotation_period_seconds * interval '1 s'
             where mount_id = $1 and name = $2 and deleted_at is null returning rotation_period_seconds
           ) select rotation_period_seconds::float8 * 500 as "halfPeriodMs" from switched`,
          [mountId, staticRole, newKeyId, sealed],
        )) as { halfPeriodMs: number }[];
        if (!switched) return false;
        afterMs = Math.min(afterMs, switched.halfPeriodMs);
      }
      const switched = (await manager.query(
        `with switched as (
           update rotations set state = 'retiring', sealed_secret_key = null, switched_at = now(), attempts = 0,
             last_error = null, claim_id = null, due_at = now() + $3 * interval '1 ms'
           where id = $1 and claim_id = $2 returning 1
         ) select 1 from switched`,
        [rotation.id, rotation.claimId, afterMs],
      )) as unknown[];
      if (switched.length === 0) throw new ClaimLost();
      return true;
    });
  }

  /**
   * Who keeps the old root key from being removed: a worker that lives and has not said since the switch that it works without it,
   * or another mount that is configured with it. Null: nobody.
   */
  async usesOldKey({ id, mountId, oldKeyId }: Rotation, workerTimeoutMs: number): Promise<string | null> {
    const [user] = (await this.manager.query(
      `select 'worker ' || name as who from workers
       where seen_at > now() - $4 * interval '1 ms'
         and (seen_at < (select switched_at from rotations where id = $1)
              or root_versions && array(select version from root_configs
                                        where mount_id = $2 and settings->>'accessKey' = $3))
       union all
       select 'mount ' || path from (${configured}) configured join mounts on mounts.id = mount_id
       where key_id = $3 and removed_at is null
       limit 1`,
      [id, mountId, oldKeyId, workerTimeoutMs],
    )) as { who: string }[];
    return user?.who ?? null;
  }

  /** Of these keys of an account, those that no row names: neither a configuration nor a role nor a rotation. */
  async unnamed(accountId: string, keyIds: string[]): Promise<string[]> {
    const rows = (await this.manager.query(
      `select key_id as "keyId" from unnest($1::text[]) as listed (key_id)
       where not exists (select 1 from root_configs where settings->>'accessKey' = key_id)
         and not exists (select 1 from account_identities where access_key = key_id)
         and not exists (select 1 from static_roles where access_key_id = key_id)
         and not exists (select 1 from rotations where account_id = $2
                           and key_id = any(known_key_ids || array[new_key_id, old_key_id]))`,
      [keyIds, accountId],
    )) as { keyId: string }[];
    return rows.map((row) => row.keyId);
  }

  /** Whether another rotation may be making a key of this user just now. */
  async isAnotherCreating({ id, accountId, userName }: Rotation): Promise<boolean> {
    const rows = (await this.manager.query(
      `select 1 from rotations where id <> $1 and account_id = $2 and user_name = $3 and attempted_at is not null`,
      [id, accountId, userName],
    )) as unknown[];
    return rows.length > 0;
  }

  /** The mount that is configured with this key; null: none. */
  async mountWith(keyId: string): Promise<string | null> {
    const [found] = (await this.manager.query(
      `select path from (${configured}) configured join mounts on mounts.id = mount_id
       where removed_at is null and key_id = $1`,
      [keyId],
    )) as { path: string }[];
    return found?.path ?? null;
  }

  /**
   * It is over: nothing is left of it, or, when a key may still appear, a look that is due then. What it was to delete goes with it.
   * @throws ClaimLost
   */
  async end(rotation: Rotation, firstLookMs: number, looks: number): Promise<void> {
    const { id, claimId, mountId, staticRole, oldKeyId, newKeyId, state, isAmbiguous } = rotation;
    await this.manager.transaction(async (manager) => {
      const over = (await manager.query(
        isAmbiguous && looks > 0
          ? `with over as (
               update rotations set state = 'watching', claim_id = null, sealed_secret_key = null, looks_left = $3, attempts = 0,
                 attempted_at = null, is_ambiguous = true, last_error = null, due_at = now() + $4 * interval '1 ms'
               where id = $1 and claim_id = $2 returning 1
             ) select 1 from over`
          : `with over as (delete from rotations where id = $1 and claim_id = $2 returning 1) select 1 from over`,
        isAmbiguous && looks > 0 ? [id, claimId, looks, firstLookMs] : [id, claimId],
      )) as unknown[];
      if (over.length === 0) throw new ClaimLost();
      if (state === 'undoing' && staticRole !== null) {
        await manager.query(`delete from static_roles where mount_id = $1 and name = $2 and deleted_at is not null`, [
          mountId,
          staticRole,
        ]);
      }
      if (staticRole === null && (state === 'retiring' || state === 'undoing')) {
        // Nothing can be done with a key that is gone.
        await manager.query(
          `delete from root_configs where mount_id = $1 and superseded_at is not null and settings->>'accessKey' = $2`,
          [mountId, state === 'retiring' ? oldKeyId : newKeyId],
        );
      }
    });
  }

  /** Takes a deletion back that AWS refused: the role stays, with what is under way. @throws ClaimLost */
  async takeBackDeletion(rotation: Rotation): Promise<void> {
    const { id, claimId, mountId, staticRole, stateBefore } = rotation;
    await this.manager.transaction(async (manager) => {
      const back = (await manager.query(
        stateBefore === null
          ? `with back as (delete from rotations where id = $1 and claim_id = $2 returning 1) select 1 from back`
          : `with back as (
               update rotations set state = state_before, state_before = null, claim_id = null, due_at = now()
               where id = $1 and claim_id = $2 returning 1
             ) select 1 from back`,
        [id, claimId],
      )) as unknown[];
      if (back.length === 0) throw new ClaimLost();
      await manager.query(`update static_roles set deleted_at = null where mount_id = $1 and name = $2`, [
        mountId,
        staticRole,
      ]);
    });
  }

  /** Those under way by state, and how long the longest has been, in seconds. */
  async figures(): Promise<{ byState: Record<RotationState, number>; longestSeconds: number }> {
    const rows = (await this.manager.query(
      `select state, count(*)::int as count, extract(epoch from now() - min(created_at))::float8 as seconds
       from rotations group by state`,
    )) as { state: RotationState; count: number; seconds: number }[];
    const byState = { creating: 0, trying: 0, retiring: 0, undoing: 0, watching: 0 };
    for (const { state, count } of rows) byState[state] = count;
    const unfinished = rows.filter(({ state }) => state !== 'watching');
    return { byState, longestSeconds: Math.max(0, ...unfinished.map(({ seconds }) => seconds)) };
  }

  private async claimWhere(condition: string, values: unknown[], atMost: number, claimMs: number): Promise<Rotation[]> {
    return this.manager.query(
      `with due as (
         select id from rotations where ${condition} order by due_at limit $1 for update skip locked
       ), claimed as (
         update rotations set claim_id = $2, due_at = now() + $3 * interval '1 ms' from due
         where rotations.id = due.id returning rotations.*
       ) select ${columns} from claimed r`,
      [atMost, randomUUID(), claimMs, ...values],
    );
  }

  private async write(
    rotation: Rotation,
    progress: Progress,
    dueInMs: number,
    claimId: string | null,
  ): Promise<Rotation> {
    const next = { ...rotation, ...progress };
    const attemptedAt =
      progress.attempted === undefined ? 'attempted_at' : progress.attempted ? 'coalesce(attempted_at, now())' : 'null';
    const written = await this.one(
      `with written as (
         update rotations set state = $3, account_id = $4, user_name = $5, known_key_ids = $6, is_ambiguous = $7, attempts = $8,
           last_error = $9, looks_left = $10, attempted_at = ${attemptedAt}, claim_id = $11,
           due_at = now() + $12 * interval '1 ms'
         where id = $1 and claim_id = $2 returning *
       ) select ${columns} from written r`,
      [
        rotation.id,
        rotation.claimId,
        next.state,
        next.accountId,
        next.userName,
        next.knownKeyIds,
        next.isAmbiguous,
        next.attempts,
        next.lastError,
        next.looksLeft,
        claimId,
        dueInMs,
      ],
    );
    if (!written) throw new ClaimLost();
    return written;
  }

  private async one(sql: string, values: unknown[]): Promise<Rotation | null> {
    const [row] = (await this.manager.query(sql, values)) as Rotation[];
    return row ?? null;
  }
}

/** What is under way is undone from now on, whoever is at work on it. */
const turnedAround = `state_before = coalesce(rotations.state_before, rotations.state), state = 'undoing', attempts = 0,
  is_ambiguous = rotations.is_ambiguous or rotations.attempted_at is not null`;
