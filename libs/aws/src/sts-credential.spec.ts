import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { InvalidRequest, OutOfTime } from '#libs/contracts';
import { assumeRole, type AssumeRoleRequest } from './assumed-role.js';
import type { AwsAccount, AwsAccounts } from './aws-account.js';
import { AwsRefused, AwsThrottled, AwsUnreachable } from './aws-errors.js';
import {
  accessDenied,
  accountsAt,
  AwsStub,
  broken,
  done,
  failureOf,
  fenceOf,
  lost,
  noSuchEntity,
  refused,
  rootSettings,
  secretOfReplies,
  throttled,
} from './aws.spec-stub.js';
import { federationToken, type FederationTokenRequest } from './federation-token.js';
import { sessionToken } from './session-token.js';

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

const document = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}';
const role: AssumeRoleRequest = {
  roleArn: 'arn:aws:iam::123456789012:role/r',
  sessionName: 'session',
  durationSeconds: 3600,
  policyArns: [],
  groups: [],
  sessionTags: {},
};
const token: FederationTokenRequest = {
  name: 'vault-1',
  durationSeconds: 900,
  policyDocument: document,
  policyArns: [],
  groups: [],
};
const assume = (changes: Partial<AssumeRoleRequest> = {}) =>
  assumeRole(account, { ...role, ...changes }, fenceOf(5_000));
const federate = (changes: Partial<FederationTokenRequest> = {}) =>
  federationToken(account, { ...token, ...changes }, fenceOf(5_000));
const credential = {
  accessKeyId: 'ASIASTUB',
  secretAccessKey: secretOfReplies,
  sessionToken: `token-${secretOfReplies}`,
  expiration: new Date('2031-05-06T07:08:09Z'),
};
const times = <T>(count: number, value: T) => Array.from({ length: count }, () => value);

describe('assuming a role', () => {
  it('takes one call and says nothing that was not asked for', async () => {
    expect(await assume()).toEqual({ ...credential, arn: 'arn:aws:sts::123456789012:assumed-role/r/s' });
    expect(stub.sent('AssumeRole')).toEqual([
      {
        Action: 'AssumeRole',
        Version: '2011-06-15',
        RoleArn: role.roleArn,
        RoleSessionName: 'session',
        DurationSeconds: '3600',
      },
    ]);
  });

  it('narrows the session down, tags it and shows its external id', async () => {
    await assume({ policyDocument: document, policyArns: ['arn:p'], sessionTags: { team: 'a' }, externalId: 'ext' });
    expect(stub.sent('AssumeRole')).toMatchObject([
      {
        Policy: document,
        'PolicyArns.member.1.arn': 'arn:p',
        'Tags.member.1.Key': 'team',
        'Tags.member.1.Value': 'a',
        ExternalId: 'ext',
      },
    ]);
  });

  it("fails with AWS's own words", async () => {
    stub.on('AssumeRole', accessDenied);
    const error = await failureOf(assume());
    expect(error).toBeInstanceOf(AwsRefused);
    expect(error.message).toMatch(
      /^Error assuming role: AccessDenied: User: root is not authorized to perform: that\n/,
    );
    stub.on('AssumeRole', ...times(6, throttled));
    expect(await failureOf(assume())).toBeInstanceOf(AwsThrottled);
    stub.on('AssumeRole', ...times(6, broken));
    expect(await failureOf(assume())).toBeInstanceOf(AwsUnreachable);
  });

  it('asks again when the answer is lost: what nobody received ends by itself', async () => {
    stub.on('AssumeRole', lost, broken, throttled);
    expect((await assume()).accessKeyId).toBe('ASIASTUB');
  });

  it('refuses a short session before AWS is asked, in the words clients know', async () => {
    const error = await failureOf(assume({ durationSeconds: 899, groups: ['devs'] }));
    expect(error).toBeInstanceOf(InvalidRequest);
    expect(error.message).toBe(
      'Error assuming role: InvalidParameter: 1 validation error(s) found.\n- minimum field value of 900, AssumeRoleInput.DurationSeconds.\n',
    );
    expect(stub.actions).toEqual([]);
  });

  it('does nothing once the fence is closed', async () => {
    expect(await failureOf(assumeRole(account, role, fenceOf(0)))).toBeInstanceOf(OutOfTime);
    expect(stub.actions).toEqual([]);
  });

  it('does not hand out half a credential', async () => {
    stub.on('AssumeRole', done('<Credentials><AccessKeyId>ASIASTUB</AccessKeyId></Credentials>'));
    expect(await failureOf(assume())).toBeInstanceOf(AwsUnreachable);
  });
});

describe('asking for a federation token', () => {
  it('takes one call and passes the document on as it is written', async () => {
    const odd = '{"Statement": {"NotAction":"x","Condition":{"NumericLessThan":{"a":10000000000000000001}}}}';
    expect(await federate({ policyDocument: odd, policyArns: ['arn:p'] })).toEqual(credential);
    expect(stub.actions).toEqual(['GetFederationToken']);
    expect(stub.sent('GetFederationToken')).toMatchObject([
      { Name: 'vault-1', DurationSeconds: '900', Policy: odd, 'PolicyArns.member.1.arn': 'arn:p' },
    ]);
  });

  it('refuses a short session and one without any policy before AWS is asked', async () => {
    expect((await failureOf(federate({ durationSeconds: 0 }))).message).toBe(
      'Error generating STS keys: InvalidParameter: 1 validation error(s) found.\n- minimum field value of 900, GetFederationTokenInput.DurationSeconds.\n',
    );
    const error = await failureOf(federate({ policyDocument: undefined }));
    expect(error).toBeInstanceOf(InvalidRequest);
    expect(error.message).toBe(
      'must specify at least one of policy_arns or policy_document with federation_token credential_type',
    );
    expect(stub.actions).toEqual([]);
  });

  it("fails with AWS's own words", async () => {
    stub.on('GetFederationToken', refused('PackedPolicyTooLarge', 400, 'Packed policy consumes 120%'));
    expect((await failureOf(federate())).message).toMatch(
      /^Error generating STS keys: PackedPolicyTooLarge: Packed policy consumes 120%\n\tstatus code: 400, request id: req-1$/,
    );
  });
});

describe('asking for a session token', () => {
  const ask = (durationSeconds = 900, mfa?: { serialNumber: string; code: string }) =>
    sessionToken(account, { durationSeconds, mfa }, fenceOf(5_000));

  it('takes one call, with an MFA code where there is one', async () => {
    expect(await ask()).toEqual(credential);
    await ask(1_000, { serialNumber: 'arn:aws:iam::123456789012:mfa/root', code: '012345' });
    const sent = { Action: 'GetSessionToken', Version: '2011-06-15' };
    expect(stub.sent('GetSessionToken')).toEqual([
      { ...sent, DurationSeconds: '900' },
      { ...sent, DurationSeconds: '1000', SerialNumber: 'arn:aws:iam::123456789012:mfa/root', TokenCode: '012345' },
    ]);
  });

  it('refuses a short session before AWS is asked', async () => {
    expect((await failureOf(ask(899))).message).toBe(
      'Error generating STS keys: InvalidParameter: 1 validation error(s) found.\n- minimum field value of 900, GetSessionTokenInput.DurationSeconds.\n',
    );
    expect(stub.actions).toEqual([]);
  });

  it("fails with AWS's own words", async () => {
    stub.on('GetSessionToken', refused('AccessDenied', 403, 'MultiFactorAuthentication failed'));
    expect((await failureOf(ask())).message).toMatch(
      /^Error generating STS keys: AccessDenied: MultiFactorAuthentication failed\n\tstatus code: 403, request id: req-1$/,
    );
  });
});

describe('the policies of groups', () => {
  const attached = (arn: string, more = '') =>
    done(`<AttachedPolicies><member><PolicyArn>${arn}</PolicyArn></member></AttachedPolicies>${more}`);
  const names = (name: string, more = '') => done(`<PolicyNames><member>${name}</member></PolicyNames>${more}`);
  const policy = (statement: unknown) =>
    done(
      `<PolicyDocument>${encodeURIComponent(JSON.stringify({ Version: '2008-10-17', Statement: statement }))}</PolicyDocument>`,
    );
  const more = '<IsTruncated>true</IsTruncated><Marker>next</Marker>';

  it('are read to the last page and become part of the session', async () => {
    stub.on('ListAttachedGroupPolicies', attached('arn:g1', more), attached('arn:g2'));
    stub.on('ListGroupPolicies', names('first', more), names('second'));
    const replies: Record<string, unknown> = { first: { Sid: 'one' }, second: [{ Sid: 'two' }, { Sid: 'three' }] };
    for (const _ of [1, 2]) {
      stub.on('GetGroupPolicy', (response, call) =>
        policy(replies[call.params.get('PolicyName') ?? ''])(response, call),
      );
    }
    await federate({ groups: ['devs'], policyArns: ['arn:own'] });
    const [sent] = stub.sent('GetFederationToken');
    expect(JSON.parse(sent?.Policy ?? '')).toEqual({
      Version: '2012-10-17',
      Statement: [
        { Sid: 'one' },
        { Sid: 'two' },
        { Sid: 'three' },
        { Effect: 'Allow', Action: 'ec2:*', Resource: '*' },
      ],
    });
    const arns = Object.entries(sent ?? {}).flatMap(([name, value]) => (name.startsWith('PolicyArns') ? [value] : []));
    expect(arns).toEqual(['arn:own', 'arn:g1', 'arn:g2']);
    expect(stub.sent('ListGroupPolicies')).toMatchObject([{ GroupName: 'devs' }, { Marker: 'next' }]);
  });

  it('are enough for a federation token', async () => {
    stub.on('ListAttachedGroupPolicies', attached('arn:g1'));
    await federate({ groups: ['devs'], policyDocument: undefined });
    expect(stub.sent('GetFederationToken')).toMatchObject([{ 'PolicyArns.member.1.arn': 'arn:g1' }]);
  });

  it("fail with AWS's bare words, a throttle too", async () => {
    stub.on('ListGroupPolicies', noSuchEntity('The group with name devs cannot be found.'));
    expect((await failureOf(assume({ groups: ['devs'] }))).message).toBe(
      'NoSuchEntity: The group with name devs cannot be found.\n\tstatus code: 404, request id: req-1',
    );
    stub.on('ListAttachedGroupPolicies', ...times(6, throttled));
    const error = await failureOf(assume({ groups: ['devs'] }));
    expect(error).toBeInstanceOf(AwsRefused);
    expect(error.message).toMatch(/^Throttling: Rate exceeded\n/);
    expect(stub.sent('AssumeRole')).toEqual([]);
  });

  it('are not merged with what is no policy', async () => {
    stub.on('ListGroupPolicies', names('first')).on('GetGroupPolicy', policy([]));
    expect(await failureOf(assume({ groups: ['devs'], policyDocument: '"s"' }))).toBeInstanceOf(InvalidRequest);
  });
});
