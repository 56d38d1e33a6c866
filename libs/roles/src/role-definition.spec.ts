import { describe, expect, it } from '@jest/globals';
import { InvalidRequest } from '#libs/contracts';
import { type RoleWrite, writeRole } from './role-definition.js';

const policyArn = 'arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess';
const roleArn = 'arn:aws:iam::123456789012:role/Deploy';
const boundary = 'arn:aws:iam::123456789012:policy/Boundary';
const policy = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:*","Resource":"*"}}';

const empty = {
  roleArns: null,
  policyArns: null,
  policyDocument: '',
  iamGroups: null,
  iamTags: null,
  sessionTags: null,
  defaultStsTtlSeconds: 0,
  maxStsTtlSeconds: 0,
  permissionsBoundaryArn: '',
  userPath: '',
  externalId: '',
  legacy: null,
};

/** The text of a validation failure with these faults, as a caller reads it. */
function refusal(...faults: string[]): string {
  const count = faults.length === 1 ? '1 error' : `${faults.length} errors`;
  return `error(s) validating supplied role data: "${count} occurred:\\n\\t* ${faults.join('\\n\\t* ')}\\n\\n"`;
}

describe('a modern role write', () => {
  it('stores what it supplies and leaves the rest empty', () => {
    const role = writeRole(null, { credentialType: 'iam_user', policyArns: [policyArn], iamGroups: [] });
    expect(role).toEqual({ ...empty, credentialTypes: ['iam_user'], policyArns: [policyArn], iamGroups: [] });
  });

  it.each<[string, RoleWrite]>([
    ['an iam_user without any policy', { credentialType: 'iam_user' }],
    ['an assumed_role without role_arns', { credentialType: 'assumed_role' }],
    ['an iam_user path', { credentialType: 'iam_user', userPath: '/team/a/' }],
    ['a boundary', { credentialType: 'iam_user', permissionsBoundaryArn: boundary }],
    ['groups with STS types', { credentialType: 'federation_token', iamGroups: ['g'] }],
    ['tags that its type does not use', { credentialType: 'assumed_role', iamTags: { a: 'b' } }],
    ['equal TTLs', { credentialType: 'federation_token', defaultStsTtlSeconds: 900, maxStsTtlSeconds: 900 }],
    ['empty legacy fields beside modern ones', { credentialType: 'iam_user', roleArns: [], policy: '', arn: null }],
    ['a session token', { credentialType: 'session_token', defaultStsTtlSeconds: 900, maxStsTtlSeconds: 900 }],
    ['an MFA device that its type does not use', { credentialType: 'iam_user', mfaSerialNumber: 'x' }],
    ['TTLs of a user', { credentialType: 'iam_user', defaultUserTtlSeconds: 60, maxUserTtlSeconds: 60 }],
    ['session extras', { credentialType: 'assumed_role', sessionTags: { a: 'b' }, externalId: 'x1' }],
  ])('accepts %s', (_, write) => {
    expect(writeRole(null, write).credentialTypes).toEqual([write.credentialType]);
  });

  it('compacts the policy document and keeps its text', () => {
    const policyDocument = '{ "b" : 1.0,\n "a": " x ", "b": 2 }';
    expect(writeRole(null, { credentialType: 'iam_user', policyDocument }).policyDocument).toBe(
      '{"b":1.0,"a":" x ","b":2}',
    );
  });

  it('changes only what is supplied', () => {
    const before = writeRole(null, { credentialType: 'iam_user', policyArns: [policyArn], userPath: '/a/' });
    const after = writeRole(before, { policyDocument: '{}', iamTags: {} });
    expect(after).toEqual({ ...before, policyDocument: '{}', iamTags: {} });
  });

  it('empties what is supplied empty', () => {
    const before = writeRole(null, { credentialType: 'iam_user', policyDocument: policy, policyArns: [policyArn] });
    expect(writeRole(before, { policyDocument: '', policyArns: [] })).toMatchObject({
      policyDocument: '',
      policyArns: [],
    });
  });

  it('frees a legacy role from its path rule', () => {
    const legacy = writeRole(null, { policy });
    expect(writeRole(legacy, { iamGroups: ['g'] })).toEqual({ ...legacy, iamGroups: ['g'], legacy: null });
  });

  it.each<[RoleWrite, string[]]>([
    [{}, ['did not supply credential_type']],
    [{ policyArns: [policyArn] }, ['did not supply credential_type']],
    [{ credentialType: '' }, ['unrecognized credential type: ']],
    [{ credentialType: 'web_identity' }, ['unrecognized credential type: web_identity']],
    ...[{ policyDocument: policy }, { policyArns: [policyArn] }].map((write): [RoleWrite, string[]] => [
      { credentialType: 'session_token', ...write },
      ['cannot supply a policy or role when using credential_type session_token'],
    ]),
    [
      { credentialType: 'session_token', roleArns: [roleArn] },
      [
        "cannot supply role_arns when credential_type isn't assumed_role",
        'cannot supply a policy or role when using credential_type session_token',
      ],
    ],
    [
      { credentialType: 'federation_token', defaultUserTtlSeconds: 60, maxUserTtlSeconds: 60 },
      [
        'default_user_ttl parameter only valid for iam_user credential type',
        'max_user_ttl parameter only valid for iam_user credential type',
      ],
    ],
    [
      { credentialType: 'iam_user', defaultUserTtlSeconds: 61, maxUserTtlSeconds: 60 },
      ['\\"default_user_ttl\\" value must be less than or equal to \\"max_user_ttl\\" value'],
    ],
    [
      { credentialType: 'iam_user', roleArns: [roleArn] },
      ["cannot supply role_arns when credential_type isn't assumed_role"],
    ],
    [
      { credentialType: 'iam_user', defaultStsTtlSeconds: 60 },
      ['default_sts_ttl parameter only valid for assumed_role, federation_token, and session_token credential types'],
    ],
    [
      { credentialType: 'iam_user', maxStsTtlSeconds: 60 },
      ['max_sts_ttl parameter only valid for assumed_role, federation_token, and session_token credential types'],
    ],
    [
      { credentialType: 'assumed_role', defaultStsTtlSeconds: 61, maxStsTtlSeconds: 60 },
      ['\\"default_sts_ttl\\" value must be less than or equal to \\"max_sts_ttl\\" value'],
    ],
    [
      { credentialType: 'assumed_role', permissionsBoundaryArn: boundary },
      ["cannot supply permissions_boundary_arn when credential_type isn't iam_user"],
    ],
    [
      { credentialType: 'iam_user', permissionsBoundaryArn: 'Boundary' },
      ['invalid permissions_boundary_arn parameter: arn: invalid prefix'],
    ],
    [
      { credentialType: 'iam_user', permissionsBoundaryArn: 'arn:aws:iam' },
      ['invalid permissions_boundary_arn parameter: arn: not enough sections'],
    ],
    [
      { credentialType: 'iam_user', permissionsBoundaryArn: 'arn:aws:s3:::policy/x' },
      ['invalid permissions_boundary_arn parameter: expected a service of iam but got s3'],
    ],
    [
      { credentialType: 'iam_user', permissionsBoundaryArn: roleArn },
      ['invalid permissions_boundary_arn parameter: expected a resource type of policy but got role/Deploy'],
    ],
    [
      { credentialType: 'federation_token', userPath: '/a/' },
      ['user_path parameter only valid for iam_user credential type'],
    ],
    [
      { credentialType: 'iam_user', userPath: 'a' },
      [
        'The specified value for user_path is invalid. It must match \\"^\\\\\\\\/([\\\\\\\\x21-\\\\\\\\x7F]{0,510}\\\\\\\\/)?$\\" regexp',
      ],
    ],
    [
      { credentialType: 'iam_user', sessionTags: { a: 'b' } },
      ["cannot supply session_tags when credential_type isn't assumed_role"],
    ],
    [
      { credentialType: 'federation_token', externalId: 'x1' },
      ["cannot supply external_id when credential_type isn't assumed_role"],
    ],
    [
      { credentialType: 'iam_user', maxStsTtlSeconds: 1, permissionsBoundaryArn: 'x', roleArns: [roleArn] },
      [
        'max_sts_ttl parameter only valid for assumed_role, federation_token, and session_token credential types',
        'invalid permissions_boundary_arn parameter: arn: invalid prefix',
        "cannot supply role_arns when credential_type isn't assumed_role",
      ],
    ],
  ])('refuses %j', (write, faults) => {
    expect(() => writeRole(null, write)).toThrow(new InvalidRequest(refusal(...faults)));
  });

  it('checks the merged role, so a new type needs the fields of the old one emptied with it', () => {
    const before = writeRole(null, { credentialType: 'iam_user', userPath: '/a/' });
    expect(() => writeRole(before, { credentialType: 'assumed_role' })).toThrow(
      new InvalidRequest(refusal('user_path parameter only valid for iam_user credential type')),
    );
    expect(writeRole(before, { credentialType: 'assumed_role', userPath: '' }).credentialTypes).toEqual([
      'assumed_role',
    ]);
  });

  it('names a policy document that is not JSON, outside the list of faults where nothing else is wrong', () => {
    expect(() => writeRole(null, { credentialType: 'iam_user', policyDocument: '{"a"' })).toThrow(
      new InvalidRequest('cannot parse policy document: "{\\"a\\""'),
    );
  });
});

describe('a legacy role write', () => {
  it.each<[string, string, object]>([
    [
      'a JSON policy',
      policy,
      { credentialTypes: ['iam_user', 'federation_token'], policyDocument: policy, legacy: 'policy' },
    ],
    [
      'any JSON value',
      ' "s" ',
      { credentialTypes: ['iam_user', 'federation_token'], policyDocument: '"s"', legacy: 'policy' },
    ],
    ['a policy ARN', policyArn, { credentialTypes: ['iam_user'], policyArns: [policyArn], legacy: 'arn' }],
    [
      'an ARN of just "policy"',
      'arn:a:b:c:d:policy',
      { credentialTypes: ['iam_user'], policyArns: ['arn:a:b:c:d:policy'], legacy: 'arn' },
    ],
    ['a role ARN', roleArn, { credentialTypes: ['assumed_role'], roleArns: [roleArn], legacy: 'arn' }],
  ])('translates %s, whichever field it came in', (_, value, translated) => {
    expect(writeRole(null, { policy: value, arn: null })).toEqual({ ...empty, ...translated });
    expect(writeRole(null, { arn: value, policy: '' })).toEqual({ ...empty, ...translated });
  });

  it('replaces the whole role and drops groups and tags sent with it', () => {
    const before = writeRole(null, { credentialType: 'iam_user', userPath: '/a/', iamTags: { a: 'b' } });
    const after = writeRole(before, { policy, iamGroups: ['g'], iamTags: { c: 'd' } });
    expect(after).toEqual(writeRole(null, { policy }));
  });

  it('refuses both fields at once', () => {
    expect(() => writeRole(null, { policy, arn: policyArn })).toThrow(
      new InvalidRequest('only one of policy or arn should be provided'),
    );
  });

  it.each<[RoleWrite, string]>([
    [{ credentialType: 'iam_user' }, 'an explicit credential_type'],
    [{ roleArns: [] }, 'role_arns'],
    [{ policyArns: [] }, 'policy_arns'],
    [{ policyDocument: '' }, 'policy_document'],
    [{ defaultStsTtlSeconds: 0 }, 'default_sts_ttl'],
    [{ maxStsTtlSeconds: 0 }, 'max_sts_ttl'],
    [{ userPath: '' }, 'user_path'],
    [{ permissionsBoundaryArn: '' }, 'permissions_boundary_arn'],
    [{ sessionTags: {} }, 'session_tags'],
    [{ externalId: '' }, 'external_id'],
  ])('refuses %j beside it, although empty', (write, named) => {
    expect(() => writeRole(null, { ...write, policy })).toThrow(
      new InvalidRequest(`cannot supply deprecated role or policy parameters with ${named}`),
    );
  });

  it.each([
    ['{"a"', '"{\\"a\\""'],
    ['arn:aws:iam', '"arn:aws:iam"'],
    ['arn:aws:iam::1:user/x', '"arn:aws:iam::1:user/x"'],
    ['arn:aws:s3:::bucket', '"arn:aws:s3:::bucket"'],
    ['nonsense', '"nonsense"'],
  ])('refuses the value %j', (value, quoted) => {
    expect(() => writeRole(null, { arn: value })).toThrow(
      new InvalidRequest(`unable to parse supplied data: ${quoted}`),
    );
  });
});

describe('pool_size', () => {
  const kept = writeRole(null, { credentialType: 'iam_user', policyArns: [policyArn], poolSize: 3 });

  it('is kept by writes that do not name it, and taken away by 0', () => {
    expect(kept.poolSize).toBe(3);
    expect(writeRole(kept, { userPath: '/team/' }).poolSize).toBe(3);
    expect(writeRole(kept, { poolSize: 0 }).poolSize).toBeUndefined();
  });

  it('outlives a write in the 0.6 form while users are lent', () => {
    expect(writeRole(kept, { policy })).toMatchObject({ legacy: 'policy', poolSize: 3 });
    expect(writeRole(kept, { arn: policyArn })).toMatchObject({ legacy: 'arn', poolSize: 3 });
    expect(writeRole(kept, { arn: roleArn })).not.toHaveProperty('poolSize');
  });

  it.each([-1, 501])('is refused as %d', (poolSize) => {
    expect(() => writeRole(kept, { poolSize })).toThrow(
      /^pool_size must be a number from 0, which means no pool, to 500: /,
    );
    expect(() => writeRole(kept, { policy, poolSize })).toThrow(/pool_size must be a number/);
  });

  it.each(['assumed_role', 'federation_token', 'session_token'])('is refused for the credential type %s', (type) => {
    const text =
      'pool_size parameter only valid for iam_user credential type: what STS gives ends by itself and is not kept';
    expect(() => writeRole(null, { credentialType: type, poolSize: 1 })).toThrow(refusal(text));
    expect(() => writeRole(kept, { credentialType: type, policyArns: [] })).toThrow(refusal(text));
  });

  it('is refused for a role that is templated from its caller, whichever of the two comes later', () => {
    const templated = { credentialType: 'iam_user', iamTags: { team: '{{ .Metadata.team }}' } };
    const text =
      'pool_size cannot be given to a role that is templated from its caller: its users are made before anybody asks for them; ' +
      'take the templates or pool_size away';
    expect(() => writeRole(kept, templated)).toThrow(refusal(text));
    expect(() => writeRole(writeRole(null, templated), { poolSize: 1 })).toThrow(refusal(text));
    const documentOfCaller = policy.replace('"Resource":"*"', '"Resource":"arn:aws:s3:::b/{{ .DisplayName }}"');
    expect(() => writeRole(kept, { policy: documentOfCaller })).toThrow(refusal(text));
  });
});

describe('max_leases', () => {
  const limited = writeRole(null, { credentialType: 'iam_user', policyArns: [policyArn], maxLeases: 3 });

  it('is kept until it is written again, and is no limit where it is 0', () => {
    expect(limited.maxLeases).toBe(3);
    expect(writeRole(limited, { userPath: '/team/' }).maxLeases).toBe(3);
    expect(writeRole(limited, { maxLeases: 0 }).maxLeases).toBeUndefined();
  });

  it('outlives a legacy write, whose clients know nothing of it, and may stand beside it', () => {
    expect(writeRole(limited, { policy })).toMatchObject({ legacy: 'policy', maxLeases: 3 });
    expect(writeRole(limited, { policy, maxLeases: 4 }).maxLeases).toBe(4);
  });

  it.each([-1, 2_147_483_648])('is refused as %d', (maxLeases) => {
    const text = 'max_leases must be a number from 0, which means no limit, to 2147483647';
    expect(() => writeRole(limited, { maxLeases })).toThrow(new InvalidRequest(text));
    expect(() => writeRole(limited, { policy, maxLeases })).toThrow(new InvalidRequest(text));
  });
});

describe("the TTLs of a user's keys", () => {
  const timed = writeRole(null, { credentialType: 'iam_user', defaultUserTtlSeconds: 60, maxUserTtlSeconds: 120 });

  it('are kept until they are written again, and are not there where they are 0', () => {
    expect(writeRole(timed, { userPath: '/a/' })).toMatchObject({ defaultUserTtlSeconds: 60, maxUserTtlSeconds: 120 });
    const without = writeRole(timed, { defaultUserTtlSeconds: 0, maxUserTtlSeconds: 0 });
    expect(without).not.toHaveProperty('defaultUserTtlSeconds');
    expect(without).not.toHaveProperty('maxUserTtlSeconds');
  });

  it('outlive a legacy write that lends users, and no other', () => {
    expect(writeRole(timed, { policy })).toMatchObject({ legacy: 'policy', defaultUserTtlSeconds: 60 });
    expect(writeRole(timed, { arn: roleArn })).not.toHaveProperty('defaultUserTtlSeconds');
  });
});

describe('ready and account_id', () => {
  const role = writeRole(null, {
    credentialType: 'iam_user',
    policyArns: [policyArn],
    ready: true,
    accountId: '012345678901',
  });

  it('are kept until they are written again, and absent where they say nothing', () => {
    expect(writeRole(role, { userPath: '/team/' })).toMatchObject({ ready: true, accountId: '012345678901' });
    const neither = JSON.stringify(writeRole(role, { ready: false, accountId: '' }));
    for (const name of ['ready', 'accountId']) expect(neither).not.toContain(name);
  });

  it('outlive a legacy write, whose clients know nothing of them', () => {
    expect(writeRole(role, { policy })).toMatchObject({ legacy: 'policy', ready: true, accountId: '012345678901' });
  });

  it.each(['12345678901', '0123456789012', '01234567890a', ' '])('are refused where the account is %j', (accountId) => {
    const text = 'account_id must be the twelve digits of an AWS account, or empty';
    expect(() => writeRole(role, { accountId })).toThrow(new InvalidRequest(text));
    expect(() => writeRole(role, { policy, accountId })).toThrow(new InvalidRequest(text));
  });
});
