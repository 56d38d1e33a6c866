import type { OperationName } from './operations.js';

/** One measurement. */
export interface Phase {
  table: 'latency' | 'throughput';
  operation: OperationName;
  awsMs: number;
  callers: number;
  warmUpMs: number;
  measureMs: number;
}

/** Callers and AWS's milliseconds a call, what is measured there, and for how long where nobody is in a hurry. */
const cells: { awsMs: number; callers: number; operations: OperationName[]; measureMs: number }[] = [
  {
    awsMs: 0,
    callers: 1,
    operations: ['creds', 'renew', 'revoke', 'assumed-role', 'federation-token'],
    measureMs: 3_000,
  },
  { awsMs: 0, callers: 16, operations: ['creds', 'renew', 'revoke'], measureMs: 2_500 },
  { awsMs: 20, callers: 1, operations: ['creds', 'revoke'], measureMs: 5_000 },
  // One caller and a slow AWS give the fewest samples in a second.
  { awsMs: 50, callers: 1, operations: ['creds', 'revoke', 'assumed-role', 'federation-token'], measureMs: 9_000 },
  { awsMs: 50, callers: 16, operations: ['creds', 'revoke', 'assumed-role', 'federation-token'], measureMs: 6_000 },
];

const throughputOf = ['creds', 'revoke', 'assumed-role', 'role-read'] satisfies OperationName[];
/** In this time nobody makes the 5,000 users that an account holds. */
const throughputMs = 4_000;

/**
 * What is measured, in order. `revoke` follows `creds` under the same conditions, for as long, and takes back what that
 * has lent.
 */
export function planOf(quick: boolean, only: readonly OperationName[]): Phase[] {
  const scale = quick ? 1 / 4 : 1;
  const latency = cells.flatMap(({ awsMs, callers, operations, measureMs }) =>
    operations.map((operation) => {
      return { table: 'latency' as const, operation, awsMs, callers, warmUpMs: 300, measureMs: measureMs * scale };
    }),
  );
  const throughput = throughputOf.map((operation) => {
    const measureMs = throughputMs * (quick ? 1 / 2 : 1);
    return { table: 'throughput' as const, operation, awsMs: 0, callers: 64, warmUpMs: 500, measureMs };
  });
  return [...latency, ...throughput].filter(({ operation }) => only.includes(operation));
}
