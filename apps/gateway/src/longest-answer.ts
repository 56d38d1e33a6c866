import { type LeaseTiming, leaseTimingSchema } from '#libs/leases';

/** Least time for the acceptance of what an issuer has made, milliseconds. */
export const leastAcceptMs = 2_000;

/** For what is not waited for: reading a request, PostgreSQL, writing the answer. */
const restMs = 5_000;

/** How long the slowest request is at work before it is answered, in milliseconds: a credential, or a revocation that is waited for. */
export function longestAnswerMs(
  { callerWaitMs, syncOneMs, syncManyMs }: LeaseTiming = leaseTimingSchema.parse({}),
): number {
  // A trial waits for both: for the credential, and for its end.
  return Math.max(callerWaitMs + Math.max(leastAcceptMs, syncOneMs), syncManyMs) + restMs;
}
