import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { startRabbitmq, startRedis } from '#servers';
import { startEmbeddedPostgres } from '#libs/runtime';
import pg from 'pg';
import { listenerOn, type WatchedProcess } from './cpu.js';

export type Say = (line: string) => void;
/** Undone last to first; each is tried, whatever became of the others. */
export type Undo = (() => Promise<unknown>)[];

/** A folder for this run; a database server that runs as another user gets through. */
export async function temporaryFolder(undo: Undo): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-bench-'));
  undo.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  await chmod(folder, 0o755);
  return folder;
}

/** A new database on the server at TEST_DATABASE_URL, or on one of this run's own. */
export async function obtainDatabase(folder: string, say: Say, undo: Undo): Promise<string> {
  const given = process.env.TEST_DATABASE_URL;
  if (given) return freshDatabase(given, undo);
  say('Starting PostgreSQL (embedded; TEST_DATABASE_URL would be used).');
  const dataDir = join(folder, 'database');
  const { url, stop } = await startEmbeddedPostgres({ dataDir });
  undo.push(async () => {
    await stop();
    // Elsewhere when the temporary folder cannot be reached by the server's user.
    await rm(dirname(await realpath(join(dataDir, 'postgresql'))), { recursive: true, force: true });
  });
  return url;
}

async function freshDatabase(server: string, undo: Undo): Promise<string> {
  const run = async (sql: string) => {
    const client = new pg.Client({ connectionString: server });
    await client.connect();
    await client.query(sql).finally(() => client.end());
  };
  const name = `leasehold_bench_${randomBytes(6).toString('hex')}`;
  await run(`create database ${name}`);
  undo.push(() => run(`drop database ${name} with (force)`));
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

/** RabbitMQ and Redis as given by TEST_RABBITMQ_URL and TEST_REDIS_URL, or of this run's own; `ownRedis`: in any case. */
export async function obtainBroker(
  folder: string,
  say: Say,
  undo: Undo,
  { ownRedis = false } = {},
): Promise<{ rabbitmq: string; redis: string }> {
  const obtain = async (given: string | undefined, name: string, start: typeof startRedis | typeof startRabbitmq) => {
    if (given) return given;
    say(`Starting ${name}${ownRedis && name === 'Redis' ? '' : ` (TEST_${name.toUpperCase()}_URL would be used)`}.`);
    const server = await start({ folder: join(folder, name.toLowerCase()), say });
    undo.push(() => server.stop());
    return server.url;
  };
  const { TEST_RABBITMQ_URL, TEST_REDIS_URL } = process.env;
  return {
    redis: await obtain(ownRedis ? undefined : TEST_REDIS_URL, 'Redis', startRedis),
    rabbitmq: await obtain(TEST_RABBITMQ_URL, 'RabbitMQ', startRabbitmq),
  };
}

/** Names of processes that are servers and not our own code. */
export const serverNames: readonly string[] = ['postgresql', 'rabbitmq', 'redis'];

/** The process behind a URL, where it can be told. */
export function serverProcess(name: string, url: string): WatchedProcess[] {
  const { hostname, port } = new URL(url);
  const usual = { rabbitmq: 5672, redis: 6379, postgresql: 5432 }[name];
  const pid = /^(127\.|localhost|\[::1\])/.test(hostname) ? listenerOn(Number(port) || usual!) : undefined;
  return pid === undefined ? [] : [{ name, pid }];
}

/** The same of a database; of a server that was given, what it does for this database alone. */
export function databaseProcess(url: string): WatchedProcess[] {
  const titled = process.env.TEST_DATABASE_URL ? { titled: ` ${new URL(url).pathname.slice(1)} ` } : {};
  return serverProcess('postgresql', url).map((found) => ({ ...found, ...titled }));
}
