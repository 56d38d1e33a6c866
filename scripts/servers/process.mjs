import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ServersRefused } from './servers-refused.mjs';

/**
 * A server of this run's own. `stop` ends it in order, `kill` by SIGKILL; `start` brings it up again on the same port and
 * data. `freeze` leaves it as it is and its connections open, and it does nothing any more until `thaw`. Each may be called
 * at any time and again. `pid` is the server's own, undefined while it is down and under Docker.
 *
 * @typedef {{ url: string, readonly pid: number | undefined, start(): Promise<void>, stop(): Promise<void>,
 *   kill(): Promise<void>, freeze(): Promise<void>, thaw(): Promise<void> }} Server
 *
 * Something that runs; `end` resolves when it is gone.
 * @typedef {{ pid?: number, hasEnded(): boolean, end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>,
 *   freeze?(): Promise<void>, thaw?(): Promise<void> }} Running
 */

/** How long a server may take to start or to stop, on a machine that does other things too. */
const patienceMs = 60_000;

/**
 * Starts a server and keeps it. `launch` gives what makes it up, the server itself first; `isReady` asks it once.
 *
 * @param {{ name: string, url: string, log?: string, launch: () => Promise<Running[]>, isReady: () => Promise<boolean> }} options
 * @returns {Promise<Server>}
 */
export async function keep({ name, url, log, launch, isReady }) {
  let parts = [];
  const isUp = () => parts.length > 0 && !parts[0].hasEnded();
  const end = async (signal) => {
    const [server, ...others] = parts.splice(0);
    await server?.thaw?.(); // what is frozen hears no request to end
    await server?.end(signal);
    await Promise.all(others.map((part) => part.end('SIGKILL')));
  };
  const start = async () => {
    if (isUp()) return;
    await end('SIGKILL'); // what a server that ended by itself left behind
    parts = await launch();
    const deadline = performance.now() + patienceMs;
    while (!(await isReady())) {
      if (isUp() && performance.now() < deadline) await delay(25);
      else {
        await end('SIGKILL');
        throw new ServersRefused(`${name} did not start${lastWords(log)}`);
      }
    }
  };
  // One at a time, so that a stop during a start ends what is being started.
  let turn = Promise.resolve();
  const inTurn = (step) => () => (turn = turn.catch(() => undefined).then(step));
  const server = {
    url,
    get pid() {
      return isUp() ? parts[0].pid : undefined;
    },
    start: inTurn(start),
    stop: inTurn(() => end('SIGTERM')),
    kill: inTurn(() => end('SIGKILL')),
    freeze: inTurn(() => parts[0]?.freeze?.()),
    thaw: inTurn(() => parts[0]?.thaw?.()),
  };
  await server.start();
  return server;
}

/**
 * Runs a program in a process group of its own, which Ctrl-C does not reach and which is ended as a whole.
 *
 * @returns {Running}
 */
export function run(program, args, { cwd, env, log }) {
  const output = log ? openSync(log, 'a', 0o600) : 'ignore';
  const child = spawn(program, args, { cwd, env, detached: true, stdio: ['ignore', output, output] });
  if (log) closeSync(output);
  let ended = false;
  const exited = new Promise((gone) => child.once('exit', gone).once('error', gone)).then(() => (ended = true));
  child.unref();
  if (child.pid) {
    const guard = onOurEnd('kill -s KILL -- "-$1"', String(child.pid));
    void exited.then(() => guard.kill('SIGKILL'));
  }
  const signalAll = async (signal) => void (ended || process.kill(-child.pid, signal));
  return {
    pid: child.pid,
    hasEnded: () => ended,
    freeze: () => signalAll('SIGSTOP'),
    thaw: () => signalAll('SIGCONT'),
    async end(signal) {
      if (!ended && signal === 'SIGTERM') child.kill(signal);
      if (signal === 'SIGTERM' && (await settles(exited))) return;
      if (!ended) process.kill(-child.pid, 'SIGKILL');
      await settles(exited);
    },
  };
}

/** Runs the shell script when this process ends, in whatever way: its end closes the pipe that the shell reads from. */
export function onOurEnd(script, ...args) {
  const guard = spawn('/bin/sh', ['-c', `read -r _; ${script}`, 'sh', ...args], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  guard.unref();
  guard.stdin.unref();
  guard.stdin.on('error', () => undefined);
  return guard;
}

async function settles(promise) {
  const waiting = new AbortController();
  const late = delay(patienceMs, false, { signal: waiting.signal }).catch(() => false);
  const settled = await Promise.race([promise, late]);
  waiting.abort();
  return settled;
}

function lastWords(log) {
  if (!log || !existsSync(log)) return '.';
  const lines = readFileSync(log, 'utf8').split('\n');
  const last = lines.filter((line) => line.trim()).slice(-3);
  return `; the last it wrote to ${log} is: ${last.map((line) => line.trim()).join(' / ')}`;
}
