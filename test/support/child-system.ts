import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { RunningSystem, SystemOptions } from '../../apps/standalone/src/system.js';

const entry = fileURLToPath(new URL('system-process.mjs', import.meta.url));

/** Runs the compiled system as a process of its own, one at a time, so that it can be killed. */
export class ChildSystem {
  private child: ChildProcess | undefined;

  /** For `World.start({ run })`. */
  readonly run = async (options: SystemOptions): Promise<RunningSystem> => {
    const { masterKey, surroundings, logger, ...plain } = options;
    const { ambientCredentials, ...limits } = surroundings;
    const child = fork(entry, { execArgv: [], stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    this.child = child;
    let said = '';
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('data', (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-4_000);
        logger.log({ msg: 'child', said: chunk.toString() });
      });
    }
    child.send({
      ...plain,
      masterKey: masterKey.toString('base64'),
      credentials: await ambientCredentials()(),
      surroundings: limits,
    });
    const [message] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [{ url?: string }];
    if (!message?.url) throw new Error(`The system did not start:\n${said}`);
    return { url: message.url, close: () => this.end() };
  };

  get pid(): number {
    return this.child!.pid!;
  }

  /** SIGKILL: whatever it was doing, it does no more. */
  async kill(): Promise<void> {
    const child = this.child!;
    this.child = undefined;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  private async end(): Promise<void> {
    const { child } = this;
    if (!child) return;
    this.child = undefined;
    const gone = once(child, 'exit');
    child.send({ close: true });
    await gone;
  }
}
