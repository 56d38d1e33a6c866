import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export type Kind = 'gateway' | 'issuer' | 'revoker' | 'simulator' | 'migrate';

/** Compiled from here, whether this file runs compiled or under a test that compiles it on the way. */
const root = fileURLToPath(new URL(import.meta.url.includes('/dist/') ? '../../../..' : '../../..', import.meta.url));

/** One service as a process of its own, on 127.0.0.1. */
export class Service {
  /** Of a gateway and of the simulator: where it serves. */
  url = '';
  /** Where it answers health and metrics, from its first moment on. */
  operations = '';
  private serving = false;
  readonly ended: Promise<number | null>;
  /** The end of what it printed. */
  said = '';

  constructor(
    readonly kind: Kind,
    private readonly child: ChildProcess,
    private readonly onLine: (line: string) => void,
  ) {
    for (const stream of [child.stdout!, child.stderr!])
      createInterface({ input: stream }).on('line', (line) => this.hear(line));
    this.ended = new Promise((resolve) => child.once('close', resolve));
  }

  get pid(): number {
    return this.child.pid!;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  private hear(line: string): void {
    this.onLine(line);
    this.said = `${this.said}\n${line}`.slice(-4_000);
    const { msg, url, operations } = read(line);
    if (msg === 'gateway listens') this.url = url!;
    if (operations) this.operations = `http://127.0.0.1:${operations}`;
    if (msg === `${this.kind} serves`) this.serving = true;
    const simulator = /^simulator .* at (\S+)$/.exec(line);
    if (simulator) {
      this.url = simulator[1]!;
      this.serving = true;
    }
  }

  /** Waits until it has said that it serves. @throws Error with what it said last when it ends instead. */
  async serves(): Promise<this> {
    await this.until(() => this.serving);
    return this;
  }

  /** Waits until it can be asked how it is; it may still be waiting for what it depends on. */
  async starts(): Promise<this> {
    await this.until(() => this.operations !== '');
    return this;
  }

  private async until(happened: () => boolean): Promise<void> {
    while (!happened()) {
      if (!this.running) throw new Error(`The ${this.kind} ended instead of serving:${this.said}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Whether it says that it is ready. */
  isReady(): Promise<boolean> {
    return this.says('ready');
  }

  /** Whether it says that it is alive. */
  isAlive(): Promise<boolean> {
    return this.says('live');
  }

  private says(state: 'ready' | 'live'): Promise<boolean> {
    return fetch(`${this.operations}/health/${state}`).then(
      (answer) => answer.ok,
      () => false,
    );
  }

  /** Sends a signal; with the default one it finishes what it has begun. */
  signal(signal: NodeJS.Signals = 'SIGTERM'): void {
    if (this.running) this.child.kill(signal);
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.signal(signal);
    await this.ended;
  }
}

function read(line: string): { msg?: string; url?: string; operations?: number } {
  try {
    return JSON.parse(line) as { msg?: string };
  } catch {
    return {};
  }
}

/** The services of one system, each a process from the compiled output with `env` as its whole environment. */
export class Fleet {
  private readonly started: Service[] = [];

  constructor(
    /** What all have in common. */
    readonly environment: Record<string, string>,
    private readonly onLine: (line: string, from: Service) => void = () => undefined,
  ) {}

  /** Starts one; `env` adds to the common environment. It may not serve yet. */
  start(kind: Kind, env: Record<string, string> = {}): Service {
    const child = spawn(process.execPath, ['--enable-source-maps', `dist/apps/${kind}/src/main.js`], {
      cwd: root,
      env: { PATH: process.env.PATH, LEASEHOLD_OPERATIONS_PORT: '0', PORT: '0', ...this.environment, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const service: Service = new Service(kind, child, (line) => this.onLine(line, service));
    this.started.push(service);
    return service;
  }

  /** Runs `migrate` to its end. @throws Error with what it said when it fails. */
  async migrate(env: Record<string, string> = {}): Promise<void> {
    const step = this.start('migrate', env);
    if ((await step.ended) !== 0) throw new Error(`The migration failed:${step.said}`);
  }

  /** Those that run. */
  running(kind?: Kind): Service[] {
    return this.started.filter((service) => service.running && (!kind || service.kind === kind));
  }

  /** Ends all, the gateways first, so that what is inside still finds the others. */
  async close(): Promise<void> {
    for (const kind of ['gateway', 'issuer', 'revoker', 'simulator', 'migrate'] satisfies Kind[]) {
      await Promise.all(this.running(kind).map((service) => service.end()));
    }
  }
}
