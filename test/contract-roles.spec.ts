import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { everything } from './support/everything.js';
import { World } from './support/world.js';

const policy = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}';
const readOnly = 'arn:aws:iam::aws:policy/ReadOnlyAccess';
const iamRole = 'arn:aws:iam::000000000000:role/RoleNameToAssume';

/** A validation failure as the engine prints it: a list of errors, quoted (contract.md 2.4). */
const invalid = (...faults: string[]) => {
  const count = faults.length === 1 ? '1 error' : `${faults.length} errors`;
  const list = `${count} occurred:\n\t${faults.map((fault) => `* ${fault}`).join('\n\t')}\n\n`;
  return `error(s) validating supplied role data: ${JSON.stringify(list)}`;
};
const quoted = (text: string) => JSON.stringify(text).slice(1, -1);

const untouched = {
  credential_type: '',
  policy_arns: null,
  role_arns: null,
  iam_groups: null,
  iam_tags: null,
  session_tags: null,
  policy_document: '',
  user_path: '',
  permissions_boundary_arn: '',
  external_id: '',
  mfa_serial_number: '',
  default_sts_ttl: 0,
  max_sts_ttl: 0,
};

describe('roles', () => {
  let world: World;
  let mounts = 0;
  let mount: string;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
  });
  afterAll(() => world.close());

  beforeEach(async () => {
    mounts += 1;
    mount = `aws${mounts}`;
    await world.http.must(204, 'POST', `sys/mounts/${mount}`, { type: 'aws' });
  });

  const call = (method: string, path: string, body?: object | string) =>
    world.http.call(method, `${mount}/${path}`, body);
  const read = async (name: string) => (await world.http.must(200, 'GET', `${mount}/roles/${name}`)).body.data;
  const write = async (name: string, body: object | string) => {
    const answer = await world.http.must(204, 'POST', `${mount}/roles/${name}`, body);
    expect(answer.text).toBe('');
  };

  async function refusal(name: string, body: object | string): Promise<string | undefined> {
    const before = await everything(world);
    const answer = await call('PUT', `roles/${name}`, body);
    expect(answer.status).toBe(400);
    expect(await everything(world)).toEqual(before);
    return answer.body.errors[0];
  }

  it('is written, read, listed and deleted', async () => {
    expect((await call('LIST', 'roles')).body).toEqual({ errors: [] });
    expect((await call('LIST', 'roles')).status).toBe(404);
    await write('zeta', { credential_type: 'iam_user', policy_arns: readOnly });
    await write('Alpha', { policy });
    await write('a_1', { arn: iamRole });
    for (const [method, path] of [
      ['LIST', 'roles'],
      ['LIST', 'roles/'],
      ['GET', 'roles?list=true'],
      ['GET', 'roles/?list=true'],
    ] as const) {
      expect((await call(method, path)).body.data).toEqual({ keys: ['Alpha', 'a_1', 'zeta'] });
    }
    for (const name of ['zeta', 'Alpha', 'a_1', 'a_1'])
      expect((await call('DELETE', `roles/${name}`)).status).toBe(204);
    expect((await call('GET', 'roles?list=true')).status).toBe(404);
    expect((await call('GET', 'roles/zeta')).body).toEqual({ errors: [] });
  });

  it.each([
    'a',
    '_',
    'a@b',
    'a%40b',
    'first.last@example.com',
    'a-b_c.d@e',
    'A'.repeat(128),
    'constructor',
    '__proto__',
    '0',
  ])('may be called %s', async (name) => {
    await write(name, { policy });
    const kept = decodeURIComponent(name);
    expect((await call('LIST', 'roles')).body.data).toEqual({ keys: [kept] });
    expect(await read(name)).toMatchObject({ policy });
    expect((await call('GET', `creds/${name}x`)).body.errors).toEqual([`Role "${kept}x" not found`]);
    expect((await call('DELETE', `roles/${name}`)).status).toBe(204);
  });

  it.each(['-a', 'a-', '.a', 'a.', '@', 'a b', 'a%2Fb', 'a+b', 'a:b', 'ä', 'a%0Ab', '%00', "a'b", '*'])(
    'may not be called %s',
    async (name) => {
      const before = await everything(world);
      for (const [method, path] of [
        ['POST', `roles/${name}`],
        ['GET', `roles/${name}`],
        ['DELETE', `roles/${name}`],
        ['GET', `creds/${name}`],
        ['PUT', `sts/${name}`],
      ] as const) {
        const answer = await call(method, path, method === 'POST' ? { policy } : undefined);
        const nonPrintable = name === 'a%0Ab' || name === '%00';
        expect([path, answer.status]).toEqual([path, nonPrintable ? 400 : 404]);
      }
      expect(await everything(world)).toEqual(before);
    },
  );

  it('may not have an endless name', async () => {
    const name = Array.from({ length: 4_000 }, (_, at) => (at * 7919).toString(36).at(-1)).join('');
    expect(await refusal(name, { policy })).toBe('role name is longer than 512 characters');
    expect((await call('GET', `roles/${name}`)).status).toBe(404);
  });

  describe('in the legacy form', () => {
    it.each([
      ['policy', policy, { credential_type: 'iam_user,federation_token', policy_document: policy, policy }],
      ['arn', readOnly, { credential_type: 'iam_user', policy_arns: [readOnly], arn: readOnly }],
      ['arn', iamRole, { credential_type: 'assumed_role', role_arns: [iamRole], arn: iamRole }],
      ['policy', iamRole, { credential_type: 'assumed_role', role_arns: [iamRole], arn: iamRole }],
      ['arn', policy, { credential_type: 'iam_user,federation_token', policy_document: policy, policy }],
    ])('takes %s = %s', async (field, value, shown) => {
      await write('old', { [field]: value });
      expect(await read('old')).toEqual({ ...untouched, ...shown });
    });

    it('takes what hvac sends: both keys, one of them null', async () => {
      await write('old', { policy, arn: null });
      expect(await read('old')).toMatchObject({ policy });
      await write('old', { policy: null, arn: iamRole });
      const role = await read('old');
      expect(role).toMatchObject({ arn: iamRole, policy_document: '' });
      expect(role).not.toHaveProperty('policy');
    });

    it('replaces the whole role, and a modern write frees it of its paths', async () => {
      await write('old', { credential_type: 'iam_user', policy_arns: [readOnly], iam_groups: 'ops', user_path: '/a/' });
      await write('old', { policy, iam_groups: ['dropped'], iam_tags: { dropped: 'too' } });
      expect(await read('old')).toEqual({
        ...untouched,
        credential_type: 'iam_user,federation_token',
        policy_document: policy,
        policy,
      });
      await write('old', { credential_type: 'federation_token' });
      expect(await read('old')).toEqual({ ...untouched, credential_type: 'federation_token', policy_document: policy });
    });

    it('stores a policy without its blanks, and otherwise to the letter', async () => {
      const written = '{ "Version" : "2012-10-17",\n\t"Statement":[ {"b":1.50, "a":"x  y\\u00e9", "b":1e2 } ] }\r\n';
      await write('old', { policy: written });
      expect(await read('old')).toMatchObject({
        policy: '{"Version":"2012-10-17","Statement":[{"b":1.50,"a":"x  y\\u00e9","b":1e2}]}',
      });
    });

    it.each([
      ['policy', '{"Version":'],
      ['policy', 'arn'],
      ['arn', 'arn:aws:iam::1:user/x'],
      ['arn', 'arn:aws:s3:::bucket'],
      ['arn', 'arn:aws'],
    ])('refuses %s = %s', async (field, value) => {
      expect(await refusal('old', { [field]: value })).toBe(`unable to parse supplied data: ${JSON.stringify(value)}`);
    });

    it('refuses both at once', async () => {
      expect(await refusal('old', { policy, arn: iamRole })).toBe('only one of policy or arn should be provided');
    });

    it.each([
      ['credential_type', 'iam_user', 'an explicit credential_type'],
      ['credential_type', '', 'an explicit credential_type'],
      ['role_arns', [], 'role_arns'],
      ['policy_arns', readOnly, 'policy_arns'],
      ['policy_document', policy, 'policy_document'],
      ['default_sts_ttl', 900, 'default_sts_ttl'],
      ['max_sts_ttl', '1h', 'max_sts_ttl'],
      ['user_path', '/a/', 'user_path'],
      ['permissions_boundary_arn', readOnly, 'permissions_boundary_arn'],
    ])('refuses %s beside it', async (field, value, text) => {
      expect(await refusal('old', { policy, [field]: value })).toBe(
        `cannot supply deprecated role or policy parameters with ${text}`,
      );
    });
  });

  describe('in the modern form', () => {
    it.each([
      [
        'an IAM user',
        {
          credential_type: 'iam_user',
          policy_document: policy,
          policy_arns: [readOnly],
          iam_groups: 'ops, dev',
          iam_tags: ['team=a=b', 'empty='],
          permissions_boundary_arn: readOnly,
          user_path: '/team/',
        },
        { iam_groups: ['ops', 'dev'], iam_tags: { team: 'a=b', empty: '' }, policy_arns: [readOnly] },
      ],
      [
        'an assumed role',
        {
          credential_type: 'assumed_role',
          role_arns: iamRole,
          policy_document: policy,
          session_tags: { team: 1, on: true },
          external_id: 'x1',
          default_sts_ttl: '15m',
          max_sts_ttl: 3600,
        },
        { role_arns: [iamRole], session_tags: { team: '1', on: '1' }, default_sts_ttl: 900, max_sts_ttl: 3600 },
      ],
      [
        'a session token',
        { credential_type: 'session_token', default_sts_ttl: 900, max_sts_ttl: '12h', policy_arns: null },
        { max_sts_ttl: 43_200, policy_arns: [] },
      ],
      [
        'a federation token',
        { credential_type: 'federation_token', policy_document: policy, default_sts_ttl: '1d', iam_groups: [] },
        { default_sts_ttl: 86_400, iam_groups: [] },
      ],
    ])('takes %s', async (_name, body, converted) => {
      await write('new', body);
      expect(await read('new')).toEqual({ ...untouched, ...body, ...converted });
    });

    it('changes what a write names and checks what comes of it', async () => {
      await write('new', { credential_type: 'iam_user', policy_arns: readOnly, user_path: '/team/' });
      await write('new', { policy_document: policy });
      expect(await read('new')).toEqual({
        ...untouched,
        credential_type: 'iam_user',
        policy_arns: [readOnly],
        policy_document: policy,
        user_path: '/team/',
      });
      expect(await refusal('new', { credential_type: 'federation_token' })).toBe(
        invalid('user_path parameter only valid for iam_user credential type'),
      );
      await write('new', { credential_type: 'federation_token', user_path: '' });
      expect(await read('new')).toMatchObject({ credential_type: 'federation_token', user_path: '' });
    });

    it('takes nulls for what is not given', async () => {
      await write('new', {
        credential_type: 'federation_token',
        policy_document: policy,
        default_sts_ttl: null,
        max_sts_ttl: null,
        role_arns: null,
        policy_arns: null,
        iam_tags: null,
        user_path: null,
        permissions_boundary_arn: null,
        policy: null,
        arn: null,
      });
      expect(await read('new')).toMatchObject({ role_arns: [], default_sts_ttl: 0, user_path: '' });
    });

    it('keeps tags whose names mean something to the language', async () => {
      await write(
        'new',
        '{"credential_type":"iam_user","iam_tags":{"__proto__":"p","constructor":"c","toString":"t"}}',
      );
      const { text } = await call('GET', 'roles/new');
      expect(text).toContain('"iam_tags":{"toString":"t","__proto__":"p","constructor":"c"}');
    });

    it.each([
      [{}, invalid('did not supply credential_type')],
      [{ policy_document: policy }, invalid('did not supply credential_type')],
      [{ credential_type: '' }, invalid('unrecognized credential type: ')],
      [{ credential_type: null }, invalid('unrecognized credential type: ')],
      [{ credential_type: 'user' }, invalid('unrecognized credential type: user')],
      [
        { credential_type: 'iam_user', role_arns: iamRole },
        invalid("cannot supply role_arns when credential_type isn't assumed_role"),
      ],
      [
        { credential_type: 'iam_user', default_sts_ttl: 900, max_sts_ttl: 900 },
        invalid(
          'default_sts_ttl parameter only valid for assumed_role, federation_token, and session_token credential types',
          'max_sts_ttl parameter only valid for assumed_role, federation_token, and session_token credential types',
        ),
      ],
      [
        { credential_type: 'assumed_role', default_sts_ttl: '2h', max_sts_ttl: '1h' },
        invalid('"default_sts_ttl" value must be less than or equal to "max_sts_ttl" value'),
      ],
      [
        { credential_type: 'assumed_role', permissions_boundary_arn: readOnly },
        invalid("cannot supply permissions_boundary_arn when credential_type isn't iam_user"),
      ],
      [
        { credential_type: 'iam_user', permissions_boundary_arn: 'nonsense' },
        invalid('invalid permissions_boundary_arn parameter: arn: invalid prefix'),
      ],
      [
        { credential_type: 'iam_user', user_path: 'team' },
        invalid(
          `The specified value for user_path is invalid. It must match "${quoted('^\\/([\\x21-\\x7F]{0,510}\\/)?$')}" regexp`,
        ),
      ],
      [
        { credential_type: 'federation_token', session_tags: 'a=b', external_id: 'x' },
        invalid(
          "cannot supply session_tags when credential_type isn't assumed_role",
          "cannot supply external_id when credential_type isn't assumed_role",
        ),
      ],
      [{ credential_type: 'iam_user', policy_document: '{"a"' }, 'cannot parse policy document: "{\\"a\\""'],
      [
        { credential_type: 'iam_user', iam_tags: 'noequals' },
        'Field validation failed: error converting input for field "iam_tags": invalid key pair "noequals"',
      ],
    ])('refuses %j', async (body, text) => {
      expect(await refusal('new', body)).toBe(text);
    });
  });

  describe('with what is not of Vault', () => {
    it("takes TTLs for a user's keys and shows them where they are set", async () => {
      await write('new', { credential_type: 'iam_user', default_user_ttl: '30m', max_user_ttl: 7_200 });
      expect(await read('new')).toEqual({
        ...untouched,
        credential_type: 'iam_user',
        default_user_ttl: 1_800,
        max_user_ttl: 7_200,
      });
      await write('new', { default_user_ttl: 0, max_user_ttl: '' });
      expect(await read('new')).toEqual({ ...untouched, credential_type: 'iam_user' });
    });

    it('is templated from who asks, and gives the template back as it was written', async () => {
      const policyDocument = policy.replace('"Resource":"*"', '"Resource":"arn:aws:ec2:::{{ .Metadata.team }}"');
      await write('new', {
        credential_type: 'iam_user',
        policy_document: policyDocument,
        iam_tags: { owner: '{{ .DisplayName }}' },
      });
      expect(await read('new')).toMatchObject({
        policy_document: policyDocument,
        iam_tags: { owner: '{{ .DisplayName }}' },
      });
      expect(await refusal('new', { policy_document: policy.replace('ec2:*', '{{ .DisplayName }}:*') })).toBe(
        invalid('policy_document: only the values of Resource, NotResource and Condition can be templated'),
      );
    });

    it('says all that is wrong with it at once', async () => {
      await world.http.must(204, 'PUT', `${mount}/config/root`, { region: 'cn-north-1', access_key: 'ASIAEXAMPLE' });
      const faults = [
        '"default_sts_ttl" value must be less than or equal to "max_sts_ttl" value',
        "cannot supply external_id when credential_type isn't assumed_role",
        'policy_document and policy_arns have 2245 characters; the policies of a session may have 2048',
        'iam_groups: "a/b" is not the name of a group',
        `invalid policy_arns entry "${readOnly}": expected the partition of the mount, aws-cn, but got aws`,
        'a federation_token is given for the long-term keys of an IAM user only, and this mount works with temporary credentials',
      ];
      const body = {
        credential_type: 'federation_token',
        policy_document: `"${'s'.repeat(2_205)}"`,
        policy_arns: readOnly,
        iam_groups: 'a/b',
        external_id: 'x1',
        default_sts_ttl: '2h',
        max_sts_ttl: '1h',
      };
      expect(await refusal('new', body)).toBe(invalid(...faults));
      expect(await refusal('new', { ...body, policy_document: '{' })).toBe(
        invalid('cannot parse policy document: "{"', ...faults.filter((fault) => !fault.startsWith('policy_document'))),
      );
    });

    it('goes with the user-name template of its mount, or is refused', async () => {
      await world.http.must(204, 'PUT', `${mount}/config/root`, {
        username_template: '{{ if eq .PolicyName "long" }}{{ .DisplayName }}{{ end }}{{ random 20 }}',
      });
      await write('short', { credential_type: 'iam_user' });
      expect(await refusal('long', { credential_type: 'iam_user' })).toMatch(
        /the username_template of config\/root does not go with this role: .* exceeds the IAM username length limits of 64 chars/,
      );
    });

    const admin = { credential_type: 'iam_user', policy_arns: 'arn:aws:iam::aws:policy/AdministratorAccess' };
    const outlives = [
      'This role lets its holder make IAM users or access keys of its own, which stay when the lease ends: ' +
        `${admin.policy_arns} allows iam:CreateUser and iam:CreateAccessKey.`,
    ];

    it('warns where its holder could make users of its own, and stores it', async () => {
      const { body } = await world.http.must(200, 'POST', `${mount}/roles/admin`, admin);
      expect([body.data, body.warnings, body.lease_id]).toEqual([null, outlives, '']);
      expect(await read('admin')).toMatchObject({ policy_arns: [admin.policy_arns] });
    });

    it('warns of an MFA device, with whose code a session of the root identity may do all that this may', async () => {
      const role = { credential_type: 'session_token', mfa_serial_number: 'arn:aws:iam::000000000000:mfa/root' };
      const { body } = await world.http.must(200, 'POST', `${mount}/roles/session`, role);
      expect(body.warnings).toHaveLength(1);
      expect(await read('session')).toEqual({ ...untouched, ...role });
    });

    it('tells of that in the log alone where it is written in the legacy form', async () => {
      await write('old', { arn: admin.policy_arns });
      expect(world.log.filter((line) => line.includes(outlives[0]!))).toHaveLength(1);
    });

    it('is only checked where that is asked for: what a write would answer, and nothing is stored', async () => {
      await write('kept', { credential_type: 'iam_user', user_path: '/a/' });
      const before = await everything(world);
      const check = (name: string, body: object) => call('POST', `roles/${name}/validate`, body);
      expect(await check('new', { credential_type: 'iam_user' })).toMatchObject({ status: 204, text: '' });
      expect((await check('new', admin)).body.warnings).toEqual(outlives);
      expect(await check('old', { policy })).toMatchObject({ status: 204, text: '' });
      const faulty = { policy_document: '{', max_sts_ttl: 900 };
      const answer = await check('kept', faulty);
      expect([answer.status, answer.body.errors]).toEqual([
        400,
        [
          invalid(
            'cannot parse policy document: "{"',
            'max_sts_ttl parameter only valid for assumed_role, federation_token, and session_token credential types',
          ),
        ],
      ]);
      expect(await everything(world)).toEqual(before);
      expect((await call('POST', 'roles/kept', faulty)).body.errors).toEqual(answer.body.errors);
    });

    it('keeps users ahead only where it says so, where it lends users, and where they are the same for everybody', async () => {
      await write('stocked', { credential_type: 'iam_user', policy_document: policy });
      // Nothing is made for it here.
      await world.http.must(204, 'PUT', `sys/freeze/role/${mount}/stocked`);
      expect(await read('stocked')).not.toHaveProperty('pool_size');
      await write('stocked', { pool_size: '7' });
      expect(await read('stocked')).toMatchObject({ pool_size: 7 });
      const refusals = async (body: object) => {
        const answers = [await call('POST', 'roles/stocked/validate', body), await call('POST', 'roles/stocked', body)];
        expect(answers.map(({ status }) => status)).toEqual([400, 400]);
        expect(answers[0]!.body.errors).toEqual(answers[1]!.body.errors);
        return answers[0]!.body.errors[0];
      };
      for (const pool_size of [-1, 501]) {
        expect(await refusals({ pool_size })).toMatch(/^pool_size must be a number from 0, .*, to 500: an AWS account/);
      }
      expect(await refusals({ credential_type: 'federation_token' })).toContain('pool_size parameter only valid for');
      expect(await refusals({ iam_tags: { team: '{{ .DisplayName }}' } })).toContain('is templated from its caller');
      expect(await read('stocked')).toMatchObject({ pool_size: 7, credential_type: 'iam_user', iam_tags: null });
      await write('stocked', { policy });
      expect(await read('stocked')).toMatchObject({ pool_size: 7 });
      await write('stocked', { pool_size: 0 });
      expect(await read('stocked')).not.toHaveProperty('pool_size');
    });

    it('written again as it is, changes nothing', async () => {
      const body = {
        credential_type: 'iam_user',
        policy_document: JSON.stringify(JSON.parse(policy), null, 2),
        iam_tags: { b: '1', a: '2' },
        policy_arns: [readOnly],
      };
      await write('same', body);
      const before = await everything(world);
      await write('same', body);
      const shown = await read('same');
      await write('same', { ...body, policy_document: shown!.policy_document, iam_tags: shown!.iam_tags });
      expect(await everything(world)).toEqual(before);
      expect(shown).toMatchObject({ policy_document: policy });
    });
  });
});
