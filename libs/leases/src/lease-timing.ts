import { z } from 'zod';

const ms = (value: number) => z.int().positive().default(value);

/**
 * Every time span of a lease's life, in milliseconds, with the defaults of design.md ("A lease's life"). Tests shrink
 * them; nothing else differs between a test and production.
 */
export const leaseTimingSchema = z.object({
  /** How long a caller waits for a credential. */
  callerWaitMs: ms(20_000),
  /** Beyond the caller's wait, before an intent counts as abandoned. */
  marginMs: ms(5_000),
  /** From offer to acceptance. */
  handOverMs: ms(15_000),
  /** Longest wait for AWS to accept a new key, where an answer is to be ready; never beyond the caller's wait. */
  readyWithinMs: ms(15_000),
  /** Between two questions whether AWS does. */
  readyEveryMs: ms(500),
  /** How often in a row it must: its servers learn of a key one after the other. */
  readyTimes: z.int().positive().default(4),
  /** How long an answer is kept for who asks again under the same Idempotency-Key; at least the hand-over, at most the lease. */
  idempotencyMs: ms(300_000),
  sweepEveryMs: ms(5_000),
  /** For how long a worker has a due lease to itself; extended while it works. */
  claimMs: ms(15_000),
  /** Only what is due sooner has an alarm in the queue. */
  alarmHorizonMs: ms(600_000),
  /** How long an ended row is kept. */
  retentionMs: ms(90 * 86_400_000),
  /** How long a command id is kept after its lease ended. */
  commandMemoryMs: ms(86_400_000),
  /** Until a user is this old, "no such user" is lag (Vault waits 5 min too; aws-facts, Eventual consistency). */
  propagationMs: ms(300_000),
  /** The waits between looks at a young user that AWS says is not there; the last one repeats. */
  absenceDelaysMs: z.array(z.int().positive()).default([1_000, 2_000, 5_000, 10_000, 20_000]),
  /** When a tombstone is looked at again: AWS takes a signature for 15 minutes. */
  tombstoneLooksMs: z.array(z.int().positive()).default([60_000, 300_000, 1_200_000]),
  /** Base of the back-off after a refused revocation: 2^attempt times this, ± 50 % (contract.md 4.4). */
  retryBaseMs: ms(10_000),
  /** Refused tries before a lease is irrevocable (contract.md 4.4). */
  maxAttempts: z.int().positive().default(6),
  /** Wait after throttling or silence: not longer than this, so that a key is gone within a minute of AWS's return. */
  unansweredRetryMs: ms(20_000),
  /** An irrevocable lease is tried again this often. */
  irrevocableEveryMs: ms(86_400_000),
  /** How long a synchronous revocation of one lease waits before it answers "still revoking". */
  syncOneMs: ms(30_000),
  /** The same for a prefix or an unmount. */
  syncManyMs: ms(60_000),
  /** How old a user of a pool is at least when it is handed out: AWS knows the slowest keys after a quarter of that. */
  pooledMinMs: ms(60_000),
  /** How old it gets, less up to a fifth, so that not all of a pool go at once. */
  pooledMaxMs: ms(86_400_000),
  /** From the switch to a rotated key until the earlier one is removed, if no worker is at work with it. */
  retireAfterMs: ms(60_000),
  /** How often a worker says what it is at work with, and after which silence it counts no longer. */
  heartbeatEveryMs: ms(5_000),
  workerTimeoutMs: ms(30_000),
});

export type LeaseTiming = z.infer<typeof leaseTimingSchema>;

/** Injection token of the timing in force. */
export const LEASE_TIMING = Symbol('lease timing');

/** The spans as one variable of the environment: a JSON object of those that differ from the defaults. */
export const leaseTimingEnv = z.object({
  LEASEHOLD_TIMING: z
    .string()
    .default('{}')
    .transform((text, context): unknown => {
      try {
        return JSON.parse(text);
      } catch {
        context.addIssue({ code: 'custom', message: 'must be a JSON object' });
        return z.NEVER;
      }
    })
    .pipe(leaseTimingSchema),
});
