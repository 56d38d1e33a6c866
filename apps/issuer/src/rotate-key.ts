import { setTimeout as after } from 'node:timers/promises';
import { Inject, Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import {
  type AwsAccount,
  AwsAccounts,
  AwsRefused,
  Fence,
  keyAcceptance,
  keyOwner,
  listAccessKeys,
  madeBy,
  removeAccessKey,
  requestAccessKey,
} from '#libs/aws';
import { CodedError, goQuote } from '#libs/contracts';
import { LEASE_TIMING, type LeaseTiming } from '#libs/leases';
import { ClaimLost, RootConfigs, type Rotation, Rotations, StaticRoles } from '#libs/roles';
import { RotationFigures } from './rotation-figures.js';

/** A user may have two keys (aws-facts.md, "Limits"). */
const keysPerUser = 2;
/** Longest wait between two tries of what AWS refuses, milliseconds. */
const longestBackOffMs = 3_600_000;
/** More are not told apart. */
const mostAttempts = 1_000;
/** Between two looks of who waits for a rotation that somebody else is at work on, milliseconds. */
const lookEveryMs = 100;

/** Where a rotation stands when a step is over: claimed still, or left to whoever looks again. */
type Next = Rotation | null;

/**
 * Takes a rotation from step to step until it must wait (docs/decisions/0023). Each step is committed before the next call to AWS,
 * and every one may run twice: who is killed leaves a row that says what may exist, and whoever claims it next goes on there.
 */
@Injectable()
export class RotateKey implements OnModuleDestroy {
  private readonly logger = new Logger('Rotation');
  private readonly working = new Set<Promise<unknown>>();
  private stopped = false;

  constructor(
    private readonly rotations: Rotations,
    private readonly staticRoles: StaticRoles,
    private readonly rootConfigs: RootConfigs,
    private readonly accounts: AwsAccounts,
    private readonly figures: RotationFigures,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /** Before the database is closed: what was begun stops at its next step. */
  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.working);
  }

  /**
   * Works on a claimed rotation until it must wait. What AWS does not do is noted on the row, with the next try.
   * @returns why it could not go on, where it could not.
   */
  async advance(claimed: Rotation): Promise<CodedError | null> {
    const work = this.run(claimed).finally(() => this.working.delete(work));
    this.working.add(work);
    return work;
  }

  /**
   * Goes on with a rotation, or waits while somebody else does, until the new key is in use, what was to be undone is undone, or
   * the instant `until` (`performance.now()`) has come; then it goes on by itself. `begun`: it is claimed already.
   * @returns where it stands; null: it is over.
   * @throws CodedError when AWS refused.
   */
  async drive(id: string, until: number, begun?: Rotation): Promise<Rotation | null> {
    let failure: CodedError | null = null;
    for (let claimed = begun ?? (await this.rotations.claim(id, this.timing.claimMs)); ;) {
      if (claimed) {
        const late = after(Math.max(0, until - performance.now()), null, { ref: false });
        failure = await Promise.race([this.advance(claimed), late]);
      }
      const row = await this.rotations.find(id);
      if (failure && (!row || failure instanceof AwsRefused)) throw failure;
      const isWaitedFor = row !== null && ['creating', 'trying', 'undoing'].includes(row.state);
      if (!isWaitedFor) return row;
      if (performance.now() + lookEveryMs >= until) {
        if (failure && row.state !== 'trying') throw failure;
        return row;
      }
      await after(lookEveryMs);
      claimed = row.dueInMs <= 0 ? await this.rotations.claim(id, this.timing.claimMs) : null;
    }
  }

  private async run(claimed: Rotation): Promise<CodedError | null> {
    let rotation = claimed;
    const extending = setInterval(() => {
      this.rotations.extend(rotation, this.timing.claimMs).catch((error: unknown) => {
        this.logger.warn({ msg: 'claim of a rotation not extended', ...told(rotation), error: String(error) });
      });
    }, this.timing.claimMs / 3);
    try {
      for (let next: Next = rotation; next; next = await this.step(rotation)) {
        rotation = next;
        if (this.stopped) {
          await this.rotations.leave(rotation, {}, 0);
          break;
        }
      }
      return null;
    } catch (error) {
      if (error instanceof ClaimLost) return null;
      if (error instanceof CodedError) return await this.failed(rotation, error);
      this.logger.error({
        msg: 'a rotation could not go on; its claim lapses',
        ...told(rotation),
        error: String(error),
      });
      return null;
    } finally {
      clearInterval(extending);
    }
  }

  private step(rotation: Rotation): Promise<Next> {
    switch (rotation.state) {
      case 'creating':
        return this.create(rotation);
      case 'trying':
        return this.try(rotation);
      case 'retiring':
        return this.retire(rotation);
      case 'undoing':
        return this.undo(rotation);
      case 'watching':
        return this.watch(rotation);
    }
  }

  private async create(given: Rotation): Promise<Next> {
    const { claimMs } = this.timing;
    if (given.mountHasEnded) return this.note(given, { state: 'undoing' });
    if (given.staticRole === null && !(await this.isStillWanted(given))) return this.note(given, { state: 'undoing' });
    return this.withAccount(given, async (account) => {
      let rotation = given;
      const userName = rotation.userName ?? (await keyOwner(account, undefined, 'error calling GetUser')).userName;
      const { accountId } = await account.identity('error calling GetCallerIdentity');
      const listed = await listAccessKeys(account, userName, this.wordsFor(rotation, 'ListAccessKeys', userName));
      if (rotation.knownKeyIds === null) {
        rotation = await this.note(rotation, { knownKeyIds: listed, userName, accountId });
      }
      const strays = await this.removeStrays(account, rotation, listed);
      if (strays === 'not now') return this.leave(rotation, {}, this.soon(rotation));
      if (rotation.attemptedAt) rotation = await this.note(rotation, { isAmbiguous: true });
      if (rotation.staticRole !== null) {
        await this.makeRoom(
          account,
          rotation,
          listed.filter((id) => !strays.includes(id)),
        );
      }
      // From here on, as long as this claim lasts, a key may be made; after it, what has not left yet is not sent any more.
      const fence = new Fence(performance.now() + claimMs * 0.8);
      rotation = await this.note(rotation, { attempted: true });
      try {
        const words = this.wordsFor(rotation, 'CreateAccessKey', userName);
        const key = await requestAccessKey(account, userName, { fence }, words);
        return await this.rotations.keepKey(rotation, key, claimMs);
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        if (madeBy(error) === 'nothing') {
          // A user that is full may be so by a key of ours which no list shows yet: that one is still to be found.
          const hadRoom = rotation.knownKeyIds!.length < keysPerUser;
          const isFull = error instanceof AwsRefused && error.awsCode === 'LimitExceeded';
          if (!(isFull && hadRoom && rotation.isAmbiguous)) {
            await this.note(rotation, { attempted: false });
            throw error;
          }
        }
        this.logger.warn({
          msg: 'a new key may have been made and is not known',
          ...told(rotation),
          error: error.message,
        });
        return this.leave(rotation, { isAmbiguous: true, lastError: error.message }, this.soon(rotation));
      }
    });
  }

  /** Whether that is still the root key, and where nobody asked, whether it is still to be rotated by itself. */
  private async isStillWanted({ mountId, oldKeyId, commandId }: Rotation): Promise<boolean> {
    const { accessKey, rotationPeriodSeconds, disableAutomatedRotation } = (await this.rootConfigs.open(mountId))
      .settings;
    const isByItself = rotationPeriodSeconds > 0 && !disableAutomatedRotation;
    return accessKey === oldKeyId && (commandId !== null || isByItself);
  }

  /**
   * Removes the keys that an earlier, interrupted try of this rotation made: those that were not there before it and that no row
   * names.
   */
  private async removeStrays(account: AwsAccount, rotation: Rotation, listed: string[]): Promise<string[] | 'not now'> {
    const { attemptedAt, isAmbiguous, knownKeyIds, accountId, userName } = rotation;
    if ((!attemptedAt && !isAmbiguous) || accountId === null || userName === null) return [];
    const unknown = listed.filter((id) => !(knownKeyIds ?? []).includes(id));
    const strays = await this.rotations.unnamed(accountId, unknown);
    if (strays.length === 0) return [];
    // Asked after the list: what another rotation has made meanwhile is named by its row by now, or it is still at it.
    if (await this.rotations.isAnotherCreating(rotation)) return 'not now';
    for (const id of strays) {
      await removeAccessKey(account, userName, id, this.wordsFor(rotation, 'DeleteAccessKey', userName));
      this.logger.warn({
        msg: 'a key of an interrupted rotation was removed',
        ...told(rotation),
        keyIdEnd: id.slice(-4),
      });
    }
    return strays;
  }

  /** A user that is full loses the oldest key that is not the one in use (contract.md 2.8). */
  private async makeRoom(account: AwsAccount, rotation: Rotation, listed: string[]): Promise<void> {
    if (listed.length < keysPerUser) return;
    const oldest = listed.find((id) => id !== rotation.oldKeyId)!;
    const mount = await this.rotations.mountWith(oldest);
    const words = this.wordsFor(rotation, 'DeleteAccessKey', rotation.userName!);
    if (mount !== null) {
      throw new AwsRefused('', `${words}: mount ${mount} is configured with it; remove another key of the user`);
    }
    await removeAccessKey(account, rotation.userName!, oldest, words);
  }

  /** Until AWS has accepted it several times in a row. */
  private async try(rotation: Rotation): Promise<Next> {
    const { readyTimes: timesInARow, readyEveryMs: everyMs, propagationMs, retireAfterMs } = this.timing;
    if (rotation.mountHasEnded) return this.note(rotation, { state: 'undoing' });
    const root = await this.rootConfigs.open(rotation.mountId);
    const secretAccessKey = await this.rotations.secretOf(rotation);
    // However long everybody was down since it was made, it has its chance.
    const withinMs = Math.max(propagationMs - rotation.madeAgoMs, 3 * timesInARow * everyMs);
    const outcome = await keyAcceptance(
      this.accounts.open({ ...root.settings, ...root }),
      { accessKeyId: rotation.newKeyId!, secretAccessKey },
      {
        timesInARow,
        everyMs,
        until: new Fence(performance.now() + withinMs),
        isWanted: () => Promise.resolve(!this.stopped),
      },
    );
    if (outcome === 'unwanted') return rotation;
    if (outcome === 'not_yet') {
      const lastError = 'AWS has not accepted the new key; it is being removed';
      this.logger.error({ msg: lastError, ...told(rotation) });
      this.figures.ended(rotation, 'not_accepted');
      return this.note(rotation, { state: 'undoing', lastError });
    }
    if (!(await this.rotations.switchOver(rotation, secretAccessKey, retireAfterMs))) {
      this.logger.log({ msg: 'a rotated key is not needed any more', ...told(rotation) });
      return this.note(rotation, { state: 'undoing' });
    }
    this.figures.ended(rotation, 'switched');
    this.logger.log({ msg: 'key rotated', ...told(rotation), keyIdEnd: rotation.newKeyId!.slice(-4) });
    return null;
  }

  private async retire(rotation: Rotation): Promise<Next> {
    const { timing } = this;
    const { oldKeyId, staticRole } = rotation;
    if (oldKeyId === null) return this.end(rotation);
    if (staticRole === null) {
      const root = await this.rootConfigs.open(rotation.mountId);
      // An operator went back to the old key: the new one is the one to go.
      if (root.settings.accessKey === oldKeyId) {
        return this.leave(rotation, { state: 'undoing', attempts: 0 }, timing.retireAfterMs);
      }
      const user = await this.rotations.usesOldKey(rotation, timing.workerTimeoutMs);
      if (user !== null) {
        const lastError = `the old key is not removed while it is used: ${user}`;
        return this.leave(rotation, { lastError, attempts: rotation.attempts }, timing.heartbeatEveryMs);
      }
    }
    await this.withAccount(rotation, (account) =>
      removeAccessKey(
        account,
        rotation.userName!,
        oldKeyId,
        this.wordsFor(rotation, 'DeleteAccessKey', rotation.userName!),
      ),
    );
    this.logger.log({ msg: 'old key removed', ...told(rotation), keyIdEnd: oldKeyId.slice(-4) });
    return this.end(rotation);
  }

  /** Removes what it made; of a role that is being deleted, every key it has. */
  private async undo(rotation: Rotation): Promise<Next> {
    const { mountId, staticRole, userName } = rotation;
    const role = staticRole === null ? null : await this.staticRoles.find(mountId, staticRole);
    const inUse = role?.accessKeyId ?? null;
    // The one in use goes last, and only with its role: as long as another one is left, AWS may still refuse.
    const keyIds = [rotation.newKeyId, role?.isBeingDeleted ? rotation.oldKeyId : null].filter((id) => id !== inUse);
    if (role?.isBeingDeleted) keyIds.push(inUse);
    const mayBeMore = rotation.attemptedAt !== null || rotation.isAmbiguous;
    if (userName === null || (keyIds.every((id) => id === null) && !mayBeMore)) return this.end(rotation);
    const removed = await this.withAccount(rotation, async (account) => {
      const words = this.wordsFor(rotation, 'undo', userName);
      for (const id of keyIds) if (id !== null) await removeAccessKey(account, userName, id, words);
      if (!mayBeMore) return [];
      return this.removeStrays(account, rotation, await listAccessKeys(account, userName, words));
    });
    if (removed === 'not now') return this.leave(rotation, {}, this.soon(rotation));
    this.logger.log({
      msg: role?.isBeingDeleted ? 'keys of a static role removed' : 'rotation undone',
      ...told(rotation),
    });
    return this.end(rotation.attemptedAt ? { ...rotation, isAmbiguous: true } : rotation);
  }

  /** AWS takes a signature for a quarter of an hour: what was asked for without an answer may appear until then. */
  private async watch(rotation: Rotation): Promise<Next> {
    const looks = this.timing.tombstoneLooksMs;
    const words = this.wordsFor(rotation, 'ListAccessKeys', rotation.userName!);
    const removed = await this.withAccount(rotation, async (account) =>
      this.removeStrays(account, rotation, await listAccessKeys(account, rotation.userName!, words)),
    );
    if (removed === 'not now') return this.leave(rotation, {}, this.soon(rotation));
    const looksLeft = rotation.looksLeft - 1;
    if (looksLeft > 0) return this.leave(rotation, { looksLeft, attempts: 0, lastError: null }, looks.at(-looksLeft)!);
    await this.rotations.end({ ...rotation, isAmbiguous: false }, 0, 0);
    return null;
  }

  private note(rotation: Rotation, progress: Parameters<Rotations['note']>[1]): Promise<Rotation> {
    return this.rotations.note(rotation, progress, this.timing.claimMs);
  }

  private async leave(rotation: Rotation, progress: Parameters<Rotations['leave']>[1], dueInMs: number): Promise<null> {
    await this.rotations.leave(
      rotation,
      { attempts: Math.min(rotation.attempts + 1, mostAttempts), ...progress },
      dueInMs,
    );
    return null;
  }

  private async end(rotation: Rotation): Promise<null> {
    const looks = this.timing.tombstoneLooksMs;
    await this.rotations.end(rotation, looks[0] ?? 0, looks.length);
    return null;
  }

  /** What AWS did not do, and what becomes of the rotation. */
  private async failed({ id, claimId }: Rotation, error: CodedError): Promise<CodedError> {
    const { timing } = this;
    const isRefused = error instanceof AwsRefused;
    try {
      // The step that failed had come further than it began.
      const rotation = await this.rotations.find(id);
      if (!rotation || rotation.claimId !== claimId) return error;
      this.logger.warn({ msg: 'a rotation cannot go on', ...told(rotation), error: error.message });
      const isUntouched = rotation.state === 'creating' && !rotation.attemptedAt && !rotation.isAmbiguous;
      if (isUntouched && rotation.staticRole === null && rotation.commandId !== null) {
        // Whoever asked is told, and may ask again: nothing was made.
        this.figures.ended(rotation, 'refused');
        await this.rotations.end(rotation, 0, 0);
        return error;
      }
      if (isRefused && rotation.state === 'undoing' && (await this.wasAskedToGo(rotation))) {
        await this.rotations.takeBackDeletion(rotation);
        return error;
      }
      if (isRefused && rotation.mountHasEnded && rotation.attempts + 1 >= timing.maxAttempts) {
        this.logger.error({
          msg: 'keys of a mount that is gone are left in AWS: remove them there',
          ...told(rotation),
        });
        this.figures.ended(rotation, 'left');
        await this.rotations.end({ ...rotation, isAmbiguous: false }, 0, 0);
        return error;
      }
      if (isRefused) this.figures.ended(rotation, 'refused');
      const backOffMs = Math.min(timing.retryBaseMs * 2 ** Math.min(rotation.attempts, 20), longestBackOffMs);
      await this.leave(rotation, { lastError: error.message }, isRefused ? backOffMs : this.soon(rotation));
    } catch (failure) {
      if (!(failure instanceof ClaimLost)) {
        this.logger.error({
          msg: 'a failed rotation not marked; its claim lapses',
          rotationId: id,
          error: String(failure),
        });
      }
    }
    return error;
  }

  /** A static role of a living mount that its caller has deleted: unlike a mount's end, that can be refused. */
  private async wasAskedToGo({ mountId, staticRole, mountHasEnded }: Rotation): Promise<boolean> {
    if (staticRole === null || mountHasEnded) return false;
    return (await this.staticRoles.find(mountId, staticRole))?.isBeingDeleted ?? false;
  }

  /** When to look again at what AWS did not answer, ever later: up to `unansweredRetryMs`, milliseconds. */
  private soon({ attempts }: Rotation): number {
    return Math.min(this.timing.readyEveryMs * 2 ** Math.min(attempts, 20), this.timing.unansweredRetryMs);
  }

  /**
   * Does something in the account of the rotation: with the mount's root key of today, or where that is not allowed to, with one
   * that is kept.
   * @throws CodedError of the first that could not; AwsRefused when no key is of that account.
   */
  private async withAccount<T>(rotation: Rotation, work: (account: AwsAccount) => Promise<T>): Promise<T> {
    let failure: CodedError | undefined;
    for (const root of await this.rootConfigs.openAll(rotation.mountId)) {
      try {
        const account = this.accounts.open({ ...root.settings, ...root });
        const identity = await account.identity('error calling GetCallerIdentity');
        await this.rootConfigs.noteIdentity(root, identity);
        if (rotation.accountId === null || rotation.accountId === identity.accountId) return await work(account);
      } catch (error) {
        if (!(error instanceof AwsRefused)) throw error;
        failure ??= error;
        // What makes a key does so with the key that is in force, or not at all.
        if (rotation.state === 'creating') break;
      }
    }
    throw (
      failure ??
      new AwsRefused('', `The key belongs to account ${rotation.accountId}, and config/root names another one.`, {
        permanent: true,
      })
    );
  }

  /** How the texts of contract.md 2.3 and 2.8 begin. */
  private wordsFor({ staticRole }: Rotation, action: string, userName: string): string {
    if (action === 'undo') return "couldn't delete from IAM";
    if (staticRole === null) {
      return action === 'DeleteAccessKey' ? 'error deleting old access key' : `error calling ${action}`;
    }
    const user = goQuote(userName);
    switch (action) {
      case 'ListAccessKeys':
        return `unable to list existing access keys for IAM user ${user}`;
      case 'DeleteAccessKey':
        return `unable to delete oldest access keys for user ${user}`;
      default:
        return `unable to create new access keys for user ${user}`;
    }
  }
}

/** What of a rotation a line of the log tells. */
function told({ id, mountId, staticRole, state, requestId }: Rotation) {
  return { rotationId: id, mountId, ...(staticRole === null ? {} : { staticRole }), state, requestId };
}
