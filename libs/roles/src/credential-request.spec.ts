import { describe, expect, it } from '@jest/globals';
import { type CredentialType, InvalidRequest } from '#libs/contracts';
import {
  askedSessionName,
  chooseIamRoleArn,
  type CredentialPath,
  credentialTypeFor,
  mfaOf,
  stsTtl,
} from './credential-request.js';
import { type RoleWrite, writeRole } from './role-definition.js';

const policyArn = 'arn:aws:iam::aws:policy/ReadOnlyAccess';
const roleArn = 'arn:aws:iam::123456789012:role/Deploy';
const otherArn = 'arn:aws:iam::123456789012:role/Other';

describe('which credential type a path gives', () => {
  it.each<[string, RoleWrite, CredentialPath, CredentialType]>([
    ['a modern iam_user role', { credentialType: 'iam_user' }, 'creds', 'iam_user'],
    ['a modern iam_user role', { credentialType: 'iam_user' }, 'sts', 'iam_user'],
    ['a modern assumed_role role', { credentialType: 'assumed_role' }, 'creds', 'assumed_role'],
    ['a modern assumed_role role', { credentialType: 'assumed_role' }, 'sts', 'assumed_role'],
    ['a modern federation_token role', { credentialType: 'federation_token' }, 'creds', 'federation_token'],
    ['a legacy JSON policy', { policy: '{}' }, 'creds', 'iam_user'],
    ['a legacy JSON policy', { policy: '{}' }, 'sts', 'federation_token'],
    ['a legacy policy ARN', { arn: policyArn }, 'creds', 'iam_user'],
    ['a legacy role ARN', { arn: roleArn }, 'sts', 'assumed_role'],
  ])('%s, %j by %s: %s', (_, write, path, type) => {
    expect(credentialTypeFor(writeRole(null, write), path)).toBe(type);
  });

  it.each<[string, RoleWrite, CredentialPath, CredentialType]>([
    ['a legacy policy ARN', { arn: policyArn }, 'sts', 'iam_user'],
    ['a legacy role ARN', { arn: roleArn }, 'creds', 'assumed_role'],
  ])('refuses %s, %j by %s', (_, write, path, type) => {
    expect(() => credentialTypeFor(writeRole(null, write), path)).toThrow(
      new InvalidRequest(
        `attempted to retrieve ${type} credentials through the ${path} path; this is not allowed for legacy roles`,
      ),
    );
  });

  it('no longer ties a legacy policy ARN to creds once it was written in modern form', () => {
    const role = writeRole(writeRole(null, { arn: policyArn }), { iamGroups: [] });
    expect(credentialTypeFor(role, 'sts')).toBe('iam_user');
  });

  it('gives nothing that the role does not list', () => {
    const role = {
      ...writeRole(null, { policy: '{}' }),
      credentialTypes: ['assumed_role', 'iam_user'] as CredentialType[],
    };
    expect(() => credentialTypeFor(role, 'sts')).toThrow(
      new InvalidRequest(
        'requested credential type "federation_token" not in allowed credential types []string{"assumed_role", "iam_user"}',
      ),
    );
  });
});

describe('the TTL of an STS credential', () => {
  const day = 86_400;

  it.each([
    ['the default is an hour', {}, undefined, day, 3600],
    ['the role has a default', { defaultStsTtlSeconds: 1800 }, undefined, day, 1800],
    ['asking wins over the default', { defaultStsTtlSeconds: 1800 }, 900, day, 900],
    ['asking for 0 is not asking', { defaultStsTtlSeconds: 1800 }, 0, day, 1800],
    ['the role has a max', { maxStsTtlSeconds: 1200 }, 5000, day, 1200],
    ['the max also cuts the default hour', { maxStsTtlSeconds: 1200 }, undefined, day, 1200],
    ['without one the mount max cuts', {}, 5000, 4000, 4000],
    ['the role max replaces the mount max, upward too', { maxStsTtlSeconds: 9000 }, 8000, 4000, 8000],
    ['AWS limits are left to AWS', {}, 1, day, 1],
  ])('%s', (_, ttls, ttlSeconds, mountMax, expected) => {
    const role = writeRole(null, { credentialType: 'federation_token', ...ttls });
    expect(stsTtl(role, { ttlSeconds }, mountMax).seconds).toBe(expected);
  });

  it.each([
    ['nothing', {}, 3600, day, Infinity, undefined],
    ['the max of the mount', {}, 7200, 3600, Infinity, { wantedMs: 7_200_000, limitMs: 3_600_000 }],
    [
      'the max of the role',
      { maxStsTtlSeconds: 1200 },
      1201,
      day,
      Infinity,
      { wantedMs: 1_201_000, limitMs: 1_200_000, by: 'max_sts_ttl' },
    ],
    [
      'the end of the token',
      { maxStsTtlSeconds: 1200 },
      3600,
      day,
      1_000_999,
      { wantedMs: 3_600_000, limitMs: 1_000_000, by: 'token' },
    ],
  ])('says that it was cut by %s', (_, ttls, ttlSeconds, mountMax, ownerLeftMs, cut) => {
    const role = writeRole(null, { credentialType: 'session_token', ...ttls });
    expect(stsTtl(role, { ttlSeconds }, mountMax, ownerLeftMs).cut).toEqual(cut);
  });
});

describe('the IAM role to assume', () => {
  const roleWith = (...roleArns: string[]) => writeRole(null, { credentialType: 'assumed_role', roleArns });

  it.each([
    ['the only one, unasked', [roleArn], undefined],
    ['the only one when the wish is empty', [roleArn], ''],
    ['the one asked for', [otherArn, roleArn], roleArn],
  ])('is %s', (_, allowed, iamRoleArn) => {
    expect(chooseIamRoleArn(roleWith(...allowed), 'deploy', { iamRoleArn })).toBe(roleArn);
  });

  it.each([[[]], [[roleArn, otherArn]]])('cannot be determined from %j', (allowed) => {
    expect(() => chooseIamRoleArn(roleWith(...allowed), 'deploy', {})).toThrow(
      new InvalidRequest('did not supply a role_arn parameter and unable to determine one'),
    );
  });

  it('must be one of the role', () => {
    expect(() => chooseIamRoleArn(roleWith(roleArn), 'deploy', { iamRoleArn: otherArn })).toThrow(
      new InvalidRequest(`role_arn "${otherArn}" not in allowed role arns for Vault role "deploy"`),
    );
  });
});

describe('the session name asked for', () => {
  it.each([
    ['nothing', undefined, null],
    ['nothing when empty', '', null],
    ['a name that AWS takes', 'a+b=c,d.e@f-g_1', 'a+b=c,d.e@f-g_1'],
    ['other characters as _', 'jörg/ops 😀', 'j_rg_ops__'],
    ['64 characters at most', 'x'.repeat(70), 'x'.repeat(64)],
  ])('is %s', (_, sessionName, expected) => {
    expect(askedSessionName({ sessionName })).toBe(expected);
  });
});

describe('the MFA code of a session token', () => {
  const serialNumber = 'arn:aws:iam::123456789012:mfa/root';
  const withMfa = writeRole(null, { credentialType: 'session_token', mfaSerialNumber: serialNumber });
  const without = writeRole(null, { credentialType: 'session_token' });

  it('goes with the device of the role', () => {
    expect(mfaOf(withMfa, { mfaCode: '012345' })).toEqual({ serialNumber, code: '012345' });
    expect(mfaOf(without, {})).toBeUndefined();
    expect(mfaOf(without, { mfaCode: '' })).toBeUndefined();
  });

  it.each([
    [withMfa, undefined, 'did not supply mfa_code, which a role with an mfa_serial_number asks for'],
    [withMfa, '12345', 'mfa_code must be the six digits that the MFA device shows'],
    [withMfa, '12345x', 'mfa_code must be the six digits that the MFA device shows'],
    [without, '123456', 'mfa_code is of no use here: the role has no mfa_serial_number'],
  ])('is refused otherwise', (role, mfaCode, text) => {
    expect(() => mfaOf(role, { mfaCode })).toThrow(new InvalidRequest(text));
  });
});
