import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { provisionAccount, type SimulatedAccount } from '../apps/standalone/src/simulated-aws.js';
import { lentBy, policyDocument } from './support/lease-life.js';
import { keysOf, rootKeyOf, staticCreds } from './support/rotation.js';
import { eventually, World } from './support/world.js';

const path = 'first';

describe('the simulated account of npm start', () => {
  let world: World;
  let account: SimulatedAccount;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    account = provisionAccount(world.simulator);
    await world.http.must(204, 'POST', `sys/mounts/${path}`, { type: 'aws' });
    await world.http.must(204, 'PUT', `${path}/config/root`, {
      access_key: account.rootKey.accessKeyId,
      secret_key: account.rootKey.secretAccessKey,
      region: 'us-east-1',
    });
  });
  afterAll(() => world.close());

  it.each([
    ['tags', { credential_type: 'iam_user', policy_document: policyDocument, iam_tags: { team: 'blue' } }],
    ['groups', { credential_type: 'iam_user', iam_groups: ['developers'] }],
    ['path', { credential_type: 'iam_user', policy_document: policyDocument, user_path: '/lent/' }],
    [
      'boundary',
      {
        credential_type: 'iam_user',
        policy_document: policyDocument,
        permissions_boundary_arn: 'arn:aws:iam::aws:policy/ReadOnlyAccess',
      },
    ],
    [
      'session-tags',
      {
        credential_type: 'assumed_role',
        role_arns: ['arn:aws:iam::000000000000:role/RoleNameToAssume'],
        session_tags: { team: 'blue' },
      },
    ],
    ['federated', { credential_type: 'federation_token', iam_groups: ['developers'] }],
    ['session', { credential_type: 'session_token' }],
  ])('lends by a role with %s, and takes it back', async (name, role) => {
    await world.http.must(204, 'PUT', `${path}/roles/${name}`, role);
    const { leaseId } = lentBy(await world.http.must(200, 'GET', `${path}/creds/${name}`));
    await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: leaseId, sync: true });
  });

  it('has a user for a static role, whose key is rotated', async () => {
    await world.http.must(200, 'POST', `${path}/static-roles/app`, {
      username: account.staticUserName,
      rotation_period: '24h',
    });
    const { access_key: first } = await staticCreds(world, path, 'app');
    expect(keysOf(world, account.staticUserName)).toEqual([first]);
  });

  it('lets the root key be rotated, and takes none from mounts without keys of their own', async () => {
    await world.http.must(200, 'POST', `${path}/config/rotate-root`);
    const rotated = await rootKeyOf(world, { path });
    expect(rotated).not.toBe(account.rootKey.accessKeyId);
    await eventually(() => keysOf(world, 'leasehold-root').join() === rotated);
    const ambient = await account.surroundings.ambientCredentials()();
    await expect(
      world.whoIs({ access_key: ambient.accessKeyId, secret_key: ambient.secretAccessKey }),
    ).resolves.toMatch(/^arn:aws:iam::/);
  });

  it('is the same after a restart, but for what was rotated', async () => {
    const again = provisionAccount(world.simulator);
    expect(again.rootKey.accessKeyId).toBe(await rootKeyOf(world, { path }));
    expect(again.iamRoleArn).toBe(account.iamRoleArn);
  });
});
