import { z } from 'zod';
import { unknownCommand } from './command-queues.js';
import { issueLease, type IssueLeaseReply, type IssueLeaseRequest } from './lease-issue.js';

/**
 * Asks for a user of the role's pool, which is a moment at PostgreSQL, whatever AWS does. Where there is none the asker goes on to
 * `lease.issue` with the same command: both are one request (docs/decisions/0028).
 */
export const handOutLease = {
  pattern: 'lease.hand-out',
  request: issueLease.request.omit({ idempotencyKey: true }),
  reply: z.object({
    /** Whether the role has a pool at all. */
    hasPool: z.boolean(),
    /** The answer to `lease.issue`; absent where the pool has nothing to give, or is none. */
    lent: issueLease.reply.optional(),
  }),
};

export type HandOutLeaseRequest = z.infer<typeof handOutLease.request>;
export type HandOutLeaseReply = z.infer<typeof handOutLease.reply>;

/** So many roles are remembered by an asker. */
const rememberedRoles = 10_000;

/**
 * How an asker asks for a credential: for a hand-out first, unless it has learned that the role has no pool. A hint, and no more:
 * the ordinary way hands out as well, behind all that waits for AWS.
 */
export class PoolFirst {
  private readonly withoutPool = new Set<string>();

  /**
   * @param ask sends the one command or the other, each with what is left of the wait.
   * @throws CodedError as `ask` does
   */
  async issue(
    { mount, door, role, idempotencyKey }: Pick<IssueLeaseRequest, 'mount' | 'door' | 'role' | 'idempotencyKey'>,
    ask: { handOut(): Promise<HandOutLeaseReply>; issue(): Promise<IssueLeaseReply> },
  ): Promise<IssueLeaseReply> {
    // With an idempotency key it may have to wait for a first one that is under way, which is no matter of a moment.
    if (door !== 'creds' || idempotencyKey !== undefined) return ask.issue();
    const name = JSON.stringify([mount, role]);
    if (!this.withoutPool.has(name)) {
      const { hasPool, lent } = await ask.handOut().catch(inTheOrdinaryWay);
      if (lent) return lent;
      this.learn(name, hasPool);
    }
    try {
      const reply = await ask.issue();
      this.learn(name, reply.hasPool ?? false);
      return reply;
    } catch (error) {
      // Its role may have got a pool meanwhile, which is asked for nothing while this way fails.
      this.withoutPool.delete(name);
      throw error;
    }
  }

  private learn(name: string, hasPool: boolean): void {
    this.withoutPool.delete(name);
    if (hasPool) return;
    this.withoutPool.add(name);
    const [oldest] = this.withoutPool;
    if (this.withoutPool.size > rememberedRoles) this.withoutPool.delete(oldest!);
  }
}

/** An issuer of before this command does not know it. */
function inTheOrdinaryWay(error: unknown): HandOutLeaseReply {
  if (error instanceof Error && error.message === unknownCommand(handOutLease.pattern).message)
    return { hasPool: false };
  throw error;
}
