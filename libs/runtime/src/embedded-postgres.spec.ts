import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn, spawnSync } from 'node:child_process';
import { pbkdf2 } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { transformFile } from '@swc/core';
import pg from 'pg';
import { hydrate } from './embedded-postgres-binaries.js';
import { refusalFor } from './embedded-postgres-refusal.js';
import { findServer, isServerOf } from './embedded-postgres-server.js';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.js';
import { StartRefused } from './start-refused.js';

const asRoot = process.getuid?.() === 0 ? it : it.skip;
/** In a mount namespace of its own, so that the file system goes with the process that asked for it. */
const mountTmpfs = 'mount -t tmpfs -o size=160m,mode=755 none';
const canMount = spawnSync('unshare', ['--mount', 'sh', '-c', `${mountTmpfs} ${tmpdir()}`]).status === 0;
const started: EmbeddedPostgres[] = [];
let temp: string;

beforeAll(async () => {
  temp = await mkdtemp(join(tmpdir(), 'embedded-postgres-'));
  await chmod(temp, 0o755); // mkdtemp makes it ours alone, and as root the server runs as another user
  const first = await startEmbeddedPostgres({ dataDir: join(temp, 'template') });
  await query(first.url, 'create table kept (word text)');
  await query(first.url, `insert into kept values ('before')`);
  await first.stop();
});

afterEach(async () => {
  for (const server of started.splice(0)) await server.stop();
});

afterAll(() => rm(temp, { recursive: true, force: true }));

/** A folder with data of its own: one table, `kept`, with the word "before". */
function dataFolder(name: string): string {
  spawnSync('cp', ['-a', join(temp, 'template'), join(temp, name)]);
  return join(temp, name);
}

async function start(dataDir: string, say?: (line: string) => void): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ dataDir, say });
  started.push(server);
  return server;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows.map((row) => Object.values(row)[0]);
  } finally {
    await client.end();
  }
}

/** What `startEmbeddedPostgres` says to the person instead of starting. */
async function refusalOf(attempt: Promise<EmbeddedPostgres>): Promise<string> {
  const refusal = await attempt.then(
    (server) => void started.push(server),
    (error: unknown) => error,
  );
  expect(refusal).toBeInstanceOf(StartRefused);
  return (refusal as StartRefused).message;
}

/** Node's threads for files have something else before whatever they are asked for, until the signal. */
function keepThreadsBusy(signal: AbortSignal): void {
  for (let nth = 0; nth < 16; nth += 1) {
    const next = () => signal.aborted || pbkdf2('', '', 50_000, 32, 'sha256', next);
    next();
  }
}

/** Starts the server from another Node process and kills that process; the server lives on. */
async function abandonedServer(dataDir: string): Promise<{ pid: number }> {
  const child = spawn(process.execPath, ['start.js', dataDir], {
    cwd: await compiled(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  const server = findServer(join(dataDir, 'postgresql', 'data'));
  if (!server) throw new Error('the server did not outlive its starter');
  return server;
}

/** A folder with the code compiled, for a Node without jest, and the programs that specs run with it. */
async function compiled(): Promise<string> {
  const folder = join(temp, 'compiled');
  if (existsSync(folder)) return folder;
  await mkdir(folder);
  await symlink(join(process.cwd(), 'node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  const source = join(process.cwd(), 'libs/runtime/src');
  for (const name of await readdir(source)) {
    if (!/^(embedded-postgres.*|start-refused)(?<!\.spec)\.ts$/.test(name)) continue;
    const { code } = await transformFile(join(source, name), {
      jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    });
    await writeFile(join(folder, name.replace(/\.ts$/, '.js')), code);
  }
  await writeFile(join(folder, 'start.js'), startProgram);
  await writeFile(join(folder, 'full-disk.js'), fullDiskProgram);
  return folder;
}

const startProgram = `
  import { startEmbeddedPostgres } from './embedded-postgres.js';
  console.log((await startEmbeddedPostgres({ dataDir: process.argv[2] })).url);`;

const fullDiskProgram = `
  import { rmSync, writeFileSync } from 'node:fs';
  import { startEmbeddedPostgres } from './embedded-postgres.js';
  const [disk] = process.argv.slice(2);
  const fill = (megabytes) => {
    try { writeFileSync(disk + '/filler', Buffer.alloc(megabytes * 1024 * 1024)); } catch {}
  };
  const attempt = () => startEmbeddedPostgres({ dataDir: disk + '/data' }).then(
    (server) => server.stop().then(() => console.log('started')),
    (error) => console.log(error.message));
  for (const megabytes of [150, 160]) { // too little for initdb, then not even room for the server to log that
    fill(megabytes);
    await attempt();
    rmSync(disk + '/filler');
    await attempt();
  }`;

describe('the embedded PostgreSQL', () => {
  it('serves SQL on loopback only, with durable commits and a password nobody else can read', async () => {
    const { url } = await start(join(temp, 'fresh'));
    expect(await query(url, 'select 40 + 2')).toEqual([42]);
    expect(await query(url, 'show listen_addresses')).toEqual(['127.0.0.1']);
    expect(await query(url, 'show unix_socket_directories')).toEqual(['']);
    expect(await query(url, 'show fsync')).toEqual(['on']);
    expect(await query(url, 'show server_encoding')).toEqual(['UTF8']);
    expect(await query(url, 'select current_database()')).toEqual(['leasehold']);
    expect((await stat(join(temp, 'fresh/postgresql/password'))).mode & 0o777).toBe(0o600);
    await expect(query(url.replace(/:[0-9a-f]+@/, ':wrong@'), 'select 1')).rejects.toThrow('password');
  });

  it('keeps data and port from one start to the next and leaves no process behind', async () => {
    const folder = dataFolder('again');
    const first = await start(folder);
    const { pid } = findServer(join(folder, 'postgresql/data'))!;
    await query(first.url, `insert into kept values ('after')`);
    await first.stop();
    expect(isServerOf(join(folder, 'postgresql/data'), pid)).toBe(false);

    const second = await start(folder);
    expect(await query(second.url, 'select word from kept')).toEqual(['before', 'after']);
    expect(second.url).toBe(first.url);
  });

  it('takes another port when the last one is taken', async () => {
    const folder = dataFolder('port');
    const squatter = createServer().listen(
      Number(await readFile(join(folder, 'postgresql/port'), 'utf8')),
      '127.0.0.1',
    );
    await once(squatter, 'listening');
    try {
      const { url } = await start(folder);
      expect(await query(url, 'select word from kept')).toEqual(['before']);
      expect(new URL(url).port).toBe(await readFile(join(folder, 'postgresql/port'), 'utf8'));
    } finally {
      squatter.close();
    }
  });

  it('adopts the server of a process that was killed, and stops it', async () => {
    const folder = dataFolder('adopted');
    const { pid } = await abandonedServer(folder);
    const said: string[] = [];
    const adopted = await start(folder, (line) => said.push(line));
    expect(said).toEqual([expect.stringContaining(`process ${pid}`)]);
    expect(await query(adopted.url, 'select word from kept')).toEqual(['before']);
    await adopted.stop();
    expect(isServerOf(join(folder, 'postgresql/data'), pid)).toBe(false);
  });

  it('starts after the server itself was killed, with every row that was committed', async () => {
    const folder = dataFolder('killed');
    const { pid } = await abandonedServer(folder);
    process.kill(pid, 'SIGKILL'); // nobody reaps it at once: it may stay as a zombie for a while
    const { url } = await start(folder);
    expect(await query(url, 'select word from kept')).toEqual(['before']);
  });

  it.each([
    ['the pid of a stranger', `${process.pid}\n/elsewhere\n1\n5432\n`],
    ['nothing, as a full disk leaves it', ''],
  ])('starts although the lock file of a dead server holds %s', async (what, content) => {
    const folder = dataFolder(what.replaceAll(/\W/g, '-'));
    await writeFile(join(folder, 'postgresql/data/postmaster.pid'), content);
    expect(await query((await start(folder)).url, 'select 1')).toEqual([1]);
  });

  it('lets one of two starts on the same folder through and tells the other why not', async () => {
    const folder = join(temp, 'contested');
    const attempts = await Promise.allSettled([start(folder), start(folder)]);
    const refused = attempts.filter((attempt) => attempt.status === 'rejected');
    expect(refused).toHaveLength(1);
    expect(refused[0]!.reason).toBeInstanceOf(StartRefused);
    expect((refused[0]!.reason as Error).message).toContain(`already running on the data in ${folder}`);
    expect(await query(started[0]!.url, 'select 1')).toEqual([1]);
    expect((await readdir(folder)).filter((name) => name.startsWith('postgresql-new-'))).toEqual([]);
  });

  it('refuses a folder that cannot be made, in one sentence that names it', async () => {
    await writeFile(join(temp, 'file'), '');
    const message = await refusalOf(startEmbeddedPostgres({ dataDir: join(temp, 'file/data') }));
    expect(message).toContain(`data folder ${temp}/file/data cannot be used`);
    expect(message).toContain('DATABASE_URL');
    expect(message).not.toContain('\n');
  });

  it('refuses data of another major version and leaves it alone', async () => {
    const folder = dataFolder('old');
    await writeFile(join(folder, 'postgresql/data/PG_VERSION'), '17\n');
    expect(await refusalOf(startEmbeddedPostgres({ dataDir: folder }))).toContain('was made by PostgreSQL 17');
    expect(await readFile(join(folder, 'postgresql/data/PG_VERSION'), 'utf8')).toBe('17\n');
  });

  it('refuses a port that was asked for and is taken', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const { port } = squatter.address() as { port: number };
    const message = await refusalOf(startEmbeddedPostgres({ dataDir: dataFolder('asked'), port }));
    squatter.close();
    expect(message).toContain(`port ${port}`);
  });

  it('hears of a server that ends while this process is busy with its files', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const { port } = squatter.address() as { port: number };
    const folder = dataFolder('busy');
    const busy = new AbortController();
    keepThreadsBusy(busy.signal);
    const message = await refusalOf(startEmbeddedPostgres({ dataDir: folder, port })).finally(() => busy.abort());
    squatter.close();
    expect(message).toContain(`port ${port}`);
  });

  it('mends a package whose install script did not run', async () => {
    const library = join(temp, 'package/native/lib');
    await mkdir(library, { recursive: true });
    await writeFile(join(library, 'libpq.so.5.18'), 'the library');
    await writeFile(
      join(temp, 'package/native/pg-symlinks.json'),
      JSON.stringify([{ source: 'native/lib/libpq.so.5.18', target: 'native/lib/libpq.so.5' }]),
    );
    for (const _ of ['made', 'already there']) expect(await hydrate(join(temp, 'package'))).toBe(true);
    expect(await readlink(join(library, 'libpq.so.5'))).toBe('libpq.so.5.18');
  });
});

describe('the sentence for the person', () => {
  it.each([
    [
      'initdb: error: could not write to file "/d/base/1/2679": No space left on device\ninitdb: removing data directory',
      /disk that holds the data folder \/d is full/,
    ],
    ["ENOSPC: no space left on device, mkdir '/d'", /disk that holds the data folder \/d is full/],
    ['FATAL:  could not extend file "base/5/1": Disk quota exceeded', /disk that holds the data folder \/d is full/],
    ["EROFS: read-only file system, mkdir '/d'", /data folder \/d cannot be used .*read-only file system/],
    [
      'initdb: error: could not change permissions of directory "/d": Permission denied',
      /data folder \/d cannot be used/,
    ],
    [
      'postgres: error while loading shared libraries: libz.so.1: cannot open',
      /does not run on this system .*DATABASE_URL/,
    ],
    [
      'LOG:  x\n2026-11-24 04:00:00 UTC [9] FATAL:  could not map anonymous shared memory\nLOG:  shut down',
      /did not start in the data folder \/d: could not map anonymous shared memory\.$/,
    ],
  ])('is clear about %j', (failure, sentence) => {
    for (const each of [failure, new Error(failure)]) expect(refusalFor(each, '/d').message).toMatch(sentence);
  });
});

describe('as root', () => {
  asRoot('runs below a folder that only root may enter, and finds its data again there', async () => {
    const folder = join(temp, 'sealed/data');
    await mkdir(dirname(folder), { mode: 0o700 });
    const first = await start(folder);
    const elsewhere = await readlink(join(folder, 'postgresql'));
    try {
      await query(first.url, 'create table kept (word text)');
      await first.stop();
      expect(await query((await start(folder)).url, 'select count(*)::int from kept')).toEqual([0]);
      expect((await stat(elsewhere)).uid).not.toBe(0);
    } finally {
      for (const server of started.splice(0)) await server.stop();
      await rm(dirname(elsewhere), { recursive: true, force: true });
    }
  });

  (canMount ? it : it.skip)(
    'names the folder when its disk is full, and starts once there is space again',
    async () => {
      const disk = join(temp, 'disk');
      await mkdir(disk);
      const ran = spawnSync(
        'unshare',
        ['--mount', 'sh', '-c', `${mountTmpfs} ${disk} && exec ${process.execPath} full-disk.js ${disk}`],
        { cwd: await compiled(), encoding: 'utf8' },
      );
      const full = expect.stringContaining(`data folder ${disk}/data is full`);
      expect(ran.stdout.trim().split('\n')).toEqual([full, 'started', full, 'started']);
    },
  );
});
