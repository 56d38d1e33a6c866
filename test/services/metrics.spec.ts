import { randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { issueLease, newIssuerKeys, parseIssuerPublicKey } from '#libs/contracts';
import { CommandClient } from '#libs/runtime';
import { type ChannelModel, connect } from 'amqplib';
import { firstValueFrom } from 'rxjs';
import type { z } from 'zod';
import { gatewayEnv } from '../../apps/gateway/src/gateway.env.js';
import { issuerEnv } from '../../apps/issuer/src/issuer.env.js';
import { migrateEnv } from '../../apps/migrate/src/migrate.env.js';
import { revokerEnv } from '../../apps/revoker/src/revoker.env.js';
import type { Fleet, Service } from '../../apps/cluster/src/fleet.js';
import { startSystem } from '../../apps/standalone/src/system.js';
import { type Exposition, readExposition } from '../support/exposition.js';
import { lend, policyDocument, writeRole } from '../support/lease-life.js';
import { ready, writePooled } from '../support/pools.js';
import { newFleet, testServers } from '../support/services.js';
import { eventually, World } from '../support/world.js';

const kinds = ['gateway', 'issuer', 'revoker'] as const;
type Kind = (typeof kinds)[number];

/** A word for what a caller names, to be looked for where it must not be. */
const callersWord = 'payroll';
const prefetch = 3;

const keys = newIssuerKeys();
const namespace = `test-${randomBytes(6).toString('hex')}`;

describe('metrics of three services', () => {
  let world: World;
  let fleet: Fleet;
  let broker: ChannelModel;
  const services = {} as Record<Kind, Service>;
  const lines: string[] = [];
  const events: { name: string; requestId: string; leaseId: string }[] = [];

  beforeAll(async () => {
    world = await World.start({
      weather: {},
      timing: { handOverMs: 800, unansweredRetryMs: 300, syncOneMs: 2_000, pooledMinMs: 1 },
      run: async (system) => {
        const credentials = await system.surroundings.ambientCredentials()();
        fleet = newFleet({
          databaseUrl: system.databaseUrl,
          masterKey: system.masterKey,
          timing: system.timing,
          aws: { url: system.surroundings.defaultEndpoint, ...credentials },
          env: {
            LEASEHOLD_NAMESPACE: namespace,
            LEASEHOLD_ISSUER_KEY: keys.privateKey,
            LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
            LEASEHOLD_PREFETCH: String(prefetch),
          },
          onLine: (line) => void lines.push(line),
        });
        await fleet.migrate({ LEASEHOLD_ROOT_TOKEN: system.rootToken });
        await Promise.all(
          kinds.map(async (kind) => {
            services[kind] = await fleet.start(kind).serves();
          }),
        );
        return { url: services.gateway.url, close: () => fleet.close() };
      },
    });
    broker = await listen();
    await world.mount();
    await writeRole(world, callersWord);
  }, 60_000);
  afterAll(async () => {
    await broker?.close();
    await world?.close();
  });

  async function listen(): Promise<ChannelModel> {
    const connection = await connect(testServers().rabbitmqUrl);
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.assertExchange(`${namespace}.events`, 'topic', { durable: true });
    await channel.bindQueue(queue, `${namespace}.events`, '#');
    await channel.consume(
      queue,
      (message) => events.push(JSON.parse(message!.content.toString()) as (typeof events)[number]),
      { noAck: true },
    );
    return connection;
  }

  async function scrape(kind: Kind): Promise<Exposition> {
    const answer = await fetch(`${services[kind].operations}/metrics`);
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    return readExposition(await answer.text());
  }

  /** Waits until a figure has grown by `by` since `before`. */
  const grows = (kind: Kind, before: Exposition, by: number, name: string, labels: Record<string, string> = {}) =>
    eventually(async () => (await scrape(kind)).of(name, labels) >= before.of(name, labels) + by);

  const lastOf = (msg: string) =>
    lines.filter((line) => line.includes(`"msg":"${msg}"`)).map((line) => JSON.parse(line) as Record<string, unknown>);

  it.each(kinds)('the %s says that it lives and is ready, and shows its figures', async (kind) => {
    const live = await fetch(`${services[kind].operations}/health/live`);
    expect([live.status, await live.json()]).toEqual([200, { live: true }]);
    const figures = await eventually(async () => {
      const found = await scrape(kind);
      return found.of('leasehold_ready') === 1 && found;
    });
    expect(figures.find('process_resident_memory_bytes')).toBeGreaterThan(0);
    expect(figures.series.every((series) => series.includes(`service="${kind}"`))).toBe(true);
  });

  it('an issue is counted at every service, and its request id is in every line and event of it', async () => {
    const [gateway, issuer] = [await scrape('gateway'), await scrape('issuer')];
    const answer = await world.http.must(200, 'GET', `aws/creds/${callersWord}`);
    const requestId = answer.body.request_id;

    const after = await scrape('gateway');
    const asked = { route: 'creds', operation: 'read', status: '200' };
    expect(after.of('leasehold_http_requests_total', asked)).toBe(
      gateway.of('leasehold_http_requests_total', asked) + 1,
    );
    expect(after.of('leasehold_http_request_seconds_count', { route: 'creds' })).toBe(1);
    expect(after.of('vault_core_handle_request_count')).toBeGreaterThan(gateway.of('vault_core_handle_request_count'));
    expect(after.of('vault_core_check_token_count')).toBe(gateway.of('vault_core_check_token_count') + 1);
    expect(after.of('vault_core_unsealed')).toBe(1);

    const issued = await scrape('issuer');
    const moved = (name: string, labels?: Record<string, string>) => issued.of(name, labels) - issuer.of(name, labels);
    expect(moved('leasehold_commands_total', { command: 'issue', outcome: 'ok' })).toBe(1);
    expect(moved('leasehold_command_seconds_count', { command: 'issue' })).toBe(1);
    expect(moved('vault_secret_lease_creation', { credential_type: 'iam_user' })).toBe(1);
    expect(moved('vault_expire_register_count')).toBe(1);
    for (const action of ['CreateUser', 'PutUserPolicy', 'CreateAccessKey']) {
      expect(moved('leasehold_aws_calls_total', { aws: 'iam', action, outcome: 'ok' })).toBe(1);
      expect(moved('leasehold_aws_call_seconds_count', { aws: 'iam', action })).toBe(1);
    }

    await eventually(async () => (await scrape('revoker')).of('vault_expire_num_leases') === 1);
    expect((await scrape('revoker')).of('leasehold_leases', { state: 'active' })).toBe(1);

    await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: answer.body.lease_id });
    const ofIt = await eventually(() => {
      const told = lines.filter((line) => line.includes(String(requestId)));
      return told.length >= 3 && told.map((line) => JSON.parse(line) as Record<string, unknown>);
    });
    expect(ofIt.map(({ service, msg }) => [service, msg])).toEqual([
      ['issuer', 'credential offered'],
      ['gateway', 'credential handed over'],
      ['revoker', 'lease ended'],
    ]);
    expect(ofIt.every((line) => line.requestId === requestId && line.leaseId === answer.body.lease_id)).toBe(true);
    const told = await eventually(() => {
      const found = events.filter((event) => event.requestId === requestId).map((event) => event.name);
      return found.length >= 2 && found.sort();
    });
    expect(told).toEqual(['lease.issued', 'lease.revoked']);
  });

  it('a revocation and a renewal are counted, and how late it was', async () => {
    const lent = await lend(world, callersWord);
    const [gateway, revoker] = [await scrape('gateway'), await scrape('revoker')];
    await world.http.must(200, 'PUT', 'sys/leases/renew', { lease_id: lent.leaseId, increment: 300 });
    await grows('gateway', gateway, 1, 'vault_expire_renew_count');
    // Due within the horizon by now: its alarm is set.
    await eventually(async () => (await scrape('revoker')).of('leasehold_alarms', { state: 'delayed' }) >= 1);
    await world.http.must(204, 'PUT', `sys/leases/revoke-prefix/aws/creds/${callersWord}`);
    await grows('revoker', revoker, 1, 'leasehold_leases_ended_total', { reason: 'revoked' });
    const after = await scrape('revoker');
    for (const [name, labels] of [
      ['leasehold_lateness_seconds_count', { reason: 'revoked' }],
      ['vault_expire_revoke_count', {}],
      ['leasehold_aws_calls_total', { action: 'DeleteUser', outcome: 'ok' }],
    ] as const) {
      expect([name, after.of(name, labels)]).toEqual([name, revoker.of(name, labels) + 1]);
    }
    expect((await scrape('gateway')).of('vault_expire_revoke_prefix_count')).toBe(1);
  });

  it('what AWS refuses is counted by class, and the failure told by its code and request id', async () => {
    const [gateway, issuer] = [await scrape('gateway'), await scrape('issuer')];
    world.simulator.faults.fail({ action: 'CreateUser', code: 'AccessDenied', status: 403, times: 1 });
    await world.http.must(400, 'GET', `aws/creds/${callersWord}`);
    await grows('issuer', issuer, 1, 'leasehold_commands_total', { command: 'issue', outcome: 'aws_refused' });
    await grows('issuer', issuer, 1, 'leasehold_aws_calls_total', { action: 'CreateUser', outcome: 'refused_access' });
    await grows('gateway', gateway, 1, 'leasehold_http_requests_total', { route: 'creds', status: '400' });
    const refused = await eventually(() => lastOf('request refused').at(-1));
    expect(refused).toMatchObject({ service: 'gateway', route: 'creds', status: 400, code: 'aws_refused' });
    expect(lastOf('issue failed').at(-1)).toMatchObject({ service: 'issuer', requestId: refused.requestId });
  });

  it('throttled calls are counted, though the caller has its credential', async () => {
    const issuer = await scrape('issuer');
    world.simulator.faults.fail({ action: 'CreateUser', code: 'Throttling', times: 2 });
    await lend(world, callersWord);
    await grows('issuer', issuer, 2, 'leasehold_aws_calls_total', { action: 'CreateUser', outcome: 'throttled' });
    await grows('issuer', issuer, 1, 'leasehold_aws_calls_total', { action: 'CreateUser', outcome: 'ok' });
  });

  it('commands at work and commands that wait are seen', async () => {
    const held = world.simulator.faults.hold('CreateUser', 'before', { times: prefetch + 2 });
    const asked = Array.from({ length: prefetch + 2 }, () => world.http.call('GET', `aws/creds/${callersWord}`));
    await eventually(async () => {
      const figures = await scrape('issuer');
      return figures.of('leasehold_commands_in_flight') === prefetch && figures.of('leasehold_commands_waiting') === 2;
    });
    held.release();
    for (const answer of await Promise.all(asked)) expect(answer.status).toBe(200);
    await eventually(async () => (await scrape('issuer')).find('leasehold_commands_waiting') === 0);
  });

  it('an expiry that AWS holds up is late, and its failed tries are counted', async () => {
    const revoker = await scrape('revoker');
    const lateFor = (figures: Exposition) => figures.of('leasehold_lateness_seconds_sum', { reason: 'expired' });
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1s', lease_max: '1h' });
    // One try makes several calls before it gives up for a while.
    world.simulator.faults.fail({ action: 'DeleteUser', code: 'Throttling', times: 4 });
    await lend(world, callersWord);
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1h', lease_max: '10h' });
    await grows('revoker', revoker, 1, 'leasehold_leases_ended_total', { reason: 'expired' });
    const after = await scrape('revoker');
    expect(lateFor(after) - lateFor(revoker)).toBeGreaterThan(0.1);
    expect(after.of('leasehold_lateness_seconds_count', { reason: 'expired' })).toBe(1);
    expect(after.of('vault_expire_lease_expiration')).toBeGreaterThanOrEqual(2);
    expect(after.of('vault_expire_lease_expiration_error')).toBeGreaterThanOrEqual(1);
    expect(after.of('vault_expire_lease_expiration_time_in_queue_count')).toBeGreaterThanOrEqual(2);
  });

  it('what a pool gave is counted and, once for each caller, what it had not', async () => {
    await writePooled(world, 'pooled', 1);
    await ready(world, 'pooled', 1);
    const before = await scrape('issuer');
    const moved = async () => {
      const after = await scrape('issuer');
      const asked = (outcome: string) => after.of('leasehold_pool_requests_total', { outcome });
      const was = (outcome: string) => before.of('leasehold_pool_requests_total', { outcome });
      const lent = after.of('vault_secret_lease_creation') - before.of('vault_secret_lease_creation');
      return {
        lent,
        handedOut: asked('handed_out') - was('handed_out'),
        none: asked('none_ready') - was('none_ready'),
      };
    };
    await lend(world, 'pooled');
    expect(await moved()).toEqual({ lent: 1, handedOut: 1, none: 0 });
    await ready(world, 'pooled', 1);
    await world.database.query(`update leases set pooled_at = now() + interval '1 hour' where state = 'pooled'`);
    await lend(world, 'pooled');
    expect(await moved()).toEqual({ lent: 2, handedOut: 1, none: 1 });
    await writePooled(world, 'pooled', 0);
  });

  it('an offer that nobody accepts is undelivered', async () => {
    const revoker = await scrape('revoker');
    const client = new CommandClient({
      broker: { url: testServers().rabbitmqUrl, namespace },
      publicKey: parseIssuerPublicKey(keys.publicKey),
    });
    const command = { id: randomUUID(), waitMs: 5_000, requestId: randomUUID(), token: world.http.token };
    await firstValueFrom(
      client.send(issueLease.pattern, { ...command, mount: 'aws/', role: callersWord, door: 'creds' }),
    );
    await client.close();
    await grows('revoker', revoker, 1, 'leasehold_undelivered_total', { reason: 'not_accepted' });
  });

  it('a lease that AWS does not let go is counted as irrevocable', async () => {
    const lent = await lend(world, callersWord);
    world.simulator.faults.fail({ action: 'DeleteUser', code: 'AccessDenied', status: 403 });
    await world.http.must(400, 'PUT', 'sys/leases/revoke', { lease_id: lent.leaseId });
    await eventually(async () => {
      const figures = await scrape('revoker');
      return (
        figures.of('vault_expire_num_irrevocable_leases') === 1 &&
        figures.of('leasehold_leases', { state: 'irrevocable' }) === 1
      );
    });
    expect((await scrape('revoker')).of('leasehold_longest_due_seconds')).toBeLessThan(5);
  });

  describe('sys/metrics', () => {
    const get = (path: string, headers: Record<string, string> = {}, token?: null) =>
      world.http.call('GET', path, undefined, { headers, ...(token === null ? { token } : {}) });

    it('is JSON in the form of Vault', async () => {
      const { status, headers, body } = await get('sys/metrics');
      expect([status, headers.get('content-type')]).toEqual([200, 'application/json']);
      expect(body.Timestamp).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC$/);
      expect(body.Gauges).toContainEqual({ Name: 'vault.core.unsealed', Value: 1, Labels: { service: 'gateway' } });
      const named = (list: unknown, name: string) =>
        (list as { Name: string; Count: number; Labels: Record<string, string> }[]).filter(
          (each) => each.Name === name,
        );
      expect(named(body.Samples, 'vault.core.handle_request')[0]!.Count).toBeGreaterThan(1);
      expect(named(body.Samples, 'vault.expire.revoke-prefix')).toHaveLength(1);
      const requests = named(body.Counters, 'leasehold_http_requests_total');
      expect(requests.map((each) => each.Labels)).toContainEqual(
        expect.objectContaining({ route: 'sys/mounts', operation: 'update', status: '204' }),
      );
    });

    it('is text for Prometheus, by its parameter and by the header', async () => {
      for (const answer of [
        await get('sys/metrics?format=prometheus'),
        await get('sys/metrics', { Accept: 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5' }),
      ]) {
        expect([answer.status, answer.headers.get('content-type')]).toEqual([
          200,
          'text/plain; version=0.0.4; charset=utf-8',
        ]);
        expect(readExposition(answer.text).of('vault_core_unsealed')).toBe(1);
      }
    });

    it('knows no other format, and answers nobody without a token', async () => {
      const unknown = await get('sys/metrics?format=xml');
      expect([unknown.status, unknown.headers.get('content-type'), unknown.text]).toEqual([
        400,
        'text/plain',
        'metric response format "xml" unknown',
      ]);
      expect((await get('sys/metrics', {}, null)).status).toBe(403);
    });
  });

  it('what a limit of ours refuses is counted by the limit, and so is the room that is left', async () => {
    const issuer = await scrape('issuer');
    await writeRole(world, 'limited', { max_leases: 1 });
    await lend(world, 'limited');
    await world.http.must(429, 'GET', 'aws/creds/limited');
    await world.http.must(204, 'PUT', 'sys/freeze/mount/aws');
    await world.http.must(429, 'GET', 'aws/creds/limited');
    await world.http.must(204, 'DELETE', 'sys/freeze/mount/aws');
    await grows('issuer', issuer, 1, 'leasehold_refused_total', { limit: 'role' });
    await grows('issuer', issuer, 1, 'leasehold_refused_total', { limit: 'frozen' });
    const { rows } = await world.database.query<{ users: number }>('select users from aws_accounts');
    expect((await scrape('revoker')).of('leasehold_aws_places_left')).toBe(5_000 - rows[0]!.users);
  });

  it('the operations page names every figure', async () => {
    const page = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
    const texts = await Promise.all(
      kinds.map(async (kind) => (await fetch(`${services[kind].operations}/metrics`)).text()),
    );
    const figures = texts.flatMap((text) => [...text.matchAll(/^# TYPE ((?:leasehold|vault)_\S+)/gm)]);
    // Vault has a mount's path in some names.
    const names = new Set(
      figures.map(([, name]) => name!.replace(/^(vault_route)_[a-z]+_.+|^(vault_rollback_attempt)_.+/, '$1$2_…')),
    );
    expect(names.size).toBeGreaterThan(25);
    expect([...names].filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });

  it('no figure holds a name that a caller chose, a token or a secret', async () => {
    const texts = await Promise.all(
      kinds.map(async (kind) => (await fetch(`${services[kind].operations}/metrics`)).text()),
    );
    texts.push((await world.http.must(200, 'GET', 'sys/metrics')).text);
    const leases = await world.leases();
    const named = leases.flatMap((row) => [row.id, row.user_name!, row.access_key_id!]).filter(Boolean);
    expect(named.length).toBeGreaterThan(10);
    const { accessKeyId, secretAccessKey } = world.root;
    const secrets = [callersWord, policyDocument, world.http.token, accessKeyId, secretAccessKey, ...named];
    for (const text of texts) expect(secrets.filter((secret) => text.includes(secret))).toEqual([]);
    // A mount's name too, wherever it is a label's value and not our own word.
    for (const text of texts) expect(text).not.toMatch(/="aws\/|\/aws"/);
  });
});

it('the operations page names every variable with its default', async () => {
  const page = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  const schemas = [gatewayEnv, issuerEnv, revokerEnv, migrateEnv];
  const shapes = Object.assign({}, ...schemas.map((schema) => schema.shape)) as Record<string, z.ZodType>;
  for (const [name, schema] of Object.entries(shapes)) {
    const line = page.split('\n').find((each) => each.startsWith('|') && each.includes(`\`${name}\``)) ?? '';
    expect([name, line]).not.toEqual([name, '']);
    const { data } = schema.safeParse(undefined);
    if (typeof data === 'string' || typeof data === 'number') expect(line).toContain(String(data));
  }
});

it('a system in one process shows all of its figures at sys/metrics', async () => {
  const world = await World.start({ weather: {}, run: startSystem });
  try {
    await world.mount();
    await writeRole(world, callersWord);
    const lent = await lend(world, callersWord);
    await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: lent.leaseId });
    const { text } = await world.http.must(200, 'GET', 'sys/metrics?format=prometheus');
    const figures = readExposition(text);
    expect(figures.of('leasehold_http_requests_total', { route: 'creds', status: '200' })).toBe(1);
    expect(figures.of('leasehold_commands_total', { command: 'issue', outcome: 'ok' })).toBe(1);
    expect(figures.of('leasehold_leases_ended_total', { reason: 'revoked' })).toBe(1);
    expect(figures.find('vault_expire_num_leases')).toBe(0);
    expect(figures.find('leasehold_alarms', { state: 'delayed' })).toBeGreaterThanOrEqual(0);
  } finally {
    await world.close();
  }
});
