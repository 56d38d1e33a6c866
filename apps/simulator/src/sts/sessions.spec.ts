import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  CreateUserCommand,
  CreateVirtualMFADeviceCommand,
  EnableMFADeviceCommand,
  ListUsersCommand,
} from '@aws-sdk/client-iam';
import {
  AssumeRoleCommand,
  GetCallerIdentityCommand,
  GetFederationTokenCommand,
  GetSessionTokenCommand,
  type AssumeRoleCommandInput,
  type GetFederationTokenCommandInput,
} from '@aws-sdk/client-sts';
import { allow, allowAll, sdkClients, sessionCredentials, type SdkClients } from '../sdk-clients.spec-stub.js';
import { oneTimeCode } from '../one-time-code.js';
import { seedAssumeRolePolicy, seedFederationPolicy, seedTrustPolicy } from '../seed-policy.js';
import { startSimulator, type AccessKeyPair, type Simulator } from '../simulator.js';

const rootArn = 'arn:aws:iam::000000000000:user/root';
const roleArn = 'arn:aws:iam::000000000000:role/deploy';
const trustOf = (Principal: unknown, Condition?: object, Action: string | string[] = 'sts:AssumeRole') =>
  JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal, Action, Condition }] });

let simulator: Simulator;
let root: SdkClients;

async function start(policy: string): Promise<void> {
  simulator = await startSimulator();
  root = sdkClients(simulator, simulator.provisionRootIdentity({ userName: 'root', policy }));
}
afterEach(() => simulator.close());

const assume = (input: Partial<AssumeRoleCommandInput> = {}, { sts } = root) =>
  sts.send(new AssumeRoleCommand({ RoleArn: roleArn, RoleSessionName: 'session', ...input }));
const as = (credentials: AccessKeyPair & { sessionToken: string }) => sdkClients(simulator, credentials);

describe('AssumeRole', () => {
  beforeEach(() => start(seedAssumeRolePolicy(roleArn)));

  it('gives credentials that work at once, carry the role’s rights and end', async () => {
    simulator.faults.set({ propagationMs: 60_000 });
    simulator.account().createRole('deploy', seedTrustPolicy(rootArn), { policies: { p: allow('iam:ListUsers') } });
    const before = Date.now();
    const answer = await assume({ DurationSeconds: 900 });
    expect(answer).toMatchObject({
      AssumedRoleUser: {
        Arn: 'arn:aws:sts::000000000000:assumed-role/deploy/session',
        AssumedRoleId: expect.stringMatching(/^AROA\w{17}:session$/),
      },
      Credentials: { AccessKeyId: expect.stringMatching(/^ASIA[A-Z2-7]{16}$/) },
    });
    const wholeSeconds = (instant: number) => Math.floor(instant / 1_000);
    const expiration = wholeSeconds(answer.Credentials?.Expiration?.getTime() ?? 0);
    expect(expiration).toBeGreaterThanOrEqual(wholeSeconds(before) + 900);
    expect(expiration).toBeLessThanOrEqual(wholeSeconds(Date.now()) + 900);
    const session = as(sessionCredentials(answer));
    await expect(session.sts.send(new GetCallerIdentityCommand({}))).resolves.toMatchObject({
      Arn: 'arn:aws:sts::000000000000:assumed-role/deploy/session',
    });
    await expect(session.iam.send(new ListUsersCommand({}))).resolves.toBeDefined();
    await expect(session.iam.send(new CreateUserCommand({ UserName: 'y' }))).rejects.toMatchObject({
      name: 'AccessDenied',
      message: expect.stringContaining('User: arn:aws:sts::000000000000:assumed-role/deploy/session is not authorized'),
    });
    simulator.faults.set({ clockOffsetMs: 960_000 });
    const later = sdkClients(simulator, sessionCredentials(answer), 960_000);
    await expect(later.sts.send(new GetCallerIdentityCommand({}))).rejects.toMatchObject({ name: 'ExpiredToken' });
  });

  it('is refused in the same words when the role is missing and when it does not trust the caller', async () => {
    const refused = {
      name: 'AccessDenied',
      message: `User: ${rootArn} is not authorized to perform: sts:AssumeRole on resource: ${roleArn}`,
      $metadata: { httpStatusCode: 403 },
    };
    await expect(assume()).rejects.toMatchObject(refused);
    simulator.account().createRole('deploy', trustOf({ AWS: 'arn:aws:iam::000000000000:user/other' }));
    await expect(assume()).rejects.toMatchObject(refused);
  });

  it('needs a policy of the caller’s when the trust policy names its account', async () => {
    const account = simulator.account();
    account.createRole('deploy', trustOf({ AWS: 'arn:aws:iam::000000000000:root' }));
    await expect(assume()).resolves.toBeDefined();
    account.putUserPolicy(account.existingUser('root'), 'root', allow('iam:ListUsers'));
    await expect(assume()).rejects.toMatchObject({ name: 'AccessDenied' });
  });

  it('needs both sides across accounts', async () => {
    const other = simulator.account('111122223333');
    const RoleArn = 'arn:aws:iam::111122223333:role/far';
    other.createRole('far', trustOf({ AWS: rootArn }));
    await expect(assume({ RoleArn })).rejects.toMatchObject({ name: 'AccessDenied' });
    const account = simulator.account();
    account.putUserPolicy(account.existingUser('root'), 'root', allow('sts:AssumeRole', RoleArn));
    const session = as(sessionCredentials(await assume({ RoleArn })));
    await expect(session.sts.send(new GetCallerIdentityCommand({}))).resolves.toMatchObject({
      Account: '111122223333',
    });
  });

  it('compares the external id that the trust policy asks for', async () => {
    simulator
      .account()
      .createRole('deploy', trustOf({ AWS: rootArn }, { StringEquals: { 'sts:ExternalId': 'agreed' } }));
    await expect(assume()).rejects.toMatchObject({ name: 'AccessDenied' });
    await expect(assume({ ExternalId: 'other' })).rejects.toMatchObject({ name: 'AccessDenied' });
    await expect(assume({ ExternalId: 'agreed' })).resolves.toBeDefined();
  });

  it('asks for sts:TagSession when tags are passed', async () => {
    const account = simulator.account();
    const Tags = [{ Key: 'team', Value: 'a' }];
    account.createRole('deploy', trustOf({ AWS: rootArn }));
    await expect(assume({ Tags })).rejects.toMatchObject({
      message: expect.stringContaining('sts:TagSession'),
    });
    account.createRole('tagged', trustOf({ AWS: rootArn }, undefined, ['sts:AssumeRole', 'sts:TagSession']));
    await expect(assume({ Tags, RoleArn: 'arn:aws:iam::000000000000:role/tagged' })).resolves.toBeDefined();
  });

  it.each([
    [899, 'greater than or equal to 900'],
    [43_201, 'less than or equal to 43200'],
    [3_601, 'The requested DurationSeconds exceeds the MaxSessionDuration set for this role.'],
  ])('refuses %d seconds', async (DurationSeconds, message) => {
    simulator.account().createRole('deploy', seedTrustPolicy(rootArn));
    await expect(assume({ DurationSeconds })).rejects.toMatchObject({
      name: 'ValidationError',
      message: expect.stringContaining(message),
    });
  });

  it('gives an hour at most to a caller that is itself a role', async () => {
    simulator.account().createRole('deploy', seedTrustPolicy(rootArn), { policies: { p: allowAll } });
    simulator.account().createRole('next', trustOf({ AWS: roleArn }), { maxSessionSeconds: 43_200 });
    const chained = as(sessionCredentials(await assume()));
    const RoleArn = 'arn:aws:iam::000000000000:role/next';
    await expect(assume({ RoleArn, DurationSeconds: 3_601 }, chained)).rejects.toMatchObject({
      message: 'The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.',
    });
    await expect(assume({ RoleArn, DurationSeconds: 3_600 }, chained)).resolves.toBeDefined();
  });

  it('gives no more than role and session policies have in common', async () => {
    simulator.account().createRole('deploy', seedTrustPolicy(rootArn), { policies: { p: allow('iam:List*') } });
    const answer = await assume({ Policy: allow('iam:CreateUser') });
    expect(answer.PackedPolicySize).toBeGreaterThan(0);
    const inline = as(sessionCredentials(answer));
    await expect(inline.iam.send(new CreateUserCommand({ UserName: 'y' }))).rejects.toMatchObject({
      message: expect.stringContaining('no identity-based policy'),
    });
    await expect(inline.iam.send(new ListUsersCommand({}))).rejects.toMatchObject({
      message: expect.stringContaining('because no session policy allows the iam:ListUsers action'),
    });
    const managed = as(
      sessionCredentials(await assume({ PolicyArns: [{ arn: 'arn:aws:iam::aws:policy/IAMReadOnlyAccess' }] })),
    );
    await expect(managed.iam.send(new ListUsersCommand({}))).resolves.toBeDefined();
  });

  it('refuses session policies that are broken or too long', async () => {
    simulator.account().createRole('deploy', seedTrustPolicy(rootArn));
    await expect(assume({ Policy: '{' })).rejects.toMatchObject({ name: 'MalformedPolicyDocumentException' });
    await expect(assume({ Policy: allow('iam:a', `arn:aws:iam::1:${'a'.repeat(2_048)}`) })).rejects.toMatchObject({
      name: 'ValidationError',
    });
    const Policy = allow('iam:a', `arn:aws:iam::1:user/${'a'.repeat(1_900)}`);
    const PolicyArns = [
      { arn: 'arn:aws:iam::aws:policy/AdministratorAccess' },
      { arn: 'arn:aws:iam::aws:policy/ReadOnlyAccess' },
    ];
    await expect(assume({ Policy, PolicyArns })).rejects.toMatchObject({ name: 'PackedPolicyTooLargeException' });
  });

  it('refuses session names of one character', async () => {
    await expect(assume({ RoleSessionName: 'a' })).rejects.toMatchObject({ name: 'ValidationError' });
  });
});

describe('GetFederationToken', () => {
  beforeEach(() => start(seedFederationPolicy(['ec2:*', 'iam:*'])));

  const federate = (input: Partial<GetFederationTokenCommandInput> = {}, { sts } = root) =>
    sts.send(new GetFederationTokenCommand({ Name: 'vault-1', Policy: allow('ec2:*'), ...input }));

  it('gives credentials that may only ask STS who they are, whatever their policy says', async () => {
    const answer = await federate({ Policy: allowAll });
    expect(answer).toMatchObject({
      FederatedUser: {
        Arn: 'arn:aws:sts::000000000000:federated-user/vault-1',
        FederatedUserId: '000000000000:vault-1',
      },
    });
    const session = as(sessionCredentials(answer));
    await expect(session.sts.send(new GetCallerIdentityCommand({}))).resolves.toMatchObject({
      Arn: 'arn:aws:sts::000000000000:federated-user/vault-1',
      UserId: '000000000000:vault-1',
    });
    await expect(session.iam.send(new ListUsersCommand({}))).rejects.toMatchObject({ name: 'InvalidClientTokenId' });
    await expect(federate({}, session)).rejects.toMatchObject({
      name: 'AccessDenied',
      message: 'Cannot call GetFederationToken with session credentials',
    });
    await expect(assume({}, session)).rejects.toMatchObject({ name: 'AccessDenied' });
  });

  it('needs the right to federate', async () => {
    const account = simulator.account();
    account.putUserPolicy(account.existingUser('root'), 'root', allow('ec2:*'));
    await expect(federate()).rejects.toMatchObject({
      name: 'AccessDenied',
      message: `User: ${rootArn} is not authorized to perform: sts:GetFederationToken on resource: arn:aws:sts::000000000000:federated-user/vault-1 because no identity-based policy allows the sts:GetFederationToken action`,
    });
  });

  it.each([
    ['a name of one character', { Name: 'a' }],
    ['a name of 33 characters', { Name: 'a'.repeat(33) }],
    ['899 seconds', { DurationSeconds: 899 }],
    ['129,601 seconds', { DurationSeconds: 129_601 }],
  ])('refuses %s', async (_, input) => {
    await expect(federate(input)).rejects.toMatchObject({ name: 'ValidationError' });
  });

  it('lasts twelve hours unless told, and ends with the user in whose name it was made', async () => {
    const before = Date.now();
    const answer = await federate();
    const seconds = Math.floor((answer.Credentials?.Expiration?.getTime() ?? 0) / 1_000);
    expect(seconds).toBeGreaterThanOrEqual(Math.floor(before / 1_000) + 43_200);
    expect(seconds).toBeLessThanOrEqual(Math.floor(Date.now() / 1_000) + 43_200);
    const account = simulator.account();
    const user = account.createUser('short-lived');
    account.putUserPolicy(user, 'p', allowAll);
    const key = account.createAccessKey(user);
    const clients = sdkClients(simulator, { accessKeyId: key.id, secretAccessKey: key.secret });
    const session = as(sessionCredentials(await federate({}, clients)));
    await expect(session.sts.send(new GetCallerIdentityCommand({}))).resolves.toBeDefined();
    user.inlinePolicies = [];
    account.deleteAccessKey(user, key.id);
    account.deleteUser(user);
    await expect(session.sts.send(new GetCallerIdentityCommand({}))).rejects.toMatchObject({
      name: 'InvalidClientTokenId',
    });
  });
});

describe('GetSessionToken', () => {
  beforeEach(() => start(allowAll));

  it('gives the user a session that may assume roles and not call IAM', async () => {
    simulator.account().createRole('deploy', seedTrustPolicy(rootArn));
    const answer = await root.sts.send(new GetSessionTokenCommand({ DurationSeconds: 900 }));
    const session = as(sessionCredentials(answer));
    await expect(session.sts.send(new GetCallerIdentityCommand({}))).resolves.toMatchObject({ Arn: rootArn });
    await expect(assume({}, session)).resolves.toBeDefined();
    await expect(session.iam.send(new ListUsersCommand({}))).rejects.toMatchObject({ name: 'InvalidClientTokenId' });
    await expect(session.sts.send(new GetSessionTokenCommand({}))).rejects.toMatchObject({
      message: 'Cannot call GetSessionToken with session credentials',
    });
  });

  describe('with an MFA device', () => {
    let SerialNumber: string;
    let seed: Buffer;
    const ask = (TokenCode?: string, serial: string | undefined = SerialNumber) =>
      root.sts.send(new GetSessionTokenCommand({ SerialNumber: serial, TokenCode }));

    beforeEach(async () => {
      const { VirtualMFADevice } = await root.iam.send(
        new CreateVirtualMFADeviceCommand({ VirtualMFADeviceName: 'r' }),
      );
      SerialNumber = VirtualMFADevice!.SerialNumber!;
      expect(Buffer.from(VirtualMFADevice!.Base32StringSeed!).toString()).toMatch(/^[A-Z2-7]{32}$/);
      seed = Buffer.from(simulator.account().mfaDevice(SerialNumber)!.seed!, 'base64');
      const codes = { AuthenticationCode1: '123456', AuthenticationCode2: '123457' };
      await root.iam.send(new EnableMFADeviceCommand({ UserName: 'root', SerialNumber, ...codes }));
    });

    it('gives a session that may call IAM as well', async () => {
      const session = as(sessionCredentials(await ask(oneTimeCode(seed, Date.now()))));
      await expect(session.iam.send(new ListUsersCommand({}))).resolves.toBeDefined();
    });

    it('refuses a code that is not the one of now, or of no device of the user', async () => {
      await expect(ask(oneTimeCode(seed, Date.now() - 120_000))).rejects.toMatchObject({
        name: 'AccessDenied',
        message: 'MultiFactorAuthentication failed with invalid MFA one time pass code. ',
      });
      await expect(ask()).rejects.toMatchObject({ name: 'AccessDenied' });
      const other = 'arn:aws:iam::000000000000:mfa/other';
      await expect(ask(oneTimeCode(seed, Date.now()), other)).rejects.toMatchObject({
        message: expect.stringContaining('verify your MFA serial number is valid'),
      });
    });
  });
});
