import type { Client } from './client.js';
import type { CpuTimes } from './cpu.js';
import { apply, type Failures, type Load, type Measured, often } from './load.js';
import type { Operations } from './operations.js';
import type { Phase } from './plan.js';
import type { SimulatedAws } from './simulated-aws.js';

export interface Outcome extends Measured {
  phase: Phase;
}

export interface Surroundings {
  client: Client;
  operations: Operations;
  aws: SimulatedAws;
  readCpu: () => CpuTimes;
  failures: Failures;
  /** Ends the measuring. */
  signal: AbortSignal;
}

/** Goes through the phases one after the other; between them nothing of the last one is left to do. */
export class Bench {
  constructor(private readonly surroundings: Surroundings) {}

  private get operations(): Operations {
    return this.surroundings.operations;
  }

  async run(phases: Phase[], progress: (done: number) => void): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    await this.warmUp();
    for (const [index, phase] of phases.entries()) {
      if (this.surroundings.signal.aborted) break;
      progress(index);
      // Only revoke takes leases from the stock, and it comes after those that add to it and use it.
      if (phase.operation !== 'revoke' && phase.operation !== 'renew') await this.emptyStock();
      await this.provide(phase, phases[index - 1], phases[index - 2]);
      await this.surroundings.aws.setLatency(phase.awsMs);
      const operation = this.operations.by[phase.operation];
      outcomes.push({ phase, ...(await this.apply({ ...phase, operation })) });
    }
    await this.emptyStock();
    return outcomes;
  }

  /** Compiled code, connections and caches on both sides, which no figure should pay for. */
  async warmUp(): Promise<void> {
    for (const operation of Object.values(this.operations.by)) {
      await this.apply({ operation, callers: 8, warmUpMs: 0, measureMs: 350 });
    }
  }

  /** Lends until there are so many, with as many callers; AWS at 0 ms. */
  async fill(leases: number, callers: number): Promise<void> {
    await this.surroundings.aws.setLatency(0);
    const { stock, by } = this.operations;
    await this.apply(often(by.creds, leases - stock.length, callers));
  }

  /** Applies one operation of a kind for so long, or until nothing is left to do. */
  measure(load: Load): Promise<Measured> {
    return this.apply(load);
  }

  /** Leases for what needs some, unless `creds` has just made them under the same conditions. */
  private async provide({ operation, callers, warmUpMs, measureMs, awsMs }: Phase, ...before: (Phase | undefined)[]) {
    if (operation !== 'renew' && operation !== 'revoke') return;
    const { stock, by } = this.operations;
    const lent = before.some((phase) => phase?.operation === 'creds' && phase.awsMs === awsMs);
    if (stock.length >= callers && (lent || operation === 'renew')) return;
    await this.surroundings.aws.setLatency(0);
    const enough = async (caller: number) =>
      (operation === 'revoke' || stock.length < callers) && (await by.creds(caller));
    await this.apply({ operation: enough, callers: Math.max(16, callers), warmUpMs, measureMs });
  }

  /** Takes back what is in stock. */
  async emptyStock(): Promise<void> {
    if (this.operations.stock.length === 0) return;
    await this.surroundings.aws.setLatency(0);
    await this.apply({ operation: this.operations.by.revoke, callers: 32, warmUpMs: 0, measureMs: 120_000 });
  }

  private apply(load: Load): Promise<Measured> {
    const { client, readCpu, failures, signal } = this.surroundings;
    client.reconnect();
    return apply(load, readCpu, failures, signal);
  }
}
