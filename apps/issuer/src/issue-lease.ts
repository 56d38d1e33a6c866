import { Injectable } from '@nestjs/common';
import { type Caller, LastUse } from '#libs/access';
import { Fence } from '#libs/aws';
import {
  type HandOutLeaseReply,
  type HandOutLeaseRequest,
  issueLease,
  type IssueLeaseReply,
  type IssueLeaseRequest,
  NoRoute,
  queueing,
  RoleNotFound,
  type TryRoleReply,
  type TryRoleRequest,
} from '#libs/contracts';
import { Issuing, Revoking } from '#libs/leases';
import { credentialTypeFor, IssueTerms, roleFor, RootUses, type Terms } from '#libs/roles';
import { ActingIdentity } from './acting-identity.js';
import { Authorizing, wantedOf, wantedToTry } from './authorizing.js';
import { HandOut } from './hand-out.js';
import { IssueOnce } from './issue-once.js';
import { IssueSts } from './issue-sts.js';
import { IssueUser } from './issue-user.js';
import { type Asked, askerOf, type Bounds, hasPool, type Order } from './order.js';
import { PoolFigures } from './pool-figures.js';

/** What of the wait is left at least when a command is begun, less a part in which its answer can go back. */
const surelyLeft = (1 - queueing(issueLease.pattern).partOfWait) * 0.9;

/** Issues one credential. Token and policies are asked here as well, whoever carried the command (design.md, promise 7). */
@Injectable()
export class IssueLease {
  constructor(
    private readonly authorizing: Authorizing,
    private readonly issueTerms: IssueTerms,
    private readonly rootUses: RootUses,
    private readonly acting: ActingIdentity,
    private readonly issuing: Issuing,
    private readonly once: IssueOnce,
    private readonly handOut: HandOut,
    private readonly poolFigures: PoolFigures,
    private readonly issueUser: IssueUser,
    private readonly issueSts: IssueSts,
    private readonly revoking: Revoking,
  ) {}

  /**
   * @throws CodedError `permission_denied`, `no_route`, `role_not_found`, `invalid_request`, `idempotency_key_reused`,
   * `over_budget` before anything is made;
   * `aws_refused`, `aws_throttled`, `aws_unreachable`, `out_of_time` when AWS or the time did not allow it.
   */
  async execute(command: IssueLeaseRequest): Promise<IssueLeaseReply> {
    const bounds = boundsOf(command);
    // With an idempotency key it may wait for a first one, and what is defined may change meanwhile.
    const terms = command.idempotencyKey === undefined ? this.termsOf(command) : undefined;
    return this.authorizing.onBehalfOf(command, wantedOf(command), (caller) => {
      if (caller.isLastUse) throw new LastUse();
      return this.once.execute(command, bounds.fence, async (seal) => {
        const asked = { command, caller, terms: await (terms ?? this.termsOf(command)) };
        return this.handOutOrMake(await this.askedBy(asked, { ...bounds, seal }, command.ready));
      });
    });
  }

  /**
   * Hands out a user of the role's pool, if there is one: nothing in it waits for AWS.
   * @throws CodedError as `execute` does before anything is made.
   */
  async handOutOnly(command: HandOutLeaseRequest): Promise<HandOutLeaseReply> {
    const bounds = boundsOf(command);
    const terms = this.termsOf(command);
    return this.authorizing.onBehalfOf(command, wantedOf(command), async (caller) => {
      if (caller.isLastUse) throw new LastUse();
      const asked = await this.askedBy({ command, caller, terms: await terms }, bounds, command.ready);
      if (!hasPool(asked)) return { hasPool: false };
      const lent = await this.handOut.execute(asked);
      if (!lent) this.poolFigures.asked('none_ready');
      return { hasPool: true, lent: lent ?? undefined };
    });
  }

  /**
   * Issues one as any caller would get it, under the same policies, limits and freezes, and takes it back before anybody has
   * heard of it. Were this process to die in between, the hand-over time takes back what was not accepted.
   * @throws CodedError as `execute` does.
   */
  async try(command: TryRoleRequest): Promise<TryRoleReply> {
    const bounds = boundsOf(command);
    const terms = this.termsOf(command);
    return this.authorizing.onBehalfOf(command, wantedToTry(command), async (caller) => {
      if (caller.isLastUse) throw new LastUse();
      // Nobody is given it, so it need not be ready.
      const order = await this.orderOf(await this.askedBy({ command, caller, terms: await terms }, bounds, false));
      const { leaseId, credentialType, leaseDuration, ttlCut } = await this.fulfil(order);
      await this.revoking.ask({ leaseId }, 'not_received');
      return { leaseId, credentialType, accountId: order.identity.accountId, leaseDuration, ttlCut };
    });
  }

  private async handOutOrMake(asked: Asked): Promise<IssueLeaseReply> {
    if (!hasPool(asked)) return this.fulfil(await this.orderOf(asked));
    const handedOut = await this.handOut.execute(asked);
    // Whoever has no idempotency key has asked for a hand-out before, and that was counted.
    if (!handedOut && asked.seal) this.poolFigures.asked('none_ready');
    return { ...(handedOut ?? (await this.fulfil(await this.orderOf(asked)))), hasPool: true };
  }

  private fulfil(order: Order): Promise<IssueLeaseReply> {
    const { credentialType } = order;
    return this.rootUses.during(order.root, () =>
      credentialType === 'iam_user' ? this.issueUser.execute(order) : this.issueSts.execute(order, credentialType),
    );
  }

  /** Begins to read what is defined, while it is found out who asks: who may not ask is told nothing of it. */
  private termsOf({ mount, role, token }: TryRoleRequest): Promise<Terms | null> {
    const terms = this.issueTerms.of({ mountPath: mount, roleName: role, token });
    terms.catch(() => undefined); // heard of where it is waited for
    return terms;
  }

  /** Everything that a command names. Whoever is refused here costs AWS nothing. */
  private async askedBy(
    { command, caller, terms }: { command: TryRoleRequest; caller: Caller; terms: Terms | null },
    bounds: Bounds,
    wantsReady: boolean | undefined,
  ): Promise<Asked> {
    if (!terms || terms.mount.taintedAt) {
      throw new NoRoute(`no handler for route "${command.mount}". route entry not found.`);
    }
    if (!terms.role) throw new RoleNotFound(command.role);
    const { mount, isFrozen, openRoot } = terms;
    const role = { ...terms.role, definition: roleFor(terms.role.definition, caller.token) };
    // Whoever is refused costs AWS nothing. What decides is the statement that opens the lease.
    const asker = askerOf({ caller, mount, role });
    if (isFrozen || asker.limited.role || asker.limited.token) await this.issuing.mayIssue(asker);
    const credentialType = credentialTypeFor(role.definition, command.door);
    const ready = wantsReady ?? role.definition.ready ?? false;
    return { command, caller, mount, role, credentialType, openRoot, ready, ...bounds };
  }

  private async orderOf(asked: Asked): Promise<Order> {
    const root = await asked.openRoot();
    const acting = await this.acting.of({ ...asked, root, iamRoleArn: asked.command.roleArn });
    return { ...asked, root, ...acting };
  }
}

function boundsOf({ waitMs }: TryRoleRequest): Bounds {
  // Counted from here, before anything is read: the row's own deadline starts later and is longer. The command has been in
  // its queue for half of the wait at most; for how long nobody knows, since clocks differ. So the fence may close as late
  // as half a wait after the asker has left: then its mark refuses the offer.
  const begunAt = performance.now();
  return { fence: new Fence(begunAt + waitMs), answerBy: new Fence(begunAt + surelyLeft * waitMs) };
}
