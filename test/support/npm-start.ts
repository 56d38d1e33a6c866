import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './world.js';

/** What `npm start` runs, as a process of its own. */
export class NpmStart {
  output = '';
  private readonly child: ChildProcess;
  private readonly ended: Promise<number | null>;

  constructor(args: string[], env: Record<string, string>) {
    this.child = spawn(process.execPath, ['scripts/start.mjs', ...args], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const take = (chunk: Buffer) => {
      this.output += chunk.toString();
    };
    this.child.stdout!.on('data', take);
    this.child.stderr!.on('data', take);
    this.ended = new Promise((resolve) => this.child.once('close', (code) => resolve(code)));
  }

  /** Waits for a text in what it printed; returns the groups of the match. */
  async prints(text: RegExp, withinMs = 40_000): Promise<string[]> {
    const found = await eventually(() => {
      if (this.child.exitCode !== null && !text.test(this.output)) throw new Error(`It ended: ${this.output}`);
      return text.exec(this.output);
    }, withinMs);
    return [...found];
  }

  /** Ends it by a signal and waits for its end; returns the exit code. */
  async end(signal: NodeJS.Signals = 'SIGINT'): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    return this.ended;
  }

  /** Waits for it to end by itself; returns the exit code. */
  async exit(): Promise<number | null> {
    return this.ended;
  }
}

/** A folder that is gone after the test. */
export async function temporaryFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'leasehold-test-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** A port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
