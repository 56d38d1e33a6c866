import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
// Whatever ends us closes the pipe, and with it this process, which the pipe does not keep alive.
const endWithUs = "process.stdin.on('close', () => process.exit(1)).resume().unref();";

/**
 * Runs code of the compiled output in a process of its own until it prints what `serving` matches, a group `url` among it.
 * Ctrl-C does not reach it: what was made is taken back first.
 */
export class OwnProcess {
  private constructor(
    private readonly child: ChildProcess,
    /** The groups of what `serving` matched. */
    readonly said: Record<string, string>,
  ) {}

  static async start(code: string, env: Record<string, string>, serving: RegExp): Promise<OwnProcess> {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', `${endWithUs} ${code}`], {
      cwd: root,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    let said = '';
    const told = new Promise<Record<string, string>>((resolve) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          said = (said + text).slice(-4_000);
          const { groups } = serving.exec(said) ?? {};
          if (groups) resolve(groups);
        });
      }
    });
    const ended = once(child, 'close').then(() => undefined);
    const found = await Promise.race([told, ended]);
    if (!found) throw new Error(`A process ended instead of serving:\n${said}`);
    return new OwnProcess(child, found);
  }

  get url(): string {
    return this.said.url!;
  }

  get pid(): number {
    return this.child.pid!;
  }

  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const closed = once(this.child, 'close');
    this.child.kill();
    const late = setTimeout(() => this.child.kill('SIGKILL'), 20_000);
    await closed;
    clearTimeout(late);
  }
}
