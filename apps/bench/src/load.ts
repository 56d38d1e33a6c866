import { setTimeout as sleep } from 'node:timers/promises';
import { RequestFailed } from './client.js';
import { type CpuTimes, spentBetween, type SpentCpu } from './cpu.js';
import type { Operation } from './operations.js';

/** Requests that failed, over the whole run. */
export class Failures {
  readonly byOutcome: Record<string, number> = {};
  first: string | undefined;

  add(error: unknown): void {
    const outcome = error instanceof RequestFailed ? error.outcome : 'error';
    this.byOutcome[outcome] = (this.byOutcome[outcome] ?? 0) + 1;
    this.first ??= error instanceof Error ? error.message : String(error);
  }
}

export interface Load {
  operation: Operation;
  callers: number;
  warmUpMs: number;
  measureMs: number;
}

/** So much to do for so many callers, however long it takes (ten minutes at most): on a busy machine as much as on an idle one. */
export function often(operation: Operation, count: number, callers: number): Load {
  let left = count;
  return {
    operation: async (caller) => left-- > 0 && (await operation(caller)),
    callers,
    warmUpMs: 0,
    measureMs: 600_000,
  };
}

export interface Measured {
  /** Milliseconds of every request that began after the warm-up, ascending. */
  samples: Float64Array;
  /** From the end of the warm-up to the end, or to when nothing was left to do. */
  seconds: number;
  /** Answers in that time. */
  completed: number;
  /** Milliseconds of CPU that each process spent in that time. */
  cpu: SpentCpu;
}

/** A closed loop: each caller asks, waits for the answer, and asks again, until the time is over. */
export async function apply(
  { operation, callers, warmUpMs, measureMs }: Load,
  readCpu: () => CpuTimes,
  failures: Failures,
  signal: AbortSignal,
): Promise<Measured> {
  const samples: number[] = [];
  let [from, to, completed] = [Infinity, Infinity, 0];
  let [cpuBefore, cpuAfter]: CpuTimes[] = [{}, {}];
  const begin = () => {
    cpuBefore = readCpu();
    from = performance.now();
  };
  const finish = () => {
    if (to < Infinity) return;
    to = performance.now();
    cpuAfter = readCpu();
    clearTimeout(warmUp);
    clearTimeout(time);
  };
  const warmUp = setTimeout(begin, warmUpMs);
  const time = setTimeout(finish, warmUpMs + measureMs);
  const call = async (caller: number) => {
    while (to === Infinity && !signal.aborted) {
      const start = performance.now();
      try {
        if (!(await operation(caller))) return finish();
      } catch (error) {
        if (signal.aborted) return;
        failures.add(error);
        await sleep(50); // a server that refuses at once is not to be run over
        continue;
      }
      const end = performance.now();
      if (start >= from) samples.push(end - start);
      if (end >= from && to === Infinity) completed += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, caller) => call(caller)));
  finish();
  return {
    samples: Float64Array.from(samples).sort(),
    seconds: Math.max(0, to - from) / 1_000,
    completed,
    cpu: spentBetween(cpuBefore!, cpuAfter!),
  };
}
