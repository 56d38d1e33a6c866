import { randomUUID } from 'node:crypto';
import { setTimeout as after } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { CallerSeal, Keyring } from '#libs/access';
import type { Fence } from '#libs/aws';
import { type IssueLeaseReply, type IssueLeaseRequest, OutOfTime } from '#libs/contracts';
import { type Asking, IdempotentAnswers } from '#libs/leases';
import { type Made, replyOf, type Seal } from './order.js';

/** Between two looks at what somebody else is at work on, in milliseconds: from the first up to the last. */
const looks = { firstMs: 25, lastMs: 250 };

/**
 * Issues at most one living credential per idempotency key: who asks again is given the first one, waits for it, or, when
 * nothing came of it or it is over, makes it (docs/decisions/0011).
 */
@Injectable()
export class IssueOnce {
  private readonly logger = new Logger(IssueOnce.name);

  constructor(
    private readonly answers: IdempotentAnswers,
    private readonly keyring: Keyring,
  ) {}

  /**
   * @param issue makes the credential, and keeps its answer where it is given a seal.
   * @throws CodedError `idempotency_key_reused`; `out_of_time` when the first is not done within the wait; as `issue` does.
   */
  async execute(
    command: IssueLeaseRequest,
    fence: Fence,
    issue: (seal?: Seal) => Promise<IssueLeaseReply>,
  ): Promise<IssueLeaseReply> {
    const { idempotencyKey, token, mount, door, role } = command;
    if (idempotencyKey === undefined) return issue();
    const seal = CallerSeal.of(this.keyring, 'idempotent answer', [token, `${mount}${door}/${role}`, idempotencyKey]);
    const asking: Asking = {
      id: seal.id,
      bodyHash: seal.hash(bodyOf(command)),
      commandId: command.id,
      claimId: randomUUID(),
    };
    try {
      const first = await this.first(asking, fence);
      if (!first) return await issue(async (made) => ({ asking, sealed: await seal.seal(JSON.stringify(made)) }));
      const made = JSON.parse(await seal.open(first.sealed)) as Made;
      this.logger.log({ msg: 'credential given again', leaseId: made.leaseId, requestId: command.requestId });
      return { ...replyOf(made, first.ttlMs), replayed: true };
    } catch (error) {
      await this.release(asking, command.requestId);
      throw error;
    }
  }

  /** The answer of who asked first; null when that is now us. */
  private async first(asking: Asking, fence: Fence): Promise<{ sealed: string; ttlMs: number } | null> {
    for (let pauseMs = looks.firstMs; ; pauseMs = Math.min(2 * pauseMs, looks.lastMs)) {
      const found = await this.answers.find(asking, fence.remainingMs());
      if (found.kind === 'claimed') return null;
      if (found.kind === 'answered') return found;
      if (fence.remainingMs() <= pauseMs) {
        throw new OutOfTime('The first request with this Idempotency-Key is still under way: ask again.');
      }
      await after(pauseMs);
    }
  }

  /** A claim that stays lapses a margin after its caller's wait. */
  private async release(asking: Asking, requestId: string): Promise<void> {
    try {
      await this.answers.release(asking);
    } catch (error) {
      this.logger.warn({ msg: 'idempotency key not released', requestId, error: String(error) });
    }
  }
}

/** All that is asked for beside the path, but for mfa_code: who asks again later has another one. */
function bodyOf({ ttlSeconds, roleArn, roleSessionName, ready }: IssueLeaseRequest): string {
  const fields = [ttlSeconds ?? null, roleArn ?? null, roleSessionName ?? null];
  // Added only where it is sent: what was asked for before it was known has the same body afterwards.
  return JSON.stringify(ready === undefined ? fields : [...fields, ready]);
}
