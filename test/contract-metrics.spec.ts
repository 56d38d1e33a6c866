import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Metrics } from '#libs/runtime';
import { lend, writeRole } from './support/lease-life.js';
import { readExposition } from './support/exposition.js';
import { eventually, World } from './support/world.js';

/** What contract.md 3.6 lists, with what one of each asks for here. */
const figures = {
  Gauges: [
    'vault.expire.num_leases',
    'vault.expire.num_irrevocable_leases',
    'vault.core.unsealed',
    'vault.core.active',
  ],
  Counters: ['vault.expire.lease_expiration', 'vault.expire.lease_expiration.error', 'vault.secret.lease.creation'],
  Samples: [
    'vault.expire.lease_expiration.time_in_queue',
    'vault.expire.register',
    'vault.expire.renew',
    'vault.expire.revoke',
    'vault.expire.revoke-force',
    'vault.expire.revoke-prefix',
    'vault.token.create',
    'vault.token.lookup',
    'vault.token.revoke',
    'vault.token.revoke-tree',
    'vault.core.handle_request',
    'vault.core.check_token',
    'vault.rollback.attempt.aws-',
    'vault.route.read.aws-',
    'vault.route.update.aws-',
    'vault.route.list.aws-',
    'vault.route.delete.aws-',
    'vault.route.read.team-prod-',
    'vault.route.update.sys-',
    'vault.route.update.auth-token-',
  ],
} as const;

describe('the figures that readers of Vault look for', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {}, timing: { tombstoneLooksMs: [50] } });
    await world.mount();
    await world.mount('team/prod');
    await writeRole(world, 'deploy');
  });
  afterAll(() => world.close());

  const must = (status: number, method: string, path: string, body?: object) =>
    world.http.must(status, method, path, body);
  const create = async () =>
    ((await must(200, 'POST', 'auth/token/create', {})).body as unknown as { auth: { client_token: string } }).auth
      .client_token;
  type Told = Record<
    keyof typeof figures,
    { Name: string; Count?: number; Sum?: number; Value?: number; Labels: object }[]
  >;
  const told = async () => (await must(200, 'GET', 'sys/metrics')).body as unknown as Told;

  it('are all there once each thing has happened, as JSON and for Prometheus', async () => {
    const held = await lend(world, 'deploy');
    await must(200, 'PUT', 'sys/leases/renew', { lease_id: held.leaseId });
    await must(200, 'LIST', 'aws/roles');
    await must(204, 'DELETE', 'aws/roles/nobody');
    await must(200, 'GET', 'team/prod/config/root');
    await must(204, 'PUT', 'sys/leases/revoke-force/aws/creds/nobody');
    await must(204, 'PUT', 'sys/leases/revoke-prefix/aws/creds/nobody');
    await must(204, 'POST', 'auth/token/revoke-orphan', { token: await create() });
    await must(204, 'POST', 'auth/token/revoke', { token: await create() });
    world.simulator.faults.fail({ action: 'CreateAccessKey', code: 'AccessDenied', status: 403, times: 1 });
    await must(400, 'GET', 'aws/creds/deploy');
    world.simulator.faults.fail({ action: 'DeleteAccessKey', code: 'Throttling', times: 4 });
    await must(204, 'PUT', 'aws/config/lease', { lease: '300ms', lease_max: '1h' });
    await lend(world, 'deploy');
    await must(204, 'PUT', 'aws/config/lease', { lease: '1h', lease_max: '10h' });

    const found = await eventually(async () => {
      const now = await told();
      const counts = new Map([...now.Counters, ...now.Samples].map(({ Name, Count }) => [Name, Count ?? 0]));
      const missing = [...figures.Counters, ...figures.Samples].filter((name) => !counts.get(name));
      return missing.length === 0 && now;
    });
    const gauges = new Map(found.Gauges.map(({ Name, Value }) => [Name, Value]));
    expect(figures.Gauges.map((name) => gauges.get(name))).toEqual([expect.any(Number), 0, 1, 1]);
    for (const kind of ['Counters', 'Samples'] as const) {
      for (const name of figures[kind]) {
        const each = found[kind].find(({ Name }) => Name === name)!;
        expect([name, each.Count! > 0, Number.isFinite(each.Sum)]).toEqual([name, true, true]);
      }
    }

    const exposed = readExposition((await must(200, 'GET', 'sys/metrics?format=prometheus')).text);
    const inPrometheus = (name: string) => name.replaceAll(/[^a-zA-Z0-9_]/g, '_');
    for (const name of figures.Gauges) expect([name, exposed.find(inPrometheus(name))]).not.toContain(undefined);
    for (const name of figures.Counters) expect([name, exposed.of(inPrometheus(name)) > 0]).toEqual([name, true]);
    for (const name of figures.Samples)
      expect([name, exposed.of(`${inPrometheus(name)}_count`) > 0]).toEqual([name, true]);
  });

  it('count what was asked, and nothing else', async () => {
    const countOf = async (name: string) => (await told()).Samples.find(({ Name }) => Name === name)?.Count ?? 0;
    const before = await countOf('vault.route.read.team-prod-');
    for (let turn = 0; turn < 3; turn += 1) await must(200, 'GET', 'team/prod/config/root');
    expect((await world.http.call('GET', 'team/prod/config/root', undefined, { token: null })).status).toBe(403);
    expect(await countOf('vault.route.read.team-prod-')).toBe(before + 3);
    const trees = await countOf('vault.token.revoke-tree');
    await must(204, 'POST', 'auth/token/revoke', { token: await create() });
    expect(await countOf('vault.token.revoke-tree')).toBe(trees + 1);
  });

  it('have no label but that of the service and those with our own words', async () => {
    const labels = Object.values(await told()).flatMap((list) =>
      Array.isArray(list) ? list.flatMap(({ Labels }) => Object.entries(Labels ?? {})) : [],
    );
    expect(labels.filter(([, value]) => /deploy|team|hvs\./.test(String(value)))).toEqual([]);
  });

  it('do not grow with the number of mounts', async () => {
    const metrics = new Metrics('test');
    for (let n = 0; n < 300; n += 1) metrics.summaryOfMount('vault.route.read', `mount-${n}/`, 'Reads.').observe(1);
    const { Samples } = await metrics.json();
    expect(Samples.length).toBeLessThanOrEqual(101);
    expect(Samples.reduce((sum, { Count }) => sum + Count, 0)).toBe(300);
    expect(Samples.find(({ Name }) => Name === 'vault.route.read.others-')!.Count).toBe(200);
  });

  it.each([
    ['sys/metrics?format=xml', 'metric response format "xml" unknown'],
    ['sys/metrics?format=JSON', 'metric response format "JSON" unknown'],
  ])('are not told as %s', async (path, text) => {
    const answer = await world.http.call('GET', path);
    expect([answer.status, answer.headers.get('content-type'), answer.text]).toEqual([400, 'text/plain', text]);
  });
});
