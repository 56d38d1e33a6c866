import { describe, expect, it } from '@jest/globals';
import { InvalidRequest } from '#libs/contracts';
import { type RoleWrite, warningsOf, writeRole } from './role-definition.js';
import { type RoleSetting, settingOf } from './role-setting.js';

const setting: RoleSetting = { ...settingOf(null, 'deploy'), partition: 'aws' };
const arn = (name: string) => `arn:aws:iam::123456789012:policy/${name}`;
const many = <T>(count: number, make: (index: number) => T) => Array.from({ length: count }, (_, index) => make(index));
const tags = (count: number) => Object.fromEntries(many(count, (index) => [`k${index}`, 'v']));
const policyOf = (characters: number) => {
  const empty = '{"Statement":[{"Sid":""}]}';
  return empty.replace('""', `"${'s'.repeat(characters - empty.length)}"`);
};

/** What is said of a write, fault by fault. */
function faultsOf(write: RoleWrite, into: Partial<RoleSetting> = {}): string[] {
  try {
    writeRole(null, write, { ...setting, ...into });
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidRequest);
    const [, quoted] = /^error\(s\) validating supplied role data: (".*")$/s.exec((error as Error).message) ?? [];
    if (quoted === undefined) return [(error as Error).message];
    const [, ...faults] = (JSON.parse(quoted) as string).trimEnd().split('\n\t* ');
    return faults;
  }
}

const user = (write: RoleWrite): RoleWrite => ({ credentialType: 'iam_user', ...write });
const assumed = (write: RoleWrite): RoleWrite => ({ credentialType: 'assumed_role', ...write });
const federated = (write: RoleWrite): RoleWrite => ({ credentialType: 'federation_token', ...write });

describe("a role at the edge of AWS's limits", () => {
  it.each<[string, RoleWrite]>([
    ['a policy of 2,048 characters', user({ policyDocument: policyOf(2_048) })],
    ['and blanks beside', user({ policyDocument: policyOf(2_048).replaceAll(',', ' , ').replaceAll('s', 's ') })],
    ['ten policies', user({ policyArns: many(10, (index) => arn(`p${index}`)) })],
    ['ten groups', user({ iamGroups: many(10, (index) => `g${index}`) })],
    ['fifty tags', user({ iamTags: tags(50) })],
    ['a tag as long as it may be', user({ iamTags: { ['k'.repeat(128)]: 'v'.repeat(256) } })],
    ['fifty session tags', assumed({ sessionTags: tags(50) })],
    ['a session policy of 2,048', federated({ policyDocument: policyOf(2_048) })],
    ['one with an ARN', federated({ policyDocument: policyOf(2_048 - arn('x').length), policyArns: [arn('x')] })],
    ['what it does not use', assumed({ iamTags: tags(51) })],
  ])('is taken with %s', (_, write) => {
    expect(faultsOf(write)).toEqual([]);
  });

  it.each<[RoleWrite, string]>([
    [
      user({ policyDocument: policyOf(2_049) }),
      'policy_document has 2049 characters without white space; the inline policies of a user may have 2048',
    ],
    [
      user({ policyArns: many(21, (index) => arn(`p${index}`)) }),
      'policy_arns has 21 entries; AWS attaches 20 to a user at most',
    ],
    [user({ iamGroups: many(11, (index) => `g${index}`) }), 'iam_groups has 11 entries; a user may be in 10 groups'],
    [user({ iamGroups: ['a b'] }), 'iam_groups: "a b" is not the name of a group'],
    [user({ iamGroups: [''] }), 'iam_groups: "" is not the name of a group'],
    [user({ iamTags: tags(51) }), 'iam_tags has 51 tags; AWS takes 50'],
    [user({ iamTags: { '': 'a' } }), 'iam_tags: the key "" must have 1 to 128 characters'],
    [user({ iamTags: { a: 'v'.repeat(257) } }), 'iam_tags: the key "a" has a value of 257 characters; AWS takes 256'],
    [
      user({ iamTags: { Team: 'a', team: 'b' } }),
      'iam_tags: the key "team" is there twice: AWS\'s keys are one whatever their case',
    ],
    [user({ iamTags: { 'aws:x': 'a' } }), 'iam_tags: the key "aws:x" begins with "aws:", which AWS keeps for itself'],
    [
      user({ iamTags: { a: 'b*' } }),
      'iam_tags: the key "a" or its value has characters other than letters, digits, blanks and _.:/=+-@',
    ],
    [assumed({ sessionTags: tags(51) }), 'session_tags has 51 tags; AWS takes 50'],
    [
      federated({ policyArns: many(11, (index) => arn(`p${index}`)) }),
      'policy_arns has 11 entries; a session takes 10',
    ],
    [
      user({ policyArns: ['arn:aws-cn:iam::aws:policy/ReadOnlyAccess'] }),
      'invalid policy_arns entry "arn:aws-cn:iam::aws:policy/ReadOnlyAccess": expected the partition of the mount, aws, but got aws-cn',
    ],
    [
      assumed({ roleArns: ['arn:aws:iam::123456789012:user/x'] }),
      'invalid role_arns entry "arn:aws:iam::123456789012:user/x": expected a resource type of role but got user/x',
    ],
    [
      user({ permissionsBoundaryArn: 'arn:aws-us-gov:iam::aws:policy/X' }),
      'invalid permissions_boundary_arn parameter: expected the partition of the mount, aws, but got aws-us-gov',
    ],
    [assumed({ externalId: 'a' }), 'external_id must have 2 to 1224 letters, digits and characters of _+=,.@:/-'],
    [assumed({ externalId: 'a b' }), 'external_id must have 2 to 1224 letters, digits and characters of _+=,.@:/-'],
    [
      { credentialType: 'session_token', mfaSerialNumber: 'short' },
      'mfa_serial_number must be the ARN or the serial number of an MFA device (9 to 256 characters)',
    ],
  ])('is refused as %j', (write, text) => {
    expect(faultsOf(write)).toEqual([text]);
  });

  it('counts the ARNs of a session with its policy', () => {
    const policyDocument = policyOf(2_049 - arn('x').length);
    expect(faultsOf(federated({ policyDocument, policyArns: [arn('x')] }))).toEqual([
      'policy_document and policy_arns have 2049 characters; the policies of a session may have 2048',
    ]);
  });

  it('is not asked about the partition where that is not known', () => {
    const policyArns = ['arn:aws-cn:iam::aws:policy/ReadOnlyAccess'];
    expect(faultsOf(user({ policyArns }), { partition: undefined })).toEqual([]);
  });

  it('has a name that an inline policy can have, where it has one', () => {
    const into = { roleName: 'r'.repeat(129) };
    expect(faultsOf(user({ policyArns: [arn('x')] }), into)).toEqual([]);
    expect(faultsOf(user({ policyDocument: policyOf(100) }), into)).toEqual([
      "the role's name has 129 characters; it is the name of the user's inline policy, which may have 128",
    ]);
  });

  it('says all that is wrong at once, a document that is no JSON included', () => {
    const write = assumed({
      policyDocument: '{"a"',
      roleArns: ['x'],
      iamGroups: ['*'],
      sessionTags: { a: '{{ .Nobody }}' },
      maxStsTtlSeconds: 10,
      defaultStsTtlSeconds: 20,
      maxLeases: -1,
    });
    expect(faultsOf(write)).toEqual([
      'max_leases must be a number from 0, which means no limit, to 2147483647',
      'cannot parse policy document: "{\\"a\\""',
      '"default_sts_ttl" value must be less than or equal to "max_sts_ttl" value',
      'session_tags: it can be templated with {{ .DisplayName }} and {{ .Metadata.<key> }}, and with nothing else',
      'session_tags: the key "a" or its value has characters other than letters, digits, blanks and _.:/=+-@',
      'iam_groups: "*" is not the name of a group',
      'invalid role_arns entry "x": arn: invalid prefix',
    ]);
  });

  it('is told a hundred of its faults, however many there are', () => {
    const faults = faultsOf(assumed({ roleArns: many(5_000, (index) => `x${index}`) }));
    expect([faults.length, faults.at(-1)]).toEqual([101, 'and 4900 more']);
  });

  it('is held against a legacy policy as well, and not against what such a write may name', () => {
    expect(faultsOf({ policy: policyOf(2_049) })).toEqual([
      'policy_document has 2049 characters without white space; the inline policies of a user may have 2048',
    ]);
    const role = writeRole(null, { arn: 'arn:aws-cn:iam::1:policy/x' }, setting);
    expect(warningsOf(role, setting)).toEqual([
      'invalid policy_arns entry "arn:aws-cn:iam::1:policy/x": expected the partition of the mount, aws, but got aws-cn',
    ]);
  });
});

describe('a role of a mount that works with temporary credentials', () => {
  const into = { isTemporary: true };

  it.each(['federation_token', 'session_token'])('gives no %s', (credentialType) => {
    expect(faultsOf({ credentialType }, into)).toEqual([
      `a ${credentialType} is given for the long-term keys of an IAM user only, and this mount works with temporary credentials`,
    ]);
  });

  it('assumes roles for an hour at most', () => {
    expect(faultsOf(assumed({ defaultStsTtlSeconds: 3_600, maxStsTtlSeconds: 3_600 }), into)).toEqual([]);
    const [first, second] = faultsOf(assumed({ defaultStsTtlSeconds: 3_601, maxStsTtlSeconds: 7_200 }), into);
    expect(first).toMatch(/^default_sts_ttl of 3601 s cannot be had: .* ends after 3600 s at most \(role chaining\)$/);
    expect(second).toMatch(/^max_sts_ttl of 7200 s cannot be had: /);
  });

  it.each([
    [{ accessKey: 'ASIAEXAMPLE' }, null, true],
    [{ accessKey: 'AKIAEXAMPLE' }, null, false],
    [{}, 'arn:aws:sts::123456789012:assumed-role/issuer/i-1', true],
    [{}, 'arn:aws:iam::123456789012:user/assumed-role/x', false],
    [{}, null, false],
  ])('is known by %j and %j', (settings, identityArn, isTemporary) => {
    expect(settingOf({ settings, identityArn }, 'deploy').isTemporary).toBe(isTemporary);
  });

  it.each([
    [{ region: 'cn-north-1' }, null, 'aws-cn'],
    [{ region: 'us-east-1' }, 'arn:aws-us-gov:iam::123456789012:user/x', 'aws-us-gov'],
    [{ region: '' }, null, undefined],
  ])('is in the partition of %j and %j', (settings, identityArn, partition) => {
    expect(settingOf({ settings, identityArn }, 'deploy').partition).toBe(partition);
  });
});

describe('the user-name template of a mount', () => {
  const usernameTemplate =
    '{{ if eq .PolicyName "long" }}{{ printf "%s-%s" (truncate 60 .DisplayName) (random 20) }}{{ else }}{{ random 20 }}{{ end }}';

  it('is tried with the name of the role', () => {
    expect(faultsOf(user({}), { usernameTemplate })).toEqual([]);
    const [fault, ...others] = faultsOf(user({}), { usernameTemplate, roleName: 'long' });
    expect(others).toEqual([]);
    expect(fault).toMatch(
      /^the username_template of config\/root does not go with this role: the username generated by the template exceeds the IAM username length limits of 64 chars/,
    );
  });

  it('is of no concern to who gets no name', () => {
    const into = { usernameTemplate: '{{ if eq .Type "STS" }}x{{ else }}{{ random 20 }}{{ end }}' };
    expect(faultsOf({ credentialType: 'session_token' }, into)).toEqual([]);
    expect(faultsOf(user({}), into)).toEqual([]);
    expect(faultsOf(federated({}), into)).toHaveLength(1);
  });
});

describe('what is doubtful about a role', () => {
  it.each<[RoleWrite, string[]]>([
    [
      user({ policyArns: many(11, (index) => arn(`p${index}`)) }),
      ["policy_arns has 11 entries: AWS lets a user have 10, unless the account's quota was raised"],
    ],
    [
      assumed({ defaultStsTtlSeconds: 60 }),
      ['default_sts_ttl is 60 s, and AWS gives assumed_role from 900 to 43200 s'],
    ],
    [
      federated({ maxStsTtlSeconds: 600 }),
      ['max_sts_ttl is 600 s, and AWS gives federation_token from 900 to 129600 s'],
    ],
    [federated({ maxStsTtlSeconds: 864_000 }), []],
    [
      assumed({ defaultStsTtlSeconds: 86_400 }),
      ['default_sts_ttl is 86400 s, and AWS gives assumed_role from 900 to 43200 s'],
    ],
  ])('of %j is said', (write, doubts) => {
    expect(warningsOf(writeRole(null, write, setting), setting)).toEqual(doubts);
  });
});
