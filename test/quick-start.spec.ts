import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { seedAssumeRolePolicy, seedFederationPolicy, seedTrustPolicy } from '../apps/simulator/src/index.js';
import { eventually, type LentKeys, World } from './support/world.js';

const policy = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: 'ec2:*', Resource: '*' },
});

describe('the quick start of the seed document', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start();
  });
  afterAll(() => world.close());

  const get = (path: string) => world.http.must(200, 'GET', path);
  const put = (path: string, body?: object) => world.http.must(204, 'PUT', path, body);
  const keysOf = (answer: { body: { data: unknown } }) => answer.body.data as unknown as LentKeys;

  it('has no engine mounted by default', async () => {
    const { body } = await get('sys/mounts');
    expect(Object.keys(body.data)).not.toContain('aws/');
    await world.mount();
    expect(Object.keys((await get('sys/mounts')).body.data)).toContain('aws/');
  });

  it('lends a key that works, as a user of its own, for an hour', async () => {
    await put('aws/roles/deploy', { policy });
    const lent = await get('aws/creds/deploy');
    expect(lent.body).toMatchObject({ lease_duration: 3600, renewable: true, data: { security_token: null } });
    expect(lent.body.lease_id).toMatch(/^aws\/creds\/deploy\/\w{24}$/);
    const arn = await eventually(async () => {
      const who = await world.whoIs(keysOf(lent));
      return who.startsWith('arn:') && who;
    });
    expect(arn).toMatch(/^arn:aws:iam::\d{12}:user\/vault-root-deploy-\d+-\w{20}$/);

    const other = keysOf(await get('aws/creds/deploy'));
    expect(other.access_key).not.toBe(keysOf(lent).access_key);
  });

  it('takes a key back when its lease is revoked', async () => {
    const lent = await get('aws/creds/deploy');
    await put(`sys/revoke/${lent.body.lease_id}`);
    expect(await world.whoIs(keysOf(lent))).toBe('InvalidClientTokenId');
    expect((await world.http.call('PUT', 'sys/leases/lookup', { lease_id: lent.body.lease_id })).body.errors).toEqual([
      'invalid lease',
    ]);
  });

  it('takes a key back when its lease has run out', async () => {
    await put('aws/config/lease', { lease: '1s', lease_max: '1h' });
    const lent = await get('aws/creds/deploy');
    expect(lent.body.lease_duration).toBe(1);
    await eventually(
      async () => (await world.leases()).find((row) => row.id === lent.body.lease_id)?.state === 'ended',
    );
    expect(await world.whoIs(keysOf(lent))).toBe('InvalidClientTokenId');
    await put('aws/config/lease', { lease: '1h', lease_max: '24h' });
  });

  it('lends a federation token and an assumed role for an hour', async () => {
    const account = world.simulator.account();
    const root = account.existingUser('leasehold-root');
    const iamRoleArn = account.arn('role', '/', 'RoleNameToAssume');
    account.createRole('RoleNameToAssume', seedTrustPolicy(account.arn('user', '/', 'leasehold-root')));
    account.putUserPolicy(root, 'federate', seedFederationPolicy());
    account.putUserPolicy(root, 'assume', seedAssumeRolePolicy(iamRoleArn));

    const federated = await get('aws/sts/deploy');
    expect(federated.body.lease_id).toMatch(/^aws\/sts\/deploy\//);
    expect([3599, 3600]).toContain(federated.body.lease_duration);
    expect(await world.whoIs(keysOf(federated))).toMatch(/:federated-user\/vault-\d+-\w{15}$/);

    await put('aws/roles/cross', { arn: iamRoleArn });
    const assumed = await world.http.must(200, 'PUT', 'aws/sts/cross', { ttl: '15m', role_session_name: 'ci job 7' });
    expect([899, 900]).toContain(assumed.body.lease_duration);
    expect(await world.whoIs(keysOf(assumed))).toMatch(/:assumed-role\/RoleNameToAssume\/ci_job_7$/);
  });

  it('renews a lease, counted from its issue', async () => {
    const lent = await get('aws/creds/deploy');
    const renewed = await world.http.must(200, 'PUT', 'sys/renew', { lease_id: lent.body.lease_id, increment: 7200 });
    expect(renewed.body).toMatchObject({
      lease_id: lent.body.lease_id,
      lease_duration: 7200,
      renewable: true,
      data: null,
    });
  });

  it('leaves nothing in AWS when the engine is unmounted', async () => {
    await world.http.must(204, 'DELETE', 'sys/mounts/aws');
    expect(world.lentUsers()).toEqual([]);
    expect((await world.leases()).filter((row) => row.state !== 'ended')).toEqual([]);
  });
});
