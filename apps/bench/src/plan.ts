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

const latencyOf = ['creds', 'renew', 'revoke', 'assumed-role', 'federation-token'] satisfies OperationName[];
const throughputOf = ['creds', 'revoke', 'assumed-role', 'role-read'] satisfies OperationName[];

/**
 * What is measured, in order. `revoke` follows `creds` under the same conditions, for as long, and takes back what that
 * has lent.
 */
export function planOf(quick: boolean, only: readonly OperationName[]): Phase[] {
  const scale = quick ? 1 : 6;
  const cells = [0, 50].flatMap((awsMs) => [1, 16].map((callers) => ({ awsMs, callers })));
  const latency = cells.flatMap(({ awsMs, callers }) =>
    // One caller and a slow AWS give the fewest samples in a second.
    latencyOf.map((operation) => {
      const measureMs = (awsMs > 0 && callers === 1 ? 2_000 : 1_200) * scale;
      return { table: 'latency' as const, operation, awsMs, callers, warmUpMs: 300, measureMs };
    }),
  );
  const throughput = throughputOf.map((operation) => {
    return { table: 'throughput' as const, operation, awsMs: 0, callers: 64, warmUpMs: 500, measureMs: 2_000 * scale };
  });
  return [...latency, ...throughput].filter(({ operation }) => only.includes(operation));
}
