import { setTimeout as sleep } from 'node:timers/promises';
import type { AwsAccount } from './aws-account.js';
import { AwsFailure } from './aws-failure.js';
import type { Fence } from './fence.js';

/** How AWS is asked whether it knows a new key by now. */
export interface Asking {
  /** How often in a row it must be accepted: AWS's servers learn of it one after the other, and any of them may answer. */
  timesInARow: number;
  /** Between two questions, milliseconds. */
  everyMs: number;
  /** Closes when it is not worth waiting any longer. */
  until: Fence;
  /** Looked at before each question: false ends the wait. */
  isWanted: () => Promise<boolean>;
}

/** Longest wait for one answer, milliseconds: more is learnt by asking again. */
const answerWithinMs = 2_000;

/**
 * Waits until AWS has accepted a new key of an IAM user several times in a row, in the region of use: GetCallerIdentity signed with it,
 * which is the best proof that is known (aws-facts.md, "Eventual consistency"). It draws on the account's STS budget behind
 * everything else; an answer that says nothing about the key, such as a throttle, neither counts nor breaks the row.
 * @returns `not_yet` when the time was over before, `unwanted` when nobody wants to know any more
 */
export async function keyAcceptance(
  account: AwsAccount,
  key: { accessKeyId: string; secretAccessKey: string },
  { timesInARow, everyMs, until, isWanted }: Asking,
): Promise<'accepted' | 'not_yet' | 'unwanted'> {
  const ask = account.holderOf(key);
  for (let inARow = 0; inARow < timesInARow;) {
    if (until.remainingMs() <= everyMs) return 'not_yet';
    await sleep(everyMs);
    if (!(await isWanted())) return 'unwanted';
    try {
      const requestTimeoutMs = Math.min(answerWithinMs, until.remainingMs());
      await ask({ by: 'upkeep', patience: { retries: 0, requestTimeoutMs }, isYoung: isUnknownKey });
      inARow += 1;
    } catch (error) {
      if (!(error instanceof AwsFailure)) throw error;
      if (error.kind === 'young' || error.kind === 'refused') inARow = 0;
    }
  }
  return 'accepted';
}

function isUnknownKey(refusal: AwsFailure): boolean {
  return refusal.awsCode === 'InvalidClientTokenId';
}
