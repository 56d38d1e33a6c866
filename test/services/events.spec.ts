import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type Channel, type ChannelModel, connect, type ConsumeMessage } from 'amqplib';
import { eventExchange, leaseEvent } from '#libs/contracts';
import { type Server, startRabbitmq } from '#servers';
import type { Fleet, Service } from '../../apps/cluster/src/fleet.js';
import { seedFederationPolicy } from '../../apps/simulator/src/index.js';
import { checkDocumentedEvent } from '../support/documented.js';
import { cuttingProxy, type CuttingProxy } from '../support/cutting-proxy.js';
import { comesToRest, lend, policyDocument, rowOf, writeRole } from '../support/lease-life.js';
import { newFleet, testServers } from '../support/services.js';
import { eventually, type LentKeys, World } from '../support/world.js';

const namespace = `test-${randomBytes(6).toString('hex')}`;
const exchange = eventExchange(namespace);
/** What only the statement of the acceptance says. */
const acceptance = `set state = 'active', accepted_at`;

/** Hears what is told on a broker. */
class Ear {
  readonly heard: ConsumeMessage[] = [];

  private constructor(
    private readonly connection: ChannelModel,
    readonly channel: Channel,
  ) {}

  /** `queue`: a durable one of this name, that may be there already. */
  static async on(url: string, queue = ''): Promise<Ear> {
    const connection = await connect(url);
    connection.on('error', () => undefined); // a broker that is stopped ends it
    const channel = await connection.createChannel();
    const ear = new Ear(connection, channel);
    await channel.assertExchange(exchange, 'topic', { durable: true });
    const asserted = await channel.assertQueue(queue, queue ? { durable: true } : { exclusive: true });
    await channel.bindQueue(asserted.queue, exchange, '#');
    await channel.consume(asserted.queue, (message) => void ear.heard.push(message!), { noAck: true });
    return ear;
  }

  /** The names of what was told about a lease, each event once, sorted: the order is not promised. */
  namesOf(leaseId: string): string[] {
    return this.events()
      .filter((event) => event.leaseId === leaseId)
      .map((event) => event.name)
      .sort();
  }

  /** All events, each once. @throws ZodError when one is not as the contract says. */
  events() {
    const byId = new Map(this.heard.map((message) => [message.properties.messageId as string, message]));
    return [...byId.values()].map((message) => {
      const body: unknown = JSON.parse(message.content.toString());
      checkDocumentedEvent(body);
      const event = leaseEvent.parse(body);
      expect(body).toEqual(event); // nothing that the contract does not know
      const { messageId, deliveryMode, contentType } = message.properties;
      expect({ messageId, deliveryMode, contentType, key: message.fields.routingKey }).toEqual({
        messageId: event.id,
        deliveryMode: 2,
        contentType: 'application/json',
        key: event.name,
      });
      return event;
    });
  }

  /** Waits until what was told so far has been heard. */
  async caughtUp(): Promise<void> {
    const messageId = randomUUID();
    this.channel.publish(exchange, 'mark', Buffer.from('{}'), { messageId });
    const mark = await eventually(() => this.heard.find((message) => message.properties.messageId === messageId));
    this.heard.splice(this.heard.indexOf(mark), 1);
  }

  async close(): Promise<void> {
    await this.connection.close().catch(() => undefined);
  }
}

describe('events', () => {
  let world: World;
  let fleet: Fleet;
  let proxy: CuttingProxy;
  let brokerProxy: CuttingProxy;
  let ear: Ear;
  let ownBroker: Server;
  let folder: string;
  const secrets: string[] = [];
  /** What must be told of each lease, and nothing else. */
  const expected: Record<string, string[]> = {};

  beforeAll(async () => {
    const { rabbitmqUrl } = testServers();
    folder = await mkdtemp(join(tmpdir(), 'leasehold-events-'));
    const owned = startRabbitmq({ folder });
    ear = await Ear.on(rabbitmqUrl);
    brokerProxy = await cuttingProxy(rabbitmqUrl);
    world = await World.start({
      weather: {},
      timing: { retryBaseMs: 20, maxAttempts: 2, tombstoneLooksMs: [100, 100] },
      run: async (system) => {
        proxy = await cuttingProxy(system.databaseUrl);
        const { surroundings, masterKey, timing, databaseUrl, rootToken } = system;
        const aws = { url: surroundings.defaultEndpoint, ...(await surroundings.ambientCredentials()()) };
        const env = { LEASEHOLD_NAMESPACE: namespace };
        fleet = newFleet({ databaseUrl, masterKey, timing, aws, env, onLine: (line) => void world?.log.push(line) });
        await fleet.migrate({ LEASEHOLD_ROOT_TOKEN: rootToken });
        const gateway = fleet.start('gateway', { DATABASE_URL: proxy.url });
        const revoker = fleet.start('revoker', { RABBITMQ_URL: brokerProxy.url });
        await Promise.all([gateway, fleet.start('issuer'), revoker].map((each) => each.serves()));
        return { url: gateway.url, close: () => fleet.close() };
      },
    });
    await world.mount();
    await writeRole(world, 'deploy');
    const account = world.simulator.account();
    account.putUserPolicy(account.existingUser('leasehold-root'), 'federate', seedFederationPolicy());
    await writeRole(world, 'visit', { credential_type: 'federation_token', policy_document: policyDocument });
    secrets.push(world.http.token, world.root.secretAccessKey, world.root.accessKeyId);
    ownBroker = await owned;
  }, 600_000);
  afterEach(() => world.simulator.faults.clear());
  afterAll(async () => {
    await world?.close();
    await proxy?.close();
    await brokerProxy?.close();
    await ear?.channel.deleteExchange(exchange);
    for (const queue of ['commands', 'commands.held']) await ear?.channel.deleteQueue(`${namespace}.${queue}`);
    await ear?.close();
    await ownBroker?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function lendKnown(role: string) {
    const lent = await lend(world, role);
    const { access_key: id, secret_key: secret, security_token: token } = lent.keys as LentKeys;
    secrets.push(id, secret, ...(token ? [token] : []));
    return lent;
  }

  const tells = async (leaseId: string, names: string[]) => {
    expected[leaseId] = names.sort();
    const wanted = names.join();
    await eventually(() => ear.namesOf(leaseId).join() === wanted).catch(() => undefined);
    expect(ear.namesOf(leaseId)).toEqual(names);
  };
  const eventOf = (leaseId: string, name: string) =>
    ear.events().find((event) => event.leaseId === leaseId && event.name === name);
  const waiting = async () => {
    const { rows } = await world.database.query<{ count: number }>('select count(*)::int from outbox');
    return rows[0]!.count;
  };

  /** Waits until whatever there was to tell has been heard. */
  const allHeard = async () => {
    await eventually(async () => (await waiting()) === 0);
    await ear.caughtUp();
  };

  it('tell that a lease was issued, renewed and revoked, each with what it was about', async () => {
    const { leaseId } = await lendKnown('deploy');
    const issued = await rowOf(world, leaseId);
    await world.http.must(200, 'PUT', 'sys/leases/renew', { lease_id: leaseId, increment: 600 });
    const renewed = await rowOf(world, leaseId);
    await world.http.must(204, 'PUT', `sys/revoke/${leaseId}`);
    await tells(leaseId, ['lease.issued', 'lease.renewed', 'lease.revoked']);
    const lease = {
      leaseId,
      mount: 'aws/',
      role: 'deploy',
      credentialType: 'iam_user',
      accountId: issued.account_id,
      requestId: expect.stringMatching(/./),
    };
    expect(eventOf(leaseId, 'lease.issued')).toMatchObject({ ...lease, expiresAt: issued.expires_at!.toISOString() });
    expect(eventOf(leaseId, 'lease.renewed')).toMatchObject({ ...lease, expiresAt: renewed.expires_at!.toISOString() });
    expect(eventOf(leaseId, 'lease.revoked')).toMatchObject({ ...lease, reason: 'revoked' });
  });

  it('tell that a lease expired', async () => {
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1s', lease_max: '1h' });
    const { leaseId } = await lendKnown('deploy');
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1h', lease_max: '1h' });
    await tells(leaseId, ['lease.expired', 'lease.issued']);
    expect(world.lentUsers()).toEqual([]);
  });

  it('tell of credentials of STS, which are issued in one step and end in bulk', async () => {
    const [over, revoked] = [await lendKnown('visit'), await lendKnown('visit')];
    await world.database.query('update leases set due_at = now() where id = $1', [over.leaseId]);
    await tells(over.leaseId, ['lease.expired', 'lease.issued']);
    await world.http.must(204, 'PUT', `sys/revoke/${revoked.leaseId}`);
    await tells(revoked.leaseId, ['lease.issued', 'lease.revoked']);
    expect(eventOf(revoked.leaseId, 'lease.revoked')).toMatchObject({ credentialType: 'federation_token' });
  });

  it('tell that a lease is irrevocable, and once that it ended after all, however often its tombstone is looked at', async () => {
    const { leaseId } = await lendKnown('deploy');
    world.simulator.faults.fail({ action: 'DeleteUser', code: 'AccessDenied', status: 403 });
    await world.http.must(400, 'PUT', `sys/revoke/${leaseId}`);
    await tells(leaseId, ['lease.irrevocable', 'lease.issued']);
    await world.http.must(204, 'PUT', `sys/revoke-force/${leaseId}`);
    world.simulator.faults.clear();
    await comesToRest(world);
    await tells(leaseId, ['lease.irrevocable', 'lease.issued', 'lease.revoked']);
  });

  it('tell nothing of an issue that failed or was rolled back', async () => {
    world.simulator.faults.fail({ action: 'CreateUser', code: 'AccessDenied', status: 403, times: 1 });
    await world.http.must(400, 'GET', 'aws/creds/deploy');
    world.simulator.faults.fail({ action: 'PutUserPolicy', code: 'AccessDenied', status: 403, times: 1 });
    await world.http.must(400, 'GET', 'aws/creds/deploy');
    const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
    const hangUp = new AbortController();
    const asked = world.http.call('GET', 'aws/creds/deploy', undefined, { signal: hangUp.signal });
    await hold.reached;
    hangUp.abort();
    await expect(asked).rejects.toThrow();
    await eventually(async () => {
      const { rows } = await world.database.query('select 1 from commands where withdrawn_at is not null');
      return rows.length > 0;
    });
    hold.release();
    await comesToRest(world);
    await allHeard();
    const untold = (await world.leases()).filter((row) => !(row.id in expected));
    expect(untold.map((row) => row.end_reason)).toEqual(['issue_failed', 'issue_failed', expect.anything()]);
    for (const { id } of untold) await tells(id, []);
  });

  it('tell that a lease was issued and revoked when its acceptance was undone', async () => {
    proxy.cut(acceptance, 1_000);
    await world.http.must(503, 'GET', 'aws/creds/deploy');
    proxy.cut(acceptance, 0);
    await comesToRest(world);
    const { id } = (await world.leases()).at(-1)!;
    await tells(id, ['lease.issued', 'lease.revoked']);
    expect(eventOf(id, 'lease.revoked')).toMatchObject({ reason: 'not_received' });
  });

  it('come again, under the same id, when the broker took them and could not confirm', async () => {
    brokerProxy.cut('lease.issued', 1);
    const { leaseId } = await lendKnown('deploy');
    await eventually(() => ear.heard.filter((message) => message.content.includes(leaseId)).length === 2);
    expect(brokerProxy.left('lease.issued')).toBe(0);
    await tells(leaseId, ['lease.issued']);
    await world.http.must(204, 'PUT', `sys/revoke/${leaseId}`);
    await tells(leaseId, ['lease.issued', 'lease.revoked']);
  });

  it('told nothing else so far, and no secret in any', async () => {
    await allHeard();
    const told: Record<string, string[]> = {};
    for (const { leaseId } of ear.events()) told[leaseId] = ear.namesOf(leaseId);
    expect(told).toEqual(Object.fromEntries(Object.entries(expected).filter(([, names]) => names.length > 0)));
    const text = ear.heard
      .map((message) => JSON.stringify([message.content.toString(), message.properties]))
      .join('\n');
    expect(secrets.length).toBeGreaterThan(10);
    for (const secret of secrets) expect(text).not.toContain(secret);
  });

  it('are printed by the example that listens', async () => {
    const { rabbitmqUrl } = testServers();
    const env = { PATH: process.env.PATH, RABBITMQ_URL: rabbitmqUrl, LEASEHOLD_NAMESPACE: namespace };
    const listener: ChildProcess = spawn(process.execPath, ['dist/examples/event-listener/main.js', 'lease.issued'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(listener, 'exit');
    let printed = '';
    listener.stdout!.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    try {
      await eventually(() => printed.includes('Listening'));
      const { leaseId } = await lendKnown('deploy');
      await eventually(() => printed.includes(`lease.issued ${leaseId} until `));
      await world.http.must(204, 'PUT', `sys/revoke/${leaseId}`);
    } finally {
      listener.kill();
      expect(await exited).toEqual([0, null]);
      await ear.channel.deleteQueue(`${namespace}.event-listener`);
    }
  });

  describe('while their broker is away', () => {
    const queue = `${namespace}.ear`;
    let revokers: Service[];
    const lines = (msg: string) => world.log.filter((line) => line.includes(msg)).length;

    beforeAll(async () => {
      await Promise.all(fleet.running('revoker').map((revoker) => revoker.end()));
      await (await Ear.on(ownBroker.url, queue)).close();
      revokers = [1, 2].map(() => fleet.start('revoker', { RABBITMQ_URL: ownBroker.url }));
      await Promise.all(revokers.map((revoker) => revoker.serves()));
    });

    it('wait in the outbox, are counted, and arrive afterwards', async () => {
      await eventually(async () => (await revokers[0]!.isReady()) && (await revokers[1]!.isReady()));
      // What the stories before this one have left is told.
      await eventually(async () => (await waiting()) === 0);
      const before = { away: lines('events cannot be told'), again: lines('events are told again') };
      await ownBroker.stop();
      await eventually(async () => !(await revokers[0]!.isReady()) && !(await revokers[1]!.isReady()));
      const lent = [await lendKnown('deploy'), await lendKnown('deploy')];
      await world.http.must(204, 'PUT', `sys/revoke/${lent[0]!.leaseId}`);
      expect(await waiting()).toBe(3);
      const health = await (await fetch(`${revokers[0]!.operations}/health/ready`)).json();
      expect(health).toEqual({ ready: false, waiting_for: ['rabbitmq'] });
      const figures = await (await fetch(`${revokers[0]!.operations}/metrics`)).text();
      expect(figures).toMatch(/^leasehold_outbox_events\{.*\} 3$/m);
      expect(figures).toMatch(/^leasehold_outbox_lag_seconds\{.*\} \d*\.\d+$/m);

      // One is told to stop in the middle of it, and stops.
      await revokers[1]!.end();
      expect(await revokers[1]!.ended).toBe(0);
      await ownBroker.start();
      await eventually(async () => (await waiting()) === 0);
      const after = await Ear.on(ownBroker.url, queue);
      await after.caughtUp();
      expect(after.namesOf(lent[0]!.leaseId)).toEqual(['lease.issued', 'lease.revoked']);
      expect(after.namesOf(lent[1]!.leaseId)).toEqual(['lease.issued']);
      expect(await revokers[0]!.isReady()).toBe(true);
      expect(lines('events cannot be told') - before.away).toBe(2);
      expect(lines('events are told again') - before.again).toBe(1);
      await after.close();
      await world.http.must(204, 'PUT', `sys/revoke/${lent[1]!.leaseId}`);
    }, 60_000);

    it('are all told when two revokers share them and one is killed', async () => {
      const hearing = await Ear.on(ownBroker.url, queue);
      const other = fleet.start('revoker', { RABBITMQ_URL: ownBroker.url });
      await other.serves();
      await eventually(async () => (await waiting()) === 0);
      const { rows } = await world.database.query<{ id: string }>(
        `insert into outbox (id, name, body) select id, 'lease.renewed', jsonb_build_object('id', id)
         from (select gen_random_uuid() as id from generate_series(1, 8000)) new returning id`,
      );
      await eventually(() => hearing.heard.length > 1_000);
      await other.end('SIGKILL');
      expect(await waiting()).toBeGreaterThan(0);
      await eventually(async () => (await waiting()) === 0, 20_000);
      await hearing.caughtUp();
      const heard = new Set(hearing.heard.map((message) => message.properties.messageId as string));
      expect(rows.filter(({ id }) => !heard.has(id))).toEqual([]);
      await hearing.close();
    });
  });
});
