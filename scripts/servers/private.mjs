import { randomBytes, randomInt } from 'node:crypto';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';

// What makes an instance private: a folder, a secret and ports that nobody else uses.

export async function openFolder(folder) {
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o700);
}

export function secret() {
  return randomBytes(24).toString('hex');
}

/** The secret in the folder's file `name`, made at the first time: data that was kept knows no other. */
export async function secretIn(folder, name, mode = 0o600) {
  const file = join(folder, name);
  await writeFile(file, secret(), { flag: 'wx', mode }).catch((error) => {
    if (error.code !== 'EEXIST') throw error;
  });
  return readFile(file, 'utf8');
}

/**
 * A port below those that systems hand out by themselves (from 32768): while a server is down, one of those could go to
 * any connection, even to that of a client which looks for the server and would then meet itself.
 */
export async function freePort() {
  for (;;) {
    const port = randomInt(15_000, 32_000);
    const probe = createServer();
    const isFree = await new Promise((told) => {
      probe.once('error', () => told(false)).listen(port, '127.0.0.1', () => told(true));
    });
    if (!isFree) continue;
    await new Promise((closed) => probe.close(closed));
    return port;
  }
}

/** The PEM texts of a server that speaks TLS, as files. */
export async function writePems(folder, { ca, cert, key }) {
  const pems = { ca, cert, key };
  const files = Object.entries(pems).map(([name, text]) => [name, join(folder, `${name}.pem`), text]);
  for (const [, file, text] of files) await writeFile(file, text, { mode: 0o600 });
  return Object.fromEntries(files);
}

/** Whether what listens on `port` answers `hello` with bytes for which `isAnswer` is true; over TLS, as its own client. */
export function answers(port, hello, isAnswer, tls) {
  return new Promise((told) => {
    const to = { port, host: '127.0.0.1', timeout: 2000 };
    const greet = () => socket.write(hello);
    const socket = tls ? connectTls({ ...to, ...tls }, greet) : connect(to, greet);
    let received = Buffer.alloc(0);
    const tell = (answer) => {
      socket.destroy();
      told(answer);
    };
    socket.on('data', (bytes) => {
      received = Buffer.concat([received, bytes]);
      if (isAnswer(received)) tell(true);
    });
    for (const event of ['end', 'close', 'error', 'timeout']) socket.once(event, () => tell(false));
  });
}
