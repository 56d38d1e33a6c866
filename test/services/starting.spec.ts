import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { Fleet, Kind } from '../../apps/cluster/src/fleet.js';
import { cuttingProxy } from '../support/cutting-proxy.js';
import { newFleet, testServers } from '../support/services.js';
import { eventually, freshDatabase, quickTiming } from '../support/world.js';

const services: Kind[] = ['gateway', 'issuer', 'revoker'];
const root = fileURLToPath(new URL('../..', import.meta.url));

describe('a service that starts', () => {
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let fleet: Fleet;

  beforeAll(async () => {
    database = await freshDatabase();
    fleet = newFleet({
      databaseUrl: database.url,
      masterKey: randomBytes(32),
      timing: quickTiming,
      aws: { url: 'http://127.0.0.1:1', accessKeyId: 'none', secretAccessKey: 'none' },
    });
  });
  afterAll(async () => {
    await fleet.close();
    await database.drop();
  });

  /** Starts it and gives its exit code and what it said last. */
  async function refusal(kind: Kind, env: Record<string, string>): Promise<[number | null, string]> {
    const service = fleet.start(kind, env);
    const code = await service.ended;
    const sentences = service.said.split('\n').filter((line) => line && !line.startsWith('{'));
    return [code, sentences.join('\n')];
  }

  it.each(services)('names everything that is missing or wrong, in one sentence: %s', async (kind) => {
    const secret = randomBytes(8).toString('hex');
    const [code, said] = await refusal(kind, {
      DATABASE_URL: '',
      REDIS_URL: `http://x:${secret}@127.0.0.1`,
      LEASEHOLD_MASTER_KEY: secret,
      LEASEHOLD_TIMING: '{"sweepEveryMs":-1}',
    });
    expect(code).toBe(1);
    expect(said).toMatch(new RegExp(`^The ${kind} does not start: .*\\.$`));
    for (const name of ['DATABASE_URL is missing', 'REDIS_URL must', 'LEASEHOLD_MASTER_KEY must', 'LEASEHOLD_TIMING']) {
      expect(said).toContain(name);
    }
    expect(said).not.toContain(secret);
  });

  it.each(services)('refuses a schema that is older than its build: %s', async (kind) => {
    const [code, said] = await refusal(kind, {});
    expect([code, said]).toEqual([
      1,
      'The schema of the database at DATABASE_URL is older than this build: run "npm run migrate".',
    ]);
  });

  describe('on a schema of its own version', () => {
    beforeAll(() => fleet.migrate());

    it('is not hindered by a schema that is newer', async () => {
      const client = new pg.Client({ connectionString: database.url });
      await client.connect();
      await client.query(
        `insert into migrations (timestamp, name) values (9999999999999, 'OfTheNextBuild9999999999999')`,
      );
      await client.end();
      const started = await Promise.all(services.map((kind) => fleet.start(kind).serves()));
      await eventually(async () => (await Promise.all(started.map((each) => each.isReady()))).every(Boolean));
      await Promise.all(started.map((each) => each.end()));
    });

    it.each(services)('refuses a master key that does not open the keyring: %s', async (kind) => {
      const [code, said] = await refusal(kind, { LEASEHOLD_MASTER_KEY: randomBytes(32).toString('base64') });
      expect(code).toBe(1);
      expect(said).toMatch(/^The master key does not open the keyring/);
    });

    it.each(services)('says whose port it cannot have: %s', async (kind) => {
      const taken = createServer().listen(0, '127.0.0.1');
      await once(taken, 'listening');
      const { port } = taken.address() as AddressInfo;
      const [code, said] = await refusal(kind, { LEASEHOLD_OPERATIONS_PORT: String(port) });
      taken.close();
      expect([code, said]).toEqual([
        1,
        `LEASEHOLD_OPERATIONS_PORT ${port} of 127.0.0.1 cannot be listened on: it is in use.`,
      ]);
    });

    it('says that the port of the API is in use', async () => {
      const taken = createServer().listen(0, '127.0.0.1');
      await once(taken, 'listening');
      const { port } = taken.address() as AddressInfo;
      const [code, said] = await refusal('gateway', { PORT: String(port) });
      taken.close();
      expect([code, said]).toEqual([1, `PORT ${port} of 127.0.0.1 cannot be listened on: it is in use.`]);
    });

    it('says why it waits for its database', async () => {
      const line = await cuttingProxy(database.url);
      const away = new URL(line.url);
      await line.close();
      const service = fleet.start('revoker', { DATABASE_URL: away.href });
      await eventually(() => service.said.includes(`connect ECONNREFUSED 127.0.0.1:${away.port}`));
      await service.end();
    });

    it('serves although its database was lost while it read the keyring', async () => {
      const line = await cuttingProxy(database.url);
      try {
        line.cut('leasehold keyring', 1);
        const service = await fleet.start('issuer', { DATABASE_URL: line.url }).serves();
        expect(line.left('leasehold keyring')).toBe(0);
        await service.end();
      } finally {
        await line.close();
      }
    });

    it('is migrated to by two at once, and again, without harm', async () => {
      await Promise.all([fleet.migrate(), fleet.migrate()]);
    });
  });
});

describe('npm run cluster', () => {
  it('brings the services up over the servers given, lends, and takes everything down at Ctrl-C', async () => {
    const { url, drop } = await freshDatabase();
    const { redisUrl, rabbitmqUrl } = testServers();
    const child = spawn(process.execPath, ['scripts/cluster.mjs'], {
      cwd: root,
      env: {
        PATH: process.env.PATH,
        TMPDIR: process.env.TMPDIR,
        DATABASE_URL: url,
        REDIS_URL: redisUrl,
        RABBITMQ_URL: rabbitmqUrl,
        LEASEHOLD_NAMESPACE: `cluster-${randomBytes(4).toString('hex')}`,
        PORT: '0',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const ended = once(child, 'close');
    try {
      await eventually(() => said.includes('Ctrl-C ends everything.') || child.exitCode !== null, 25_000);
      const commands = said
        .split('\n')
        .filter((line) => line.startsWith('  export VAULT') || line.startsWith('  curl'));
      const shell = spawn('sh', ['-c', commands.join('\n')], { stdio: ['ignore', 'pipe', 'inherit'] });
      let answered = '';
      shell.stdout.on('data', (chunk: Buffer) => (answered += chunk.toString()));
      await once(shell, 'close');
      expect(answered).toContain('"secret_key"');
      const pids = [...said.matchAll(/pid (\d+)/g)].map(([, pid]) => Number(pid));
      expect(pids).toHaveLength(4);
      child.kill('SIGINT');
      expect((await ended)[0]).toBe(0);
      for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    } finally {
      child.kill('SIGKILL');
      await drop();
    }
  }, 60_000);
});
