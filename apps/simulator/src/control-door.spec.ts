import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { CreateUserCommand, ListUsersCommand } from '@aws-sdk/client-iam';
import { AssumeRoleCommand } from '@aws-sdk/client-sts';
import { allow, sdkClients } from './sdk-clients.spec-stub.js';
import { seedTrustPolicy } from './seed-policy.js';
import { startSimulator, type AccessKeyPair, type Simulator } from './simulator.js';

describe('the control door', () => {
  let simulator: Simulator;
  beforeEach(async () => {
    simulator = await startSimulator();
  });
  afterEach(() => simulator.close());

  async function ask(path: string, body?: unknown, headers: Record<string, string> = {}) {
    const response = await fetch(`${simulator.url}/_simulator/${path}`, {
      headers,
      ...(body === undefined ? {} : { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return { status: response.status, json: (await response.json()) as Record<string, unknown> };
  }

  it('makes a root identity with the seed’s policy, a role and a group, and names what there is without secrets', async () => {
    const seeded = await ask('seed', {
      rootIdentity: { userName: 'root' },
      groups: [{ name: 'staff', policies: { p: allow('ec2:*') } }],
      roles: [{ name: 'deploy', trustPolicy: seedTrustPolicy('arn:aws:iam::000000000000:user/root') }],
      policies: [{ name: 'edge', document: allow('ec2:*') }],
    });
    expect(seeded).toMatchObject({ status: 200, json: { roles: ['arn:aws:iam::000000000000:role/deploy'] } });
    const key = seeded.json['rootIdentity'] as AccessKeyPair;
    const { iam, sts } = sdkClients(simulator, key);
    await iam.send(new CreateUserCommand({ UserName: 'vault-1' }));
    await sts.send(
      new AssumeRoleCommand({ RoleArn: 'arn:aws:iam::000000000000:role/deploy', RoleSessionName: 'session' }),
    );
    const { json } = await ask('state');
    expect(json).toMatchObject({
      '000000000000': {
        users: [{ name: 'root', accessKeyIds: [key.accessKeyId] }, { name: 'vault-1' }],
        groups: ['staff'],
        roles: ['deploy'],
        policies: ['arn:aws:iam::000000000000:policy/edge'],
      },
    });
    expect(JSON.stringify(json)).not.toContain(key.secretAccessKey);
  });

  it('sets and takes back faults, and shows the calls', async () => {
    const { iam } = sdkClients(
      simulator,
      simulator.provisionRootIdentity({ userName: 'root', policy: allow('iam:*') }),
    );
    await ask('faults', {
      settings: { usersPerAccount: 7 },
      fail: [{ action: 'ListUsers', code: 'ServiceFailure', status: 500 }],
    });
    expect(simulator.faults.settings.usersPerAccount).toBe(7);
    await expect(iam.send(new ListUsersCommand({}))).rejects.toMatchObject({ name: 'ServiceFailureException' });
    await ask('faults', { clear: true });
    await expect(iam.send(new ListUsersCommand({}))).resolves.toBeDefined();
    await expect(ask('calls?action=ListUsers&outcome=ServiceFailure')).resolves.toMatchObject({
      json: [{ action: 'ListUsers', outcome: 'ServiceFailure' }],
    });
    await expect(ask('faults', { settings: { latency: 1 } })).resolves.toMatchObject({ status: 400 });
    await expect(ask('faults', '{')).resolves.toMatchObject({ status: 400 });
  });

  it('stays shut for web pages and unknown paths', async () => {
    await expect(ask('state', undefined, { origin: 'http://example.com' })).resolves.toMatchObject({ status: 403 });
    await expect(ask('nothing')).resolves.toMatchObject({ status: 404 });
  });
});
