import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findServer } from './find.mjs';
import { answers, freePort, openFolder, secretIn, writePems } from './private.mjs';
import { keep, run } from './process.mjs';

export async function startInstalledRedis({ folder, port, password, tls }) {
  await openFolder(folder);
  const own = await privateRedis({ port, password: password ?? (await secretIn(folder, 'password')), tls });
  const file = join(folder, 'redis.conf');
  const log = join(folder, 'redis.log');
  const listen = tls ? await listenSecurely(folder, own.port, tls) : [`port ${own.port}`];
  await writeFile(file, ['bind 127.0.0.1', ...listen, 'daemonize no', ...own.settings, ''].join('\n'), { mode: 0o600 });
  return keep({
    ...own.server,
    log,
    // Its data goes to the folder that it runs in.
    launch: async () => [run(findServer('redis'), [file], { cwd: folder, env: { LC_ALL: 'C' }, log })],
  });
}

async function listenSecurely(folder, port, tls) {
  const { ca, cert, key } = await writePems(folder, tls);
  return [
    'port 0',
    `tls-port ${port}`,
    `tls-ca-cert-file ${ca}`,
    `tls-cert-file ${cert}`,
    `tls-key-file ${key}`,
    'tls-auth-clients yes',
  ];
}

/** What every Redis of ours has in common, wherever it runs. */
export async function privateRedis({ port: asked, password, tls }) {
  const port = asked ?? (await freePort());
  const quoted = JSON.stringify(password); // Redis reads the same quotes in commands and settings
  // The answer is -LOADING while it reads its data.
  const isReady = () => answers(port, `AUTH ${quoted}\r\nPING\r\n`, (bytes) => bytes.includes('+OK\r\n+PONG\r\n'), tls);
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
    server: {
      name: 'Redis',
      url: `${tls ? 'rediss' : 'redis'}://:${encodeURIComponent(password)}@127.0.0.1:${port}`,
      isReady,
    },
  };
}
