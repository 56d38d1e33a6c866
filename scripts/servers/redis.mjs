import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findServer } from './find.mjs';
import { answers, freePort, openFolder, secretIn } from './private.mjs';
import { keep, run } from './process.mjs';

export async function startInstalledRedis({ folder, port, password }) {
  await openFolder(folder);
  const own = await privateRedis({ port, password: password ?? (await secretIn(folder, 'password')) });
  const file = join(folder, 'redis.conf');
  const log = join(folder, 'redis.log');
  await writeFile(file, ['bind 127.0.0.1', `port ${own.port}`, 'daemonize no', ...own.settings, ''].join('\n'), {
    mode: 0o600,
  });
  return keep({
    ...own.server,
    log,
    // Its data goes to the folder that it runs in.
    launch: async () => [run(findServer('redis'), [file], { cwd: folder, env: { LC_ALL: 'C' }, log })],
  });
}

/** What every Redis of ours has in common, wherever it runs. */
export async function privateRedis({ port: asked, password }) {
  const port = asked ?? (await freePort());
  const quoted = JSON.stringify(password); // Redis reads the same quotes in commands and settings
  // The answer is -LOADING while it reads its data.
  const isReady = () => answers(port, `AUTH ${quoted}\r\nPING\r\n`, (bytes) => bytes.includes('+OK\r\n+PONG\r\n'));
  return {
    port,
    // In a file and not among the arguments, which every user of the machine may read.
    settings: [
      'appendonly yes',
      'appendfsync everysec',
      'save ""',
      'maxmemory-policy noeviction',
      `requirepass ${quoted}`,
    ],
    server: { name: 'Redis', url: `redis://:${encodeURIComponent(password)}@127.0.0.1:${port}`, isReady },
  };
}
