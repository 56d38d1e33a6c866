import { describe, expect, it } from '@jest/globals';
import { waysToOutlive } from './iam-power.js';
import { type RoleWrite, writeRole } from './role-definition.js';

type Statement = Record<string, unknown>;

const ways = (write: RoleWrite) => waysToOutlive(writeRole(null, { credentialType: 'iam_user', ...write }));
const ofPolicy = (...statements: Statement[]) =>
  ways({ policyDocument: JSON.stringify({ Version: '2012-10-17', Statement: statements }) });
const allow = (Action: unknown, Resource: unknown = '*'): Statement => ({ Effect: 'Allow', Action, Resource });
const begins = 'This role lets its holder make IAM users or access keys of its own, which stay when the lease ends: ';

describe('a role whose holder could make users or keys of its own', () => {
  it.each<[string, Statement[], string]>([
    ['names CreateUser', [allow('iam:CreateUser')], 'iam:CreateUser'],
    ['names CreateAccessKey in any case', [allow(['s3:*', 'IAM:createACCESSkey'])], 'iam:CreateAccessKey'],
    ['allows all of IAM', [allow('iam:*')], 'iam:CreateUser and iam:CreateAccessKey'],
    ['allows everything', [allow('*')], 'iam:CreateUser and iam:CreateAccessKey'],
    ['allows all that creates', [allow('iam:Create*')], 'iam:CreateUser and iam:CreateAccessKey'],
    ['has wildcards in odd places', [allow('i?m:*User')], 'iam:CreateUser'],
    ['has a wildcard over the colon', [allow('i*User')], 'iam:CreateUser'],
    [
      'allows all but something else',
      [{ Effect: 'Allow', NotAction: 'ec2:*', Resource: '*' }],
      'iam:CreateUser and iam:CreateAccessKey',
    ],
    [
      'allows all but a part of it',
      [{ Effect: 'Allow', NotAction: ['iam:CreateUser'], Resource: '*' }],
      'iam:CreateAccessKey',
    ],
    ['is about some users', [allow('iam:CreateUser', 'arn:aws:iam::*:user/team/*')], 'iam:CreateUser'],
    ['is about whatever is in IAM', [allow('iam:CreateUser', 'arn:aws:iam::123456789012:*')], 'iam:CreateUser'],
    ['has a short pattern', [allow('iam:CreateUser', 'arn:*')], 'iam:CreateUser'],
    [
      'is about all but something',
      [{ Effect: 'Allow', Action: 'iam:CreateUser', NotResource: 'arn:aws:iam::1:user/x' }],
      'iam:CreateUser',
    ],
    [
      'denies it under a condition only',
      [
        allow('iam:CreateUser'),
        { ...allow('iam:*'), Effect: 'Deny', Condition: { StringEquals: { 'aws:RequestedRegion': 'us-east-1' } } },
      ],
      'iam:CreateUser',
    ],
    [
      'denies it for some users only',
      [allow('iam:CreateUser'), { ...allow('iam:*', 'arn:aws:iam::*:user/a'), Effect: 'Deny' }],
      'iam:CreateUser',
    ],
  ])('%s', (_, statements, actions) => {
    expect(ofPolicy(...statements)).toEqual([`${begins}policy_document allows ${actions}.`]);
  });

  it.each(['AdministratorAccess', 'IAMFullAccess'])("has AWS's own policy %s", (name) => {
    const arn = `arn:aws:iam::aws:policy/${name}`;
    expect(ways({ policyArns: [arn] })).toEqual([`${begins}${arn} allows iam:CreateUser and iam:CreateAccessKey.`]);
  });

  it('says what else bounds it', () => {
    const policyDocument = JSON.stringify({ Statement: allow('iam:*') });
    const permissionsBoundaryArn = 'arn:aws:iam::123456789012:policy/Boundary';
    expect(ways({ policyDocument, permissionsBoundaryArn })[0]).toMatch(
      /, as far as its permissions boundary lets it\.$/,
    );
    expect(ways({ credentialType: 'assumed_role', policyDocument })[0]).toMatch(
      /, as far as the IAM role that is assumed lets it\.$/,
    );
  });

  it('has an MFA code beside a session token', () => {
    const mfaSerialNumber = 'arn:aws:iam::123456789012:mfa/root';
    expect(ways({ credentialType: 'session_token', mfaSerialNumber })).toHaveLength(1);
  });

  it('was written in the 0.6 form', () => {
    const policy = JSON.stringify({ Statement: allow('iam:*') });
    expect(waysToOutlive(writeRole(null, { policy }))).toHaveLength(1);
  });
});

describe('a role whose holder could not', () => {
  it.each<[string, Statement[]]>([
    ['reads IAM only', [allow(['iam:Get*', 'iam:List*'])]],
    ['is about other services', [allow('ec2:*')]],
    ['has actions that only begin alike', [allow('iam:CreateUserX')]],
    ['is about roles', [allow('iam:*', 'arn:aws:iam::*:role/*')]],
    ['is about other things', [allow('*', 'arn:aws:s3:::bucket/*')]],
    ['allows all but IAM', [{ Effect: 'Allow', NotAction: 'iam:*', Resource: '*' }]],
    ['denies it', [{ ...allow('iam:*'), Effect: 'Deny' }]],
    ['denies it after all', [allow('*'), { ...allow(['iam:Create*']), Effect: 'Deny' }]],
    ['denies all but something', [allow('*'), { Effect: 'Deny', NotAction: 's3:*', Resource: '*' }]],
  ])('%s', (_, statements) => {
    expect(ofPolicy(...statements)).toEqual([]);
  });

  it.each<[string, RoleWrite]>([
    ['has no policy', {}],
    ['has other managed policies', { policyArns: ['arn:aws:iam::aws:policy/PowerUserAccess'] }],
    [
      "has a policy of its account's that is called so",
      { policyArns: ['arn:aws:iam::123456789012:policy/IAMFullAccess'] },
    ],
    [
      'gets a federation token',
      {
        credentialType: 'federation_token',
        policyDocument: '{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}',
      },
    ],
    ['gets a session token without MFA', { credentialType: 'session_token' }],
    ['has a document that is no policy', { policyDocument: '[1,"s",null]' }],
    [
      'has statements that are none',
      { policyDocument: '{"Statement":[1,null,"Allow",{"Effect":"Allow","Action":{"a":1}}]}' },
    ],
  ])('%s', (_, write) => {
    expect(ways(write)).toEqual([]);
  });

  it('takes no long time over a pattern made to take it', () => {
    expect(ofPolicy(allow(`iam:${'*e'.repeat(500)}x`))).toEqual([]);
  });
});
