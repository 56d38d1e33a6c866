import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  AddUserToGroupCommand,
  AttachGroupPolicyCommand,
  CreateGroupCommand,
  CreatePolicyCommand,
  CreateRoleCommand,
  GetGroupCommand,
  GetGroupPolicyCommand,
  GetRoleCommand,
  ListAttachedGroupPoliciesCommand,
  ListGroupPoliciesCommand,
  ListGroupsForUserCommand,
  PutGroupPolicyCommand,
  RemoveUserFromGroupCommand,
  type IAMClient,
} from '@aws-sdk/client-iam';
import { allowAll, sdkClients } from '../sdk-clients.spec-stub.js';
import { seedTrustPolicy } from '../seed-policy.js';
import { startSimulator, type Simulator } from '../simulator.js';

describe('groups, roles and managed policies', () => {
  let simulator: Simulator;
  let iam: IAMClient;
  beforeEach(async () => {
    simulator = await startSimulator();
    iam = sdkClients(simulator, simulator.provisionRootIdentity({ userName: 'root', policy: allowAll })).iam;
  });
  afterEach(() => simulator.close());

  it('a group shows its policies, inline ones URL-encoded', async () => {
    const GroupName = 'staff';
    await iam.send(new CreateGroupCommand({ GroupName }));
    await iam.send(new PutGroupPolicyCommand({ GroupName, PolicyName: 'p', PolicyDocument: allowAll }));
    await iam.send(new AttachGroupPolicyCommand({ GroupName, PolicyArn: 'arn:aws:iam::aws:policy/ReadOnlyAccess' }));
    await expect(iam.send(new ListGroupPoliciesCommand({ GroupName }))).resolves.toMatchObject({ PolicyNames: ['p'] });
    await expect(iam.send(new ListAttachedGroupPoliciesCommand({ GroupName }))).resolves.toMatchObject({
      AttachedPolicies: [{ PolicyName: 'ReadOnlyAccess' }],
    });
    const { PolicyDocument } = await iam.send(new GetGroupPolicyCommand({ GroupName, PolicyName: 'p' }));
    expect(PolicyDocument).toBe(encodeURIComponent(allowAll).replace(/\*/g, '%2A'));
  });

  it('a user joins and leaves groups', async () => {
    const UserName = 'root';
    const join = (GroupName: string) => iam.send(new AddUserToGroupCommand({ UserName, GroupName }));
    await expect(join('none')).rejects.toMatchObject({
      name: 'NoSuchEntityException',
      message: 'The group with name none cannot be found.',
    });
    for (let index = 0; index < 11; index += 1) simulator.account().createGroup(`g${index}`);
    for (let index = 0; index < 10; index += 1) await join(`g${index}`);
    await expect(join('g10')).rejects.toMatchObject({ message: 'Cannot exceed quota for GroupsPerUser: 10' });
    const { Users } = await iam.send(new GetGroupCommand({ GroupName: 'g3' }));
    expect(Users).toMatchObject([{ UserName }]);
    await iam.send(new RemoveUserFromGroupCommand({ UserName, GroupName: 'g3' }));
    const { Groups } = await iam.send(new ListGroupsForUserCommand({ UserName }));
    expect(Groups?.map(({ GroupName }) => GroupName)).not.toContain('g3');
  });

  it('a role keeps its trust policy and its longest session', async () => {
    const trust = seedTrustPolicy('arn:aws:iam::000000000000:user/root');
    await iam.send(
      new CreateRoleCommand({ RoleName: 'deploy', AssumeRolePolicyDocument: trust, MaxSessionDuration: 7_200 }),
    );
    const { Role } = await iam.send(new GetRoleCommand({ RoleName: 'deploy' }));
    expect(Role).toMatchObject({ Arn: 'arn:aws:iam::000000000000:role/deploy', MaxSessionDuration: 7_200 });
    expect(decodeURIComponent(Role?.AssumeRolePolicyDocument ?? '')).toBe(trust);
    await expect(
      iam.send(new CreateRoleCommand({ RoleName: 'wrong', AssumeRolePolicyDocument: allowAll })),
    ).rejects.toMatchObject({ name: 'MalformedPolicyDocumentException' });
  });

  it('a managed policy has a name of its own', async () => {
    const create = () => iam.send(new CreatePolicyCommand({ PolicyName: 'edge', PolicyDocument: allowAll }));
    await expect(create()).resolves.toMatchObject({ Policy: { Arn: 'arn:aws:iam::000000000000:policy/edge' } });
    await expect(create()).rejects.toMatchObject({ name: 'EntityAlreadyExistsException' });
  });
});
