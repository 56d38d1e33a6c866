import { Bench } from './bench.js';
import { Client } from './client.js';
import { cpuOf, type CpuTimes } from './cpu.js';
import type { Failures } from './load.js';
import { Mounted } from './mounted.js';
import { Operations } from './operations.js';
import type { Say, Undo } from './servers.js';
import { SimulatedAws } from './simulated-aws.js';
import type { Shape } from './options.js';
import { startSystem, type System } from './systems.js';

/** What a whole run has in common. */
export interface Run {
  say: Say;
  failures: Failures;
  /** Ends the measuring. */
  signal: AbortSignal;
}

/** Not the system's own: AWS, and we who ask. */
export const surroundingNames = { aws: 'simulator', load: 'load' };

/** A system with an AWS beside it, and what is needed to measure it. */
export class Rig<S extends System = System> {
  private constructor(
    readonly system: S,
    readonly aws: SimulatedAws,
    readonly client: Client,
    readonly run: Run,
    private readonly undo: Undo,
  ) {}

  /** Starts both for as long as `use` takes, and takes back whatever was made; what then fails is a failure of the run. */
  static async with<S extends System, T>(
    run: Run,
    start: (say: Say, undo: Undo) => Promise<S>,
    use: (rig: Rig<S>) => Promise<T>,
  ): Promise<T> {
    const undo: Undo = [];
    try {
      const aws = await SimulatedAws.start();
      undo.push(() => aws.end());
      const system = await start(run.say, undo);
      const client = new Client(system.url, system.token);
      undo.push(async () => client.close());
      const rig = new Rig(system, aws, client, run, undo);
      run.signal.addEventListener('abort', () => rig.isCutOff && client.close());
      return await use(rig);
    } finally {
      for (const step of undo.toReversed()) await step().catch((error: unknown) => run.failures.add(error));
    }
  }

  /** A system of our own of each shape, one after the other. */
  static async inEach(run: Run, shapes: Shape[], use: (rig: Rig) => Promise<void>): Promise<void> {
    for (const shape of shapes) await Rig.with(run, (say, undo) => startSystem[shape]({}, say, undo), use);
  }

  /** An engine on an account of AWS, removed at the end. */
  async mount(accountNumber = 0): Promise<Mounted> {
    const mounted = new Mounted(this.client, this.aws, await this.aws.account(accountNumber));
    this.undo.push(async () => {
      this.client.reconnect();
      if (!this.isCutOff) await mounted.close();
    });
    await mounted.open();
    return mounted;
  }

  /** An engine whose callers have warmed both sides up, and which has lent nothing. */
  async warm(): Promise<{ mounted: Mounted; bench: Bench }> {
    const mounted = await this.mount();
    const { bench } = this.bench(mounted);
    await bench.warmUp();
    await bench.emptyStock();
    return { mounted, bench };
  }

  /** Callers that are spread over these mounts. */
  bench(...mounts: Mounted[]): { bench: Bench; operations: Operations } {
    const { client, aws, run } = this;
    const operations = new Operations(
      client,
      mounts.map(({ path }) => path),
    );
    const { failures, signal } = run;
    return { operations, bench: new Bench({ client, operations, aws, readCpu: this.readCpu, failures, signal }) };
  }

  private readonly readCpu = (): CpuTimes => {
    const { user, system: kernel } = process.cpuUsage();
    const watched = [...this.system.processes, { name: surroundingNames.aws, pid: this.aws.pid }];
    return { ...cpuOf(watched), [surroundingNames.load]: { [process.pid]: (user + kernel) / 1_000 } };
  };

  /** Services of our own have heard a Ctrl-C as well: nobody may answer, and they go with their database and their AWS. */
  private get isCutOff(): boolean {
    return this.run.signal.aborted && 'fleet' in this.system;
  }
}
