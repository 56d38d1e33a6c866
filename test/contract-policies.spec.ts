import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { everything } from './support/everything.js';
import type { HttpAnswer } from './support/http-client.js';
import { lentBy, policyDocument, writeRole } from './support/lease-life.js';
import { rawRequest } from './support/raw-request.js';
import { giveTokens } from './support/tokens.js';
import { World } from './support/world.js';

const denied = '1 error occurred:\n\t* permission denied\n\n';
const may = (path: string, ...capabilities: string[]) =>
  `path "${path}" { capabilities = ${JSON.stringify(capabilities)} }\n`;
const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('policies', () => {
  let world: World;
  let names = 0;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    await world.mount();
    for (const role of ['deploy', 'other']) await writeRole(world, role);
    await world.http.must(204, 'PUT', 'aws/roles/sts', {
      credential_type: 'federation_token',
      policy_document: policyDocument,
    });
    const account = world.simulator.account();
    account.putUserPolicy(
      account.existingUser('leasehold-root'),
      'federate',
      '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["ec2:*","sts:GetFederationToken"],"Resource":"*"}}',
    );
  });
  afterAll(() => world.close());

  const call = (method: string, path: string, body?: object | string, token?: string | null) =>
    world.http.call(method, path, body, { token });
  const told = ({ status, body }: HttpAnswer) => [status, body.errors] as const;
  const write = (name: string, policy: string) => world.http.must(204, 'PUT', `sys/policies/acl/${name}`, { policy });

  /** A token with one policy of its own, of this text. */
  async function holderOf(policy: string): Promise<string> {
    const name = `own-${(names += 1)}`;
    await write(name, policy);
    const [token] = await giveTokens(world, { policies: [name] });
    return token!;
  }

  async function refusal(method: string, path: string, body?: object | string, token?: string) {
    const before = await everything(world);
    const answer = await call(method, path, body, token);
    expect(await everything(world)).toEqual(before);
    return told(answer);
  }

  describe('are kept', () => {
    it('and read, listed and deleted under today’s paths', async () => {
      const policy = `# mine\n${may('aws/creds/*', 'read')}`;
      expect((await call('PUT', 'sys/policies/acl/kept', { policy })).text).toBe('');
      const read = await call('GET', 'sys/policies/acl/kept');
      expect(read.body.data).toEqual({ name: 'kept', policy });
      expect(read.body).not.toHaveProperty('policy');
      const listed = (await call('LIST', 'sys/policies/acl')).body;
      expect(listed.data.keys).toEqual(expect.arrayContaining(['default', 'kept', 'root']));
      expect(listed).not.toHaveProperty('keys');
      expect((await call('DELETE', 'sys/policies/acl/kept')).status).toBe(204);
      expect(told(await call('GET', 'sys/policies/acl/kept'))).toEqual([404, []]);
      expect((await call('DELETE', 'sys/policies/acl/kept')).status).toBe(204);
      expect(told(await call('GET', 'sys/policies/acl'))).toEqual([
        405,
        ['1 error occurred:\n\t* unsupported operation\n\n'],
      ]);
    });

    it('and read, listed and deleted under the paths of old, flat beside the envelope', async () => {
      const rules = may('aws/creds/*', 'read');
      const written = await call('PUT', 'sys/policy/old', { rules });
      expect([written.status, written.body.data, written.body.warnings]).toEqual([
        200,
        null,
        ["'rules' is deprecated, please use 'policy' instead"],
      ]);
      const { body } = await call('GET', 'sys/policy/old');
      expect([body.data, body.name, body.rules]).toEqual([{ name: 'old', rules }, 'old', rules]);
      expect((await call('POST', 'sys/policy/old', { policy: may('x', 'list'), rules })).status).toBe(204);
      expect((await call('GET', 'sys/policies/acl/old')).body.data.policy).toBe(may('x', 'list'));
      for (const method of ['GET', 'LIST']) {
        const listed = (await call(method, 'sys/policy')).body;
        expect(listed.keys).toEqual(expect.arrayContaining(['default', 'old', 'root']));
        expect([listed.data.keys, listed.data.policies, listed.policies]).toEqual([
          listed.keys,
          listed.keys,
          listed.keys,
        ]);
      }
      expect((await call('DELETE', 'sys/policy/old')).status).toBe(204);
      expect(told(await call('GET', 'sys/policy/old'))).toEqual([404, []]);
    });

    it('under a name in lower case, and it is said', async () => {
      const written = await call('PUT', 'sys/policies/acl/Team/OPS', { policy: may('x', 'read') });
      expect([written.status, written.body.warnings]).toEqual([200, ['policy name was converted to team/ops']]);
      expect((await call('GET', 'sys/policies/acl/TEAM/ops')).body.data.name).toBe('team/ops');
      expect((await call('DELETE', 'sys/policy/Team/Ops')).status).toBe(204);
    });

    it.each([
      ['HCL', may('x', 'read')],
      ['JSON', '{"path":{"x":{"capabilities":["read"]}}}'],
    ])('whether they are %s or that in base64', async (_, policy) => {
      for (const sent of [policy, base64(policy), base64(policy).replace(/(.{20})/g, '$1\n')]) {
        await write('form', sent);
        expect((await call('GET', 'sys/policies/acl/form')).body.data.policy).toBe(policy);
      }
    });

    it('and the default one is there, is edited, and stays', async () => {
      const { policy } = (await call('GET', 'sys/policies/acl/default')).body.data as { policy: string };
      const [token] = await giveTokens(world, { policies: ['default'] });
      const capabilities = async (path: string) =>
        (await call('PUT', 'sys/capabilities-self', { paths: [path] }, token)).body.data.capabilities;
      const granted: [string, string[]][] = [
        ['auth/token/lookup-self', ['read']],
        ['auth/token/renew-self', ['update']],
        ['auth/token/revoke-self', ['update']],
        ['sys/capabilities-self', ['update']],
        ['sys/internal/ui/resultant-acl', ['read']],
        ['sys/leases/renew', ['update']],
        ['sys/leases/lookup', ['update']],
        ['sys/renew', ['update']],
        ['cubbyhole/x', ['create', 'delete', 'list', 'read', 'update']],
        ['sys/wrapping/wrap', ['update']],
        ['sys/wrapping/lookup', ['update']],
        ['sys/wrapping/unwrap', ['update']],
        ['sys/tools/hash', ['update']],
        ['sys/tools/hash/sha2-256', ['update']],
        ['sys/leases/revoke', ['deny']],
        ['sys/revoke', ['deny']],
        ['sys/leases/renew/aws/creds/deploy/1', ['deny']],
        ['sys/leases/lookup/aws/', ['deny']],
        ['aws/creds/deploy', ['deny']],
        ['sys/mounts', ['deny']],
      ];
      for (const [path, wanted] of granted) expect([path, await capabilities(path)]).toEqual([path, wanted]);
      await write('default', policy + may('sys/mounts', 'read'));
      expect((await call('GET', 'sys/mounts', undefined, token)).status).toBe(200);
      await write('default', policy);
      expect(told(await call('GET', 'sys/mounts', undefined, token))).toEqual([403, [denied]]);
    });

    it('while root has no text', async () => {
      expect((await call('GET', 'sys/policies/acl/root')).body.data).toEqual({ name: 'root', policy: '' });
      expect((await call('GET', 'sys/policy/root')).body.rules).toBe('');
    });
  });

  describe('are refused, and nothing is changed:', () => {
    it.each<[string, string, object | undefined, string]>([
      ['PUT', 'sys/policies/acl/x', {}, "'policy' parameter not supplied or empty"],
      ['POST', 'sys/policy/x', { rules: '' }, "'policy' parameter not supplied or empty"],
      ['PUT', 'sys/policies/acl/root', { policy: may('x', 'read') }, 'cannot update "root" policy'],
      ['PUT', 'sys/policy/Root', { policy: may('x', 'read') }, 'cannot update "root" policy'],
      [
        'PUT',
        'sys/policies/acl/response-wrapping',
        { policy: may('x', 'read') },
        'cannot update "response-wrapping" policy',
      ],
      ['DELETE', 'sys/policies/acl/root', undefined, 'cannot delete "root" policy'],
      ['DELETE', 'sys/policy/response-wrapping', undefined, 'cannot delete "response-wrapping" policy'],
      ['DELETE', 'sys/policies/acl/default', undefined, 'cannot delete default policy'],
      ['DELETE', 'sys/policy/DEFAULT', undefined, 'cannot delete default policy'],
      [
        'PUT',
        'sys/policies/acl/x',
        { policy: 'path "x" {' },
        'failed to parse policy: At 1:10: a block that is not closed',
      ],
      [
        'PUT',
        'sys/policies/acl/x',
        { policy: '{"path":' },
        'failed to parse policy: At 1:9: the text begins like JSON, and is none',
      ],
      [
        'PUT',
        'sys/policies/acl/x',
        { policy: base64('path "x" {') },
        'failed to parse policy: At 1:10: a block that is not closed',
      ],
      ['PUT', 'sys/policies/acl/x', { policy: '/w==' }, 'failed to parse policy: At 1:1: illegal UTF-8 encoding'],
      ['PUT', 'sys/policies/acl/x', { policy: base64('# \0') }, 'failed to parse policy: At 1:3: a NUL character'],
      [
        'PUT',
        'sys/policies/acl/x',
        { policy: may('x', 'y') },
        'failed to parse policy: path "x": invalid capability "y"',
      ],
      [
        'PUT',
        'sys/policies/acl/x',
        { policy: may('x/+*', 'read') },
        `failed to parse policy: path "x/+*": invalid use of wildcards ('+*' is forbidden)`,
      ],
      [
        'PUT',
        'sys/policies/acl/x',
        { policy: 'path "x" { y = 1 }' },
        'failed to parse policy: 1 error occurred:\n\t* path "x": invalid key "y" on line 1\n\n',
      ],
      [
        'PUT',
        'sys/policies/acl/x',
        { policy: `#${'x'.repeat(1024 * 1024)}` },
        'policy is longer than 1048576 bytes: split it, a token may have several',
      ],
      [
        'PUT',
        `sys/policies/acl/${'x'.repeat(1025)}`,
        { policy: may('x', 'read') },
        'policy name is longer than 1024 bytes',
      ],
      ['PUT', 'sys/capabilities-self', {}, 'paths must be supplied'],
      ['PUT', 'sys/capabilities', { paths: ['x'] }, '1 error occurred:\n\t* no token found\n\n'],
      ['PUT', 'sys/capabilities', { token: 'nobody', paths: ['x'] }, '1 error occurred:\n\t* invalid token\n\n'],
      ['PUT', 'sys/capabilities-accessor', { paths: ['x'] }, 'missing accessor'],
      [
        'PUT',
        'sys/capabilities-accessor',
        { accessor: 'none', paths: ['x'] },
        '1 error occurred:\n\t* invalid accessor\n\n',
      ],
    ])('%s %.40s %j', async (method, path, body, text) => {
      expect(await refusal(method, path, body)).toEqual([400, [text]]);
    });
  });

  describe('say what their holder may do', () => {
    it('to itself, to others and about an accessor, flat as well', async () => {
      const token = await holderOf(
        may('aws/creds/*', 'update', 'read') + may('sys/capabilities*', 'update') + may('aws/roles', 'list'),
      );
      const wanted = { 'aws/creds/x': ['read', 'update'], 'aws/roles/': ['list'], x: ['deny'] };
      const paths = Object.keys(wanted);
      const lookedUp = await world.database.query<{ accessor: string }>(
        `select accessor from tokens where policies = $1`,
        [[`own-${names}`]],
      );
      const { accessor } = lookedUp.rows[0]!;
      for (const answer of [
        await call('PUT', 'sys/capabilities-self', { paths }, token),
        await call('POST', 'sys/capabilities', { token, paths: paths.join(', ') }),
        await call('POST', 'sys/capabilities', { token, paths }, token),
        await call('POST', 'sys/capabilities-accessor', { accessor, paths }),
      ]) {
        expect(answer.body.data).toEqual(wanted);
        expect(answer.body).toMatchObject(wanted);
      }
      const one = (await call('POST', 'sys/capabilities-self', { path: 'aws/creds/x' }, token)).body;
      expect(one.data).toEqual({ 'aws/creds/x': ['read', 'update'], capabilities: ['read', 'update'] });
      expect(one.capabilities).toEqual(['read', 'update']);
      const root = await call('POST', 'sys/capabilities-self', { paths: ['x'] });
      expect(root.body.data).toEqual({ x: ['root'], capabilities: ['root'] });
    });

    it('of an expired token nothing', async () => {
      const [expired] = await giveTokens(world, { policies: ['default'], expired: true });
      const answer = await call('POST', 'sys/capabilities', { token: expired, paths: ['x'] });
      expect(told(answer)).toEqual([400, ['1 error occurred:\n\t* invalid token\n\n']]);
    });

    it('to user interfaces', async () => {
      const token = await holderOf(
        may('sys/internal/ui/resultant-acl', 'read') + may('aws/*', 'list') + may('x', 'deny'),
      );
      expect((await call('GET', 'sys/internal/ui/resultant-acl', undefined, token)).body.data).toEqual({
        root: false,
        exact_paths: { 'sys/internal/ui/resultant-acl': { capabilities: ['read'] }, x: { capabilities: ['deny'] } },
        glob_paths: { 'aws/': { capabilities: ['list'] } },
      });
      expect((await call('GET', 'sys/internal/ui/resultant-acl')).body.data).toEqual({ root: true });
    });
  });

  describe('decide at the door', () => {
    it('what is read, written, listed and deleted', async () => {
      const token = await holderOf(may('aws/roles/mine', 'update', 'read', 'delete') + may('aws/roles', 'list'));
      const role = { credential_type: 'iam_user', policy_document: policyDocument };
      expect((await call('PUT', 'aws/roles/mine', role, token)).status).toBe(204);
      expect((await call('GET', 'aws/roles/mine', undefined, token)).status).toBe(200);
      for (const path of ['aws/roles', 'aws/roles/', 'aws/roles?list=true']) {
        const answer = await rawRequest(world.http.url, path.includes('?') ? 'GET' : 'LIST', `/v1/${path}`, {
          headers: { 'X-Vault-Token': token },
        });
        expect([path, answer.status]).toEqual([path, 200]);
      }
      for (const [method, path] of [
        ['PUT', 'aws/roles/others'],
        ['GET', 'aws/roles/deploy'],
        ['GET', 'aws/roles'],
        ['DELETE', 'aws/roles/deploy'],
        ['LIST', 'aws/roles/mine'],
        ['PUT', 'aws/config/root'],
        ['GET', 'aws/creds/mine'],
      ] as const) {
        expect([path, await refusal(method, path, method === 'PUT' ? {} : undefined, token)]).toEqual([
          path,
          [403, [denied]],
        ]);
      }
      expect((await call('DELETE', 'aws/roles/mine', undefined, token)).status).toBe(204);
    });

    it('in this order: the body, the token, the policy, the mount, the path, the operation, the fields', async () => {
      const token = await holderOf(may('aws/*', 'read', 'update', 'delete') + may('gone/*', 'read', 'update'));
      const noRoute = 'no handler for route "gone/creds/x". route entry not found.';
      const bad =
        'Field validation failed: error converting input for field "ttl": time: unknown unit "x" in duration "5x"';
      const order: [string, string, string | undefined, string | null, number, string | RegExp][] = [
        ['PUT', 'gone/creds/x', '{', 'nobody', 400, /^failed to decode JSON input/],
        ['PUT', 'gone/creds/x', '{}', null, 403, 'permission denied'],
        ['PUT', 'gone/creds/x', '{}', 'nobody', 403, /invalid token/],
        ['PUT', 'gone2/creds/x', '{}', token, 403, denied],
        ['PUT', 'gone/creds/x', '{}', token, 404, noRoute],
        ['PUT', 'aws/nothing', '{}', token, 404, '1 error occurred:\n\t* unsupported path\n\n'],
        ['DELETE', 'aws/creds/deploy', undefined, token, 405, '1 error occurred:\n\t* unsupported operation\n\n'],
        ['PUT', 'aws/creds/deploy', '{"ttl":"5x"}', token, 400, bad],
        ['PUT', 'aws/creds/nobody', '{}', token, 400, 'Role "nobody" not found'],
      ];
      for (const [method, path, body, as, status, text] of order) {
        const answer = await call(method, path, body, as);
        expect([path, answer.status, answer.body.errors]).toEqual([
          path,
          status,
          [typeof text === 'string' ? text : expect.stringMatching(text)],
        ]);
      }
    });

    it('not over help, which any token may ask for', async () => {
      const token = await holderOf('# nothing');
      expect((await call('GET', 'aws/creds/deploy?help=1', undefined, token)).status).toBe(200);
      expect((await call('GET', 'aws/creds/deploy?help=1', undefined, 'nobody')).status).toBe(403);
    });

    it('on the path as it was asked: both spellings of a revocation are paths of their own', async () => {
      const lease = async () => lentBy(await world.http.must(200, 'GET', 'aws/creds/deploy')).leaseId;
      const [first, second] = [await lease(), await lease()];
      const today = await holderOf(may('sys/leases/revoke', 'update') + may('sys/leases/renew/*', 'update'));
      const old = await holderOf(may('sys/revoke/*', 'update') + may('sys/renew', 'update'));
      expect(await refusal('PUT', `sys/revoke/${first}`, {}, today)).toEqual([403, [denied]]);
      expect(await refusal('PUT', 'sys/leases/revoke', { lease_id: second }, old)).toEqual([403, [denied]]);
      expect(await refusal('PUT', 'sys/renew', { lease_id: first }, today)).toEqual([403, [denied]]);
      expect((await call('PUT', `sys/leases/renew/${first}`, {}, today)).status).toBe(200);
      expect((await call('PUT', 'sys/renew', { lease_id: first }, old)).status).toBe(200);
      expect((await call('PUT', 'sys/leases/revoke', { lease_id: first }, today)).status).toBe(204);
      expect((await call('PUT', `sys/revoke/${second}`, {}, old)).status).toBe(204);
    });

    it('on a lease that the body names otherwise than the path, on both', async () => {
      const lent = lentBy(await world.http.must(200, 'GET', 'aws/creds/deploy'));
      const others = lentBy(await world.http.must(200, 'GET', 'aws/creds/other'));
      const token = await holderOf(
        may('sys/leases/revoke/aws/creds/deploy/*', 'update') + may('sys/renew/aws/creds/deploy/*', 'update'),
      );
      for (const path of [`sys/renew/${lent.leaseId}`, `sys/leases/revoke/${lent.leaseId}`]) {
        expect(await refusal('PUT', path, { lease_id: others.leaseId }, token)).toEqual([403, [denied]]);
        expect((await call('PUT', path, { lease_id: lent.leaseId }, token)).status).toBe(
          path.includes('renew') ? 200 : 204,
        );
      }
      expect((await call('PUT', `sys/revoke/${lent.leaseId}`, { lease_id: others.leaseId })).status).toBe(204);
    });

    it('a path in disguise is the path it stands for', async () => {
      const token = await holderOf(
        may('aws/*', 'read') + may('aws/creds/deploy', 'deny') + may('aws/creds/other', 'deny'),
      );
      for (const path of [
        'aws/creds/deploy/',
        'aws//creds/deploy',
        'aws/creds%2Fdeploy',
        'aws/%63reds/deploy',
        '/aws/creds/other',
      ]) {
        const answer = await rawRequest(world.http.url, 'GET', `/v1/${path}`, { headers: { 'X-Vault-Token': token } });
        expect([path, answer.status, answer.errors]).toEqual([path, 403, [denied]]);
      }
      expect(world.lentUsers()).toEqual([]);
    });

    it('a name in capitals, where names are kept in lower case, is the name it stands for', async () => {
      const own = may('sys/policies/acl/*', 'read', 'update', 'delete') + may('sys/policies/acl/admins', 'deny');
      const old = may('sys/policy/*', 'read', 'update', 'delete') + may('sys/policy/admins', 'deny');
      const logins =
        may('auth/approle/role/*', 'read', 'update', 'delete') +
        may('auth/approle/role/admins', 'deny') +
        may('auth/approle/role/admins/*', 'deny');
      await write('admins', may('*', 'read'));
      await world.http.must(204, 'POST', 'auth/approle/role/admins', { token_policies: 'admins' });
      const token = await holderOf(own + old + logins);
      for (const [method, path, body] of [
        ['GET', 'sys/policies/acl/Admins'],
        ['PUT', 'sys/policies/acl/ADMINS', { policy: may('*', 'update', 'sudo') }],
        ['DELETE', 'sys/policies/acl/aDmins'],
        ['PUT', 'sys/policy/Admins', { policy: may('*', 'update', 'sudo') }],
        ['GET', 'auth/approle/role/Admins/role-id'],
        ['POST', 'auth/approle/role/Admins/secret-id', {}],
        ['POST', 'auth/approle/role/Admins', { token_policies: 'admins' }],
        ['DELETE', 'auth/approle/role/ADMINS'],
      ] as const) {
        expect([path, await refusal(method, path, body, token)]).toEqual([path, [403, [denied]]]);
      }
      expect((await call('PUT', 'sys/policies/acl/Others', { policy: '# none' }, token)).status).toBe(200);
      expect((await call('GET', 'sys/policies/acl/OTHERS', undefined, token)).status).toBe(200);
      for (const path of ['sys/policies/acl/others', 'sys/policies/acl/admins', 'auth/approle/role/admins'])
        await world.http.must(204, 'DELETE', path);
    });

    it('over what only sudo may do, also of a lease that the body names', async () => {
      const lent = lentBy(await world.http.must(200, 'GET', 'aws/creds/deploy'));
      const others = lentBy(await world.http.must(200, 'GET', 'aws/creds/other'));
      const token = await holderOf(
        may('sys/leases/lookup/aws/creds/deploy/*', 'update', 'sudo') + may('sys/leases/lookup/*', 'update'),
      );
      const path = `sys/leases/lookup/${lent.leaseId}`;
      expect((await call('PUT', path, {}, token)).status).toBe(200);
      expect(await refusal('PUT', `sys/leases/lookup/${others.leaseId}`, {}, token)).toEqual([403, [denied]]);
      expect(await refusal('PUT', path, { lease_id: others.leaseId }, token)).toEqual([403, [denied]]);
      await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    });

    it('over what only sudo may do', async () => {
      const paths: [string, string, object?][] = [
        ['LIST', 'sys/leases/lookup/aws'],
        ['GET', 'sys/leases?type=irrevocable'],
        ['PUT', 'sys/leases/revoke-prefix/aws', {}],
        ['PUT', 'sys/revoke-prefix/aws', {}],
        ['PUT', 'sys/leases/revoke-force/aws', {}],
        ['PUT', 'sys/revoke-force/aws', {}],
      ];
      const without = await holderOf(may('sys/*', 'read', 'update', 'list'));
      const withSudo = await holderOf(may('sys/*', 'read', 'update', 'list', 'sudo'));
      const lent = await world.http.must(200, 'GET', 'aws/creds/deploy');
      for (const [method, path, body] of paths) {
        expect([path, await refusal(method, path, body, without)]).toEqual([path, [403, [denied]]]);
        expect([path, (await call(method, path, body, withSudo)).status]).toEqual([path, method === 'PUT' ? 204 : 200]);
      }
      expect((await call('GET', 'sys/leases/count?type=irrevocable', undefined, without)).status).toBe(200);
      expect((await call('PUT', 'sys/leases/lookup', { lease_id: lent.body.lease_id }, without)).status).toBe(400);
    });

    it('over parameters of a credential, in the caller’s own spelling, in query and body', async () => {
      const token = await holderOf(
        'path "aws/sts/sts" {\n capabilities = ["read", "update"]\n allowed_parameters = { ttl = ["1h", "*m"], reason = [] }\n' +
          ' denied_parameters = { ttl = ["59m"] }\n required_parameters = ["reason"]\n}',
      );
      const granted: [string, string, object?][] = [
        ['GET', 'aws/sts/sts?ttl=1h&reason=x'],
        ['GET', 'aws/sts/sts?ttl=90m&reason='],
        ['GET', 'aws/sts/sts?reason=x'],
        ['PUT', 'aws/sts/sts', { ttl: '1h', reason: 'x' }],
        ['PUT', 'aws/sts/sts?ttl=1h', { reason: 'x' }],
        ['PUT', 'aws/sts/sts?reason=x&ttl=1h', {}],
      ];
      const refused: [string, string, object?][] = [
        ['GET', 'aws/sts/sts?ttl=1h'],
        ['GET', 'aws/sts/sts?ttl=3600&reason=x'],
        ['GET', 'aws/sts/sts?ttl=59m&reason=x'],
        ['GET', 'aws/sts/sts?role_arn=x&reason=x'],
        ['PUT', 'aws/sts/sts', { ttl: '2h', reason: 'x' }],
        ['PUT', 'aws/sts/sts?ttl=2h', { reason: 'x' }],
        ['PUT', 'aws/sts/sts', { reason: 'x', role_session_name: 'x' }],
      ];
      for (const [method, path, body] of granted) {
        expect([path, told(await call(method, path, body, token))]).toEqual([path, [200, undefined]]);
      }
      for (const [method, path, body] of refused) {
        expect([path, await refusal(method, path, body, token)]).toEqual([path, [403, [denied]]]);
      }
      const long = { reason: 'x'.repeat(65_536) };
      expect(await refusal('PUT', 'aws/sts/sts', long, token)).toEqual([
        400,
        ['a request for credentials may bring 65536 bytes of parameters at most'],
      ]);
    });

    it('over a query of a write only where the path takes it', async () => {
      const token = await holderOf(
        'path "aws/roles/q" {\n capabilities = ["update"]\n required_parameters = ["policy_document"]\n}',
      );
      expect(await refusal('PUT', 'aws/roles/q?policy_document=x', { credential_type: 'iam_user' }, token)).toEqual([
        403,
        [denied],
      ]);
    });

    it('a wrapped answer where the policy asks for one', async () => {
      const token = await holderOf('path "aws/roles/deploy" {\n capabilities = ["read"]\n min_wrapping_ttl = "1m"\n}');
      expect(await refusal('GET', 'aws/roles/deploy', undefined, token)).toEqual([403, [denied]]);
    });

    it('create and update: either for the first write of config/root, update for what is there', async () => {
      const creator = await holderOf(
        may('+/config/root', 'create') + may('+/roles/+', 'create') + may('none/*', 'create'),
      );
      const updater = await holderOf(may('+/config/root', 'update'));
      const keys = { access_key: world.root.accessKeyId, secret_key: world.root.secretAccessKey };
      for (const [mount, token] of [
        ['first', creator],
        ['second', updater],
      ] as const) {
        await world.http.must(204, 'POST', `sys/mounts/${mount}`, { type: 'aws' });
        expect((await call('PUT', `${mount}/config/root`, keys, token)).status).toBe(204);
        expect(await refusal('PUT', `${mount}/config/root`, keys, creator)).toEqual([403, [denied]]);
        expect((await call('PUT', `${mount}/config/root`, keys, updater)).status).toBe(204);
      }
      // Whoever may create alone learns nothing of what there is.
      for (const path of ['first/roles/new', 'none/roles/x', 'none/config/root', 'first/config/lease']) {
        expect([path, await refusal('PUT', path, {}, creator)]).toEqual([path, [403, [denied]]]);
      }
    });
  });

  describe('count', () => {
    it('from the next request on, also for a token that is there: written, edited, deleted', async () => {
      const [token] = await giveTokens(world, { policies: ['later', 'never-written'] });
      const read = async () => (await call('GET', 'aws/roles/deploy', undefined, token)).status;
      expect(await read()).toBe(403);
      for (let round = 0; round < 3; round += 1) {
        await write('later', may('aws/roles/deploy', 'read'));
        expect(await read()).toBe(200);
        await write('later', may('aws/roles/deploy', 'deny'));
        expect(await read()).toBe(403);
        await write('later', may('aws/*', 'read'));
        expect(await read()).toBe(200);
        await world.http.must(204, 'DELETE', 'sys/policies/acl/later');
        expect(await read()).toBe(403);
      }
    });

    it('together, all of a token’s', async () => {
      await write('reads', may('aws/roles/*', 'read'));
      await write('lists', may('aws/roles', 'list'));
      await write('forbids', may('aws/roles/*', 'deny'));
      const [both, all] = await giveTokens(
        world,
        { policies: ['lists', 'reads'] },
        { policies: ['forbids', 'lists', 'reads'] },
      );
      expect((await call('GET', 'aws/roles/deploy', undefined, both)).status).toBe(200);
      expect((await call('GET', 'aws/roles?list=true', undefined, both)).status).toBe(200);
      expect((await call('GET', 'aws/roles/deploy', undefined, all)).status).toBe(403);
    });
  });
});
