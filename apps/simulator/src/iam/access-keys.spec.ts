import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  CreateAccessKeyCommand,
  DeleteAccessKeyCommand,
  GetAccessKeyLastUsedCommand,
  ListAccessKeysCommand,
  type IAMClient,
} from '@aws-sdk/client-iam';
import { GetCallerIdentityCommand } from '@aws-sdk/client-sts';
import { allow, allowAll, sdkClients } from '../sdk-clients.spec-stub.js';
import { startSimulator, type Simulator } from '../simulator.js';

describe('access keys', () => {
  let simulator: Simulator;
  let iam: IAMClient;
  beforeEach(async () => {
    simulator = await startSimulator();
    iam = sdkClients(simulator, simulator.provisionRootIdentity({ userName: 'root', policy: allowAll })).iam;
    simulator.account().createUser('y');
  });
  afterEach(() => simulator.close());

  const createKey = async (UserName?: string) => {
    const { AccessKey } = await iam.send(new CreateAccessKeyCommand({ UserName }));
    return { accessKeyId: AccessKey?.AccessKeyId ?? '', secretAccessKey: AccessKey?.SecretAccessKey ?? '' };
  };

  it('look like AWS keys, work, and stop working once deleted', async () => {
    const key = await createKey('y');
    expect(key.accessKeyId).toMatch(/^AKIA[A-Z2-7]{16}$/);
    expect(key.secretAccessKey).toMatch(/^[A-Za-z0-9+/]{40}$/);
    const { sts } = sdkClients(simulator, key);
    await expect(sts.send(new GetCallerIdentityCommand({}))).resolves.toMatchObject({
      Arn: 'arn:aws:iam::000000000000:user/y',
    });
    await iam.send(new DeleteAccessKeyCommand({ UserName: 'y', AccessKeyId: key.accessKeyId }));
    await expect(sts.send(new GetCallerIdentityCommand({}))).rejects.toMatchObject({ name: 'InvalidClientTokenId' });
    await expect(
      iam.send(new DeleteAccessKeyCommand({ UserName: 'y', AccessKeyId: key.accessKeyId })),
    ).rejects.toMatchObject({
      name: 'NoSuchEntityException',
      message: `The Access Key with id ${key.accessKeyId} cannot be found.`,
    });
  });

  it('are two per user at most', async () => {
    await createKey('y');
    await createKey('y');
    await expect(createKey('y')).rejects.toMatchObject({
      name: 'LimitExceededException',
      message: 'Cannot exceed quota for AccessKeysPerUser: 2',
      $metadata: { httpStatusCode: 409 },
    });
    const { AccessKeyMetadata } = await iam.send(new ListAccessKeysCommand({ UserName: 'y' }));
    expect(AccessKeyMetadata).toHaveLength(2);
  });

  it('are the caller’s own when no user is named', async () => {
    const key = await createKey();
    expect(
      simulator
        .account()
        .user('root')
        ?.accessKeys.map(({ id }) => id),
    ).toContain(key.accessKeyId);
    const { AccessKeyMetadata } = await iam.send(new ListAccessKeysCommand({}));
    expect(AccessKeyMetadata).toHaveLength(2);
  });

  it('tell whose they are and when they were last used, to those who may ask', async () => {
    const key = await createKey('y');
    const ask = new GetAccessKeyLastUsedCommand({ AccessKeyId: key.accessKeyId });
    await expect(iam.send(ask)).resolves.toMatchObject({
      UserName: 'y',
      AccessKeyLastUsed: { ServiceName: 'N/A', Region: 'N/A' },
    });
    await sdkClients(simulator, key).sts.send(new GetCallerIdentityCommand({}));
    await expect(iam.send(ask)).resolves.toMatchObject({
      AccessKeyLastUsed: { ServiceName: 'sts', Region: 'us-east-1', LastUsedDate: expect.any(Date) },
    });
    const account = simulator.account();
    account.putUserPolicy(account.existingUser('y'), 'p', allow('iam:*', 'arn:aws:iam::000000000000:user/vault-*'));
    await expect(sdkClients(simulator, key).iam.send(ask)).rejects.toMatchObject({ name: 'AccessDenied' });
  });
});
