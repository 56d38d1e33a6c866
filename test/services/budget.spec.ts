import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRedis } from '#servers';
import { RateBudget, RedisPaces } from '#libs/runtime';
import { Redis } from 'ioredis';
import pg from 'pg';
import type { Fleet, Service } from '../../apps/cluster/src/fleet.js';
import { type Simulator, startSimulator } from '../../apps/simulator/src/index.js';
import { HttpClient } from '../support/http-client.js';
import { Callers } from '../support/load.js';
import { newFleet } from '../support/services.js';
import { eventually, freshDatabase, quickTiming } from '../support/world.js';

const token = `test-${randomBytes(12).toString('hex')}`;
const tell = (line: string) => process.stderr.write(`    ${line}\n`);

type Kind = 'gateway' | 'issuer' | 'revoker';

/** So that a credential takes ten calls: this is about AWS's budget, not about the machine's. */
const policyArns = Array.from({ length: 8 }, (_, index) => `arn:aws:iam::aws:policy/Policy${index}`);
const callsEach = 2 + policyArns.length;

/** What AWS allows, in calls per second; small enough that the machine is not the limit. */
const allowed = 60;

const timing = { ...quickTiming, callerWaitMs: 5_000, marginMs: 3_000, handOverMs: 5_000, claimMs: 5_000 };

interface Span {
  perSecond: number;
  calls: number;
  throttled: number;
}

describe("AWS's budget", () => {
  let simulator: Simulator;
  let root: { accessKeyId: string; secretAccessKey: string };
  let drop: () => Promise<void>;
  let databaseUrl: string;
  let database: pg.Pool;
  const masterKey = randomBytes(32);
  let fleet: Fleet;
  let offering: NodeJS.Timeout;

  beforeEach(async () => {
    simulator = await startSimulator();
    root = simulator.provisionRootIdentity({ userName: 'leasehold-root' });
    ({ url: databaseUrl, drop } = await freshDatabase());
    database = new pg.Pool({ connectionString: databaseUrl, max: 2 });
    database.on('error', () => undefined);
  });

  afterEach(async () => {
    clearInterval(offering);
    await fleet?.close();
    await simulator.close();
    await database.end();
    await drop();
  });

  /** A new system, which knows nothing of AWS's rate: a gateway and an issuer. */
  async function startFleet(env: Record<string, string> = {}): Promise<HttpClient> {
    fleet = newFleet({
      databaseUrl,
      masterKey,
      timing,
      aws: { url: simulator.url, ...root },
      env,
    });
    await fleet.migrate({ LEASEHOLD_ROOT_TOKEN: token });
    const [gateway] = await Promise.all([start('gateway'), start('issuer')]);
    const http = new HttpClient(gateway.url, token);
    await http.must(204, 'POST', 'sys/mounts/aws', { type: 'aws' });
    await http.must(204, 'PUT', 'aws/config/root', {
      access_key: root.accessKeyId,
      secret_key: root.secretAccessKey,
      region: 'us-east-1',
    });
    await http.must(204, 'PUT', 'aws/roles/deploy', { credential_type: 'iam_user', policy_arns: policyArns });
    return http;
  }

  async function start(kind: Kind): Promise<Service> {
    const service = await fleet.start(kind).serves();
    await eventually(() => service.isReady());
    return service;
  }

  /** How AWS answered the calls of a span that begins now. */
  async function during(ms: number): Promise<Span> {
    const from = performance.now();
    await new Promise((resolve) => setTimeout(resolve, ms));
    const to = performance.now();
    const calls = simulator.calls
      .list({ service: 'iam' })
      .filter(({ endedAtMs }) => endedAtMs >= from && endedAtMs < to);
    const throttled = calls.filter((call) => call.outcome === 'Throttling').length;
    return { perSecond: ((calls.length - throttled) / (to - from)) * 1000, calls: calls.length, throttled };
  }

  it('is found and kept to at three times the load: by one issuer, by two, by four, and when AWS halves it', async () => {
    await startFleet();
    const throttle = { ratePerSecond: allowed, burst: allowed, service: 'iam' as const };
    simulator.faults.set({ usersPerAccount: 100_000, throttle });
    const callers = new Callers(() => fleet.running('gateway'), token);
    const asked: Promise<unknown>[] = [];
    offering = setInterval(() => asked.push(callers.ask()), 1000 / ((3 * allowed) / callsEach));
    const settled: Span[] = [];
    const settle = async (what: string, ofMs: number, rate: number) => {
      const before = await during(ofMs);
      const span = await during(7_000);
      settled.push(span);
      tell(
        `${what}: ${span.perSecond.toFixed(1)} of ${rate} calls/s, throttled ${span.throttled} of ${span.calls}, and ` +
          `${before.throttled} of ${before.calls} in the ${ofMs / 1000} s before`,
      );
      expect(span.perSecond).toBeGreaterThan(0.95 * rate);
    };
    await settle('1 issuer', 6_000, allowed);
    await start('issuer');
    await settle('2 issuers', 3_000, allowed);
    await Promise.all([start('issuer'), start('issuer')]);
    await settle('4 issuers', 3_000, allowed);
    simulator.faults.set({ throttle: { ...throttle, ratePerSecond: allowed / 2 } });
    await settle('4 issuers, half of it', 6_000, allowed / 2);
    simulator.faults.clear({ usersPerAccount: 100_000 });
    clearInterval(offering);
    await Promise.all(asked);
    const sum = (of: 'calls' | 'throttled') => settled.reduce((all, span) => all + span[of], 0);
    const per1000 = (sum('throttled') / sum('calls')) * 1000;
    tell(`settled: ${sum('throttled')} of ${sum('calls')} calls throttled, ${per1000.toFixed(1)} of 1,000`);
    expect(per1000).toBeLessThan(5);
  }, 120_000);

  it('refuses with 429 and the seconds to wait what would not come to its turn', async () => {
    const http = await startFleet();
    simulator.faults.set({ throttle: { ratePerSecond: 10, burst: 1, service: 'iam' } });
    const answers = await Promise.all(Array.from({ length: 40 }, () => http.call('GET', 'aws/creds/deploy')));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(10);
    for (const { headers, body } of refused) {
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      expect(body.errors).toEqual([expect.stringMatching(/: The calls that AWS allows .*try again in \d+ s\.$/)]);
    }
  }, 40_000);

  it('counts users before AWS is asked: of 200 requests at once for 10 places exactly 10 succeed', async () => {
    const http = await startFleet({
      LEASEHOLD_AWS_USERS: '10',
      LEASEHOLD_TIMING: JSON.stringify({ ...timing, callerWaitMs: 60_000, handOverMs: 15_000 }),
    });
    await start('issuer');
    const asked = simulator.calls.count({ action: 'CreateUser' });
    const answers = await Promise.all(Array.from({ length: 200 }, () => http.call('GET', 'aws/creds/deploy')));
    const created = simulator.calls.count({ action: 'CreateUser' }) - asked;
    const refused = answers.filter(({ status }) => status === 429);
    tell(`200 requests for 10 places: ${created} CreateUser, ${refused.length} refused with 429`);
    const made = answers.filter(({ status }) => status === 200).length;
    expect({ made, refused: refused.length, created }).toEqual({ made: 10, refused: 190, created: 10 });
    expect(refused[0]!.headers.get('retry-after')).toBe('10');
    expect(refused[0]!.body.errors).toEqual([
      `AWS account ${simulator.account().id} has no place for another IAM user: it may have 10, and they are all ` +
        'taken; try again when a lease has ended.',
    ]);

    const { body } = answers.find(({ status }) => status === 200)!;
    await start('revoker');
    await http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: body.lease_id });
    await http.must(200, 'GET', 'aws/creds/deploy');
    await http.must(429, 'GET', 'aws/creds/deploy');
    const { rows } = await database.query(`select users from aws_accounts`);
    expect(rows).toEqual([{ users: 10 }]);
  }, 90_000);

  it('is gone at in parts while Redis is away, revoking among them, and together again afterwards', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'budget-'));
    const redis = await startRedis({ folder });
    const workers = [1, 2].map(() => new RateBudget(new RedisPaces(redis, 'test')));
    const budget = '123456789012:iam';
    const probe = new Redis(redis.url);
    /** How many of each class each worker is let go in two seconds of asking for more. */
    const goesOf = async (worker: RateBudget, by: 'issue' | 'revoke' | 'upkeep') => {
      let gone = 0;
      const turn = { budget, by, withinMs: 2_000, calls: 1 };
      await Promise.all(
        Array.from({ length: by === 'upkeep' ? 1 : 200 }, () =>
          worker.take(turn).then(
            () => (gone += 1),
            () => undefined,
          ),
        ),
      );
      return gone;
    };
    try {
      // AWS complains to both, of some twenty calls a second.
      for (const worker of workers) {
        worker.answered(budget, performance.now(), true);
        await eventually(async () => {
          const pace = JSON.parse((await probe.get(`test:budget:${budget}`)) ?? '{"workers":{}}') as {
            workers: object;
          };
          await goesOf(worker, 'upkeep');
          return Object.keys(pace.workers).length === 1 + workers.indexOf(worker);
        });
      }
      await redis.stop();
      const alone = await Promise.all([goesOf(workers[0]!, 'issue'), goesOf(workers[1]!, 'revoke')]);
      await redis.start();
      const together = await Promise.all([goesOf(workers[0]!, 'issue'), goesOf(workers[1]!, 'revoke')]);
      tell(`two workers in two seconds: ${alone.join(' and ')} calls without Redis, ${together.join(' and ')} with it`);
      for (const gone of alone) expect(gone).toBeGreaterThan(0);
      expect(alone[0]! + alone[1]!).toBeLessThan(200);
    } finally {
      for (const worker of workers) worker.close();
      probe.disconnect();
      await redis.stop();
      await rm(folder, { recursive: true, force: true });
    }
  }, 40_000);
});
