import { spawn } from 'node:child_process';
import { open, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { asUser } from './embedded-postgres-account.js';
import { findBinaries, type Binaries } from './embedded-postgres-binaries.js';
import {
  bareEnvironment,
  give,
  initialise,
  openHome,
  readPassword,
  scratchPrefix,
  superuser,
  type Home,
} from './embedded-postgres-home.js';
import { refusalFor } from './embedded-postgres-refusal.js';
import { findServer, isServerOf } from './embedded-postgres-server.js';
import { StartRefused } from './start-refused.js';

/** A running PostgreSQL of our own. `url` names the database and holds the password. */
export interface EmbeddedPostgres {
  url: string;
  /** Stops the server in order, whoever started it; may be called twice. */
  stop(): Promise<void>;
}

/** How long a server may take to recover or to stop before a start gives up on it, in milliseconds. */
const patienceMs = 30_000;

/** The owner of a server holds this advisory lock in a session of its own, so the lock ends with the owner, however it ends. */
const ownerLock = 0x1ea5e;

const settings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  shared_buffers: '128MB',
  fsync: 'on',
  synchronous_commit: 'on',
  // Neither statements nor rows belong in a log file.
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
};

/**
 * Starts the PostgreSQL that npm installed, on 127.0.0.1 and the data in `dataDir`, which is made at the first start.
 * A server that an earlier run left behind (its Node was killed) is adopted. The server runs in a process group of its
 * own, so that Ctrl-C reaches it only through `stop`.
 *
 * `port` is meant for tests; without it a free port is chosen and kept for the next start as long as it is free.
 *
 * @throws StartRefused with a sentence for the person: already running, disk full, folder not writable, wrong version …
 */
export async function startEmbeddedPostgres(options: {
  dataDir: string;
  say?: (line: string) => void;
  port?: number;
}): Promise<EmbeddedPostgres> {
  const dataDir = resolve(options.dataDir);
  const say = options.say ?? (() => undefined);
  try {
    const home = await openHome(dataDir, say);
    const binaries = await findBinaries(home.folder, home.account);
    await initialise(home, binaries);
    return await own(home, binaries, options.port, say);
  } catch (error) {
    throw refusalFor(error, dataDir);
  }
}

/** Starts a server or adopts the one there is, until one of them is ours or the patience ends. */
async function own(
  home: Home,
  binaries: Binaries,
  port: number | undefined,
  say: (line: string) => void,
): Promise<EmbeddedPostgres> {
  const password = await readPassword(home);
  const deadline = performance.now() + patienceMs;
  let reason: unknown;
  do {
    const found = findServer(home.data);
    const ready = found ? found.ready : (reason = await launch(home, binaries, port)) === undefined;
    const server = ready ? findServer(home.data) : undefined;
    if (!server) {
      await delay(50);
      continue;
    }
    try {
      const owner = await takeOwnership(server.port, password, home);
      if (found) say(`Adopted the PostgreSQL that an earlier run left behind (process ${server.pid}).`);
      return {
        url: `postgres://${superuser}:${password}@127.0.0.1:${server.port}/${superuser}`,
        stop: stopOnce(home.data, server.pid, owner),
      };
    } catch (error) {
      if (error instanceof StartRefused) throw error;
      reason = error; // it went down between being found and being asked, or is busy stopping: look again
      await delay(50);
    }
  } while (performance.now() < deadline);
  const blocking = findServer(home.data);
  if (!blocking) throw reason;
  throw new StartRefused(
    `PostgreSQL (process ${blocking.pid}) holds the data in ${home.data} but does not answer: end that process and start again.`,
  );
}

/** Undefined when a server is ready, else why none could be started now; a later try may succeed. */
async function launch(home: Home, binaries: Binaries, asked: number | undefined): Promise<string | undefined> {
  const portFile = join(home.server, 'port');
  const remembered = Number(await readFile(portFile, 'utf8').catch(() => ''));
  for (const port of asked ? [asked] : [remembered || (await freePort()), await freePort(), await freePort()]) {
    const failure = await serve(home, binaries, port);
    if (failure === undefined) {
      if (port !== remembered) await writeFile(portFile, String(port)).then(() => give(home, portFile));
      return undefined;
    }
    if (/lock file "postmaster\.pid" is empty/.test(failure))
      await rm(join(home.data, 'postmaster.pid'), { force: true });
    if (/postmaster\.pid" (is empty|already exists)|shared memory block .* is still in use/.test(failure))
      return failure;
    if (!/could not bind|could not create any TCP/.test(failure)) throw new Error(failure);
  }
  throw new StartRefused(
    asked
      ? `The port ${asked} of 127.0.0.1, which the embedded PostgreSQL was to use, is taken by another program.`
      : 'The embedded PostgreSQL found no free port on 127.0.0.1: set DATABASE_URL to a PostgreSQL of your own.',
  );
}

/** Runs the server on `port`. Undefined once it accepts connections; what it logged if it ended instead. */
async function serve(home: Home, binaries: Binaries, port: number): Promise<string | undefined> {
  const logFile = join(home.server, 'server.log');
  // The log is a file, not a pipe to us: the server may outlive us.
  const log = await open(logFile, 'a', 0o600);
  if ((await log.stat()).size > 1_000_000) await log.truncate();
  const { size } = await log.stat();
  await give(home, logFile);
  const child = spawn(
    binaries.postgres,
    [
      '-D',
      home.data,
      '-p',
      String(port),
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    { ...asUser(home.account), cwd: '/', env: bareEnvironment, detached: true, stdio: ['ignore', log.fd, log.fd] },
  );
  child.unref();
  // Before anything is waited for: a server may end in the meantime, and that is told once.
  let ended: Error | 'ended' | undefined;
  child.once('error', (error) => (ended = error)).once('exit', () => (ended ??= 'ended'));
  await log.close();
  while (ended === undefined) {
    const server = findServer(home.data);
    if (server?.pid === child.pid && server?.ready) return undefined;
    await delay(10);
  }
  if (ended !== 'ended') throw ended;
  return (await isFull(home.server)) ? 'No space left on device' : (await readFile(logFile, 'utf8')).slice(size);
}

/**
 * The session that makes this process the owner, and the database inside.
 *
 * @throws StartRefused when another process is the owner, or the server is not one that Leasehold started
 */
async function takeOwnership(port: number, password: string, home: Home): Promise<pg.Client> {
  const client = new pg.Client({
    ...{ host: '127.0.0.1', port, user: superuser, password, database: 'postgres' },
    application_name: 'leasehold owner',
    connectionTimeoutMillis: 5000,
  });
  client.on('error', () => undefined); // the server went away: whoever uses the database notices, and stop() still works
  try {
    await client.connect();
    if (!(await takeLock(client))) {
      throw new StartRefused(
        `Leasehold is already running on the data in ${home.folder}: stop that one first, or give this one a data folder of its own.`,
      );
    }
    const { rowCount } = await client.query('select from pg_database where datname = $1', [superuser]);
    if (!rowCount) await client.query(`create database ${superuser}`);
    for (const name of await readdir(home.folder)) {
      if (name.startsWith(scratchPrefix)) await rm(join(home.folder, name), { recursive: true, force: true });
    }
    return client;
  } catch (error) {
    await client.end();
    if (error instanceof pg.DatabaseError && error.code === '28P01') {
      throw new StartRefused(
        `The PostgreSQL that runs on ${home.data} does not take the password in ${home.server}: it was changed, and one of the two must be set back.`,
      );
    }
    throw error;
  }
}

/** Tries for a second: the session of an owner that was killed just now may need a moment to end. */
async function takeLock(client: pg.Client): Promise<boolean> {
  const deadline = performance.now() + 1000;
  do {
    const { rows } = await client.query<{ taken: boolean }>('select pg_try_advisory_lock($1) as taken', [ownerLock]);
    if (rows[0]?.taken) return true;
    await delay(50);
  } while (performance.now() < deadline);
  return false;
}

function stopOnce(data: string, pid: number, owner: pg.Client): () => Promise<void> {
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    // SIGINT is PostgreSQL's fast shutdown: sessions are ended, what was committed is written, no recovery next time.
    if (!(await endServer(data, pid, 'SIGINT', 10_000))) await endServer(data, pid, 'SIGKILL', 5000);
    await owner.end();
  };
  return () => (stopping ??= stop());
}

async function endServer(data: string, pid: number, signal: NodeJS.Signals, waitMs: number): Promise<boolean> {
  const deadline = performance.now() + waitMs;
  if (isServerOf(data, pid)) process.kill(pid, signal);
  while (isServerOf(data, pid)) {
    if (performance.now() > deadline) return false;
    await delay(10);
  }
  return true;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((listening, failed) => probe.once('listening', listening).once('error', failed));
  const { port } = probe.address() as AddressInfo;
  await new Promise((closed) => probe.close(closed));
  return port;
}

/** A server on a full disk often cannot even log that it is full. */
async function isFull(folder: string): Promise<boolean> {
  const space = await statfs(folder).catch(() => undefined);
  return space !== undefined && space.bavail * space.bsize < 64 * 1024;
}
