import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { percentile } from './percentile.js';
import type { WatchedProcess } from './cpu.js';

/** Resident memory of each process in MB (10^6 bytes), by name; a name that occurs twice counts together. */
export function memoryOf(processes: WatchedProcess[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { name, pid } of processes) found[name] = (found[name] ?? 0) + residentMb(pid);
  return found;
}

/** The same, the median of some looks: a garbage collection is not what is measured. */
export async function steadyMemoryOf(processes: WatchedProcess[], looks = 7): Promise<Record<string, number>> {
  const seen: Record<string, number>[] = [];
  while (seen.length < looks) {
    if (seen.length > 0) await sleep(700);
    seen.push(memoryOf(processes));
  }
  const medianOf = (name: string) =>
    percentile(
      seen.map((look) => look[name]!).toSorted((a, b) => a - b),
      50,
    );
  return Object.fromEntries(Object.keys(seen[0]!).map((name) => [name, medianOf(name)]));
}

function residentMb(pid: number): number {
  if (process.platform === 'linux') {
    const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return (Number(kibibytes) * 1_024) / 1e6;
  }
  return (Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) * 1_024) / 1e6;
}
