import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  AddUserToGroupCommand,
  AttachUserPolicyCommand,
  CreateAccessKeyCommand,
  CreateUserCommand,
  DeleteUserCommand,
  GetUserCommand,
  ListAccessKeysCommand,
  ListUsersCommand,
  PutUserPolicyCommand,
  RemoveUserFromGroupCommand,
  TagUserCommand,
} from '@aws-sdk/client-iam';
import { GetCallerIdentityCommand } from '@aws-sdk/client-sts';
import { allow, allowAll, sdkClients, type SdkClients } from './sdk-clients.spec-stub.js';
import { seedRootPolicy } from './seed-policy.js';
import { startSimulator, type Simulator } from './simulator.js';

const denied = (action: string, resource: string) => ({
  name: 'AccessDenied',
  message: `User: arn:aws:iam::000000000000:user/x is not authorized to perform: ${action} on resource: ${resource} because no identity-based policy allows the ${action} action`,
  $metadata: expect.objectContaining({ httpStatusCode: 403 }),
});
const userArn = (name: string) => `arn:aws:iam::000000000000:user/${name}`;
const statements = (...list: object[]) => JSON.stringify({ Version: '2012-10-17', Statement: list });

describe('what a caller may do', () => {
  let simulator: Simulator;
  beforeEach(async () => {
    simulator = await startSimulator();
  });
  afterEach(() => simulator.close());

  /** The user x with these inline policies and a key. */
  function x(...documents: string[]): SdkClients {
    const account = simulator.account();
    const user = account.createUser('x');
    documents.forEach((document, index) => account.putUserPolicy(user, `p${index}`, document));
    const key = account.createAccessKey(user);
    return sdkClients(simulator, { accessKeyId: key.id, secretAccessKey: key.secret });
  }

  it('is, with the seed policy, to make and unmake users named vault-*, and nothing else', async () => {
    const { iam, sts } = x(seedRootPolicy('000000000000'));
    await iam.send(new CreateUserCommand({ UserName: 'vault-y' }));
    await iam.send(
      new PutUserPolicyCommand({ UserName: 'vault-y', PolicyName: 'p', PolicyDocument: allow('iam:ListUsers') }),
    );
    await iam.send(new CreateAccessKeyCommand({ UserName: 'vault-y' }));
    await expect(iam.send(new ListAccessKeysCommand({ UserName: 'vault-y' }))).resolves.toMatchObject({
      AccessKeyMetadata: [{ UserName: 'vault-y' }],
    });
    await expect(iam.send(new CreateUserCommand({ UserName: 'other' }))).rejects.toMatchObject(
      denied('iam:CreateUser', userArn('other')),
    );
    await expect(
      iam.send(new TagUserCommand({ UserName: 'vault-y', Tags: [{ Key: 'a', Value: 'b' }] })),
    ).rejects.toMatchObject(denied('iam:TagUser', userArn('vault-y')));
    await expect(iam.send(new GetUserCommand({ UserName: 'vault-y' }))).rejects.toMatchObject(
      denied('iam:GetUser', userArn('vault-y')),
    );
    await expect(iam.send(new ListUsersCommand({}))).rejects.toMatchObject(denied('iam:ListUsers', userArn('')));
    await expect(sts.send(new GetCallerIdentityCommand({}))).resolves.toMatchObject({ Arn: userArn('x') });
    expect(
      simulator
        .account()
        .users()
        .map(({ name }) => name),
    ).toEqual(['x', 'vault-y']);
  });

  it('is asked for the tags and the boundary that CreateUser carries, and leaves no user when they are refused', async () => {
    const { iam } = x(seedRootPolicy('000000000000'));
    await expect(
      iam.send(new CreateUserCommand({ UserName: 'vault-y', Tags: [{ Key: 'a', Value: 'b' }] })),
    ).rejects.toMatchObject(denied('iam:TagUser', userArn('vault-y')));
    await expect(
      iam.send(
        new CreateUserCommand({
          UserName: 'vault-y',
          PermissionsBoundary: 'arn:aws:iam::aws:policy/AdministratorAccess',
        }),
      ),
    ).rejects.toMatchObject(denied('iam:PutUserPermissionsBoundary', userArn('vault-y')));
    expect(simulator.account().user('vault-y')).toBeUndefined();
  });

  it('is told before it is told that there is no such user', async () => {
    const { iam } = x(seedRootPolicy('000000000000'));
    await expect(iam.send(new DeleteUserCommand({ UserName: 'other' }))).rejects.toMatchObject({
      name: 'AccessDenied',
    });
    await expect(iam.send(new DeleteUserCommand({ UserName: 'vault-none' }))).rejects.toMatchObject({
      name: 'NoSuchEntityException',
      message: 'The user with name vault-none cannot be found.',
    });
  });

  it('is what the group allows, asked about the group, for joining and leaving one', async () => {
    const account = simulator.account();
    account.createGroup('staff');
    const { iam } = x(seedRootPolicy('000000000000'), allow('iam:AddUserToGroup', 'arn:aws:iam::000000000000:group/*'));
    account.createUser('vault-y');
    await iam.send(new AddUserToGroupCommand({ UserName: 'vault-y', GroupName: 'staff' }));
    await expect(
      iam.send(new RemoveUserFromGroupCommand({ UserName: 'vault-y', GroupName: 'staff' })),
    ).rejects.toMatchObject(denied('iam:RemoveUserFromGroup', 'arn:aws:iam::000000000000:group/staff'));
  });

  it('ends at an explicit deny, wherever the allow stands', async () => {
    const { iam } = x(allowAll, statements({ Effect: 'Deny', Action: 'iam:Delete*', Resource: userArn('kept-?') }));
    simulator.account().createUser('kept-1');
    simulator.account().createUser('kept-12');
    await expect(iam.send(new DeleteUserCommand({ UserName: 'kept-1' }))).rejects.toMatchObject({
      name: 'AccessDenied',
      message: `User: ${userArn('x')} is not authorized to perform: iam:DeleteUser on resource: ${userArn('kept-1')} with an explicit deny in an identity-based policy`,
    });
    await iam.send(new DeleteUserCommand({ UserName: 'kept-12' }));
    expect(simulator.account().user('kept-1')).toBeDefined();
    expect(simulator.account().user('kept-12')).toBeUndefined();
  });

  it('understands NotAction, NotResource, a single statement, letter case of actions and ${aws:username}', async () => {
    const { iam } = x(
      statements(
        { Effect: 'Allow', NotAction: 'iam:Delete*', NotResource: userArn('secret-*') },
        { Effect: 'Allow', Action: 'IAM:deleteuser', Resource: userArn('${aws:username}') },
      ),
    );
    await expect(iam.send(new ListUsersCommand({}))).resolves.toBeDefined();
    await expect(iam.send(new GetUserCommand({ UserName: 'secret-1' }))).rejects.toMatchObject({
      name: 'AccessDenied',
    });
    await expect(iam.send(new DeleteUserCommand({ UserName: 'y' }))).rejects.toMatchObject({ name: 'AccessDenied' });
    await expect(iam.send(new DeleteUserCommand({ UserName: 'x' }))).rejects.toMatchObject({
      name: 'DeleteConflictException',
    });
  });

  it('counts a condition that it cannot prove as not met', async () => {
    const condition = (Condition: object) => ({ Effect: 'Allow', Action: 'iam:ListUsers', Resource: '*', Condition });
    const { iam } = x(
      statements(
        condition({ Bool: { 'aws:MultiFactorAuthPresent': 'true' } }),
        condition({ StringEquals: { 'aws:username': 'y' } }),
      ),
    );
    await expect(iam.send(new ListUsersCommand({}))).rejects.toMatchObject({ name: 'AccessDenied' });
    const account = simulator.account();
    account.putUserPolicy(
      account.existingUser('x'),
      'p1',
      statements(condition({ StringEquals: { 'aws:username': 'x' } })),
    );
    await expect(iam.send(new ListUsersCommand({}))).resolves.toBeDefined();
  });

  it('comes from groups and managed policies too', async () => {
    const account = simulator.account();
    const { iam } = x();
    const user = account.existingUser('x');
    await expect(iam.send(new ListUsersCommand({}))).rejects.toMatchObject({ name: 'AccessDenied' });
    account.createGroup('readers', { attached: ['arn:aws:iam::aws:policy/IAMReadOnlyAccess'] });
    account.addUserToGroup(user, 'readers');
    await expect(iam.send(new ListUsersCommand({}))).resolves.toBeDefined();
    await expect(iam.send(new CreateUserCommand({ UserName: 'y' }))).rejects.toMatchObject({ name: 'AccessDenied' });
    account.attachUserPolicy(user, account.createPolicy('makers', allow('iam:CreateUser')).arn);
    await iam.send(new CreateUserCommand({ UserName: 'y' }));
    account.attachUserPolicy(user, 'arn:aws:iam::aws:policy/AdministratorAccess');
    await iam.send(new DeleteUserCommand({ UserName: 'y' }));
  });

  it('allows nothing by an AWS policy that has nothing to do with it', async () => {
    const { iam } = x();
    const account = simulator.account();
    account.attachUserPolicy(account.existingUser('x'), 'arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess');
    account.attachUserPolicy(account.existingUser('x'), 'arn:aws:iam::aws:policy/job-function/Billing');
    await expect(iam.send(new ListUsersCommand({}))).rejects.toMatchObject({ name: 'AccessDenied' });
  });

  it('never exceeds the permissions boundary', async () => {
    const account = simulator.account();
    const boundary = account.createPolicy('edge', allow('iam:List*'));
    const { iam } = x(allowAll);
    account.putBoundary(account.existingUser('x'), boundary.arn);
    await expect(iam.send(new ListUsersCommand({}))).resolves.toBeDefined();
    await expect(iam.send(new CreateUserCommand({ UserName: 'y' }))).rejects.toMatchObject({
      name: 'AccessDenied',
      message: expect.stringContaining('because no permissions boundary allows the iam:CreateUser action'),
    });
  });

  it('can be limited to certain policies by condition', async () => {
    const arn = 'arn:aws:iam::aws:policy/ReadOnlyAccess';
    const { iam } = x(
      statements({
        Effect: 'Allow',
        Action: 'iam:AttachUserPolicy',
        Resource: '*',
        Condition: { ArnEquals: { 'iam:PolicyARN': arn } },
      }),
    );
    await iam.send(new AttachUserPolicyCommand({ UserName: 'x', PolicyArn: arn }));
    await expect(
      iam.send(
        new AttachUserPolicyCommand({ UserName: 'x', PolicyArn: 'arn:aws:iam::aws:policy/AdministratorAccess' }),
      ),
    ).rejects.toMatchObject({ name: 'AccessDenied' });
  });
});
