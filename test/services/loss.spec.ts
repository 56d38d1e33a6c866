import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Server, startRabbitmq, startRedis } from '#servers';
import { startEmbeddedPostgres } from '#libs/runtime';
import type { Fleet, Kind, Service } from '../../apps/cluster/src/fleet.js';
import { type Simulator, startSimulator } from '../../apps/simulator/src/index.js';
import { HttpClient } from '../support/http-client.js';
import { policyDocument } from '../support/lease-life.js';
import { Callers, figures } from '../support/load.js';
import { newFleet } from '../support/services.js';
import { eventually, quickTiming } from '../support/world.js';

const token = `test-${randomBytes(12).toString('hex')}`;
const tell = (line: string) => process.stderr.write(`    ${line}\n`);

/** The longest that a caller waits for a credential in these stories, and what an answer may take beyond it. */
const waitMs = 6_000;
const grace = 2_000;

describe('services whose servers go away', () => {
  let folder: string;
  let simulator: Simulator;
  let postgresql: { url: string; stop(): Promise<void> };
  let servers: { rabbitmq: Server; redis: Server };
  let fleet: Fleet;
  let http: HttpClient;
  let gateway: Service;

  const startDatabase = async () => {
    postgresql = await startEmbeddedPostgres({ dataDir: join(folder, 'postgresql') });
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'loss-'));
    simulator = await startSimulator({ faults: { latencyMs: 10 } });
    const root = simulator.provisionRootIdentity({ userName: 'leasehold-root' });
    const [rabbitmq, redis] = await Promise.all([
      startRabbitmq({ folder: join(folder, 'rabbitmq') }),
      startRedis({ folder: join(folder, 'redis') }),
      startDatabase(),
    ]);
    servers = { rabbitmq, redis };
    fleet = newFleet({
      databaseUrl: postgresql.url,
      redisUrl: redis.url,
      rabbitmqUrl: rabbitmq.url,
      masterKey: randomBytes(32),
      timing: { ...quickTiming, callerWaitMs: waitMs, marginMs: 1_000, handOverMs: 3_000 },
      aws: { url: simulator.url, ...root },
    });
    await fleet.migrate({ LEASEHOLD_ROOT_TOKEN: token });
    await Promise.all([rabbitmq.stop(), redis.stop(), postgresql.stop()]);
  }, 90_000);

  afterAll(async () => {
    await fleet.close();
    await simulator.close();
    await Promise.all([servers.rabbitmq.stop(), servers.redis.stop(), postgresql.stop()]);
    await rm(folder, { recursive: true, force: true });
  }, 60_000);

  const lentUsers = () =>
    simulator
      .account()
      .users()
      .filter((user) => user.name !== 'leasehold-root');

  const allReady = async () => (await Promise.all(fleet.running().map((each) => each.isReady()))).every(Boolean);

  it('wait for servers that are away at their start, alive and not ready, and serve when they come', async () => {
    const kinds: Kind[] = ['gateway', 'issuer', 'issuer', 'revoker'];
    const services = await Promise.all(kinds.map((kind) => fleet.start(kind).starts()));
    gateway = services[0]!;
    for (const service of services) {
      expect([await service.isAlive(), await service.isReady()]).toEqual([true, false]);
    }
    await startDatabase();
    await eventually(() => gateway.url !== '', 20_000);
    await servers.redis.start();
    expect(await gateway.isReady()).toBe(false);
    await servers.rabbitmq.start();
    await Promise.all(services.map((service) => service.serves()));
    await eventually(allReady, 20_000);

    http = new HttpClient(gateway.url, token);
    const root = simulator.provisionRootIdentity({ userName: 'leasehold-root' });
    await http.must(204, 'POST', 'sys/mounts/aws', { type: 'aws' });
    await http.must(204, 'PUT', 'aws/config/root', {
      access_key: root.accessKeyId,
      secret_key: root.secretAccessKey,
      region: 'us-east-1',
    });
    await http.must(204, 'PUT', 'aws/roles/deploy', { credential_type: 'iam_user', policy_document: policyDocument });
    const { body } = await http.must(200, 'GET', 'aws/creds/deploy');
    await http.must(204, 'PUT', `sys/revoke/${body.lease_id}`);
  }, 90_000);

  describe('under load', () => {
    let callers: Callers;

    afterEach(async () => {
      await http.call('PUT', 'sys/leases/revoke-prefix/aws', { sync: false });
      await eventually(() => lentUsers().length === 0, 30_000);
    }, 40_000);

    /** Takes a server away under load and brings it back; nobody hangs, and afterwards AWS holds what callers hold. */
    async function through(name: string, away: () => Promise<void>, back: () => Promise<void>): Promise<void> {
      callers = new Callers(() => [gateway], token).start(6);
      await eventually(() => callers.answers.length > 20, 20_000);
      await away();
      const failed = () => callers.answers.filter((answer) => answer.status !== 200);
      if (name !== 'Redis') await eventually(() => failed().length >= 6, waitMs + grace + 10_000);
      else await eventually(async () => !(await gateway.isReady()));
      await eventually(async () => !(await gateway.isReady()));
      expect(await Promise.all(fleet.running().map((each) => each.isAlive()))).toEqual([true, true, true, true]);
      await back();
      await eventually(allReady, 20_000);
      const before = callers.answers.filter((answer) => answer.status === 200).length;
      await eventually(() => callers.answers.filter((answer) => answer.status === 200).length > before + 20, 20_000);
      await callers.stop();
      tell(`${name} away and back: ${figures(callers.answers)}; refused: ${figures(failed())}`);
      expect(failed().filter((answer) => answer.status !== 503)).toEqual([]);
      expect(Math.max(...callers.answers.map((answer) => answer.ms))).toBeLessThan(waitMs + grace);
      const held = callers.answers.flatMap((answer) => answer.keys?.access_key ?? []).sort();
      await eventually(() => lentUsers().length === held.length, 30_000).catch(() => undefined);
      const keys = lentUsers().flatMap((user) => user.accessKeys.map((key) => key.id));
      expect({
        users: lentUsers().length,
        keysOfNobody: keys.filter((key) => !held.includes(key)),
        keysGone: held.filter((key) => !keys.includes(key)),
      }).toEqual({ users: held.length, keysOfNobody: [], keysGone: [] });
    }

    it('answer 503 at once while RabbitMQ is away, and go on by themselves', async () => {
      const { rabbitmq } = servers;
      await through(
        'RabbitMQ',
        () => rabbitmq.kill(),
        () => rabbitmq.start(),
      );
      await rabbitmq.stop();
      await eventually(async () => !(await gateway.isReady()));
      const refused = await callers.ask();
      tell(`RabbitMQ is away: refused after ${Math.round(refused.ms)} ms`);
      expect(refused.status).toBe(503);
      expect(refused.ms).toBeLessThan(waitMs / 2);
      await rabbitmq.start();
      await eventually(allReady, 20_000);
      callers.answers.length = 0;
    }, 120_000);

    it('lend on while Redis is away, and end leases all the same', async () => {
      const { redis } = servers;
      await through(
        'Redis',
        () => redis.kill(),
        () => redis.start(),
      );
      expect(callers.answers.filter((answer) => answer.status !== 200)).toEqual([]);
    }, 120_000);

    it('answer 503 while PostgreSQL is away, take no key away from anybody, and go on by themselves', async () => {
      await through('PostgreSQL', () => postgresql.stop(), startDatabase);
    }, 120_000);
  });
});
