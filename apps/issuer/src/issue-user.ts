import { Injectable, Logger } from '@nestjs/common';
import {
  AmbiguousAccessKey,
  createIamUser,
  type IamUserPlan,
  isUserQuotaMet,
  madeBy,
  type MadeIamUser,
} from '#libs/aws';
import { type IssueLeaseReply, OutOfTime, OverBudget } from '#libs/contracts';
import { Issuing, type UserIntent } from '#libs/leases';
import { Metrics, type Span } from '#libs/runtime';
import { CountUsers } from './count-users.js';
import { KeyReady, type Readiness } from './key-ready.js';
import { type Made, type Order, openingOf, replyOf, userTtl } from './order.js';
import { madeOf, planOf } from './user-plan.js';

/** Makes an IAM user: the intent is committed, then AWS is asked, then what was made is offered. */
@Injectable()
export class IssueUser {
  private readonly logger = new Logger(IssueUser.name);

  private readonly register: Span;

  constructor(
    private readonly issuing: Issuing,
    private readonly countUsers: CountUsers,
    private readonly keyReady: KeyReady,
    metrics: Metrics,
  ) {
    this.register = metrics.span('vault.expire.register', 'Storing what was made as a lease.');
  }

  async execute(order: Order): Promise<IssueLeaseReply> {
    let spent: { leaseId: string; late: boolean } | null = null;
    for (;;) {
      let late = false;
      const plan = planOf(order, order.caller.token.displayName);
      const intent = intentOf(order, plan);
      if (spent === null) await this.open(order, intent);
      else await this.startOver(spent, intent);
      try {
        const key = await createIamUser(order.account, plan, order.fence);
        late = key.late;
        const readiness = await this.keyReady.wait(order, intent.leaseId, key);
        return await this.offer(order, intent, key, readiness);
      } catch (error) {
        late ||= madeBy(error) === 'late';
        // A key that nobody knows may be alive: the whole user goes, and another name is tried while there is time.
        if (error instanceof AmbiguousAccessKey) {
          spent = { leaseId: intent.leaseId, late };
          continue;
        }
        if (isUserQuotaMet(error)) this.countUsers.again(placeOf(order), { isWrong: true });
        if (await this.giveUp(intent, error, late)) throw new OutOfTime();
        throw error;
      }
    }
  }

  /** Commits the intent. Who is the first in an account waits until AWS has said who else has users there. */
  private async open(order: Order, intent: UserIntent): Promise<void> {
    for (;;) {
      const count = await this.issuing.open(intent).catch((error: unknown) => {
        // Others may have left meanwhile.
        if (error instanceof OverBudget && error.limit === 'users')
          this.countUsers.again(placeOf(order), { isWrong: false });
        throw error;
      });
      if (count === 'due') this.countUsers.again(placeOf(order), { isWrong: false });
      if (count !== 'missing') return;
      await this.countUsers.first(placeOf(order));
    }
  }

  private async offer(
    order: Order,
    intent: UserIntent,
    key: MadeIamUser,
    readiness: Readiness,
  ): Promise<IssueLeaseReply> {
    const { command, seal } = order;
    const { ttlMs, cut } = userTtl(order);
    const made: Made = {
      leaseId: intent.leaseId,
      credentialType: 'iam_user',
      renewable: true,
      acceptRequired: true,
      credential: { accessKeyId: key.accessKeyId, secretAccessKey: key.secretAccessKey },
      ttlCut: cut,
      ...readiness,
    };
    const kept = await seal?.(made);
    await this.register(() => this.issuing.offer(intent.leaseId, key.accessKeyId, ttlMs, key.late, kept));
    this.logger.log({
      msg: 'credential offered',
      leaseId: intent.leaseId,
      requestId: command.requestId,
      accessKeyIdEnd: key.accessKeyId.slice(-4),
    });
    return replyOf(made, ttlMs);
  }

  private async startOver(spent: { leaseId: string; late: boolean }, intent: UserIntent): Promise<void> {
    try {
      await this.issuing.startOver(spent.leaseId, intent, spent.late);
    } catch (error) {
      await this.issuing.abandon(spent.leaseId, 'the answer to CreateAccessKey was lost', spent.late);
      throw error;
    }
  }

  /**
   * Leaves the roll-back to the revoker; where that cannot even be written, the intent's own deadline brings it.
   * @returns whether it had been taken back meanwhile: then AWS may complain of a user that was removed.
   */
  private async giveUp(intent: UserIntent, error: unknown, late: boolean): Promise<boolean> {
    const text = error instanceof Error ? error.message : String(error);
    this.logger.warn({ msg: 'issue failed', leaseId: intent.leaseId, requestId: intent.requestId, error: text });
    try {
      if (madeBy(error) !== 'nothing') return await this.issuing.abandon(intent.leaseId, text, late);
      await this.issuing.endUnmade(intent.leaseId, text);
    } catch (failure) {
      const { leaseId, requestId } = intent;
      this.logger.error({ msg: 'failed issue not marked', leaseId, requestId, error: String(failure) });
    }
    return false;
  }
}

function placeOf({ account, identity }: Order) {
  return { account, accountId: identity.accountId };
}

function intentOf(order: Order, plan: IamUserPlan): UserIntent {
  return {
    ...openingOf(order),
    userName: plan.userName,
    made: madeOf(plan),
    waitMs: order.fence.remainingMs(),
    usersPerAccount: order.account.usersPerAccount,
  };
}
