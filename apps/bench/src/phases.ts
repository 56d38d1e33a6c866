import type { Outcome } from './bench.js';
import { percentile } from './percentile.js';
import type { Section } from './report.js';
import { surroundingNames } from './rig.js';
import { serverNames } from './servers.js';
import { formatNumber } from './table.js';

/** One phase as figures. */
export interface PhaseRow {
  operation: string;
  awsMs: number;
  callers: number;
  requests: number;
  p50Ms: number;
  p99Ms: number;
  perSecond: number;
  /** Milliseconds of CPU per answer, by process. */
  cpuMs: Record<string, number>;
}

/** How many calls to AWS one must wait for, one after the other. */
export const stepsOf: Record<string, number> = {
  creds: 2,
  revoke: 2,
  'assumed-role': 1,
  'federation-token': 1,
};

export function rowsOf(outcomes: Outcome[], table: Outcome['phase']['table']): PhaseRow[] {
  return outcomes
    .filter(({ phase }) => phase.table === table)
    .map(({ phase, samples, seconds, completed, cpu }) => ({
      operation: phase.operation,
      awsMs: phase.awsMs,
      callers: phase.callers,
      requests: samples.length,
      p50Ms: percentile(samples, 50),
      p99Ms: percentile(samples, 99),
      perSecond: completed / seconds,
      cpuMs: Object.fromEntries(Object.entries(cpu).map(([name, ms]) => [name, ms / completed])),
    }));
}

/** Of `names`, our own processes: no server's, not AWS, not we who ask. */
export function oursAmong(names: string[]): string[] {
  return names.filter((name) => !serverNames.includes(name) && !Object.values(surroundingNames).includes(name));
}

/** What all our own processes together took per answer; undefined where none is known. */
export function ownCpuMs({ cpuMs }: PhaseRow): number | undefined {
  const ours = oursAmong(Object.keys(cpuMs));
  return ours.length === 0 ? undefined : ours.reduce((sum, name) => sum + cpuMs[name]!, 0);
}

export function latencySection(system: string, rows: PhaseRow[]): Section {
  const head = ['', 'AWS ms', 'callers', 'n', 'p50 ms', 'p99 ms', '/s', 'p50 ÷ AWS', 'added p50', 'added p99'];
  return {
    title: `Latency of ${system}`,
    head,
    rows: rows.toSorted(byOperation).map((row) => {
      const { awsMs, p50Ms, p99Ms, perSecond } = row;
      const steps = awsMs > 0 ? (stepsOf[row.operation] ?? 0) : 0;
      const times = steps > 0 ? `${formatNumber(p50Ms / awsMs)}×` : '';
      const added = [p50Ms, p99Ms].map((ms) => (steps > 0 ? formatNumber(ms - steps * awsMs) : ''));
      const measured = [p50Ms, p99Ms, perSecond].map(formatNumber);
      return [row.operation, `${awsMs}`, `${row.callers}`, `${row.requests}`, ...measured, times, ...added];
    }),
    note: 'Added: milliseconds beyond the calls to AWS that have to follow one another, two for creds and revoke, one for STS.',
  };
}

/** By operation in the order measured; the sort is stable, so conditions keep theirs. */
function byOperation(a: PhaseRow, b: PhaseRow): number {
  return a.operation === b.operation ? 0 : order.indexOf(a.operation) - order.indexOf(b.operation);
}
const order = ['creds', 'assumed-role', 'federation-token', 'renew', 'revoke'];

export function throughputSection(system: string, rows: PhaseRow[]): Section {
  const names = Object.keys(rows[0]?.cpuMs ?? {});
  const columns = [...oursAmong(names), ...serverNames, ...Object.values(surroundingNames)].filter((name) =>
    names.includes(name),
  );
  return {
    title: `Throughput of ${system}`,
    head: ['', 'callers', 'n', '/s', 'p50 ms', 'p99 ms', 'CPU ms: ours', ...columns],
    rows: rows.map((row) => {
      const cpu = [ownCpuMs(row), ...columns.map((name) => row.cpuMs[name])];
      const measured = [row.perSecond, row.p50Ms, row.p99Ms, ...cpu].map(formatNumber);
      return [row.operation, `${row.callers}`, `${row.requests}`, ...measured];
    }),
    note: 'CPU: milliseconds per answer, AWS at 0 ms; ours = our processes together, beside their servers, the simulator and the load.',
  };
}
