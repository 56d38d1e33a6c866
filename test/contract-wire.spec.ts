import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { everything } from './support/everything.js';
import { rawRequest } from './support/raw-request.js';
import { giveTokens } from './support/tokens.js';
import { World } from './support/world.js';

const policy = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}';
const denied = '1 error occurred:\n\t* permission denied\n\n';

interface DocumentedPath extends Record<string, unknown> {
  'x-vault-unauthenticated'?: boolean;
  'x-vault-sudo'?: boolean;
}
const documented = Object.entries(
  (JSON.parse(readFileSync('docs/openapi.json', 'utf8')) as { paths: Record<string, DocumentedPath> }).paths,
).map(([template, path]) => ({
  path: template
    .slice(1)
    .replaceAll(/\{aws_mount_path\}/g, 'aws')
    .replaceAll(/\{\w+\}/g, 'any'),
  methods: ['get', 'post', 'delete'].filter((method) => path[method]).map((method) => method.toUpperCase()),
  isOpen: path['x-vault-unauthenticated'] === true,
  needsSudo: path['x-vault-sudo'] === true,
}));

describe('the wire', () => {
  let world: World;
  let token: Record<string, string>;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    await world.mount();
    await world.http.must(204, 'PUT', 'aws/roles/deploy', { policy });
    token = { 'X-Vault-Token': world.http.token };
  });
  afterAll(() => world.close());

  const raw = (method: string, path: string, body?: string, headers: Record<string, string> = token) =>
    rawRequest(world.http.url, method, `/v1/${path}`, { headers, body });
  const get = async (path: string) => (await world.http.must(200, 'GET', path)).body;

  describe('a list is asked for', () => {
    it.each(['1', 't', 'T', 'TRUE', 'true', 'True'])('by list=%s', async (word) => {
      expect((await raw('GET', `aws/roles?list=${word}`)).status).toBe(200);
    });
    it.each(['0', 'f', 'F', 'FALSE', 'false', 'False', ''])('not by list=%s', async (word) => {
      expect((await raw('GET', `aws/roles?list=${word}`)).status).toBe(405);
      expect((await raw('GET', `aws/roles/deploy?list=${word}`)).status).toBe(200);
    });
    it.each(['yes', 'TRue', 'tRUE', '2', '-1', 'true%20', 'null', 'on', '[]', 'true,true'])(
      'by no other word: list=%s',
      async (word) => {
        const { status, text } = await raw('GET', `aws/roles?list=${word}`);
        expect([status, text]).toEqual([400, '{"errors":[]}\n']);
      },
    );
  });

  it.each(['OPTIONS', 'PROPFIND', 'MKCOL', 'SCAN', 'BREW'])('has no verb %s', async (verb) => {
    const before = await everything(world);
    const { status, text } = await raw(verb, 'aws/roles/deploy');
    expect([status, JSON.parse(text)]).toEqual([405, { errors: [] }]);
    expect(await everything(world)).toEqual(before);
  });

  it.each([
    ['a%40b', 'a@b'],
    ['a%2Eb-c_d', 'a.b-c_d'],
    ['%64%65v', 'dev'],
  ])('takes the name %s for %s', async (asked, name) => {
    expect((await raw('PUT', `aws/roles/${asked}`, JSON.stringify({ policy }))).status).toBe(204);
    expect((await get(`aws/roles?list=true`)).data.keys).toContain(name);
    expect((await raw('DELETE', `aws%2Froles%2F${asked}`)).status).toBe(204);
    expect((await get(`aws/roles?list=true`)).data.keys).not.toContain(name);
  });

  it.each(['team', 'team/', '/team', 'root/team', '../root', 'ROOT', 'root/../team'])(
    'has no namespace %s, for whoever asks for whatever',
    async (namespace) => {
      for (const headers of [token, {}] as Record<string, string>[]) {
        for (const path of ['aws/roles/deploy', 'sys/mounts', 'sys/internal/ui/mounts', 'aws/roles/deploy?help=1']) {
          const answer = await raw('GET', path, undefined, { ...headers, 'X-Vault-Namespace': namespace });
          expect([path, answer.status, answer.errors]).toEqual([path, 404, ['namespace not found']]);
        }
      }
    },
  );

  it.each(['soon', '-5', '-1h', '1.5', '5x', '1d12h'])('wraps nothing for %s', async (ttl) => {
    const before = await everything(world);
    const answer = await raw('GET', 'aws/creds/deploy', undefined, { ...token, 'X-Vault-Wrap-TTL': ttl });
    expect([answer.status, answer.errors]).toEqual([
      400,
      [expect.stringMatching(/^error parsing X-Vault-Wrap-TTL header: ./)],
    ]);
    expect(await everything(world)).toEqual(before);
  });

  it('passes over the headers that other servers know', async () => {
    const headers = {
      'X-Vault-Request': 'true',
      'X-Vault-MFA': 'method:1',
      'X-Vault-Index': 'x',
      'X-Vault-Inconsistent': 'forward-active-node',
      'X-Vault-No-Request-Forwarding': 'true',
      'X-Vault-Policy-Override': 'true',
      'X-Vault-Wrap-TTL': '0',
      'X-Vault-Namespace': '',
    };
    expect((await raw('GET', 'aws/roles/deploy', undefined, { ...token, ...headers })).status).toBe(200);
  });

  it.each([
    ['[]', 400],
    ['\n\t {"credential_type":"iam_user"}', 204],
    ['credential_type=iam_user&iam_groups=a&iam_groups=b,c', 204],
    ['credential_type=iam_user&&=&x', 204],
    ['', 400],
  ])('reads a body that is called a form by its first letter: %j', async (body, status) => {
    const headers = { ...token, 'Content-Type': 'application/x-www-form-urlencoded' };
    expect((await raw('PUT', 'aws/roles/formed', body, headers)).status).toBe(status);
    if (body.includes('iam_groups')) expect((await get('aws/roles/formed')).data.iam_groups).toEqual(['a', 'b', 'c']);
    await raw('DELETE', 'aws/roles/formed');
  });

  it('takes a text for one policy, and a list for as many as it has', async () => {
    const create = async (policies: unknown) =>
      ((await world.http.must(200, 'POST', 'auth/token/create', { policies })).body as unknown as { auth: object })
        .auth;
    expect(await create('a,b')).toMatchObject({ policies: ['a,b', 'default'] });
    expect(await create(['a', 'b'])).toMatchObject({ policies: ['a', 'b', 'default'] });
  });

  it.each([
    ['sys/mounts', true],
    ['sys/mounts/aws', true],
    ['sys/mounts/aws/tune', true],
    ['sys/mounts/sys', true],
    ['sys/mounts/cubbyhole/tune', true],
    ['sys/auth', true],
    ['sys/audit', true],
    ['sys/policy', true],
    ['sys/policy/default', true],
    ['sys/key-status', true],
    ['sys/policies/acl/default', false],
    ['sys/policies/acl?list=true', false],
    ['sys/leases/count?type=revoking', false],
    ['sys/leases?type=revoking', false],
    ['sys/internal/ui/mounts', false],
    ['sys/internal/ui/mounts/aws', false],
    ['sys/internal/ui/resultant-acl', false],
    ['auth/token/lookup-self', false],
    ['aws/roles/deploy', false],
  ])('shows the data of %s beside the envelope, for old clients: %s', async (path, isFlat) => {
    const { data, ...envelope } = await get(path);
    const shown = Object.keys(data).filter((key) => key in envelope);
    const own = new Set(['request_id', 'lease_id', 'renewable', 'lease_duration', 'wrap_info', 'warnings', 'auth']);
    expect(shown.filter((key) => !own.has(key))).toEqual(isFlat ? Object.keys(data) : []);
    if (isFlat) expect(envelope).toMatchObject(data);
  });

  it('shows capabilities and hashes beside the envelope', async () => {
    for (const [path, body] of [
      ['sys/capabilities-self', { path: 'aws/roles/x' }],
      ['sys/capabilities', { path: 'aws/roles/x', token: world.http.token }],
    ] as const) {
      expect((await world.http.must(200, 'POST', path, body)).body).toMatchObject({
        capabilities: ['root'],
        data: { capabilities: ['root'] },
      });
    }
  });

  it.each([
    'auth/ldap/login/x',
    'auth',
    'auth/tokens/x',
    'identity/entity',
    'secret/x',
    'awsx/creds/deploy',
    'AWS/creds/deploy',
  ])('has no mount at %s', async (path) => {
    const answer = await raw('GET', path);
    expect([answer.status, answer.errors]).toEqual([404, [`no handler for route "${path}". route entry not found.`]]);
  });

  describe('a caller', () => {
    it('without a token is refused on every path that is not for everybody, whatever the method', async () => {
      const before = await everything(world);
      const refused = documented.filter(({ isOpen }) => !isOpen);
      expect(refused.length).toBeGreaterThan(60);
      for (const { path, methods } of refused) {
        for (const method of methods) {
          const answer = await raw(method, path, method === 'POST' ? '{}' : undefined, {});
          expect([method, path, answer.status, answer.errors]).toEqual([method, path, 403, ['permission denied']]);
        }
      }
      expect(await everything(world)).toEqual(before);
    }, 30_000);

    it('without a token is served where everybody is', async () => {
      const open = documented.filter(({ isOpen }) => isOpen).map(({ path }) => path);
      expect(open.sort()).toEqual([
        'auth/approle/login',
        'sys/health',
        'sys/init',
        'sys/internal/specs/asyncapi',
        'sys/internal/specs/openapi',
        'sys/internal/ui/mounts',
        'sys/internal/ui/mounts/any',
        'sys/leader',
        'sys/seal-status',
        'sys/unseal',
        'sys/wrapping/lookup',
      ]);
    });

    it('with every right but sudo is refused what asks for that, and nothing else', async () => {
      await world.http.must(204, 'PUT', 'sys/policies/acl/all', {
        policy: 'path "*" { capabilities = ["create", "read", "update", "delete", "list"] }',
      });
      const [almost] = await giveTokens(world, { policies: ['all'] });
      const guarded = [
        'sys/remount',
        'sys/audit',
        'sys/audit/any',
        'sys/rotate',
        'sys/seal',
        'sys/leases',
        'sys/leases/lookup/any',
        'sys/leases/lookup-access-key',
        'sys/leases/revoke-prefix/any',
        'sys/leases/revoke-force/any',
        'sys/revoke-prefix/any',
        'sys/revoke-force/any',
        'sys/freeze',
        'sys/freeze/mount/any',
        'sys/freeze/role/any/any',
        'sys/freeze/token/any',
        'auth/token/accessors',
      ];
      expect(documented.filter(({ needsSudo }) => needsSudo).map(({ path }) => path.replace(/\/$/, ''))).toEqual(
        expect.arrayContaining(guarded),
      );
      const before = await everything(world);
      for (const { path, methods } of documented.filter(({ needsSudo }) => needsSudo)) {
        for (const method of methods) {
          const answer = await raw(method, path, method === 'POST' ? '{}' : undefined, { 'X-Vault-Token': almost! });
          expect([method, path, answer.status, answer.errors]).toEqual([method, path, 403, [denied]]);
        }
      }
      for (const path of [
        'sys/auth/token',
        'sys/raw/x',
        'sys/config/cors',
        'sys/plugins/catalog/x',
        'sys/internal/inspect/x',
      ]) {
        const answer = await raw('GET', path, undefined, { 'X-Vault-Token': almost! });
        expect([path, answer.status]).toEqual([path, 403]);
      }
      expect(await everything(world)).toEqual(before);
      for (const path of ['sys/auth', 'sys/leases/count?type=revoking', 'sys/mounts', 'sys/metrics']) {
        expect([path, (await raw('GET', path, undefined, { 'X-Vault-Token': almost! })).status]).toEqual([path, 200]);
      }
      expect((await raw('PUT', 'sys/leases/tidy', '{}', { 'X-Vault-Token': almost! })).status).toBe(202);
    });
  });

  it('reads a body before it is asked whether the system is sealed, and says of the rest that it is', async () => {
    await world.http.must(204, 'PUT', 'sys/seal');
    try {
      expect((await raw('PUT', 'aws/roles/deploy', '{')).status).toBe(400);
      for (const [method, path] of [
        ['PUT', 'aws/roles/deploy'],
        ['GET', 'sys/internal/ui/mounts'],
        ['GET', 'no/such/path'],
        ['PUT', 'sys/remount'],
      ] as const) {
        const answer = await raw(method, path, method === 'PUT' ? '{}' : undefined);
        expect([path, answer.status, answer.errors]).toEqual([path, 503, ['Vault is sealed']]);
      }
    } finally {
      await world.http.must(200, 'PUT', 'sys/unseal', { key: world.options.masterKey.toString('base64') });
    }
  });
});
