import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  CreateAccessKeyCommand,
  CreateUserCommand,
  DeleteAccessKeyCommand,
  DeleteUserCommand,
  ListAccessKeysCommand,
  ListUserPoliciesCommand,
  PutUserPolicyCommand,
} from '@aws-sdk/client-iam';
import { GetCallerIdentityCommand } from '@aws-sdk/client-sts';
import { allow, allowAll, sdkClients, type SdkClients } from './sdk-clients.spec-stub.js';
import { startSimulator, type Simulator } from './simulator.js';

describe('on demand', () => {
  let simulator: Simulator;
  let root: SdkClients;
  beforeEach(async () => {
    simulator = await startSimulator();
    root = sdkClients(simulator, simulator.provisionRootIdentity({ userName: 'root', policy: allowAll }));
  });
  afterEach(() => simulator.close());

  const createUser = (UserName: string) => root.iam.send(new CreateUserCommand({ UserName }));
  const createKey = (UserName: string) => root.iam.send(new CreateAccessKeyCommand({ UserName }));
  const putPolicy = (UserName: string) =>
    root.iam.send(new PutUserPolicyCommand({ UserName, PolicyName: 'p', PolicyDocument: allow('ec2:*') }));
  const keysOf = (name: string) => simulator.account().existingUser(name).accessKeys;
  const newKey = async (name: string) => {
    const { AccessKey } = await createKey(name);
    return { accessKeyId: AccessKey?.AccessKeyId ?? '', secretAccessKey: AccessKey?.SecretAccessKey ?? '' };
  };

  it('a new key is unknown until it has propagated; a seeded one is not', async () => {
    simulator.faults.set({ propagationMs: 10_000 });
    simulator.account().createUser('y');
    const { sts } = sdkClients(simulator, await newKey('y'));
    await expect(sts.send(new GetCallerIdentityCommand({}))).rejects.toMatchObject({ name: 'InvalidClientTokenId' });
    await expect(root.sts.send(new GetCallerIdentityCommand({}))).resolves.toBeDefined();
    simulator.faults.set({ clockOffsetMs: 10_001 });
    await expect(sts.send(new GetCallerIdentityCommand({}))).resolves.toBeDefined();
  });

  it('a new key is known to one replica after the other, and they answer in turn', async () => {
    simulator.faults.set({ propagationMs: [0, 10_000, 20_000] });
    simulator.account().createUser('y');
    const { sts } = sdkClients(simulator, await newKey('y'));
    const knownTo = async () => {
      const answers: boolean[] = [];
      for (let turn = 0; turn < 6; turn++) {
        answers.push(await sts.send(new GetCallerIdentityCommand({})).then(Boolean, () => false));
      }
      return answers;
    };
    expect(await knownTo()).toEqual([true, false, false, true, false, false]);
    simulator.faults.set({ clockOffsetMs: 10_001 });
    expect(await knownTo()).toEqual([true, true, false, true, true, false]);
    simulator.faults.set({ clockOffsetMs: 20_001 });
    expect(await knownTo()).toEqual(Array.from({ length: 6 }, () => true));
  });

  it('a deleted key works a while longer', async () => {
    simulator.faults.set({ deletedKeyLingersMs: 4_000 });
    await createUser('y');
    const key = await newKey('y');
    const { sts } = sdkClients(simulator, key);
    await root.iam.send(new DeleteAccessKeyCommand({ UserName: 'y', AccessKeyId: key.accessKeyId }));
    await root.iam.send(new DeleteUserCommand({ UserName: 'y' }));
    await expect(sts.send(new GetCallerIdentityCommand({}))).resolves.toBeDefined();
    simulator.faults.set({ clockOffsetMs: 4_001 });
    await expect(sts.send(new GetCallerIdentityCommand({}))).rejects.toMatchObject({ name: 'InvalidClientTokenId' });
  });

  it('a young user is not there yet, for so many calls', async () => {
    simulator.faults.set({ youngNoSuchEntity: { count: 2 } });
    await createUser('y');
    const absent = { name: 'NoSuchEntityException', message: 'The user with name y cannot be found.' };
    await expect(putPolicy('y')).rejects.toMatchObject(absent);
    await expect(createKey('y')).rejects.toMatchObject(absent);
    await expect(createKey('y')).resolves.toBeDefined();
    await expect(putPolicy('root')).resolves.toBeDefined();
  });

  it('a young user is not there yet, for so long and for the actions named', async () => {
    simulator.faults.set({ youngNoSuchEntity: { ms: 5_000, actions: ['PutUserPolicy'] } });
    await createUser('y');
    await expect(createKey('y')).resolves.toBeDefined();
    await expect(putPolicy('y')).rejects.toMatchObject({ name: 'NoSuchEntityException' });
    simulator.faults.set({ clockOffsetMs: 5_001 });
    await expect(putPolicy('y')).resolves.toBeDefined();
  });

  it('a list leaves out what is too new for it', async () => {
    simulator.faults.set({ listingLagMs: 5_000 });
    await createUser('y');
    await createKey('y');
    const list = () => root.iam.send(new ListAccessKeysCommand({ UserName: 'y' }));
    expect((await list()).AccessKeyMetadata).toEqual([]);
    simulator.faults.set({ clockOffsetMs: 5_001 });
    expect((await list()).AccessKeyMetadata).toHaveLength(1);
  });

  it('every n-th write to a user meets another writer and changes nothing', async () => {
    await createUser('y');
    simulator.faults.set({ concurrentModification: { everyNth: 2 } });
    await createKey('y');
    await expect(createKey('y')).rejects.toMatchObject({
      name: 'ConcurrentModificationException',
      $metadata: { httpStatusCode: 409 },
    });
    expect(keysOf('y')).toHaveLength(1);
    await createKey('y');
    await root.iam.send(new ListAccessKeysCommand({ UserName: 'y' }));
  });

  it('calls beyond the rate are refused, per account and service, until the bucket fills again', async () => {
    simulator.faults.set({ throttle: { ratePerSecond: 0.001, burst: 2, service: 'iam' } });
    await createUser('a');
    await createUser('b');
    await expect(createUser('c')).rejects.toMatchObject({
      name: 'Throttling',
      message: 'Rate exceeded',
      $metadata: { httpStatusCode: 400 },
    });
    await expect(root.sts.send(new GetCallerIdentityCommand({}))).resolves.toBeDefined();
    const far = simulator.provisionRootIdentity({ userName: 'root', policy: allowAll, account: '111122223333' });
    await expect(sdkClients(simulator, far).iam.send(new CreateUserCommand({ UserName: 'a' }))).resolves.toBeDefined();
    simulator.faults.set({ throttle: null });
    await expect(createUser('c')).resolves.toBeDefined();
  });

  it('an error is answered instead of the effect, to the calls it is meant for', async () => {
    simulator.faults.fail({ action: 'CreateUser', userName: 'vault-*', code: 'ServiceFailure', status: 500, times: 1 });
    await expect(createUser('other')).resolves.toBeDefined();
    await expect(createUser('vault-1')).rejects.toMatchObject({
      name: 'ServiceFailureException',
      $metadata: { httpStatusCode: 500 },
    });
    expect(simulator.account().user('vault-1')).toBeUndefined();
    await expect(createUser('vault-1')).resolves.toBeDefined();
  });

  it('an error is answered although the call took effect', async () => {
    simulator.faults.fail({ action: 'Create*', code: 'ServiceUnavailable', status: 503, when: 'after', times: 1 });
    await expect(createUser('y')).rejects.toMatchObject({ name: 'ServiceUnavailable' });
    expect(simulator.account().user('y')).toBeDefined();
  });

  it('a reply is lost: the key exists and nobody knows its secret', async () => {
    await createUser('y');
    simulator.faults.loseReply({ action: 'CreateAccessKey', times: 1 });
    await expect(createKey('y')).rejects.toThrow('socket hang up');
    expect(keysOf('y')).toHaveLength(1);
    expect(simulator.calls.list({ action: 'CreateAccessKey' })).toMatchObject([{ outcome: 'Success', replied: false }]);
    await expect(createKey('y')).resolves.toBeDefined();
    expect(keysOf('y')).toHaveLength(2);
  });

  it('a call is held on its way: it has no effect before it is let go, and has one though its caller left', async () => {
    const hold = simulator.faults.hold('CreateUser', 'before');
    const gone = new AbortController();
    const call = root.iam.send(new CreateUserCommand({ UserName: 'y' }), { abortSignal: gone.signal });
    const left = expect(call).rejects.toMatchObject({ name: 'AbortError' });
    await hold.reached;
    expect(simulator.account().user('y')).toBeUndefined();
    await expect(createUser('z')).resolves.toBeDefined();
    gone.abort();
    await left;
    hold.release();
    await until(() => simulator.account().user('y') !== undefined);
  });

  it('a call held on its way for more than 15 minutes is refused for its date', async () => {
    const hold = simulator.faults.hold('CreateUser', 'before');
    const call = createUser('y');
    const refused = expect(call).rejects.toMatchObject({ name: 'SignatureDoesNotMatch' });
    await hold.reached;
    simulator.faults.set({ clockOffsetMs: 16 * 60_000 });
    hold.release();
    await refused;
    expect(simulator.account().user('y')).toBeUndefined();
  });

  it('a call is held with its effect done', async () => {
    const hold = simulator.faults.hold('CreateUser', 'after', { userName: 'y' });
    let answered = false;
    const call = createUser('y').then(() => (answered = true));
    await hold.reached;
    await createUser('z');
    expect(simulator.account().user('y')).toBeDefined();
    expect(answered).toBe(false);
    hold.release();
    await call;
  });

  it('a held call has no effect once the simulator is closed', async () => {
    const hold = simulator.faults.hold('CreateUser', 'before');
    const call = createUser('y');
    const broken = expect(call).rejects.toThrow();
    await hold.reached;
    await simulator.close();
    await broken;
    expect(simulator.account().user('y')).toBeUndefined();
  });

  it('calls take the time that is set for them, before and after their effect', async () => {
    const { faults } = simulator;
    faults.set({ latencyMs: { CreateUser: 4, '*': 0 } });
    expect(faults.pause('before', { action: 'CreateUser' })).toBeDefined();
    expect(faults.pause('after', { action: 'CreateUser' })).toBeDefined();
    expect(faults.pause('before', { action: 'DeleteUser' })).toBeUndefined();
    await expect(createUser('y')).resolves.toBeDefined();
  });

  it('everything is taken back at once', async () => {
    simulator.faults.set({ propagationMs: 10_000, throttle: { ratePerSecond: 0.001, burst: 1 } });
    simulator.faults.fail({ action: '*', code: 'ServiceFailure', status: 500 });
    simulator.faults.clear();
    await createUser('y');
    const { sts } = sdkClients(simulator, await newKey('y'));
    await expect(sts.send(new GetCallerIdentityCommand({}))).resolves.toBeDefined();
  });

  it('the log says who called what and how it ended, without any secret', async () => {
    await createUser('y');
    const key = await newKey('y');
    await putPolicy('y');
    await expect(createUser('y')).rejects.toThrow();
    await root.iam.send(new ListUserPoliciesCommand({ UserName: 'y' }));
    const log = simulator.calls.list({ userName: 'y' });
    expect(log.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
      'CreateUser Success',
      'CreateAccessKey Success',
      'PutUserPolicy Success',
      'CreateUser EntityAlreadyExists',
      'ListUserPolicies Success',
    ]);
    expect(log[2]).toMatchObject({
      service: 'iam',
      account: '000000000000',
      accessKeyId: keysOf('root')[0]?.id,
      parameters: { PolicyName: 'p' },
    });
    expect(log.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5]);
    expect(JSON.stringify(log)).not.toContain(key.secretAccessKey);
    expect(simulator.calls.count({ outcome: 'EntityAlreadyExists' })).toBe(1);
    simulator.calls.clear();
    expect(simulator.calls.list()).toEqual([]);
  });
});

/** Looks again until it is so, or the test's own time is over. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
