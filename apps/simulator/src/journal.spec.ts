import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { appendFileSync, copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateAccessKeyCommand, CreateUserCommand, DeleteUserCommand, GetUserCommand } from '@aws-sdk/client-iam';
import { GetCallerIdentityCommand, GetSessionTokenCommand } from '@aws-sdk/client-sts';
import { allowAll, sdkClients, sessionCredentials } from './sdk-clients.spec-stub.js';
import { startSimulator, type Simulator } from './simulator.js';

describe('a state file', () => {
  let folder: string;
  let stateFile: string;
  const running: Simulator[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'simulator-'));
    stateFile = join(folder, 'state');
  });
  afterEach(async () => {
    for (const simulator of running.splice(0)) await simulator.close();
    rmSync(folder, { recursive: true });
  });

  async function start(file = stateFile): Promise<Simulator> {
    const simulator = await startSimulator({ stateFile: file });
    running.push(simulator);
    return simulator;
  }
  const root = (simulator: Simulator) => simulator.provisionRootIdentity({ userName: 'root', policy: allowAll });

  it('brings back users, keys, groups, roles, policies, devices and sessions', async () => {
    const first = await start();
    const account = first.account();
    const key = root(first);
    const session = sessionCredentials(await sdkClients(first, key).sts.send(new GetSessionTokenCommand({})));
    account.createGroup('staff', { policies: { p: allowAll } });
    account.createRole('deploy', '{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}');
    const policy = account.createPolicy('edge', allowAll);
    const user = account.createUser('y', { tags: [{ key: 'a', value: 'b' }], boundary: policy.arn });
    account.addUserToGroup(user, 'staff');
    account.renameUser(user, { name: 'z' });
    account.saveMfaDevice({ id: account.arn('mfa', '/', 'z'), createdAt: 0, userId: user.id });
    account.deleteUser(account.createUser('gone'));
    const before = structuredClone(account.users());
    await first.close();

    const second = await start();
    const restored = second.account();
    expect(restored.users().map(({ name }) => name)).toEqual(['root', 'z']);
    expect(restored.user('z')).toEqual(before[1]);
    expect(restored.existingGroup('staff').inlinePolicies).toHaveLength(1);
    expect(restored.existingRole('deploy').maxSessionSeconds).toBe(3_600);
    expect(restored.policyDocument(policy.arn)).toBe(allowAll);
    expect(restored.mfaDevices(restored.existingUser('z'))).toHaveLength(1);
    expect(root(second)).toEqual(key);
    await expect(sdkClients(second, session).sts.send(new GetCallerIdentityCommand({}))).resolves.toMatchObject({
      Arn: 'arn:aws:iam::000000000000:user/root',
    });
  });

  it('has every answered call in it, so that a killed simulator forgets nothing', async () => {
    const first = await start();
    const { iam } = sdkClients(first, root(first));
    await iam.send(new CreateUserCommand({ UserName: 'y' }));
    await iam.send(new CreateUserCommand({ UserName: 'z' }));
    const { AccessKey } = await iam.send(new CreateAccessKeyCommand({ UserName: 'y' }));
    await iam.send(new DeleteUserCommand({ UserName: 'z' }));
    const asKilled = join(folder, 'killed');
    copyFileSync(stateFile, asKilled);

    const second = await start(asKilled);
    expect(
      second
        .account()
        .users()
        .map(({ name }) => name),
    ).toEqual(['root', 'y']);
    expect(second.account().existingUser('y').accessKeys).toMatchObject([{ id: AccessKey?.AccessKeyId }]);
    await expect(sdkClients(second, root(second)).iam.send(new GetUserCommand({}))).resolves.toBeDefined();
  });

  it('may end in a torn line, and is whole again after the start', async () => {
    const first = await start();
    root(first);
    first.account().createUser('y');
    await first.close();
    appendFileSync(stateFile, '{"put":"user","account":"000000000000","value":{"id":"AIDA');

    const second = await start();
    second.account().createUser('z');
    await second.close();
    const third = await start();
    expect(
      third
        .account()
        .users()
        .map(({ name }) => name),
    ).toEqual(['root', 'y', 'z']);
  });

  it('is refused when a line in its middle cannot be read', async () => {
    writeFileSync(stateFile, '{"sealingKey":"AAAA"}\nnonsense\n{}\n');
    await expect(start()).rejects.toThrow('line 2 cannot be read');
  });

  it('is nobody else’s to read, and holds only what is alive after a start', async () => {
    const first = await start();
    for (let index = 0; index < 20; index += 1) {
      first.account().deleteUser(first.account().createUser(`y${index}`));
    }
    await first.close();
    expect(readFileSync(stateFile, 'utf8').split('\n').length).toBeGreaterThan(40);
    await start();
    expect(readFileSync(stateFile, 'utf8').trimEnd().split('\n')).toHaveLength(1);
    expect(statSync(stateFile).mode & 0o777).toBe(0o600);
  });
});
