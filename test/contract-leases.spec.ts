import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { comesToRest, lend, type Lent, rowOf, writeRole } from './support/lease-life.js';
import { World } from './support/world.js';

describe('leases, as contract.md 3.2 and 4 say', () => {
  let world: World;
  let lent: Lent;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    await world.mount();
    await writeRole(world, 'a');
    await writeRole(world, 'ab');
  });
  beforeEach(async () => {
    lent = await lend(world, 'a');
  });
  afterAll(() => world.close());

  const put = (path: string, body?: object) => world.http.call('PUT', path, body);

  it('look up: what a client reads of a lease', async () => {
    const { body } = await world.http.must(200, 'PUT', 'sys/leases/lookup', { lease_id: lent.leaseId });
    expect(body.data).toEqual({
      id: lent.leaseId,
      issue_time: expect.stringMatching(/^\d{4}-.*Z$/),
      expire_time: expect.stringMatching(/^\d{4}-.*Z$/),
      last_renewal: null,
      renewable: true,
      ttl: 3600,
    });
  });

  it('list: folders and ids, by every spelling of a list', async () => {
    for (const [method, path] of [
      ['LIST', 'sys/leases/lookup/aws/creds'],
      ['GET', 'sys/leases/lookup/aws/creds/?list=true'],
      ['GET', 'sys/leases/lookup/aws/creds?list=1'],
    ] as const) {
      expect((await world.http.must(200, method, path)).body.data).toEqual({ keys: ['a/'] });
    }
    const ids = (await world.http.must(200, 'LIST', 'sys/leases/lookup/aws/creds/a')).body.data.keys;
    expect(ids).toContain(lent.leaseId.split('/').at(-1));
    expect((await world.http.must(200, 'LIST', 'sys/leases/lookup')).body.data).toEqual({ keys: ['aws/'] });
    expect((await world.http.call('LIST', 'sys/leases/lookup/nothing')).text).toBe('{"errors":[]}\n');
  });

  it.each([
    ['sys/leases/renew', (id: string) => ({ lease_id: id, increment: 120 })],
    ['sys/renew', (id: string) => ({ lease_id: id, increment: '2m' })],
  ])('renew: %s with the id in the body', async (path, body) => {
    const renewed = await world.http.must(200, 'PUT', path, body(lent.leaseId));
    expect(renewed.body).toMatchObject({ lease_id: lent.leaseId, lease_duration: 120, renewable: true, data: null });
  });

  it.each(['sys/leases/renew', 'sys/renew'])(
    'renew: %s with the id in the path, as long as the engine says',
    async (path) => {
      const renewed = await world.http.must(200, 'PUT', `${path}/${lent.leaseId}`, { increment: null });
      expect(renewed.body).toMatchObject({ lease_id: lent.leaseId, lease_duration: 3600 });
    },
  );

  it('renew: never past the longest life, and says so', async () => {
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1h', lease_max: '2h' });
    const { body } = await world.http.must(200, 'PUT', 'sys/leases/renew', {
      lease_id: lent.leaseId,
      increment: '25h',
    });
    expect(body.lease_duration).toBeLessThanOrEqual(7200);
    expect(body.warnings).toEqual([
      expect.stringMatching(/^TTL of "25h" exceeded the effective max_ttl of ".*"; TTL value is capped accordingly$/),
    ]);
    await world.database.query(`update leases set issued_at = issued_at - interval '3 hours' where id = $1`, [
      lent.leaseId,
    ]);
    const past = await put('sys/leases/renew', { lease_id: lent.leaseId });
    expect([past.status, past.body.errors]).toEqual([400, ['past the max TTL, cannot renew']]);
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '0', lease_max: '0' });
  });

  it.each([
    ['sys/leases/lookup', {}, 'lease_id must be specified'],
    ['sys/leases/lookup', { lease_id: 'aws/creds/a/none' }, 'invalid lease'],
    ['sys/leases/renew', { lease_id: 'aws/creds/a/none' }, 'lease not found'],
    ['sys/leases/revoke', {}, 'lease_id must be specified'],
  ])('%s %j is refused: %s', async (path, body, text) => {
    const refused = await put(path, body);
    expect([refused.status, refused.body.errors]).toEqual([400, [text]]);
  });

  it.each([
    ['today, in the body', () => put('sys/leases/revoke', { lease_id: lent.leaseId })],
    ['today, in the path', () => put(`sys/leases/revoke/${lent.leaseId}`, { sync: true })],
    ['as the seed document has it', () => put(`sys/revoke/${lent.leaseId}`)],
    ['by POST', () => world.http.call('POST', 'sys/revoke', { lease_id: lent.leaseId })],
    ['by a prefix that is the lease itself', () => put(`sys/leases/revoke-prefix/${lent.leaseId}`)],
    ['by force', () => put(`sys/leases/revoke-force/${lent.leaseId}`)],
  ])('revoke: %s, and it is gone from AWS when the answer comes', async (_, revoke) => {
    expect((await revoke()).status).toBe(204);
    expect(await world.whoIs(lent.keys)).toBe('InvalidClientTokenId');
    expect((await put('sys/leases/lookup', { lease_id: lent.leaseId })).body.errors).toEqual(['invalid lease']);
    expect((await revoke()).status).toBe(204);
  });

  it('revoke: sync false answers 202 at once, and it is gone soon', async () => {
    const answer = await put(`sys/leases/revoke/${lent.leaseId}`, { sync: false });
    expect([answer.status, answer.text]).toEqual([202, '']);
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws/creds/a');
    expect((await rowOf(world, lent.leaseId)).state).toBe('ended');
  });

  it.each(['sys/leases/revoke-prefix/aws/creds/a', 'sys/revoke-prefix/aws/creds/a/'])(
    'revoke-prefix: %s takes whole segments, and leaves the others',
    async (path) => {
      const other = await lend(world, 'ab');
      expect((await put(path, { prefix: 'ignored' })).status).toBe(204);
      await comesToRest(world, [other]);
      await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws/creds/ab');
    },
  );

  it('revoke-prefix: one that AWS refuses is told with the counts, and stops no other', async () => {
    const other = await lend(world, 'a');
    const { user_name: userName } = await rowOf(world, lent.leaseId);
    world.simulator.faults.fail({
      action: 'DeleteUser',
      userName: userName!,
      code: 'AccessDenied',
      status: 403,
      times: 1,
    });
    const refused = await put('sys/leases/revoke-prefix/aws/creds/a');
    expect(refused.status).toBe(400);
    expect(refused.body.errors[0]).toMatch(
      /^failed to revoke ".*" \(1 \/ \d+\): failed to revoke entry: .*AccessDenied/s,
    );
    expect(refused.body.errors[0]).toContain(lent.leaseId);
    expect((await rowOf(world, other.leaseId)).state).toBe('ended');
    await comesToRest(world);
  });
});

describe('help and status', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    await world.mount('team/aws');
  });
  afterAll(() => world.close());

  it('explains the mount and every path of it', async () => {
    const help = async (path: string) => {
      const { body } = await world.http.must(200, 'GET', `${path}?help=1`);
      expect(body).toMatchObject({ see_also: null });
      return body.help as string;
    };
    const mount = await help('team/aws');
    const patterns = [...mount.matchAll(/^ {4}\^(.*)\$$/gm)].map((match) => match[1]!);
    expect(patterns.length).toBeGreaterThanOrEqual(5);
    expect(patterns).toContain('config/root');
    for (const path of ['config/root', 'config/lease', 'roles', 'roles/deploy', 'creds/deploy', 'sts/deploy']) {
      const text = await help(`team/aws/${path}`);
      expect(text).toContain(`Request:        ${path}`);
      expect(text).toContain('Matching Route: ^');
      expect(text).toContain('## DESCRIPTION');
    }
    expect(await help('team/aws/roles/deploy')).toContain('policy (string) (DEPRECATED)');
    expect(await help('sys/leases/renew')).toContain('increment (duration (sec))');
    expect((await world.http.call('GET', 'team/aws/nowhere?help=1')).status).toBe(404);
    expect((await world.http.call('GET', 'team/aws?help=1', undefined, { token: null })).status).toBe(403);
  });

  it('says that it is up, to whoever asks', async () => {
    const ask = (method: string, path: string) => world.http.call(method, path, undefined, { token: null });
    expect((await ask('GET', 'sys/health')).body).toMatchObject({ initialized: true, sealed: false, standby: false });
    expect([(await ask('HEAD', 'sys/health')).status, (await ask('GET', 'sys/health?activecode=299')).status]).toEqual([
      200, 299,
    ]);
    expect((await ask('HEAD', 'sys/mounts')).status).not.toBe(200);
    expect((await ask('GET', 'sys/seal-status')).body).toMatchObject({ sealed: false, t: 1, n: 1, progress: 0 });
    expect((await ask('GET', 'sys/init')).body).toEqual({ initialized: true });
    expect((await ask('GET', 'sys/leader')).body).toMatchObject({ ha_enabled: false });
  });

  it('tells a token what it is', async () => {
    const { data } = (await world.http.must(200, 'GET', 'auth/token/lookup-self')).body;
    expect(data).toMatchObject({
      id: world.http.token,
      policies: ['root'],
      display_name: 'root',
      ttl: 0,
      expire_time: null,
    });
    const rows = (await world.database.query<{ hash: Buffer }>('select hash from tokens')).rows;
    expect(rows).toHaveLength(1);
    expect(rows[0]!.hash.toString('latin1')).not.toContain(world.http.token);
  });
});
