import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { readFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { type Server, startRabbitmq, startRedis } from '#servers';
import { startEmbeddedPostgres } from '#libs/runtime';
import type { Fleet } from '../../apps/cluster/src/fleet.js';
import { type CuttingProxy, cuttingProxy } from '../support/cutting-proxy.js';
import type { HttpAnswer } from '../support/http-client.js';
import { comesToRest, type Lent, lend, lentBy, policyDocument, rowOf, writeRole } from '../support/lease-life.js';
import { Callers, figures } from '../support/load.js';
import { seededRandom } from '../support/seeded-random.js';
import { startFleet } from '../support/services.js';
import { eventually, quickTiming, usualWeather, World } from '../support/world.js';

const tell = (line: string) => process.stderr.write(`    ${line}\n`);

const timing = { ...quickTiming, callerWaitMs: 4_000, marginMs: 500, handOverMs: 1_500, sweepEveryMs: 1_000 };
/** What an answer may take beyond the caller's wait, on a machine that does other things too. */
const grace = 3_000;
/** The leases of the mount `brief/`. */
const briefMs = 4_000;

describe('services whose neighbours fail under load', () => {
  let folder: string;
  let postgresql: { url: string; stop(): Promise<void> };
  let rabbitmq: Server;
  let redis: Server;
  let proxy: CuttingProxy;
  let world: World;
  let fleet: Fleet;

  const startDatabase = async () => {
    postgresql = await startEmbeddedPostgres({ dataDir: join(folder, 'postgresql') });
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'neighbours-'));
    [rabbitmq, redis] = await Promise.all([
      startRabbitmq({ folder: join(folder, 'rabbitmq') }),
      startRedis({ folder: join(folder, 'redis') }),
      startDatabase(),
    ]);
    world = await World.start({
      weather: { ...usualWeather, latencyMs: 30 },
      timing,
      databaseServer: postgresql.url,
      run: async (system) => {
        proxy = await cuttingProxy(system.databaseUrl);
        const urls = { databaseUrl: proxy.url, redisUrl: redis.url, rabbitmqUrl: rabbitmq.url };
        fleet = await startFleet(system, urls);
        return { url: fleet.running('gateway')[0]!.url, close: () => fleet.close() };
      },
    });
    await world.mount();
    for (const role of ['deploy', 'leaving', 'made', 'offered']) await writeRole(world, role);
    await world.mount('brief');
    await world.http.must(204, 'PUT', 'brief/config/lease', { lease: `${briefMs / 1000}s`, lease_max: '1h' });
    await world.http.must(204, 'PUT', 'brief/roles/deploy', {
      credential_type: 'iam_user',
      policy_document: policyDocument,
    });
  }, 90_000);

  afterEach(async () => {
    world.simulator.faults.clear({ ...usualWeather, latencyMs: 30 });
    await world.http.call('PUT', 'sys/leases/revoke-prefix/aws', { sync: false });
    await comesToRest(world, [], 30_000);
  }, 40_000);

  afterAll(async () => {
    await world.close();
    await proxy.close();
    await Promise.all([rabbitmq.stop(), redis.stop(), postgresql.stop()]);
    await rm(folder, { recursive: true, force: true });
  }, 60_000);

  const allReady = async () => (await Promise.all(fleet.running().map((each) => each.isReady()))).every(Boolean);
  const lendBriefly = async () => lentBy(await world.http.must(200, 'GET', 'brief/creds/deploy'));
  /** By how much leases outlived their time, in milliseconds, once all have ended; PostgreSQL's clock. */
  const lateness = async (leases: Lent[]) => {
    const rows = await eventually(async () => {
      const { rows: found } = await world.database.query<{ state: string; ms: number; reason: string }>(
        `select state, end_reason as reason, extract(epoch from ended_at - expires_at)::float8 * 1000 as ms
         from leases where id = any($1)`,
        [leases.map((lent) => lent.leaseId)],
      );
      return found.every((row) => row.state === 'ended') && found;
    }, 30_000);
    expect(rows.filter((row) => row.reason !== 'expired' || row.ms < 0)).toEqual([]);
    return Math.round(Math.max(...rows.map((row) => row.ms)));
  };

  /**
   * Callers ask on and on while something happens and until all is well again. Nobody waits longer than the wait, everyone
   * hears of a credential or of a neighbour that is away, and afterwards AWS holds what callers hold.
   */
  async function underLoad(what: string, trouble: () => Promise<unknown>, alsoHeld: Lent[] = []): Promise<number> {
    const callers = new Callers(() => fleet.running('gateway'), world.http.token).start(3);
    const lent = () => callers.answers.filter((answer) => answer.status === 200);
    try {
      await eventually(() => lent().length > 10, 20_000);
      await trouble();
      await eventually(allReady, 30_000);
      const before = lent().length;
      await eventually(() => lent().length > before + 10, 20_000);
    } finally {
      await callers.stop();
    }
    const restsAfter = performance.now();
    const refused = callers.answers.filter((answer) => answer.status !== 200);
    tell(`${what}: ${figures(callers.answers)}; refused: ${figures(refused)}`);
    expect(refused.filter((answer) => answer.status !== 503 || !answer.error)).toEqual([]);
    expect(Math.max(...callers.answers.map((answer) => answer.ms))).toBeLessThan(timing.callerWaitMs + grace);
    await comesToRest(
      world,
      [...lent().map(({ leaseId, keys }) => ({ leaseId: leaseId!, keys: keys! })), ...alsoHeld],
      30_000,
    );
    tell(
      `… AWS holds what the callers of ${lent().length} hold, ${Math.round(performance.now() - restsAfter)} ms later`,
    );
    return refused.length;
  }

  it('end every lease within one sweep of its time when Redis was wiped meanwhile, and set alarms again', async () => {
    const client = new Redis(redis.url);
    try {
      const pending = await Promise.all(Array.from({ length: 20 }, lendBriefly));
      // Their alarms are there, one for those that are due together.
      const alarms = async () => (await client.keys('*@*')).length;
      await eventually(async () => (await alarms()) > 0);
      await client.flushall();
      const late = await lateness(pending);
      tell(`FLUSHALL with ${pending.length} leases pending: the last ended ${late} ms late`);
      expect(late).toBeLessThan(timing.sweepEveryMs + grace);
      await lendBriefly();
      await eventually(async () => (await alarms()) > 0);
    } finally {
      client.disconnect();
    }
  }, 40_000);

  it('lend on and end leases in time while Redis stands still', async () => {
    const pending = await Promise.all(Array.from({ length: 8 }, lendBriefly));
    let late = 0;
    const refused = await underLoad('Redis frozen', async () => {
      await redis.freeze();
      late = await lateness(pending);
      await redis.thaw();
    });
    tell(`… 8 leases that ran out meanwhile ended ${late} ms late at most`);
    expect(refused).toBe(0);
  }, 60_000);

  it('answer in time while RabbitMQ stands still for longer than its heartbeat, and go on by themselves', async () => {
    const pending = await Promise.all(Array.from({ length: 8 }, lendBriefly));
    const waiting = () => fleet.running().filter((each) => each.kind !== 'revoker');
    const refused = await underLoad('RabbitMQ frozen', async () => {
      await rabbitmq.freeze();
      await lateness(pending);
      await eventually(async () => !(await Promise.all(waiting().map((each) => each.isReady()))).some(Boolean), 40_000);
      await rabbitmq.thaw();
    });
    expect(refused).toBeGreaterThan(0);
  }, 90_000);

  it('lose nothing when PostgreSQL restarts, in order and after a crash', async () => {
    const {
      rows: [found],
    } = await world.database.query<{ data_directory: string }>('show data_directory');
    await underLoad('PostgreSQL restarted', async () => {
      await postgresql.stop();
      await startDatabase();
      await eventually(allReady, 20_000);
      const [pid] = (await readFile(join(found!.data_directory, 'postmaster.pid'), 'utf8')).split('\n');
      // An immediate shutdown: nothing is written any more, the next start recovers.
      process.kill(Number(pid), 'SIGQUIT');
      await postgresql.stop();
      await startDatabase();
    });
  }, 90_000);

  it('lose nothing when PostgreSQL ends their sessions at random', async () => {
    const seed = Date.now() % 100_000;
    const random = seededRandom(seed);
    let cut = 0;
    await underLoad(`sessions ended at random (seed ${seed})`, async () => {
      const until = performance.now() + 3_000;
      await eventually(async () => {
        const { rows } = await world.database.query<{ pid: number }>(
          `select pid from pg_stat_activity where datname = current_database() and application_name = 'leasehold'
           order by state = 'active' desc, pid`,
        );
        const victim = rows[Math.floor(random() * rows.length)];
        if (victim) await world.database.query('select pg_terminate_backend($1)', [victim.pid]);
        cut += victim ? 1 : 0;
        return performance.now() > until;
      });
    });
    tell(`… ${cut} sessions ended`);
  }, 60_000);

  it('lose nothing when a statement takes effect and its answer is lost, whichever it is', async () => {
    const statements = {
      intent: 'insert into commands as c (id, lease_id, token_id)',
      'another attempt': 'select lease_id, attempts, withdrawn_at from commands',
      'that attempt’s number': 'update commands set lease_id = $2, attempts = attempts + 1',
      offer: `set state = 'offered'`,
      acceptance: `set state = 'active', accepted_at`,
      withdrawal: 'insert into commands as c (id, token_id, withdrawn_at',
      renewal: 'update leases set expires_at = now() + $2',
      'request to revoke': 'expires_at = least(expires_at, now()),',
      claim: 'a worker stopped while it was taking this lease back',
      end: 'update leases set state = next.state',
      commit: 'COMMIT',
    };
    const kept: Lent[] = [];
    for (const [name, statement] of Object.entries(statements)) {
      proxy.cut(statement, 2);
      // An ambiguous key: the command needs another attempt, the one transaction of an issue with several statements.
      const { faults } = world.simulator;
      faults.loseReply({ action: 'CreateAccessKey', userName: '*-deploy-*', times: 1 });
      // And a caller who leaves while AWS is being asked, where it comes so far.
      const hold = faults.hold('CreateUser', 'before', { userName: '*-leaving-*' });
      const leaving = new AbortController();
      const left = ask('leaving', leaving.signal).catch(() => undefined);
      const both = Promise.all([ask('deploy'), ask('deploy')]);
      await Promise.race([hold.reached, left]);
      leaving.abort();
      await left;
      hold.release();
      const answers = await both;
      for (const answer of answers) expect([200, 503]).toContain(answer.status);
      const [one, ...others] = answers.flatMap((answer) => (answer.status === 200 ? [lentBy(answer)] : []));
      if (one) kept.push(one);
      const statuses = answers.map((answer) => answer.status);
      for (const { leaseId } of others) {
        statuses.push((await world.http.call('PUT', 'sys/renew', { lease_id: leaseId })).status);
        // Asked until it is answered: what was answered is done.
        await eventually(async () => {
          const { status } = await world.http.call('PUT', `sys/revoke/${leaseId}`);
          statuses.push(status);
          return status === 204 || status === 202;
        });
      }
      await eventually(() => proxy.left(statement) < 2, 5_000).catch(() => undefined);
      const cut = 2 - proxy.left(statement);
      proxy.cut(statement, 0);
      tell(`answer lost of the ${name} (${cut} ×): ${statuses.join(' ')}`);
      expect(cut).toBeGreaterThan(0);
      expect(statuses.filter((status) => status !== 503 && status >= 400)).toEqual([]);
    }
    await comesToRest(world, kept, 20_000);
  }, 90_000);

  const ask = (role: string, signal?: AbortSignal): Promise<HttpAnswer> =>
    world.http.call('GET', `aws/creds/${role}`, undefined, signal ? { signal } : {});

  it('take no key from anybody, and leave nobody half a one, when PostgreSQL was away for longer than a hand-over may take', async () => {
    const awayMs = timing.callerWaitMs + timing.marginMs + timing.handOverMs;
    const before = await Promise.all(Array.from({ length: 5 }, () => lend(world, 'deploy')));
    const expiring = await Promise.all(Array.from({ length: 5 }, lendBriefly));
    const { faults } = world.simulator;
    let backAt = 0;
    await underLoad(
      'PostgreSQL away while credentials are handed over',
      async () => {
        // A refusal would be held as well, and no key be made.
        faults.set({ youngNoSuchEntity: null, concurrentModification: null });
        const made = faults.hold('CreateAccessKey', 'after', { userName: '*-made-*', times: 4 });
        const offered = faults.hold('CreateAccessKey', 'after', { userName: '*-offered-*', times: 4 });
        const askers = ['made', 'offered'].flatMap((role) => Array.from({ length: 4 }, () => ask(role)));
        const users = () => world.simulator.account().users();
        await eventually(
          () => users().filter((user) => /-(made|offered)-/.test(user.name) && user.accessKeys.length > 0).length === 8,
        );
        // Acceptances wait for this lock until their sessions end.
        const blocker = await world.database.connect();
        blocker.on('error', () => undefined);
        await blocker.query('begin; lock table tokens in access exclusive mode');
        offered.release();
        await eventually(async () => {
          const rows = await world.leases();
          return rows.filter((row) => row.state === 'offered' && row.user_name!.includes('-offered-')).length === 4;
        });
        const stoppedAt = performance.now();
        await postgresql.stop();
        blocker.release(true);
        made.release();
        const answers = await Promise.all(askers);
        expect(answers.map((answer) => [answer.status, 'data' in answer.body])).toEqual(
          answers.map(() => [503, false]),
        );
        await eventually(() => performance.now() - stoppedAt > awayMs, awayMs);
        for (const lent of before) expect(await world.whoIs(lent.keys)).toMatch(/^arn:/);
        await startDatabase();
        backAt = performance.now();
        tell(`PostgreSQL was away for ${Math.round(backAt - stoppedAt)} ms with 4 keys made and 4 offered`);
        await eventually(async () => (await world.lentUsers()).every((user) => !/-(made|offered)-/.test(user)), 20_000);
        tell(`… their keys were gone ${Math.round(performance.now() - backAt)} ms after its return`);
      },
      before,
    );
    for (const lent of before) expect((await rowOf(world, lent.leaseId)).state).toBe('active');
    for (const lent of expiring) expect((await rowOf(world, lent.leaseId)).state).toBe('ended');
  }, 90_000);
});
