import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it } from '@jest/globals';

const root = fileURLToPath(new URL('../../..', import.meta.url));

let child: ChildProcess;
afterEach(() => void child.kill('SIGKILL'));

/** Runs a service, as a process, whose stop ends when `close` does; resolves when it serves. */
async function serve(close: string, stopsWithinMs: number): Promise<{ said: (msg: string) => Promise<void> }> {
  const script = `import { processEnv, runService } from '#libs/runtime';
    await runService('trial', processEnv, async () => ({ close: ${close}, stopsWithinMs: ${stopsWithinMs} }));
    setInterval(() => undefined, 1_000);`;
  child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: root,
    env: { PATH: process.env.PATH, LEASEHOLD_OPERATIONS_PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout! }).on('line', (line) => lines.push(line));
  const said = async (msg: string) => {
    while (!lines.some((line) => line.includes(`"msg":"${msg}"`))) await once(reader, 'line');
  };
  await said('trial serves');
  return { said };
}

const aStopThatNeverEnds = '() => new Promise(() => undefined)';

it('ends with 0 when it was told to stop and has', async () => {
  await serve('async () => undefined', 60_000);
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
});

it('ends with 1 when what it waits for does not come in the time that a stop has', async () => {
  const { said } = await serve(aStopThatNeverEnds, 100);
  child.kill('SIGTERM');
  await said('trial ends without what it still waits for');
  expect(await once(child, 'exit')).toEqual([1, null]);
});

it('ends at once when the same signal comes again', async () => {
  const { said } = await serve(aStopThatNeverEnds, 60_000);
  child.kill('SIGTERM');
  await said('trial stops');
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([130, null]);
});

it('goes on with its stop when another signal comes: a parent passes on what the terminal sent to both', async () => {
  const { said } = await serve(`() => new Promise((stopped) => process.once('SIGTERM', stopped))`, 60_000);
  child.kill('SIGINT');
  await said('trial stops');
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
});
