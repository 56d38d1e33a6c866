import { setTimeout as sleep } from 'node:timers/promises';
import { OverBudget } from '#libs/contracts';
import { AwsFailure, type FailureKind, type NetworkError, TimeIsOver, type Wire } from './aws-failure.js';
import type { Fence } from './fence.js';

/** How long to wait, and how often to ask again. */
export interface Patience {
  /** Longest wait for one answer, milliseconds; without a fence also the longest time for all attempts together. */
  requestTimeoutMs: number;
  /** Pause before the second attempt, milliseconds; doubled from attempt to attempt up to 25 times itself. */
  backoffMs: number;
  /** Attempts after the first when AWS throttles, fails or is away. */
  retries: number;
}

/** Who a call is for; each has its share of AWS's budget, but for `spare`, which has what nobody else waits for. */
export type CallClass = 'issue' | 'revoke' | 'upkeep' | 'spare';

/** What one kind of call needs beyond the ordinary. */
export interface CallRules {
  /** For what creates: nothing is sent, awaited or tried again once it is closed. */
  fence?: Fence;
  /** For what must not be sent twice when the first went unanswered (CreateAccessKey). */
  onceOnly?: boolean;
  /** Unset: `issue` with a fence, `revoke` without. */
  by?: CallClass;
  /** How many calls there will be, this one counted, before its caller has what it wants; 1. */
  calls?: number;
  /** Tells a refusal that is only AWS lagging behind itself (aws-facts.md, "Eventual consistency") from a real one. */
  isYoung?: (refusal: AwsFailure) => boolean;
  /** What of the usual patience it does not share. */
  patience?: Partial<Patience>;
  /** Lets an attempt go when its turn has come. @throws {OverBudget} when that is not within the time, in milliseconds */
  awaitTurn?: (withinMs: number) => Promise<void> | undefined;
  /** Hears how every single attempt ended. */
  onAttempt?: (end: AttemptEnd) => void;
}

/** How one attempt ended, and how long it took in milliseconds; `awsCode` is '' unless AWS gave one. */
export interface AttemptEnd {
  kind: 'ok' | FailureKind;
  awsCode: string;
  ms: number;
}

/**
 * One attempt. What it hands to the socket, signed already, goes through `atTheWire`, which sends it unless it must not
 * leave any more.
 */
export type Attempt<O> = (signal: AbortSignal, atTheWire: <R>(send: () => Promise<R>) => Promise<R>) => Promise<O>;

/**
 * Makes attempts until one succeeds, is refused for good, or time or retries are used up. The SDK's own retries are
 * off: they would send CreateAccessKey twice and keep trying what is permanent (aws-facts.md, "The SDK's retries").
 * @throws {AwsFailure}
 */
export async function call<O>(attempt: Attempt<O>, patience: Patience, rules: CallRules): Promise<O> {
  const { fence } = rules;
  const startedAt = performance.now();
  const remainingMs = () =>
    fence?.remainingMs() ?? Math.max(0, startedAt + patience.requestTimeoutMs - performance.now());

  let unanswered = false;
  for (let tries = 1; ; tries++) {
    try {
      await rules.awaitTurn?.(remainingMs());
    } catch (error) {
      if (!(error instanceof OverBudget)) throw error;
      const failure = AwsFailure.overBudget(error);
      failure.unanswered = unanswered;
      throw failure;
    }
    const wire: Wire = { sent: false };
    const begunAt = performance.now();
    const tell = (kind: AttemptEnd['kind'], awsCode = '') =>
      rules.onAttempt?.({ kind, awsCode, ms: performance.now() - begunAt });
    try {
      const limitMs = Math.min(patience.requestTimeoutMs, remainingMs());
      const byFence = fence !== undefined && limitMs < patience.requestTimeoutMs;
      const output = await within(limitMs, byFence, (signal) =>
        attempt(signal, async (send) => {
          if (signal.aborted || fence?.remainingMs() === 0) throw new TimeIsOver(fence !== undefined);
          wire.sent = true;
          try {
            return await send();
          } catch (error) {
            wire.error = error as NetworkError;
            throw error;
          }
        }),
      );
      tell('ok');
      return output;
    } catch (error) {
      const failure = AwsFailure.of(error, wire);
      unanswered ||= failure.unanswered;
      failure.unanswered = unanswered;
      if (failure.kind === 'refused' && rules.isYoung?.(failure)) failure.kind = 'young';
      tell(failure.kind, failure.awsCode);
      if (!mayTryAgain(failure, tries, patience, rules)) throw failure;
      const pauseMs = failure.kind === 'skewed' ? 0 : pauseBefore(tries, patience.backoffMs);
      if (pauseMs >= remainingMs()) throw failure;
      await sleep(pauseMs);
    }
  }
}

function mayTryAgain(failure: AwsFailure, tries: number, patience: Patience, rules: CallRules): boolean {
  switch (failure.kind) {
    case 'refused':
    case 'over_budget':
    case 'late':
      return false;
    case 'skewed':
      return tries === 1;
    case 'young':
    case 'concurrent':
      // AWS catching up with itself: it is worth all the time there is.
      return rules.fence !== undefined || tries <= patience.retries;
    case 'unanswered':
      return rules.onceOnly !== true && tries <= patience.retries;
    case 'throttled':
    case 'unsent':
      return tries <= patience.retries;
  }
}

/** Half of it is chance, so that callers throttled together do not come back together. */
function pauseBefore(tries: number, backoffMs: number): number {
  return Math.min(backoffMs * 2 ** (tries - 1), backoffMs * 25) * (0.5 + Math.random() / 2);
}

/** One attempt with an end: aborted, so that its socket is gone, and given up even if the SDK is not yet sending. */
async function within<T>(ms: number, byFence: boolean, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
  if (ms <= 0) throw new TimeIsOver(byFence);
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const expiry = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new TimeIsOver(byFence));
      controller.abort();
    }, ms);
  });
  try {
    return await Promise.race([attempt(controller.signal), expiry]);
  } finally {
    clearTimeout(timer);
  }
}
