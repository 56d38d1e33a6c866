import { describe, expect, it } from '@jest/globals';
import { InvalidRequest } from '#libs/contracts';
import { faultsOfTemplates } from './identity-template.js';
import { type RoleWrite, writeRole } from './role-definition.js';
import { roleFor } from './role-for-caller.js';

const caller = { displayName: 'approle', meta: { role_name: 'ci', team: 'red-1', __proto__x: 'p' } };
const bucketOf = (template: string) =>
  `{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${template}/*"}}`;
const userWith = (write: RoleWrite) => writeRole(null, { credentialType: 'iam_user', ...write });

/** What a policy becomes for a caller with this value of metadata. */
const filledWith = (team: string) =>
  roleFor(userWith({ policyDocument: bucketOf('{{ .Metadata.team }}') }), { displayName: 'x', meta: { team } });

describe('a role that is templated from who asks', () => {
  it('is filled in with display name and metadata, with blanks and without', () => {
    const role = userWith({
      policyDocument: bucketOf('{{ .DisplayName }}/{{.Metadata.team}}'),
      iamTags: { owner: '{{ .Metadata.role_name }}', both: '{{.DisplayName}}:{{ .Metadata.team }}', plain: 'a b' },
    });
    expect(roleFor(role, caller)).toEqual({
      ...role,
      policyDocument: bucketOf('approle/red-1'),
      iamTags: { owner: 'ci', both: 'approle:red-1', plain: 'a b' },
    });
    expect(role.iamTags!.owner).toBe('{{ .Metadata.role_name }}');
  });

  it('is filled in with session tags too', () => {
    const role = writeRole(null, { credentialType: 'assumed_role', sessionTags: { team: '{{ .Metadata.team }}' } });
    expect(roleFor(role, caller).sessionTags).toEqual({ team: 'red-1' });
  });

  it('keeps the rest of its text to the letter', () => {
    const document = (value: string) => `{"b":1.50,"a":"\\u00e9","b":1e2,"Statement":[{"Resource":["${value}"]}]}`;
    const role = userWith({ policyDocument: document('arn:aws:s3:::{{ .DisplayName }}') });
    expect(roleFor(role, caller).policyDocument).toBe(document('arn:aws:s3:::approle'));
  });

  it('is the same role for everybody where nothing is templated', () => {
    const role = userWith({ policyDocument: bucketOf('${aws:username}') });
    expect(roleFor(role, { displayName: '*', meta: null })).toBe(role);
  });

  it.each(['a', 'A-1_b+c=d,e.f@g', 'x'.repeat(128)])('takes the value %s', (team) => {
    expect(filledWith(team).policyDocument).toBe(bucketOf(team));
  });

  it.each([
    '*',
    'a*',
    '?',
    '${aws:username}',
    '$',
    '{',
    '"',
    '\\',
    '","x":"',
    'a/b',
    '../x',
    'a:b',
    'a b',
    'a\n',
    'é',
    '\u0000',
    '{{ .DisplayName }}',
    'x'.repeat(129),
  ])('is not lent for the value %j', (team) => {
    expect(() => filledWith(team)).toThrow(InvalidRequest);
    expect(() => filledWith(team)).toThrow('it could change what the policy means');
  });

  it.each([
    ['an empty value', { displayName: 'x', meta: { team: '' } }],
    ['no such value', { displayName: 'x', meta: { other: 'a' } }],
    ['no metadata', { displayName: 'x', meta: null }],
  ])('is not lent where there is %s', (_, without) => {
    const role = userWith({ policyDocument: bucketOf('{{ .Metadata.team }}') });
    expect(() => roleFor(role, without)).toThrow(
      new InvalidRequest('The role is templated with the metadata "team" of its caller\'s token, which has none.'),
    );
  });

  it('finds nothing that only the language put there', () => {
    for (const key of ['constructor', 'toString', '__proto__']) {
      const role = userWith({ policyDocument: bucketOf(`{{ .Metadata.${key} }}`) });
      expect(() => roleFor(role, caller)).toThrow('which has none');
    }
  });

  it('is held against the limits once it is filled in', () => {
    const long = { displayName: 'd'.repeat(128), meta: null };
    const role = userWith({ iamTags: { t: '{{ .DisplayName }}-{{ .DisplayName }}' } });
    expect(() => roleFor(role, long)).toThrow('has a value of 257 characters');
    const policyDocument = bucketOf(`{{ .DisplayName }}${'x'.repeat(1_880)}{{ .DisplayName }}`);
    const large = userWith({ policyDocument });
    expect(roleFor(large, { displayName: 'd', meta: null }).policyDocument).toHaveLength(
      policyDocument.length - 2 * 17,
    );
    expect(() => roleFor(large, long)).toThrow(InvalidRequest);
  });
});

describe('a template, when it is written,', () => {
  const faultsOf = (policyDocument: string) => faultsOfTemplates({ policyDocument, iamTags: null, sessionTags: null });
  const inStatement = (statement: object) => faultsOf(JSON.stringify({ Statement: statement }));
  const place = 'policy_document: only the values of Resource, NotResource and Condition can be templated';
  const name = '{{ .DisplayName }}';

  it.each([
    ['Resource', { Resource: name }],
    ['a list', { NotResource: ['a', name] }],
    ['a condition', { Condition: { StringEquals: { 'aws:PrincipalTag/team': [name, 'b'] } } }],
    ['one of many statements', [{}, { Resource: `arn:aws:s3:::${name}/\${aws:username}` }]],
  ])('may stand in %s', (_, statement) => {
    expect(inStatement(statement)).toEqual([]);
  });

  it.each([
    ['Action', { Action: `${name}:*` }],
    ['NotAction', { NotAction: [name] }],
    ['Effect', { Effect: name }],
    ['a key', { [name]: 'a' }],
    ['the key of a condition', { Condition: { StringEquals: { [name]: 'a' } } }],
    ['an operator', { Condition: { [name]: { a: 'b' } } }],
  ])('may not stand in %s', (_, statement) => {
    expect(inStatement(statement)).toEqual([place]);
  });

  it('may not stand outside of statements', () => {
    expect(faultsOf(`{"Id":"${name}","Statement":[]}`)).toEqual([place]);
    expect(faultsOf(`"${name}"`)).toEqual([place]);
  });

  it.each(['{{ .Foo }}', '{{ .Metadata }}', '{{ .Metadata.a.b }}', '{{ random 3 }}', '{{', '{{ .DisplayName | x }}'])(
    'may not be %s',
    (template) => {
      const text = 'it can be templated with {{ .DisplayName }} and {{ .Metadata.<key> }}, and with nothing else';
      expect(inStatement({ Resource: template })).toEqual([`policy_document: ${text}`]);
      expect(faultsOfTemplates({ policyDocument: '', iamTags: { a: template }, sessionTags: { b: template } })).toEqual(
        [`iam_tags: ${text}`, `session_tags: ${text}`],
      );
    },
  );

  it.each(['${aws:{{ .Metadata.a }}}', '${{ .Metadata.a }}'])('may not make a policy variable: %s', (template) => {
    expect(inStatement({ Resource: template })).toEqual([
      'policy_document: a policy variable, ${…}, cannot be made of a template',
    ]);
  });

  it('may not hide behind a key that comes twice, or in escapes', () => {
    const hidden = 'policy_document: a template stands behind a key that comes twice, or has its braces escaped';
    expect(faultsOf(`{"Statement":{"Action":"${name}","Action":"a"}}`)).toEqual([hidden]);
    expect(faultsOf(`{"Statement":{"Resource":"\\u007b{ .DisplayName }}"}}`)).toEqual([hidden]);
    expect(faultsOf(`{"Statement":{"Resource":"\\u007B\\u007b .DisplayName }}"}}`)).toEqual([hidden]);
  });

  it('is found however deep it is', () => {
    const depth = 100_000;
    const deep = `{"Statement":${'['.repeat(depth)}"${name}"${']'.repeat(depth)}}`;
    expect(faultsOf(deep)).toEqual([place]);
  });

  it('may not be the key of a tag', () => {
    expect(faultsOfTemplates({ policyDocument: '', iamTags: { [name]: 'a' }, sessionTags: null })).toEqual([
      'iam_tags: the key of a tag cannot be templated',
    ]);
  });
});
