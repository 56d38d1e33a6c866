import { Inject, Injectable } from '@nestjs/common';
import { type AwsAccount, AwsAccounts, type KeyOwner, keyOwner } from '#libs/aws';
import {
  type DeleteStaticRoleReply,
  type DeleteStaticRoleRequest,
  goQuote,
  InvalidRequest,
  RotationFailed,
  Unavailable,
  type WriteStaticRoleReply,
  type WriteStaticRoleRequest,
} from '#libs/contracts';
import { LEASE_TIMING, type LeaseTiming } from '#libs/leases';
import { type Mount, Mounts, RootConfigs, Rotations, type StaticRole, StaticRoles } from '#libs/roles';
import { Authorizing, wantedOfStaticRole } from './authorizing.js';
import { RotateKey } from './rotate-key.js';
import { answersUntil, asRotationFailed, livingMount } from './rotate-root.js';

/** What contract.md 2.8 allows at least, seconds. */
const shortestPeriodSeconds = 60;

/** Makes static roles and changes them (contract.md 2.8). */
@Injectable()
export class WriteStaticRole {
  constructor(
    private readonly authorizing: Authorizing,
    private readonly mounts: Mounts,
    private readonly rootConfigs: RootConfigs,
    private readonly accounts: AwsAccounts,
    private readonly staticRoles: StaticRoles,
    private readonly rotations: Rotations,
    private readonly rotateKey: RotateKey,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /**
   * @throws CodedError `permission_denied`, `no_route`; `invalid_request` and `rotation_failed` with the texts of contract.md 2.8, in
   * its order; `unavailable` while the role is being deleted.
   */
  async execute(command: WriteStaticRoleRequest): Promise<WriteStaticRoleReply> {
    const until = answersUntil(command);
    return this.authorizing.onBehalfOf(command, wantedOfStaticRole(command, 'update'), async () => {
      const mount = await livingMount(this.mounts, command.mount);
      const existing = await this.staticRoles.find(mount.id, command.role);
      if (existing?.isBeingDeleted) throw isBeingDeleted();
      const { username = '', rotationPeriodSeconds: period } = command;
      if (username === '' && !existing) throw new InvalidRequest('missing "username" parameter');
      const found = username === '' ? null : await this.userOf(mount, username, existing);
      if (period === undefined && !existing) throw new InvalidRequest('missing "rotation_period" parameter');
      if (period !== undefined && period < shortestPeriodSeconds) {
        throw new RotationFailed(
          `role rotation period out of range: must be greater than ${shortestPeriodSeconds.toFixed(2)} seconds`,
        );
      }
      if (existing) return this.changed(existing, period);
      return this.created(mount, command, found!, until);
    });
  }

  /** Asks AWS who that is, and whether it may be kept here. */
  private async userOf({ id: mountId }: Mount, username: string, existing: StaticRole | null): Promise<FoundUser> {
    const prefix = `unable to validate username ${goQuote(username)}`;
    const root = await this.rootConfigs.open(mountId);
    const { user, accountId, arn } = await asRotationFailed(
      ask(() => this.accounts.open({ ...root.settings, ...root }), username, prefix),
    );
    if (user.userName !== username) {
      throw new RotationFailed(
        "AWS GetUser returned a username, but it didn't match: " +
          `${goQuote(username)} was requested, but ${goQuote(user.userName)} was returned`,
      );
    }
    if (existing && user.userId !== existing.userId) {
      throw new RotationFailed(
        'AWS GetUser returned a user, but the ID did not match: ' +
          `${goQuote(existing.userId)} was requested, but ${goQuote(user.userId)} was returned`,
      );
    }
    if (user.arn === arn) {
      throw new InvalidRequest(`${goQuote(username)} is the user of config/root: config/rotate-root rotates its key`);
    }
    return { user, accountId };
  }

  private async changed(role: StaticRole, period: number | undefined): Promise<WriteStaticRoleReply> {
    const { mountId, name, userName, userId, rotationPeriodSeconds, accessKeyId } = role;
    if (period !== undefined) await this.staticRoles.setPeriod(mountId, name, period);
    return {
      username: userName,
      userId,
      rotationPeriodSeconds: period ?? rotationPeriodSeconds,
      hasKey: accessKeyId !== null,
    };
  }

  private async created(
    { id: mountId }: Mount,
    { id: commandId, requestId, role: name, rotationPeriodSeconds }: WriteStaticRoleRequest,
    { user, accountId }: FoundUser,
    until: number,
  ): Promise<WriteStaticRoleReply> {
    const { userName, userId } = user;
    const other = await this.staticRoles.ofUser(userId);
    if (other) {
      throw new InvalidRequest(
        `the keys of ${goQuote(userName)} are those of static role ${goQuote(other.name)} of ${other.mount} already: ` +
          'two roles of one user would take each other’s keys away',
      );
    }
    const role = { mountId, name, accountId, userName, userId, rotationPeriodSeconds: rotationPeriodSeconds! };
    const begun = await this.rotations.beginStatic(role, { commandId, requestId }, this.timing.claimMs);
    if (!begun) throw new Unavailable('The role was written at the same time: ask again.', { retryAfterSeconds: 1 });
    const prefix = `failed to create new credentials for role ${goQuote(name)}: `;
    const standing = await asRotationFailed(this.rotateKey.drive(begun.id, until, begun), prefix);
    const hasKey = standing === null || !['creating', 'trying'].includes(standing.state);
    return { username: userName, userId, rotationPeriodSeconds: rotationPeriodSeconds!, hasKey };
  }
}

/** Removes static roles with their keys (contract.md 2.8). */
@Injectable()
export class DeleteStaticRole {
  constructor(
    private readonly authorizing: Authorizing,
    private readonly mounts: Mounts,
    private readonly staticRoles: StaticRoles,
    private readonly rotations: Rotations,
    private readonly rotateKey: RotateKey,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /**
   * Also when there is no such role. AWS is asked first: while it refuses, role and pair stay as they are.
   * @throws CodedError `permission_denied`, `no_route`; `rotation_failed` with the text of contract.md 2.8.
   */
  async execute(command: DeleteStaticRoleRequest): Promise<DeleteStaticRoleReply> {
    const until = answersUntil(command);
    return this.authorizing.onBehalfOf(command, wantedOfStaticRole(command, 'delete'), async () => {
      const mount = await livingMount(this.mounts, command.mount);
      const { role: name, requestId } = command;
      const begun = await this.rotations.beginDeletion(mount.id, name, requestId, this.timing.claimMs);
      if (!begun) return { isGone: true };
      const prefix = `failed to clean credentials while deleting role ${goQuote(name)}: `;
      await asRotationFailed(this.rotateKey.drive(begun.id, until, begun), prefix);
      const left = await this.staticRoles.find(mount.id, name);
      // Another issuer has been refused meanwhile, and has taken the deletion back.
      if (left && !left.isBeingDeleted) throw new RotationFailed(`${prefix}AWS refused`);
      return { isGone: !left };
    });
  }
}

interface FoundUser {
  user: KeyOwner;
  accountId: string;
}

async function ask(open: () => AwsAccount, username: string, prefix: string): Promise<FoundUser & { arn: string }> {
  const account = open();
  const { accountId, arn } = await account.identity(prefix);
  return { user: await keyOwner(account, username, prefix), accountId, arn };
}

function isBeingDeleted(): Unavailable {
  return new Unavailable('The static role is being deleted, and its keys are being removed: ask again in a moment.', {
    retryAfterSeconds: 1,
  });
}
