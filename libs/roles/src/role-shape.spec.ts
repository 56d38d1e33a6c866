import { describe, expect, it } from '@jest/globals';
import { writeRole } from './role-definition.js';
import { roleToWire } from './role-shape.js';

const policyArn = 'arn:aws:iam::aws:policy/ReadOnlyAccess';
const roleArn = 'arn:aws:iam::123456789012:role/Deploy';

const empty = {
  role_arns: null,
  policy_arns: null,
  policy_document: '',
  iam_groups: null,
  iam_tags: null,
  session_tags: null,
  default_sts_ttl: 0,
  max_sts_ttl: 0,
  permissions_boundary_arn: '',
  user_path: '',
  external_id: '',
  mfa_serial_number: '',
};

describe('a role on the wire', () => {
  it('shows every modern field, null where never supplied and empty where supplied empty', () => {
    const role = writeRole(null, {
      credentialType: 'assumed_role',
      roleArns: [roleArn],
      policyArns: [],
      sessionTags: { team: 'a' },
      defaultStsTtlSeconds: 900,
      maxStsTtlSeconds: 3600,
      externalId: 'x1',
    });
    expect(roleToWire(role)).toEqual({
      ...empty,
      credential_type: 'assumed_role',
      role_arns: [roleArn],
      policy_arns: [],
      session_tags: { team: 'a' },
      default_sts_ttl: 900,
      max_sts_ttl: 3600,
      external_id: 'x1',
    });
  });

  it.each([
    [
      'a JSON policy',
      '{ "a": 1 }',
      { credential_type: 'iam_user,federation_token', policy_document: '{"a":1}', policy: '{"a":1}' },
    ],
    ['a policy ARN', policyArn, { credential_type: 'iam_user', policy_arns: [policyArn], arn: policyArn }],
    ['a role ARN', roleArn, { credential_type: 'assumed_role', role_arns: [roleArn], arn: roleArn }],
  ])('adds the 0.6 field of %s', (_, value, shown) => {
    expect(roleToWire(writeRole(null, { policy: value }))).toEqual({ ...empty, ...shown });
  });

  it("shows an MFA device, and what is not of Vault's only where it is set", () => {
    const mfaSerialNumber = 'arn:aws:iam::123456789012:mfa/root';
    expect(roleToWire(writeRole(null, { credentialType: 'session_token', mfaSerialNumber }))).toEqual({
      ...empty,
      credential_type: 'session_token',
      mfa_serial_number: mfaSerialNumber,
    });
    const role = writeRole(null, {
      credentialType: 'iam_user',
      maxLeases: 1,
      poolSize: 2,
      defaultUserTtlSeconds: 60,
      maxUserTtlSeconds: 120,
    });
    expect(roleToWire(role)).toMatchObject({ max_leases: 1, pool_size: 2, default_user_ttl: 60, max_user_ttl: 120 });
  });
});
