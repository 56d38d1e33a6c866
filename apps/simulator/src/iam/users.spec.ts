import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  AttachUserPolicyCommand,
  CreateUserCommand,
  DeleteUserCommand,
  DeleteUserPolicyCommand,
  DetachUserPolicyCommand,
  GetAccountSummaryCommand,
  GetUserCommand,
  GetUserPolicyCommand,
  ListAttachedUserPoliciesCommand,
  ListUserPoliciesCommand,
  ListUserTagsCommand,
  paginateListUsers,
  PutUserPermissionsBoundaryCommand,
  PutUserPolicyCommand,
  TagUserCommand,
  UpdateUserCommand,
  type IAMClient,
} from '@aws-sdk/client-iam';
import { allow, allowAll, sdkClients } from '../sdk-clients.spec-stub.js';
import { startSimulator, type Simulator } from '../simulator.js';

describe('users', () => {
  let simulator: Simulator;
  let iam: IAMClient;
  beforeEach(async () => {
    simulator = await startSimulator({ account: '111122223333' });
    iam = sdkClients(simulator, simulator.provisionRootIdentity({ userName: 'root', policy: allowAll })).iam;
  });
  afterEach(() => simulator.close());

  const create = (UserName: string) => iam.send(new CreateUserCommand({ UserName }));
  const names = () =>
    simulator
      .account()
      .users()
      .map(({ name }) => name);

  it('are made with path, tags and boundary in one call, and read back', async () => {
    const boundary = 'arn:aws:iam::aws:policy/ReadOnlyAccess';
    const tag = { Key: 'team', Value: 'plätze: a+b @ 1/2' };
    await iam.send(
      new CreateUserCommand({ UserName: 'y', Path: '/lent/', Tags: [tag], PermissionsBoundary: boundary }),
    );
    const { User } = await iam.send(new GetUserCommand({ UserName: 'y' }));
    expect(User).toMatchObject({
      UserName: 'y',
      Path: '/lent/',
      Arn: 'arn:aws:iam::111122223333:user/lent/y',
      UserId: expect.stringMatching(/^AIDA[A-Z2-7]{17}$/),
      PermissionsBoundary: { PermissionsBoundaryArn: boundary },
      Tags: [tag],
    });
    expect(User?.CreateDate).toBeInstanceOf(Date);
    await iam.send(new TagUserCommand({ UserName: 'y', Tags: [{ Key: 'Team', Value: 'two' }] }));
    await expect(iam.send(new ListUserTagsCommand({ UserName: 'y' }))).resolves.toMatchObject({
      Tags: [{ Key: 'Team', Value: 'two' }],
      IsTruncated: false,
    });
  });

  it('are the caller itself when GetUser names nobody', async () => {
    await expect(iam.send(new GetUserCommand({}))).resolves.toMatchObject({ User: { UserName: 'root' } });
  });

  it('must be named to be deleted', async () => {
    await expect(iam.send(new DeleteUserCommand({ UserName: undefined }))).rejects.toMatchObject({
      name: 'ValidationError',
      message: expect.stringContaining("Value null at 'userName'"),
    });
    expect(names()).toEqual(['root']);
  });

  it('have names that are unique whatever their case', async () => {
    await create('Alice');
    await expect(create('alice')).rejects.toMatchObject({
      name: 'EntityAlreadyExistsException',
      message: 'User with name alice already exists.',
      $metadata: { httpStatusCode: 409 },
    });
    expect(names()).toEqual(['root', 'Alice']);
  });

  it.each([
    ['of wrong characters', 'a b', 'The specified value for userName is invalid.'],
    ['of 65 characters', 'a'.repeat(65), 'Member must have length less than or equal to 64'],
  ])('are refused names %s', async (_, name, message) => {
    await expect(create(name)).rejects.toMatchObject({
      name: 'ValidationError',
      message: expect.stringContaining(message),
      $metadata: { httpStatusCode: 400 },
    });
    expect(names()).toEqual(['root']);
  });

  it('end at the quota of the account', async () => {
    simulator.faults.set({ usersPerAccount: 2 });
    await create('y');
    await expect(create('z')).rejects.toMatchObject({
      name: 'LimitExceededException',
      message: 'Cannot exceed quota for UsersPerAccount: 2',
      $metadata: { httpStatusCode: 409 },
    });
  });

  it('are counted with their quota by the summary of the account, for who may see it', async () => {
    simulator.faults.set({ usersPerAccount: 7 });
    await create('y');
    const { SummaryMap } = await iam.send(new GetAccountSummaryCommand({}));
    expect(SummaryMap).toEqual({ Users: 2, UsersQuota: 7 });
    const plain = simulator.provisionRootIdentity({ userName: 'plain' });
    await expect(sdkClients(simulator, plain).iam.send(new GetAccountSummaryCommand({}))).rejects.toMatchObject({
      Code: 'AccessDenied',
      message: expect.stringContaining('is not authorized to perform: iam:GetAccountSummary on resource: *'),
    });
  });

  it('are refused a boundary that does not exist', async () => {
    const arn = 'arn:aws:iam::111122223333:policy/none';
    await expect(
      iam.send(new PutUserPermissionsBoundaryCommand({ UserName: 'root', PermissionsBoundary: arn })),
    ).rejects.toMatchObject({ name: 'NoSuchEntityException' });
  });

  it('are listed page by page, though one goes away between pages', async () => {
    for (let index = 0; index < 5; index += 1) simulator.account().createUser(`y${index}`);
    const seen: string[] = [];
    for await (const page of paginateListUsers({ client: iam, pageSize: 2 }, {})) {
      seen.push(...(page.Users ?? []).map(({ UserName = '' }) => UserName));
      if (seen.length === 2) simulator.account().deleteUser(simulator.account().existingUser('y0'));
    }
    expect(seen).toEqual(['root', 'y0', 'y1', 'y2', 'y3', 'y4']);
  });

  it('keep their keys and policies under a new name', async () => {
    const account = simulator.account();
    const user = account.createUser('y');
    const key = account.createAccessKey(user);
    account.putUserPolicy(user, 'p', allow('iam:GetUser'));
    await iam.send(new UpdateUserCommand({ UserName: 'y', NewUserName: 'z' }));
    await expect(iam.send(new GetUserCommand({ UserName: 'y' }))).rejects.toMatchObject({
      name: 'NoSuchEntityException',
    });
    const own = sdkClients(simulator, { accessKeyId: key.id, secretAccessKey: key.secret }).iam;
    await expect(own.send(new GetUserCommand({}))).resolves.toMatchObject({ User: { UserName: 'z', UserId: user.id } });
    await expect(iam.send(new UpdateUserCommand({ UserName: 'z', NewUserName: 'ROOT' }))).rejects.toMatchObject({
      name: 'EntityAlreadyExistsException',
    });
  });

  describe('and their inline policies', () => {
    const put = (PolicyDocument: string, PolicyName = 'p') =>
      iam.send(new PutUserPolicyCommand({ UserName: 'root', PolicyName, PolicyDocument }));

    it('are put, read as written, listed and deleted', async () => {
      const document = '{ "Statement": {"Effect":"Allow", "Action":"iam:*", "Resource":"*", "Sid":"ä+ (1)!" } }';
      await put(document);
      const read = await iam.send(new GetUserPolicyCommand({ UserName: 'root', PolicyName: 'p' }));
      expect(read.PolicyDocument).not.toContain('{');
      expect(decodeURIComponent(read.PolicyDocument ?? '')).toBe(document);
      await expect(iam.send(new ListUserPoliciesCommand({ UserName: 'root' }))).resolves.toMatchObject({
        PolicyNames: ['p', 'root'],
      });
      await iam.send(new DeleteUserPolicyCommand({ UserName: 'root', PolicyName: 'p' }));
      await expect(iam.send(new DeleteUserPolicyCommand({ UserName: 'root', PolicyName: 'p' }))).rejects.toMatchObject({
        name: 'NoSuchEntityException',
        message: 'The user policy with name p cannot be found.',
      });
    });

    it.each([
      ['no JSON', '{', 'Syntax errors in policy.'],
      ['no statement', '{"Version":"2012-10-17"}', 'Syntax errors in policy.'],
      ['no action', '{"Statement":{"Effect":"Allow","Resource":"*"}}', 'Policy statement must contain actions.'],
      ['no resource', '{"Statement":{"Effect":"Allow","Action":"*"}}', 'Policy statement must contain resources.'],
      ['a strange resource', allow('*', 'bucket'), 'Resource bucket must be in ARN format or "*".'],
      ['a bare action', allow('GetUser'), 'Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.'],
      [
        'a principal',
        '{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}}',
        'Policy document should not specify a principal.',
      ],
      [
        'an unknown version',
        '{"Version":"2020-01-01","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}',
        'The policy must contain a valid version string.',
      ],
    ])('are refused with %s', async (_, document, message) => {
      await expect(put(document)).rejects.toMatchObject({
        name: 'MalformedPolicyDocumentException',
        message,
        $metadata: { httpStatusCode: 400 },
      });
    });

    it('share 2,048 characters, white space not counted', async () => {
      const user = simulator.account().createUser('y');
      const document = (size: number) => {
        const empty = allow('iam:a', 'arn:aws:iam::1:user/').length;
        return allow('iam:a', `arn:aws:iam::1:user/${'u'.repeat(size - empty)}`);
      };
      const putOf = (PolicyName: string, PolicyDocument: string) =>
        iam.send(new PutUserPolicyCommand({ UserName: 'y', PolicyName, PolicyDocument }));
      await putOf('a', `${document(1_000)}${' '.repeat(3_000)}`);
      await putOf('b', document(1_048));
      await expect(putOf('c', document(200))).rejects.toMatchObject({
        name: 'LimitExceededException',
        message: 'Maximum policy size of 2048 bytes exceeded for user y',
      });
      await putOf('a', document(999));
      await expect(putOf('a', document(1_001))).rejects.toMatchObject({ name: 'LimitExceededException' });
      expect(user.inlinePolicies.map(({ name }) => name).sort()).toEqual(['a', 'b']);
    });
  });

  it('take ten managed policies, which must exist, and give them back', async () => {
    const attach = (UserName: string, PolicyArn: string) =>
      iam.send(new AttachUserPolicyCommand({ UserName, PolicyArn }));
    simulator.account().createUser('y');
    await expect(attach('y', 'arn:aws:iam::111122223333:policy/none')).rejects.toMatchObject({
      name: 'NoSuchEntityException',
      message: 'Policy arn:aws:iam::111122223333:policy/none does not exist or is not attachable.',
    });
    for (let index = 0; index < 10; index += 1) await attach('y', `arn:aws:iam::aws:policy/P${index}`);
    await expect(attach('y', 'arn:aws:iam::aws:policy/P10')).rejects.toMatchObject({
      name: 'LimitExceededException',
      message: 'Cannot exceed quota for PoliciesPerUser: 10',
    });
    await attach('y', 'arn:aws:iam::aws:policy/P9');
    const detach = new DetachUserPolicyCommand({ UserName: 'y', PolicyArn: 'arn:aws:iam::aws:policy/P0' });
    await iam.send(detach);
    await expect(iam.send(detach)).rejects.toMatchObject({ name: 'NoSuchEntityException' });
    const { AttachedPolicies } = await iam.send(new ListAttachedUserPoliciesCommand({ UserName: 'y', MaxItems: 2 }));
    expect(AttachedPolicies).toEqual([
      { PolicyName: 'P1', PolicyArn: 'arn:aws:iam::aws:policy/P1' },
      { PolicyName: 'P2', PolicyArn: 'arn:aws:iam::aws:policy/P2' },
    ]);
  });
});
