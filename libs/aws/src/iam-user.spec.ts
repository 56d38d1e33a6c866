import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { inspect } from 'node:util';
import { OutOfTime } from '#libs/contracts';
import type { AwsAccount, AwsAccounts } from './aws-account.js';
import { AmbiguousAccessKey, AwsRefused, AwsThrottled, AwsUnreachable, madeBy } from './aws-errors.js';
import { createIamUser, destroyIamUser, followAccessKey, type IamUserPlan } from './iam-user.js';
import {
  accessDenied,
  accountsAt,
  AwsStub,
  broken,
  done,
  failureOf,
  fenceOf,
  garbled,
  halfway,
  lost,
  meeting,
  noSuchEntity,
  refused,
  type Reply,
  rootSettings,
  secretOfReplies,
  silent,
  throttled,
} from './aws.spec-stub.js';

let stub: AwsStub;
let accounts: AwsAccounts;
let account: AwsAccount;

beforeEach(async () => {
  stub = await AwsStub.start();
  accounts = accountsAt(stub.url);
  account = accounts.open(rootSettings);
});

afterEach(async () => {
  accounts.close();
  await stub.close();
});

const document = '{"Version":"2012-10-17","Statement":[]}';
const deploy: IamUserPlan = {
  userName: 'vault-u-4711',
  path: '/',
  inlinePolicy: { name: 'deploy', document },
  policyArns: [],
  groups: [],
  tags: {},
};
const arn = 'arn:aws:iam::aws:policy/ReadOnly';
const create = (plan: Partial<IamUserPlan> = {}) => createIamUser(account, { ...deploy, ...plan }, fenceOf(5_000));
/** Answers after others had every chance to arrive. */
const slowly =
  (reply: Reply): Reply =>
  async (response, call) => {
    await new Promise((resolve) => setTimeout(resolve, 30));
    return reply(response, call);
  };
const times = (count: number, reply: Reply) => Array.from({ length: count }, () => reply);

describe('making a user', () => {
  it('takes three calls in two steps for one inline policy', async () => {
    const sideBySide = meeting(2);
    stub.on('PutUserPolicy', sideBySide).on('CreateAccessKey', sideBySide);
    expect(await create()).toEqual({ accessKeyId: 'AKIASTUB', secretAccessKey: secretOfReplies, late: false });
    expect(stub.actions).toHaveLength(3);
    expect(stub.log.slice(0, 2)).toEqual(['→ CreateUser', '← CreateUser']);
    expect(stub.sent('PutUserPolicy')).toMatchObject([
      { UserName: 'vault-u-4711', PolicyName: 'deploy', PolicyDocument: document },
    ]);
  });

  it('asks for no right that the documented root policy lacks', async () => {
    await create();
    expect(stub.sent('CreateUser')).toEqual([
      { Action: 'CreateUser', Version: '2010-05-08', UserName: 'vault-u-4711', Path: '/' },
    ]);
  });

  it('puts path, boundary and tags into CreateUser and everything else side by side', async () => {
    const sideBySide = meeting(5);
    for (const action of ['AttachUserPolicy', 'AttachUserPolicy', 'AddUserToGroup', 'PutUserPolicy']) {
      stub.on(action, sideBySide);
    }
    stub.on('CreateAccessKey', sideBySide);
    await create({
      path: '/lent/',
      permissionsBoundaryArn: arn,
      tags: { team: 'a b' },
      policyArns: [arn, `${arn}2`],
      groups: ['devs'],
    });
    expect(stub.actions).toHaveLength(6);
    expect(stub.sent('CreateUser')).toMatchObject([
      { Path: '/lent/', PermissionsBoundary: arn, 'Tags.member.1.Key': 'team', 'Tags.member.1.Value': 'a b' },
    ]);
    expect(stub.sent('AddUserToGroup')).toMatchObject([{ UserName: 'vault-u-4711', GroupName: 'devs' }]);
  });

  it('says that nothing was made when CreateUser is refused, with the words clients know', async () => {
    stub.on('CreateUser', accessDenied);
    const error = await failureOf(create());
    expect(error).toBeInstanceOf(AwsRefused);
    expect(error).toMatchObject({ code: 'aws_refused', awsCode: 'AccessDenied', permanent: false, made: 'nothing' });
    expect(error.message).toBe(
      'Error creating IAM user: AccessDenied: User: root is not authorized to perform: that\n\tstatus code: 403, request id: req-1',
    );
    expect(stub.actions).toEqual(['CreateUser']);
  });

  it("leaves a stranger's user alone", async () => {
    stub.on('CreateUser', refused('EntityAlreadyExists', 409));
    expect(await failureOf(create())).toMatchObject({ awsCode: 'EntityAlreadyExists', made: 'nothing' });
    expect(stub.actions).toEqual(['CreateUser']);
  });

  it.each([
    ['a lost reply', lost],
    ['a fault of AWS', broken],
    ['an unreadable reply', garbled],
  ])('knows its own user again after %s', async (_, reply) => {
    stub.on('CreateUser', reply, throttled, refused('EntityAlreadyExists', 409));
    expect(await create()).toMatchObject({ late: false });
    expect(stub.actions.slice(0, 3)).toEqual(['CreateUser', 'CreateUser', 'CreateUser']);
    expect(stub.actions).toHaveLength(5);
  });

  it('says that a try which nobody heard of may make the user yet', async () => {
    stub.on('CreateUser', lost);
    expect(await create()).toMatchObject({ late: true });
    stub.on('CreateUser', lost, lost, refused('EntityAlreadyExists', 409));
    expect(await create()).toMatchObject({ late: true });
  });

  it('says that something may have been made when CreateUser was refused only after an unanswered try', async () => {
    stub.on('CreateUser', lost, accessDenied);
    expect(await failureOf(create())).toMatchObject({ code: 'aws_refused', made: 'late' });
  });

  it('says that something may have been made when CreateUser is never answered', async () => {
    stub.on('CreateUser', ...times(6, lost));
    const error = await failureOf(create());
    expect(error).toBeInstanceOf(AwsUnreachable);
    expect(madeBy(error)).toBe('late');
    expect(stub.actions).toHaveLength(6);
  });

  it('slows down while AWS throttles, and then says so', async () => {
    stub.on('CreateUser', ...times(6, throttled));
    const error = await failureOf(create());
    expect(error).toBeInstanceOf(AwsThrottled);
    expect(error).toMatchObject({ awsCode: 'Throttling', retryable: true, made: 'nothing' });
    expect(error.message).toMatch(/^Error creating IAM user: Throttling: Rate exceeded\n\tstatus code: 400, /);
    expect(stub.actions).toHaveLength(6);
  });

  it("tries as often as the mount's max_retries says", async () => {
    account = accounts.open({ ...rootSettings, version: '2', maxRetries: 0 });
    stub.on('CreateUser', throttled);
    expect(await failureOf(create())).toBeInstanceOf(AwsThrottled);
    expect(stub.actions).toEqual(['CreateUser']);
  });

  it('waits for AWS to know the new user, whatever max_retries says', async () => {
    account = accounts.open({ ...rootSettings, version: '2', maxRetries: 0 });
    stub.on('CreateUser', refused('EntityTemporarilyUnmodifiable', 409));
    for (const action of ['PutUserPolicy', 'AttachUserPolicy', 'AddUserToGroup', 'CreateAccessKey']) {
      stub.on(action, ...times(7, noSuchEntity()), refused('ConcurrentModification', 409));
    }
    await create({ policyArns: [arn], groups: ['devs'] });
    expect(stub.actions).toHaveLength(2 + 4 * 9);
  });

  it('does not wait for a policy or a group that does not exist', async () => {
    stub.on('AttachUserPolicy', noSuchEntity(`Policy ${arn} does not exist or is not attachable.`));
    expect((await failureOf(create({ policyArns: [arn] }))).message).toMatch(
      /^Error attaching user policy: NoSuchEntity: Policy arn:aws:iam::aws:policy\/ReadOnly does not exist/,
    );
    stub.on('AddUserToGroup', noSuchEntity('The group with name devs cannot be found.'));
    expect((await failureOf(create({ groups: ['devs'] }))).message).toMatch(
      /^Error adding user to group: NoSuchEntity/,
    );
    expect(stub.sent('AttachUserPolicy')).toHaveLength(1);
    expect(stub.sent('AddUserToGroup')).toHaveLength(1);
  });

  it('repeats an unanswered policy or group: it does no harm', async () => {
    stub.on('PutUserPolicy', lost).on('AttachUserPolicy', broken).on('AddUserToGroup', lost);
    await create({ policyArns: [arn], groups: ['devs'] });
    expect(stub.actions).toHaveLength(1 + 4 + 3);
  });

  it.each([
    ['lost', lost],
    ['a 5xx', broken],
    ['unreadable', garbled],
    ['broken off', halfway],
    ['without its secret', done('<AccessKey><AccessKeyId>AKIASTUB</AccessKeyId></AccessKey>')],
    ['never given', silent],
  ])('never asks for a second key when the answer about the first is %s', async (_, reply) => {
    accounts.close();
    accounts = accountsAt(stub.url, { requestTimeoutMs: 500 });
    account = accounts.open(rootSettings);
    stub.on('CreateAccessKey', reply);
    const error = await failureOf(create());
    expect(error).toBeInstanceOf(AmbiguousAccessKey);
    expect(error).toMatchObject({ code: 'aws_unreachable', retryable: true, made: 'maybe' });
    expect(stub.sent('CreateAccessKey')).toHaveLength(1);
    expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(secretOfReplies);
  });

  it('asks for the key again after a definite "not now"', async () => {
    stub.on('CreateAccessKey', throttled, noSuchEntity(), refused('ConcurrentModification', 409));
    await create();
    expect(stub.sent('CreateAccessKey')).toHaveLength(4);
  });

  it('fails at once when the user may have no more keys', async () => {
    stub.on('CreateAccessKey', refused('LimitExceeded', 409, 'Cannot exceed quota for AccessKeysPerUser: 2'));
    const error = await failureOf(create());
    expect(error).toMatchObject({ code: 'aws_refused', awsCode: 'LimitExceeded', retryable: false, made: 'maybe' });
    expect(error.message).toMatch(/^Error creating access keys: LimitExceeded: Cannot exceed quota/);
    expect(stub.sent('CreateAccessKey')).toHaveLength(1);
  });

  it('fails only when nothing is under way any more', async () => {
    stub.on('PutUserPolicy', refused('MalformedPolicyDocument')).on('CreateAccessKey', slowly(done()));
    const error = await failureOf(create());
    expect(error.message).toMatch(/^Error putting user policy: MalformedPolicyDocument: /);
    expect(madeBy(error)).toBe('maybe');
    expect(stub.log.at(-1)).toBe('← CreateAccessKey');
  });

  it('tells the refusal rather than the unanswered key beside it', async () => {
    stub.on('PutUserPolicy', slowly(refused('MalformedPolicyDocument'))).on('CreateAccessKey', lost);
    expect(await failureOf(create())).toMatchObject({ awsCode: 'MalformedPolicyDocument' });
  });

  it('makes nothing once the fence is closed', async () => {
    const error = await failureOf(createIamUser(account, deploy, fenceOf(0)));
    expect(error).toBeInstanceOf(OutOfTime);
    expect(madeBy(error)).toBe('nothing');
    expect(stub.actions).toEqual([]);
  });

  it('gives up with the fence and says that something may have been made', async () => {
    stub.on('CreateUser', silent);
    const error = await failureOf(createIamUser(account, deploy, fenceOf(600)));
    expect(error).toBeInstanceOf(OutOfTime);
    expect(madeBy(error)).toBe('late');
  });
});

describe('destroying a user', () => {
  const record = {
    userName: 'vault-u-4711',
    accessKeyId: 'AKIASTUB',
    policyNames: ['deploy'],
    policyArns: [],
    groups: [],
  };
  const gone = noSuchEntity();
  const conflict = refused('DeleteConflict', 409, 'Cannot delete entity, must delete access keys first.');

  it('takes three calls in two steps for one inline policy, and lists nothing', async () => {
    const sideBySide = meeting(2);
    stub.on('DeleteUserPolicy', sideBySide).on('DeleteAccessKey', sideBySide);
    expect(await destroyIamUser(account, record)).toBe('destroyed');
    expect(stub.actions).toHaveLength(3);
    expect(stub.actions.at(-1)).toBe('DeleteUser');
    expect(stub.sent('DeleteAccessKey')).toMatchObject([{ UserName: 'vault-u-4711', AccessKeyId: 'AKIASTUB' }]);
  });

  it.each([
    ['more than one policy', { policyArns: [arn], groups: [] }],
    ['a group', { policyArns: [], groups: ['devs'] }],
  ])('removes the key first where there is %s', async (_, more) => {
    stub.on('DeleteAccessKey', slowly(done()));
    expect(await destroyIamUser(account, { ...record, ...more })).toBe('destroyed');
    expect(stub.log.slice(0, 2)).toEqual(['→ DeleteAccessKey', '← DeleteAccessKey']);
    expect(stub.log.slice(-2)).toEqual(['→ DeleteUser', '← DeleteUser']);
    expect(stub.actions).toHaveLength(4);
  });

  it('leaves policies and user as they are when the key cannot be removed', async () => {
    stub.on('DeleteAccessKey', accessDenied);
    const error = await failureOf(destroyIamUser(account, { ...record, policyArns: [arn] }));
    expect(error).toMatchObject({ code: 'aws_refused', awsCode: 'AccessDenied', permanent: false });
    expect(stub.actions).toEqual(['DeleteAccessKey']);
  });

  it('looks for keys to the last page when it does not know them', async () => {
    const page = (id: string, more: string) =>
      done(`<AccessKeyMetadata><member><AccessKeyId>${id}</AccessKeyId></member></AccessKeyMetadata>${more}`);
    stub.on('ListAccessKeys', page('AKIA1', '<IsTruncated>true</IsTruncated><Marker>m1</Marker>'), page('AKIA2', ''));
    expect(await destroyIamUser(account, { ...record, accessKeyId: undefined })).toBe('destroyed');
    expect(stub.sent('ListAccessKeys')).toMatchObject([{ UserName: 'vault-u-4711' }, { Marker: 'm1' }]);
    expect(
      stub
        .sent('DeleteAccessKey')
        .map((each) => each.AccessKeyId)
        .sort(),
    ).toEqual(['AKIA1', 'AKIA2']);
  });

  it('is absent when AWS knows nothing of it, key known or not', async () => {
    for (const action of ['DeleteAccessKey', 'DeleteUserPolicy', 'DeleteUser', 'ListAccessKeys']) {
      stub.on(action, gone, gone);
    }
    expect(await destroyIamUser(account, record)).toBe('absent');
    expect(await destroyIamUser(account, { ...record, accessKeyId: undefined })).toBe('absent');
    expect(stub.sent('DeleteUser')).toHaveLength(2);
  });

  it.each(['DeleteAccessKey', 'DeleteUserPolicy', 'DeleteUser'])(
    'finishes when it is run again after the reply to %s was lost with the process',
    async (action) => {
      const world = new Set(['DeleteAccessKey', 'DeleteUserPolicy', 'DeleteUser']);
      const takeEffect =
        (reply: Reply): Reply =>
        (response, call) => {
          const there = world.delete(call.action);
          return (there ? reply : gone)(response, call);
        };
      for (const each of world) stub.on(each, takeEffect(each === action ? silent : done()));
      for (const each of world) stub.on(each, ...times(4, takeEffect(done())));
      const short = accountsAt(stub.url, { requestTimeoutMs: 400 });
      expect(await failureOf(destroyIamUser(short.open(rootSettings), record))).toBeInstanceOf(AwsUnreachable);
      short.close();
      expect(await destroyIamUser(account, record)).toBe(action === 'DeleteUser' ? 'absent' : 'destroyed');
      expect(world).toEqual(new Set());
    },
  );

  it('goes on through lost replies and conflicts, a few times', async () => {
    stub.on('DeleteAccessKey', lost, gone).on('DeleteUserPolicy', refused('ConcurrentModification', 409), throttled);
    stub.on('DeleteUser', lost, gone);
    expect(await destroyIamUser(account, record)).toBe('destroyed');
  });

  it('stops after a few, so that the lease waits for its next attempt', async () => {
    stub.on('DeleteUser', ...times(9, throttled));
    expect(await failureOf(destroyIamUser(account, record))).toBeInstanceOf(AwsThrottled);
    expect(stub.sent('DeleteUser')).toHaveLength(4);
    stub.on('DeleteAccessKey', ...times(9, broken));
    expect(await failureOf(destroyIamUser(account, record))).toBeInstanceOf(AwsUnreachable);
    expect(stub.sent('DeleteAccessKey')).toHaveLength(5);
  });

  it('does not believe at once that a user is absent whose key it has just removed', async () => {
    stub.on('DeleteUser', gone, gone);
    expect(await destroyIamUser(account, record)).toBe('destroyed');
    expect(stub.sent('DeleteUser')).toHaveLength(3);
    stub.on('DeleteUser', ...times(9, gone));
    expect(await destroyIamUser(account, record)).toBe('absent');
  });

  const kinds: [string, string, string, string][] = [
    ['ListAccessKeys', 'AccessKeyMetadata', 'AccessKeyId', 'DeleteAccessKey'],
    ['ListSigningCertificates', 'Certificates', 'CertificateId', 'DeleteSigningCertificate'],
    ['ListSSHPublicKeys', 'SSHPublicKeys', 'SSHPublicKeyId', 'DeleteSSHPublicKey'],
    [
      'ListServiceSpecificCredentials',
      'ServiceSpecificCredentials',
      'ServiceSpecificCredentialId',
      'DeleteServiceSpecificCredential',
    ],
    ['ListAttachedUserPolicies', 'AttachedPolicies', 'PolicyArn', 'DetachUserPolicy'],
    ['ListGroupsForUser', 'Groups', 'GroupName', 'RemoveUserFromGroup'],
    ['ListMFADevices', 'MFADevices', 'SerialNumber', 'DeactivateMFADevice'],
    ['ListUserPolicies', 'PolicyNames', '', 'DeleteUserPolicy'],
  ];
  const pageOf = (list: string, field: string, id: string, more = '') =>
    done(`<${list}><member>${field ? `<${field}>${id}</${field}>` : id}</member></${list}>${more}`);
  const more = '<IsTruncated>true</IsTruncated><Marker>next</Marker>';

  it('finds and removes all nine kinds that its holder may have added', async () => {
    stub.on('DeleteUser', conflict);
    for (const [action, list, field] of kinds) {
      stub.on(action, pageOf(list, field, 'id-of-page-1', more), pageOf(list, field, 'id-of-page-2'));
    }
    expect(await destroyIamUser(account, record)).toBe('destroyed');
    for (const [, , field, removal] of kinds) {
      const ids = stub.sent(removal).map((each) => each[field || 'PolicyName']);
      expect(ids).toEqual(expect.arrayContaining(['id-of-page-1', 'id-of-page-2']));
    }
    expect(stub.sent('DeleteLoginProfile')).toHaveLength(1);
    expect(stub.sent('DeleteUser')).toHaveLength(2);
    const lastWayIn = stub.log.lastIndexOf('← DeleteServiceSpecificCredential');
    expect(lastWayIn).toBeLessThan(stub.log.indexOf('→ ListAttachedUserPolicies'));
  });

  it('skips the kinds it may not list', async () => {
    stub.on('DeleteUser', conflict).on('ListSSHPublicKeys', accessDenied).on('DeleteLoginProfile', gone);
    stub.on('ListMFADevices', accessDenied);
    stub.on('ListAccessKeys', pageOf('AccessKeyMetadata', 'AccessKeyId', 'AKIAMORE'));
    expect(await destroyIamUser(account, record)).toBe('destroyed');
    expect(stub.sent('DeleteAccessKey').map((each) => each.AccessKeyId)).toEqual(['AKIASTUB', 'AKIAMORE']);
  });

  it('names the rights that are missing when the user cannot be removed without them', async () => {
    stub.on('DeleteUser', conflict, conflict).on('ListSSHPublicKeys', accessDenied);
    stub.on('ListMFADevices', pageOf('MFADevices', 'SerialNumber', 'mfa-1')).on('DeactivateMFADevice', accessDenied);
    const error = await failureOf(destroyIamUser(account, record));
    expect(error).toMatchObject({ code: 'aws_refused', awsCode: 'DeleteConflict', permanent: true });
    expect(error.message).toContain('iam:ListSSHPublicKeys, iam:DeactivateMFADevice');
  });

  it('removes the user although it may not take out of a group what it could never put into it', async () => {
    stub.on('RemoveUserFromGroup', accessDenied);
    expect(await destroyIamUser(account, { ...record, groups: ['admins'] })).toBe('destroyed');
  });

  it('names the right that is missing when what it may not remove is in the way', async () => {
    stub.on('RemoveUserFromGroup', accessDenied, accessDenied).on('DeleteUser', conflict, conflict);
    stub.on('ListGroupsForUser', pageOf('Groups', 'GroupName', 'admins'));
    const error = await failureOf(destroyIamUser(account, { ...record, groups: ['admins'] }));
    expect(error).toMatchObject({ code: 'aws_refused', permanent: true });
    expect(error.message).toContain('iam:RemoveUserFromGroup');
  });

  it('leaves the next attempt to try when nothing is in the way that it could see', async () => {
    stub.on('DeleteUser', conflict, conflict);
    const error = await failureOf(destroyIamUser(account, record));
    expect(error).toMatchObject({ awsCode: 'DeleteConflict', permanent: false, retryable: true });
  });

  it('leaves the rest to the next attempt when listing is throttled', async () => {
    stub.on('DeleteUser', conflict).on('ListSSHPublicKeys', ...times(4, throttled));
    expect(await failureOf(destroyIamUser(account, record))).toBeInstanceOf(AwsThrottled);
    expect(stub.sent('DeleteUser')).toHaveLength(1);
  });
});

describe('following a key', () => {
  it('finds the user under its new name', async () => {
    stub.on('GetAccessKeyLastUsed', done('<UserName>renamed</UserName>'));
    expect(await followAccessKey(account, 'AKIASTUB')).toEqual({ userName: 'renamed' });
  });

  it('knows nothing where it may not ask, or AWS does not know', async () => {
    stub.on('GetAccessKeyLastUsed', accessDenied, noSuchEntity(), done());
    expect(await followAccessKey(account, 'AKIASTUB')).toBe('unknown');
    expect(await followAccessKey(account, 'AKIASTUB')).toBe('unknown');
    expect(await followAccessKey(account, 'AKIASTUB')).toBe('unknown');
  });

  it('does not take silence for an answer', async () => {
    stub.on('GetAccessKeyLastUsed', ...times(4, broken));
    expect(await failureOf(followAccessKey(account, 'AKIASTUB'))).toBeInstanceOf(AwsUnreachable);
  });
});
