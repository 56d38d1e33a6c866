import { randomUUID } from 'node:crypto';
import { Inject, Injectable, Logger } from '@nestjs/common';
import { createIamUser, Fence, isUserQuotaMet, madeBy } from '#libs/aws';
import { OutOfTime, OverBudget } from '#libs/contracts';
import {
  Issuing,
  LEASE_TIMING,
  type LeaseTiming,
  newLeaseId,
  poolDisplayName,
  type PoolIntent,
  Pooling,
  type ShortPool,
} from '#libs/leases';
import { type Mount, Mounts, type OpenedRootConfig, type Role, Roles, RootConfigs, RootUses } from '#libs/roles';
import { type Acting, ActingIdentity } from './acting-identity.js';
import { CountUsers } from './count-users.js';
import { madeOf, planOf } from './user-plan.js';

/** Everything that a pool's user is made with, read once. */
interface PoolOrder extends Acting {
  mount: Mount;
  role: Role;
  root: OpenedRootConfig;
}

/** Makes one user ahead: the intent is committed, then AWS is asked, in what callers leave of its budget, then it is kept. */
@Injectable()
export class MakePooled {
  private readonly logger = new Logger(MakePooled.name);

  constructor(
    private readonly mounts: Mounts,
    private readonly roles: Roles,
    private readonly rootConfigs: RootConfigs,
    private readonly rootUses: RootUses,
    private readonly acting: ActingIdentity,
    private readonly countUsers: CountUsers,
    private readonly pooling: Pooling,
    private readonly issuing: Issuing,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /**
   * @returns false when the pool does not want it any more.
   * @throws CodedError when AWS or the account's places did not allow it; what was begun is being taken back.
   */
  async execute(pool: ShortPool): Promise<boolean> {
    const mount = await this.mounts.find(pool.mountPath);
    const role = await this.roles.find(pool.mountId, pool.roleName);
    if (mount?.id !== pool.mountId || role?.version !== pool.roleVersion) return false;
    const root = await this.rootConfigs.open(mount.id);
    const acting = await this.acting.of({ mount, role, root, credentialType: 'iam_user' });
    return this.rootUses.during(root, () => this.make({ mount, role, root, ...acting }));
  }

  private async make(order: PoolOrder): Promise<boolean> {
    const { account, root } = order;
    const { callerWaitMs: waitMs } = this.timing;
    const fence = new Fence(performance.now() + waitMs);
    const plan = planOf(order, poolDisplayName);
    const intent: PoolIntent = { ...openingOf(order), userName: plan.userName, made: madeOf(plan), waitMs };
    if (!(await this.open(order, intent))) return false;
    let late = false;
    try {
      const key = await createIamUser(account, plan, fence, 'spare');
      late = key.late;
      if (!(await this.pooling.keep(intent.leaseId, key, root.version))) throw new OutOfTime();
    } catch (error) {
      late ||= madeBy(error) === 'late';
      if (isUserQuotaMet(error)) this.countUsers.again(placeOf(order), { isWrong: true });
      await this.giveUp(intent, error, late);
      throw error;
    }
    this.logger.log({
      msg: 'user made for a pool',
      leaseId: intent.leaseId,
      requestId: intent.requestId,
    });
    return true;
  }

  /** Commits the intent. Who is the first in an account waits until AWS has said who else has users there. */
  private async open(order: PoolOrder, intent: PoolIntent): Promise<boolean> {
    let standing = await this.pooling.open(intent);
    if (standing === 'missing') {
      await this.countUsers.first(placeOf(order));
      standing = await this.pooling.open(intent);
    }
    if (standing === 'due' || standing === 'no place') this.countUsers.again(placeOf(order), { isWrong: false });
    if (standing === 'no place') {
      throw new OverBudget(
        'users',
        `AWS account ${intent.accountId} has no places for users that nobody waits for.`,
        60,
      );
    }
    return standing === 'fresh' || standing === 'due';
  }

  /** Leaves the roll-back to the revoker; where that cannot even be written, the intent's own deadline brings it. */
  private async giveUp({ leaseId, requestId }: PoolIntent, error: unknown, late: boolean): Promise<void> {
    try {
      if (madeBy(error) === 'nothing') await this.pooling.forget(leaseId);
      else await this.issuing.abandon(leaseId, error instanceof Error ? error.message : String(error), late);
    } catch (failure) {
      this.logger.error({ msg: 'failed making for a pool not marked', leaseId, requestId, error: String(failure) });
    }
  }
}

function placeOf({ account, identity }: PoolOrder) {
  return { account, accountId: identity.accountId };
}

function openingOf({ mount, role, version, identity, account }: PoolOrder) {
  return {
    leaseId: newLeaseId(`${mount.path}creds/${role.name}`),
    mountId: mount.id,
    mountVersion: mount.version,
    roleName: role.name,
    roleVersion: role.version,
    rootVersion: version,
    accountId: identity.accountId,
    requestId: randomUUID(),
    usersPerAccount: account.usersPerAccount,
  };
}
