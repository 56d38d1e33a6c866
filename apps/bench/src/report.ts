import { writeFileSync } from 'node:fs';
import type { Outcome } from './bench.js';
import type { Failures } from './load.js';
import { percentile } from './percentile.js';
import { formatNumber, formatTable } from './table.js';

/** Not the system's own: AWS, and we who ask. */
export const surroundingNames = { aws: 'simulator', load: 'load' };

interface Row {
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

function rowOf({ phase, samples, seconds, completed, cpu }: Outcome): Row {
  return {
    operation: phase.operation,
    awsMs: phase.awsMs,
    callers: phase.callers,
    requests: samples.length,
    p50Ms: percentile(samples, 50),
    p99Ms: percentile(samples, 99),
    perSecond: completed / seconds,
    cpuMs: Object.fromEntries(Object.entries(cpu).map(([name, ms]) => [name, ms / completed])),
  };
}

const rowsOf = (outcomes: Outcome[], table: Outcome['phase']['table']) =>
  outcomes.filter(({ phase }) => phase.table === table).map(rowOf);

/** Everything that was measured, as text for a terminal. */
export function tables(outcomes: Outcome[]): string {
  const parts = [latencyTable(rowsOf(outcomes, 'latency')), throughputTable(rowsOf(outcomes, 'throughput'))];
  return parts.filter((part) => part !== '').join('\n\n');
}

function latencyTable(rows: Row[]): string {
  if (rows.length === 0) return '';
  const head = ['Latency', 'AWS ms', 'callers', 'n', 'p50 ms', 'p99 ms', '/s', 'p50 ÷ AWS', 'p50 − AWS', 'p99 − AWS'];
  const lines = rows.toSorted(byOperation).map((row) => {
    const { awsMs, p50Ms, p99Ms, perSecond } = row;
    const asksAws = awsMs > 0 && row.operation !== 'renew';
    const times = asksAws ? `${formatNumber(p50Ms / awsMs)}×` : '';
    const measured = [p50Ms, p99Ms, perSecond].map(formatNumber);
    const beyond = [p50Ms - awsMs, p99Ms - awsMs].map((ms) => (asksAws ? formatNumber(ms) : ''));
    return [row.operation, `${awsMs}`, `${row.callers}`, `${row.requests}`, ...measured, times, ...beyond];
  });
  return formatTable(head, lines);
}

/** By operation in the order measured; the sort is stable, so conditions keep theirs. */
function byOperation(a: Row, b: Row): number {
  return a.operation === b.operation ? 0 : order.indexOf(a.operation) - order.indexOf(b.operation);
}
const order = ['creds', 'assumed-role', 'federation-token', 'renew', 'revoke'];

function throughputTable(rows: Row[]): string {
  if (rows.length === 0) return '';
  const names = Object.keys(rows[0]!.cpuMs);
  const ours = names.filter((name) => !Object.values(surroundingNames).includes(name));
  const columns = [...ours, ...Object.values(surroundingNames)].filter((name) => names.includes(name));
  const head = ['Throughput', 'callers', 'n', '/s', 'p50 ms', 'p99 ms', 'CPU ms: system', ...columns];
  const lines = rows.map((row) => {
    const system = ours.length === 0 ? undefined : ours.reduce((sum, name) => sum + row.cpuMs[name]!, 0);
    const cpu = [system, ...columns.map((name) => row.cpuMs[name])];
    const measured = [row.perSecond, row.p50Ms, row.p99Ms, ...cpu].map(formatNumber);
    return [row.operation, `${row.callers}`, `${row.requests}`, ...measured];
  });
  return `${formatTable(head, lines)}
CPU: milliseconds per answer, AWS at 0 ms; system = all but simulator and load (we ourselves).`;
}

/** @throws Error when the file cannot be written. */
export function writeJson(file: string, facts: object, outcomes: Outcome[], failures: Failures): void {
  const [latency, throughput] = [rowsOf(outcomes, 'latency'), rowsOf(outcomes, 'throughput')];
  const failed = { byOutcome: failures.byOutcome, first: failures.first };
  writeFileSync(file, `${JSON.stringify({ ...facts, latency, throughput, failed }, null, 2)}\n`);
}
