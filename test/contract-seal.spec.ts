import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { seedFederationPolicy } from '../apps/simulator/src/index.js';
import { comesToRest, keysInAws, lend, lentBy, policyDocument, rowOf, writeRole } from './support/lease-life.js';
import { eventually, World } from './support/world.js';

describe('a system that is sealed', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    await world.mount();
    await writeRole(world, 'deploy');
  });
  afterAll(() => world.close());
  afterEach(async () => {
    world.simulator.faults.clear();
    await unseal();
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    await comesToRest(world);
  });

  const open = (method: string, path: string, body?: object | string) =>
    world.http.call(method, path, body, { token: null });
  const seal = () => world.http.must(204, 'PUT', 'sys/seal');
  const masterKey = (encoding: BufferEncoding = 'base64') => world.options.masterKey.toString(encoding);
  const unseal = (key = masterKey()) => open('PUT', 'sys/unseal', { key });
  const sealed = { status: 503, body: { errors: ['Vault is sealed'] } };

  it('refuses every request with the text that clients look for, whoever asks', async () => {
    const lent = await lend(world, 'deploy');
    await seal();
    for (const [method, path, body] of [
      ['GET', 'aws/creds/deploy'],
      ['GET', 'aws/roles/deploy'],
      ['PUT', 'aws/config/root', { secret_key: 'x' }],
      ['GET', 'auth/token/lookup-self'],
      ['PUT', 'sys/leases/renew', { lease_id: lent.leaseId }],
      ['PUT', 'sys/leases/revoke', { lease_id: lent.leaseId }],
      ['GET', 'sys/mounts'],
      ['GET', 'sys/key-status'],
      ['PUT', 'sys/rotate'],
      ['PUT', 'sys/seal'],
      ['GET', 'sys/internal/specs/openapi'],
      ['POST', 'auth/approle/login', { role_id: 'x', secret_id: 'y' }],
      ['GET', 'sys/no-such-path'],
      ['GET', 'no/such/mount'],
      ['GET', 'aws?help=1'],
    ] as const) {
      expect([path, await world.http.call(method, path, body)]).toEqual([path, expect.objectContaining(sealed)]);
      for (const token of [null, 'hvs.nobody']) {
        expect(await world.http.call(method, path, body, { token })).toMatchObject(sealed);
      }
    }
    // What is no request at all is said first (contract.md 1.8).
    expect((await world.http.call('PUT', 'aws/config/root', '{')).status).toBe(400);
    expect(await unseal()).toMatchObject({ status: 200, body: { sealed: false } });
    expect((await rowOf(world, lent.leaseId)).state).toBe('active');
    expect(await world.whoIs(lent.keys)).toMatch(/:user\//);
  });

  it('says so to who asks how it is', async () => {
    await seal();
    const health = await open('GET', 'sys/health');
    expect(health).toMatchObject({
      status: 503,
      body: {
        initialized: true,
        sealed: true,
        standby: true,
        replication_performance_mode: 'unknown',
        replication_dr_mode: 'unknown',
        server_time_utc: expect.any(Number),
        version: expect.any(String),
      },
    });
    const status = await open('GET', 'sys/seal-status');
    expect(status).toMatchObject({
      status: 200,
      body: { type: 'shamir', initialized: true, sealed: true, t: 1, n: 1, progress: 0, nonce: '', version: '1.20.0' },
    });
    for (const { body } of [health, status]) {
      expect(body).not.toHaveProperty('cluster_name');
      expect(body).not.toHaveProperty('cluster_id');
    }
    expect((await open('HEAD', 'sys/health')).status).toBe(503);
    expect((await open('GET', 'sys/health?sealedcode=299&activecode=298')).status).toBe(299);
    expect((await open('GET', 'sys/leader')).body).toMatchObject({ ha_enabled: false });
    expect((await open('GET', 'sys/init')).body).toEqual({ initialized: true });
    expect(await unseal()).toMatchObject({ body: { sealed: false, cluster_name: 'leasehold' } });
  });

  it('is opened by the master key alone, in any of its forms', async () => {
    for (const form of ['hex', 'base64', 'base64url'] as const) {
      await seal();
      for (const [body, text] of [
        [{}, "'key' must be specified in request body as JSON, or 'reset' set to true"],
        [{ key: '' }, "'key' must be specified in request body as JSON, or 'reset' set to true"],
        [{ key: 'not a key!' }, "'key' must be a valid hex or base64 string"],
        [{ key: randomBytes(32).toString('hex') }, 'Unseal failed, invalid key'],
        [{ key: randomBytes(16).toString('base64') }, 'Unseal failed, invalid key'],
        [{ key: world.http.token.replace('-', '') }, 'Unseal failed, invalid key'],
      ] as const) {
        const answer = await open('PUT', 'sys/unseal', body);
        expect([answer.status, answer.body.errors]).toEqual([400, [text]]);
      }
      expect(await open('PUT', 'sys/unseal', { reset: true })).toMatchObject({ status: 200, body: { sealed: true } });
      expect(await unseal(masterKey(form))).toMatchObject({ status: 200, body: { sealed: false } });
    }
    expect(await open('POST', 'sys/unseal', { key: 'abcd' })).toMatchObject({ status: 200, body: { sealed: false } });
    const reset = await open('PUT', 'sys/unseal', { reset: true });
    expect([reset.status, reset.body.errors]).toEqual([400, ['vault is unsealed']]);
  });

  it('hands over nothing that was under way, and takes it back', async () => {
    const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
    const answer = world.http.call('GET', 'aws/creds/deploy');
    await hold.reached;
    await seal();
    hold.release();
    const { status, text } = await answer;
    expect(status).toBe(503);
    expect(text).not.toContain('secret_key');
    await eventually(() => keysInAws(world).length === 0 && world.lentUsers().length === 0);
    expect((await world.leases()).at(-1)).toMatchObject({ accepted_at: null });
  });

  it('makes nothing for who was let in before, and lends nothing that AWS ends by itself', async () => {
    const { root, simulator } = world;
    const account = simulator.account();
    account.putUserPolicy(account.existingUser('leasehold-root'), 'federate', seedFederationPolicy());
    const session = { credential_type: 'federation_token', policy_document: policyDocument };
    await world.http.must(204, 'PUT', 'aws/roles/session', session);
    // Who the root credentials are is asked anew, before there is an intent.
    await world.http.must(204, 'PUT', 'aws/config/root', { secret_key: root.secretAccessKey });
    const created = simulator.calls.count({ action: 'CreateUser' });
    const before = simulator.faults.hold('GetCallerIdentity', 'before');
    const user = world.http.call('GET', 'aws/creds/deploy');
    await before.reached;
    await seal();
    before.release();
    expect(await user).toMatchObject(sealed);
    expect(simulator.calls.count({ action: 'CreateUser' })).toBe(created);
    await unseal();

    const fetched = simulator.faults.hold('GetFederationToken', 'after');
    const token = world.http.call('GET', 'aws/sts/session');
    await fetched.reached;
    await seal();
    fetched.release();
    expect(await token).toMatchObject(sealed);
    expect((await world.leases()).filter((row) => row.id.startsWith('aws/sts/session/'))).toEqual([]);
  });

  it('goes on taking back what is due', async () => {
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '2s', lease_max: '1h' });
    const lent = lentBy(await world.http.must(200, 'GET', 'aws/creds/deploy'));
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1h', lease_max: '1h' });
    const asked = await lend(world, 'deploy');
    world.simulator.faults.fail({ action: 'DeleteAccessKey', code: 'ServiceFailure', status: 503, times: 1 });
    await world.http.must(202, 'PUT', `sys/leases/revoke/${asked.leaseId}`, { sync: false });
    await seal();
    await eventually(() => keysInAws(world).length === 0);
    expect(await world.whoIs(lent.keys)).toBe('InvalidClientTokenId');
    expect((await open('GET', 'sys/seal-status')).body.sealed).toBe(true);
  });

  it('stays sealed when every process starts again', async () => {
    await seal();
    await world.restart();
    expect(await world.http.call('GET', 'sys/mounts')).toMatchObject(sealed);
    await unseal();
    await lend(world, 'deploy');
  });
});

describe('a system that was set up', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
  });
  afterAll(() => world.close());

  it.each([
    [{}, 'invalid seal configuration: shares must be at least one'],
    [{ secret_shares: 1 }, 'invalid seal configuration: threshold must be at least one'],
    [
      { secret_shares: 5, secret_threshold: 1 },
      'invalid seal configuration: threshold must be greater than one for multiple shares',
    ],
    [{ secret_shares: 3, secret_threshold: 5 }, 'invalid seal configuration: threshold cannot be larger than shares'],
    [{ secret_shares: 5, secret_threshold: 3 }, 'Vault is already initialized'],
  ])('is not initialised again: %j', async (body, text) => {
    const answer = await world.http.call('PUT', 'sys/init', body, { token: null });
    expect([answer.status, answer.body.errors]).toEqual([400, [text]]);
  });

  it('is sealed and rotated by who may, and nobody else', async () => {
    for (const token of [null, 'hvs.nobody']) {
      for (const path of ['sys/seal', 'sys/rotate']) {
        expect((await world.http.call('PUT', path, undefined, { token })).status).toBe(403);
      }
      expect((await world.http.call('GET', 'sys/key-status', undefined, { token })).status).toBe(403);
    }
    expect((await world.http.call('GET', 'sys/seal-status', undefined, { token: null })).body.sealed).toBe(false);
    expect((await world.http.must(200, 'GET', 'sys/key-status')).body.data).toMatchObject({ term: 1 });
  });

  it('says which term its sealing key is in, beside the envelope as well', async () => {
    const { body } = await world.http.must(200, 'GET', 'sys/key-status');
    const { term, install_time } = body.data as unknown as { term: number; install_time: string };
    expect(body).toMatchObject({ term, install_time, request_id: expect.any(String) });
    expect(new Date(install_time).toISOString()).toBe(install_time);
    for (const method of ['PUT', 'POST']) await world.http.must(204, method, 'sys/rotate');
    const after = (await world.http.must(200, 'GET', 'sys/key-status')).body.data as unknown as typeof body;
    expect(after).toMatchObject({ term: term + 2 });
  });
});
