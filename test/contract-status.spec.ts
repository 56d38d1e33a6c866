import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { rawRequest } from './support/raw-request.js';
import { World } from './support/world.js';

describe('status and tokens', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
  });
  afterAll(() => world.close());

  const open = (method: string, path: string, body?: object) => world.http.call(method, path, body, { token: null });

  it('tells its health to anybody', async () => {
    const { status, headers, body } = await open('GET', 'sys/health');
    expect([status, headers.get('content-type'), headers.get('cache-control')]).toEqual([
      200,
      'application/json',
      'no-store',
    ]);
    expect(body).toMatchObject({
      initialized: true,
      sealed: false,
      standby: false,
      replication_performance_mode: 'disabled',
      replication_dr_mode: 'disabled',
      server_time_utc: expect.any(Number),
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      cluster_name: expect.stringMatching(/./),
      cluster_id: expect.stringMatching(/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/),
    });
    expect(Number.isInteger(body.server_time_utc)).toBe(true);
    expect(body).not.toHaveProperty('request_id');
  });

  it.each([
    ['GET', '', 200],
    ['HEAD', '', 200],
    ['HEAD', '?activecode=299', 299],
    ['GET', '?activecode=204', 204],
    ['GET', '?standbyok=true&perfstandbyok=true', 200],
    // What the Go client asks, so that every state can be read.
    ['GET', '?uninitcode=299&sealedcode=299&standbycode=299&drsecondarycode=299&performancestandbycode=299', 200],
    ['GET', '?list=false&unknown=1', 200],
    ['GET', '?activecode=abc', 400],
    ['GET', '?activecode=', 400],
    ['GET', '?activecode=99', 400],
    ['GET', '?activecode=101', 400],
    ['GET', '?activecode=1000', 400],
    ['GET', '?standbycode=x', 400],
    ['GET', '?sealedcode=5.5', 400],
    ['HEAD', '?uninitcode=x', 400],
  ])('%s sys/health%s answers %s', async (method, query, status) => {
    expect((await open(method, `sys/health${query}`)).status).toBe(status);
  });

  it('is neither sealed nor to be initialised, and leads nobody', async () => {
    const { body } = await open('GET', 'sys/seal-status');
    expect(body).toMatchObject({
      type: 'shamir',
      initialized: true,
      sealed: false,
      t: expect.any(Number),
      n: expect.any(Number),
      progress: 0,
      nonce: '',
      recovery_seal: false,
      migration: false,
      version: expect.any(String),
      build_date: expect.any(String),
      cluster_name: expect.any(String),
      cluster_id: expect.any(String),
      storage_type: expect.any(String),
    });
    expect((await open('GET', 'sys/init')).body).toEqual({ initialized: true });
    expect((await open('GET', 'sys/leader')).body).toMatchObject({
      ha_enabled: false,
      is_self: false,
      leader_address: '',
      leader_cluster_address: '',
    });
    const again = await open('PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 });
    expect([again.status, again.body.errors]).toEqual([400, ['Vault is already initialized']]);
  });

  it('looks at no token on these paths, and refuses what they cannot do', async () => {
    for (const path of ['sys/health', 'sys/seal-status', 'sys/init', 'sys/leader']) {
      expect((await world.http.call('GET', path, undefined, { token: 'nobody' })).status).toBe(200);
      expect((await rawRequest(world.http.url, 'GET', `/v1/${path}/`)).status).toBe(200);
      expect([path, (await open('DELETE', path)).status]).toEqual([path, 405]);
    }
  });

  it('keeps the name of its cluster when it starts again', async () => {
    const before = (await open('GET', 'sys/health')).body.cluster_id;
    await world.restart();
    expect((await open('GET', 'sys/seal-status')).body.cluster_id).toBe(before);
  });

  it.each(['GET', 'POST', 'PUT'])('says who the caller is: %s auth/token/lookup-self', async (method) => {
    const body = method === 'GET' ? undefined : {};
    const answer = await world.http.must(200, method, 'auth/token/lookup-self', body);
    expect(answer.body).toMatchObject({
      lease_id: '',
      renewable: false,
      lease_duration: 0,
      warnings: null,
      auth: null,
    });
    expect(answer.body.data).toEqual({
      id: world.http.token,
      accessor: expect.stringMatching(/^.{20,}$/),
      policies: ['root'],
      path: 'auth/token/root',
      meta: null,
      display_name: 'root',
      num_uses: 0,
      orphan: true,
      creation_time: expect.any(Number),
      creation_ttl: 0,
      expire_time: null,
      ttl: 0,
      explicit_max_ttl: 0,
      entity_id: '',
      type: 'service',
    });
    expect(Number.isInteger(answer.body.data.creation_time)).toBe(true);
  });

  it('says nothing of a caller it does not know', async () => {
    expect((await open('GET', 'auth/token/lookup-self')).body).toEqual({ errors: ['permission denied'] });
    const unknown = await world.http.call('GET', 'auth/token/lookup-self', undefined, { token: 'hvs.nobody' });
    expect(unknown.body).toEqual({ errors: ['2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n'] });
    expect((await world.http.call('DELETE', 'auth/token/lookup-self')).status).toBe(405);
  });
});
