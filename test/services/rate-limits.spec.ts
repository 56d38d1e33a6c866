import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRedis } from '#libs/runtime';
import { startRedis } from '#servers';
import { RateLimits, type RateLimitSettings } from '../../apps/gateway/src/index.js';
import { startSystem } from '../../apps/standalone/src/system.js';
import { testServers } from '../support/services.js';
import { rawRequest } from '../support/raw-request.js';
import { eventually, World } from '../support/world.js';

describe('rates that gateways share', () => {
  let folder: string;
  let redis: Awaited<ReturnType<typeof startRedis>>;
  const open: RateLimits[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'leasehold-rates-'));
    redis = await startRedis({ folder });
  });
  afterEach(() => open.splice(0).forEach((each) => each.close()));
  afterAll(async () => {
    await redis.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** One gateway's limits on a Redis, connected. */
  async function gateway(limits: RateLimitSettings, namespace: string, url = redis.url): Promise<RateLimits> {
    const client = openRedis({ url }, { commandTimeout: 200 });
    await eventually(() => client.status === 'ready');
    const rates = new RateLimits(limits, client, namespace);
    open.push(rates);
    return rates;
  }
  const name = () => `test-${randomBytes(6).toString('hex')}`;
  /** How many of so many requests at once were let through. */
  const passed = async (count: number, ask: () => Promise<void>) => {
    const ended = await Promise.allSettled(Array.from({ length: count }, ask));
    return ended.filter((each) => each.status === 'fulfilled').length;
  };

  it('count a token at all of them, and others apart from it', async () => {
    const namespace = name();
    const [one, two] = [await gateway({ token: 10 }, namespace), await gateway({ token: 10 }, namespace)];
    const both = await Promise.all([passed(10, () => one.ofToken('a')), passed(10, () => two.ofToken('a'))]);
    // The second may have ended in between, once.
    expect(both[0] + both[1]).toBeLessThan(20);
    expect(await passed(10, () => one.ofToken('b'))).toBe(10);
    expect(await passed(1_000, () => one.ofAddress('203.0.113.9'))).toBe(1_000);
  });

  it('say when it is worth another try', async () => {
    const rates = await gateway({ address: 1 }, name());
    await rates.ofAddress('203.0.113.9');
    await expect(passed(3, () => rates.ofAddress('203.0.113.9'))).resolves.toBeLessThan(3);
    const refused = Promise.all(Array.from({ length: 5 }, () => rates.ofAddress('203.0.113.9')));
    await expect(refused).rejects.toMatchObject({ code: 'over_budget', retryAfterSeconds: 1 });
    await eventually(() =>
      rates.ofAddress('203.0.113.9').then(
        () => true,
        () => false,
      ),
    );
  });

  it.each(['stop', 'freeze'] as const)('go on in each process while Redis does not answer (%s)', async (how) => {
    const rates = await gateway({ all: 50 }, name());
    await redis[how]();
    try {
      const let1 = await passed(500, () => rates.ofAll());
      expect(let1).toBeGreaterThanOrEqual(50);
      expect(let1).toBeLessThan(200);
    } finally {
      await redis.thaw();
      await redis.start();
    }
  });

  it('cost a request little', async () => {
    const rates = await gateway({ all: 1_000_000, token: 1_000_000 }, name(), testServers().redisUrl);
    const before = process.cpuUsage();
    for (let round = 0; round < 40; round += 1)
      await Promise.all(Array.from({ length: 50 }, () => rates.ofAll().then(() => rates.ofToken('a'))));
    const { user, system } = process.cpuUsage(before);
    const each = (user + system) / 2_000;
    process.stderr.write(`rates: ${each.toFixed(0)} µs of CPU a request with two limits\n`);
  });
});

describe('a caller that asks too often', () => {
  let world: World;
  afterEach(() => world.close());

  const start = async (rates: RateLimitSettings) => {
    const http = { rates, trustedProxies: ['127.0.0.1'] };
    world = await World.start({ weather: {}, run: (options) => startSystem({ ...options, http }) });
  };
  /** The answers to so many of the same request at once. */
  const ask = (count: number, path: string, headers: Record<string, string>) =>
    Promise.all(Array.from({ length: count }, () => rawRequest(world.http.url, 'GET', path, { headers })));
  const statuses = (answers: { status: number }[]) => [...new Set(answers.map(({ status }) => status))].sort();

  it('hears 429 and when to come back; others and what load balancers ask are not held up', async () => {
    await start({ address: 3 });
    const from = (address: string) => ({ 'X-Forwarded-For': address, 'X-Vault-Token': 'guess' });
    const answers = await ask(40, '/v1/sys/mounts', from('203.0.113.9'));
    expect(statuses(answers)).toEqual([403, 429]);
    const refused = answers.find(({ status }) => status === 429)!;
    expect(refused.headers['retry-after']).toBe('1');
    expect(refused.errors).toEqual([expect.stringContaining('try again in 1 s')]);
    expect(statuses(await ask(1, '/v1/sys/mounts', from('203.0.113.10')))).toEqual([403]);
    const valid = { ...from('203.0.113.9'), 'X-Vault-Token': world.http.token };
    expect(statuses(await ask(40, '/v1/sys/mounts', valid))).toEqual([200]);
    expect(statuses(await ask(40, '/v1/sys/health', from('203.0.113.9')))).toEqual([200]);
  });

  it('with one token, or all callers together', async () => {
    await start({ token: 5 });
    const token = { 'X-Vault-Token': world.http.token };
    expect(statuses(await ask(40, '/v1/sys/mounts', token))).toEqual([200, 429]);
    await world.close();
    await start({ all: 5 });
    expect(statuses(await ask(40, '/v1/sys/mounts', {}))).toEqual([403, 429]);
    expect(statuses(await ask(40, '/v1/sys/seal-status', {}))).toEqual([200]);
  });
});
