import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { everything } from './support/everything.js';
import { rawRequest } from './support/raw-request.js';
import { World } from './support/world.js';

const unknownToken = '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n';
const policy = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}';

describe('the envelope and the errors of the contract', () => {
  let world: World;
  let token: Record<string, string>;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    await world.mount();
    await world.http.must(204, 'PUT', 'aws/roles/deploy', { policy });
    token = { 'X-Vault-Token': world.http.token };
  });
  afterAll(() => world.close());

  const raw = (method: string, path: string, body?: string | Buffer, headers: Record<string, string> = token) =>
    rawRequest(world.http.url, method, path, { headers, body });

  /** Sends it, and requires that nothing came of it: no row, no call to AWS. */
  async function refused(send: () => ReturnType<typeof raw>) {
    const before = await everything(world);
    const answer = await send();
    expect(await everything(world)).toEqual(before);
    return answer;
  }

  it('answers a read with the whole envelope, numbers as integers', async () => {
    const { text } = await raw('GET', '/v1/aws/roles?list=true');
    expect(text.endsWith('\n')).toBe(true);
    expect(JSON.parse(text)).toEqual({
      request_id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-/),
      lease_id: '',
      renewable: false,
      lease_duration: 0,
      data: { keys: ['deploy'] },
      wrap_info: null,
      warnings: null,
      auth: null,
    });
  });

  it.each([
    ['200', 'GET', '/v1/aws/roles/deploy'],
    ['204', 'DELETE', '/v1/aws/roles/nobody'],
    ['400', 'GET', '/v1/aws/creds/nobody'],
    ['404', 'GET', '/v1/aws/roles/nobody'],
    ['405', 'GET', '/v1/aws/roles'],
    ['404', 'GET', '/elsewhere'],
    ['404', 'GET', '/uix'],
    ['400', 'GET', '/v1/%zz'],
    ['415', 'PATCH', '/v1/aws/roles/deploy'],
    ['405', 'OPTIONS', '/v1/aws/roles/deploy'],
    ['405', 'MKCOL', '/v1/aws/roles/deploy'],
  ])('says %s with the exact headers: %s %s', async (status, method, path) => {
    const { status: got, headers } = await raw(method, path);
    expect(got).toBe(Number(status));
    expect(headers['content-type']).toBe('application/json');
    expect(headers['cache-control']).toBe('no-store');
    expect(headers).not.toHaveProperty('x-powered-by');
    expect(headers).not.toHaveProperty('etag');
  });

  it.each(['/', '/ui', '/ui/', '/ui/vault/secrets', '/?list=true'])('has no page to show at %s', async (path) => {
    const { status, headers, text } = await raw('GET', path);
    expect([status, headers['content-type'], text]).toEqual([404, 'text/plain; charset=utf-8', '404 page not found\n']);
  });

  describe('the verb PATCH', () => {
    const patch = (path: string, type: string | undefined, body = '{}', headers = token) =>
      refused(() => raw('PATCH', path, body, type === undefined ? headers : { ...headers, 'Content-Type': type }));

    it.each([
      [undefined, 'none'],
      ['application/json', 'application/json'],
      ['text/plain; charset=utf-8', 'text/plain'],
      ['application/x-www-form-urlencoded', 'application/x-www-form-urlencoded'],
      ['nonsense', 'nonsense'],
    ])('wants a merge patch, not %s', async (type, provided) => {
      const text = `PATCH requires Content-Type of application/merge-patch+json, provided ${provided}`;
      const answer = await patch('/v1/aws/roles/deploy', type);
      expect([answer.status, answer.errors]).toEqual([415, [text]]);
    });

    it.each([
      ['a path that is there', '/v1/aws/roles/deploy', '{}', 405, '1 error occurred:\n\t* unsupported operation\n\n'],
      ['a core path', '/v1/sys/mounts/aws/tune', '{}', 405, '1 error occurred:\n\t* unsupported operation\n\n'],
      ['a path without a token', '/v1/sys/health', '{}', 405, '1 error occurred:\n\t* unsupported operation\n\n'],
      ['a path that is not', '/v1/aws/nowhere', '{}', 404, '1 error occurred:\n\t* unsupported path\n\n'],
      ['no mount', '/v1/no/such', '{}', 404, 'no handler for route "no/such". route entry not found.'],
      ['a folder', '/v1/aws/roles/', '{}', 400, "cannot write to a path ending in '/'"],
      ['no JSON', '/v1/aws/roles/deploy', '[]', 400, 'failed to decode JSON input: the body must be a JSON object'],
    ])('is refused after the checks before it: %s', async (_name, path, body, status, text) => {
      for (const type of ['application/merge-patch+json', 'application/Merge-Patch+JSON; charset=utf-8']) {
        const answer = await patch(path, type, body);
        expect([answer.status, answer.errors]).toEqual([status, [text]]);
      }
    });

    it('is refused to a caller without a token as everything is', async () => {
      const answer = await patch('/v1/aws/roles/deploy', 'application/merge-patch+json', '{}', {});
      expect([answer.status, answer.errors]).toEqual([403, ['permission denied']]);
    });
  });

  describe('who is calling', () => {
    it.each([
      ['no token', {}, 'permission denied'],
      ['an empty token', { 'X-Vault-Token': '' }, 'permission denied'],
      ['a bearer in small letters', { Authorization: 'bearer nobody' }, 'permission denied'],
      ['basic authorization', { Authorization: 'Basic bm9ib2R5Og==' }, 'permission denied'],
      ['an unknown token', { 'X-Vault-Token': 'nobody' }, unknownToken],
      ['an unknown bearer', { Authorization: 'Bearer nobody' }, unknownToken],
    ] as [string, Record<string, string>, string][])('refuses %s', async (_name, headers, text) => {
      for (const [method, path, body] of [
        ['GET', '/v1/aws/creds/deploy'],
        ['PUT', '/v1/aws/roles/mine', '{"credential_type":"iam_user"}'],
        ['DELETE', '/v1/sys/mounts/aws'],
        ['GET', '/v1/no/such/path'],
        ['GET', '/v1/aws/creds/deploy?help=1'],
        ['GET', '/v1/auth/token/lookup-self'],
      ] as [string, string, string?][]) {
        const answer = await refused(() => raw(method, path, body, headers));
        expect([path, answer.status, answer.errors]).toEqual([path, 403, [text]]);
      }
    });

    it('takes the token as a bearer too, and X-Vault-Token before it', async () => {
      const bearer = { Authorization: `Bearer ${world.http.token}` };
      const self = '/v1/auth/token/lookup-self';
      expect((await raw('GET', self, undefined, bearer)).status).toBe(200);
      expect((await raw('GET', self, undefined, { ...bearer, 'X-Vault-Token': '' })).status).toBe(200);
      expect((await raw('GET', self, undefined, { ...token, Authorization: 'Bearer nobody' })).status).toBe(200);
      expect((await raw('GET', self, undefined, { ...bearer, 'X-Vault-Token': 'nobody' })).status).toBe(403);
    });
  });

  describe('the order of its checks', () => {
    it('looks at the body before the token, and at the token before the path', async () => {
      const nobody = { 'X-Vault-Token': 'nobody' };
      expect((await raw('PUT', '/v1/aws/roles/x', '{', nobody)).status).toBe(400);
      expect((await raw('PUT', '/v1/no/such', '{}', nobody)).status).toBe(403);
      expect((await raw('PUT', '/v1/no/such', '{}')).status).toBe(404);
    });

    it.each([
      ['no mount', 'GET', '/v1/no/such', 404, 'no handler for route "no/such". route entry not found.'],
      ['no such path', 'GET', '/v1/aws/nowhere', 404, '1 error occurred:\n\t* unsupported path\n\n'],
      ['no such core path', 'GET', '/v1/sys/nowhere', 404, '1 error occurred:\n\t* unsupported path\n\n'],
      ['a role name that is none', 'PUT', '/v1/aws/roles/-x', 404, '1 error occurred:\n\t* unsupported path\n\n'],
      ['a wrong method', 'DELETE', '/v1/aws/config/root', 405, '1 error occurred:\n\t* unsupported operation\n\n'],
      ['a read of a list', 'GET', '/v1/aws/roles', 405, '1 error occurred:\n\t* unsupported operation\n\n'],
      ['a write to a folder', 'PUT', '/v1/aws/roles/', 400, "cannot write to a path ending in '/'"],
      ['a write to a role with a slash', 'PUT', '/v1/aws/roles/x/', 400, "cannot write to a path ending in '/'"],
      ['an encoded relative path', 'GET', '/v1/aws/%2e%2e/sys/mounts', 400, 'relative paths not supported'],
      ['a relative path', 'GET', '/v1/aws/../sys/mounts', 400, 'relative paths not supported'],
      ['an encoded NUL', 'GET', '/v1/aws/creds/a%00b', 400, 'path cannot contain non-printable characters'],
      ['an unknown role', 'GET', '/v1/aws/creds/nobody', 400, 'Role "nobody" not found'],
      ['an unknown role, sts', 'PUT', '/v1/aws/sts/nobody', 400, 'Role "nobody" not found'],
    ])('refuses %s', async (_name, method, path, status, text) => {
      const answer = await refused(() => raw(method, path));
      expect([answer.status, answer.errors]).toEqual([status, [text]]);
    });

    it.each([
      ['a missing role', 'GET', '/v1/aws/roles/nobody', 404],
      ['a list word that is none', 'GET', '/v1/aws/roles?list=maybe', 400],
      ['a path outside', 'GET', '/v2/aws/roles', 404],
      ['a bad escape', 'GET', '/v1/aws/%E0%A4%A', 400],
    ])('refuses %s', async (_name, method, path, status) => {
      expect((await refused(() => raw(method, path))).status).toBe(status);
    });

    it('answers HEAD on the status alone', async () => {
      expect((await raw('HEAD', '/v1/sys/health')).status).toBe(200);
      for (const path of ['/v1/aws/roles/deploy', '/v1/aws/creds/deploy', '/v1/sys/mounts', '/v1/sys/seal-status']) {
        expect([path, (await refused(() => raw('HEAD', path))).status]).toEqual([path, 405]);
      }
    });
  });

  describe('bodies', () => {
    it.each([
      '{',
      '{"policy":',
      '{"a":1} {"b":2}',
      'policy=x',
      '[]',
      '[{"policy":"{}"}]',
      '5',
      '"text"',
      'true',
      "{'policy':'{}'}",
      '{"policy":"\u0001"}',
    ])('refuses what is no JSON object: %s', async (body) => {
      const answer = await refused(() => raw('PUT', '/v1/aws/roles/mine', body));
      expect(answer.status).toBe(400);
      expect(answer.errors?.[0]).toMatch(/^failed to decode JSON input: ./);
    });

    it.each([
      ['{"a":1} {"b":2}', /^Unexpected non-whitespace character after JSON at position 8\b/],
      ["{'policy':'{}'}", /^Expected property name or '}' in JSON at position 1\b/],
      ['{"a":1 "b":2}', /^Expected ',' or '}' after property value in JSON at position 7\b/],
      ['{"policy":"\u0001"}', /^Bad control character in string literal in JSON at position 11\b/],
      ['{"a":x}', /^Unexpected token in JSON$/],
      ['{"a":', /^Unexpected end of JSON input$/],
    ])('says in a whole sentence what is wrong with %s', async (body, sentence) => {
      const [error] = (await refused(() => raw('PUT', '/v1/aws/roles/mine', body))).errors!;
      expect(error!.replace('failed to decode JSON input: ', '')).toMatch(sentence);
    });

    it('never repeats a body in what it says about it', async () => {
      const secret = 'wJalrXUtnFEMIK7MDENG';
      for (const body of [
        `{"secret_key":"${secret}`,
        `${secret}`,
        `{"secret_key":${secret}}`,
        `{${secret}}`,
        `{"a":1}${secret}`,
        `{"a":"${secret} at position 5 `,
        `{"secret_key":'${secret} in JSON at position 5'}`,
        `{"secret_key":"\\${secret}"}`,
      ]) {
        const answer = await refused(() => raw('PUT', '/v1/aws/config/root', body));
        expect([answer.status, answer.text.includes(secret.slice(0, 4))]).toEqual([400, false]);
      }
      const converted = await refused(() => raw('PUT', '/v1/aws/config/root', `{"max_retries":"${secret}"}`));
      expect(converted.errors?.[0]).toMatch(
        /^Field validation failed: error converting input for field "max_retries": /,
      );
      expect(converted.text).not.toContain(secret);
    });

    it.each([
      ['nothing', undefined],
      ['null', 'null'],
      ['blanks', '  \n'],
      ['an empty object', '{}'],
    ])('takes %s for no data', async (_name, body) => {
      const answer = await refused(() => raw('PUT', '/v1/aws/config/lease', body));
      expect([answer.status, answer.errors]).toEqual([400, ["'lease' is a required parameter"]]);
    });

    it.each([
      undefined,
      'application/json',
      'application/json; charset=utf-8',
      'text/plain',
      'application/octet-stream',
      'nonsense',
      'a/b; =;',
      'application/x-www-form-urlencoded',
    ])('reads JSON whatever the type says: %s', async (type) => {
      const headers = type === undefined ? token : { ...token, 'Content-Type': type };
      const answer = await raw('PUT', '/v1/aws/roles/typed', JSON.stringify({ policy }), headers);
      expect([answer.status, answer.text]).toEqual([204, '']);
    });

    it('reads a form where it is one', async () => {
      const headers = { ...token, 'Content-Type': 'application/x-www-form-urlencoded' };
      const form = new URLSearchParams([
        ['credential_type', 'iam_user'],
        ['policy_arns', 'arn:aws:iam::aws:policy/ReadOnlyAccess'],
        ['policy_arns', 'arn:aws:iam::aws:policy/job-function/Billing'],
      ]).toString();
      expect((await raw('POST', '/v1/aws/roles/form', form, headers)).status).toBe(204);
      const role = await world.http.must(200, 'GET', 'aws/roles/form');
      expect(role.body.data.policy_arns).toEqual([
        'arn:aws:iam::aws:policy/ReadOnlyAccess',
        'arn:aws:iam::aws:policy/job-function/Billing',
      ]);
    });

    it('refuses a body over 32 MiB', async () => {
      const answer = await refused(() =>
        raw('PUT', '/v1/aws/roles/mine', '{}', { ...token, 'Content-Length': String(32 * 1024 * 1024 + 1) }),
      );
      expect([answer.status, answer.errors]).toEqual([413, ['http: request body too large']]);
      expect(answer.headers['content-type']).toBe('application/json');
    });

    it('takes a body of some megabytes', async () => {
      const padded = JSON.stringify({ policy, padding: 'x'.repeat(4 * 1024 * 1024) });
      expect((await raw('PUT', '/v1/aws/roles/padded', padded)).status).toBe(204);
    });
  });

  describe('lists', () => {
    it.each([
      ['LIST', '/v1/aws/roles'],
      ['LIST', '/v1/aws/roles/'],
      ['GET', '/v1/aws/roles?list=true'],
      ['GET', '/v1/aws/roles/?list=true'],
      ['GET', '/v1/aws/roles?list=1'],
      ['GET', '/v1/aws/roles?list=T'],
      ['LIST', '/v1//aws//roles'],
      ['LIST', '/v1/aws%2Froles'],
    ])('is the same as %s %s', async (method, path) => {
      const { status, text } = await raw(method, path);
      expect(status).toBe(200);
      expect((JSON.parse(text) as { data: { keys: string[] } }).data.keys).toContain('deploy');
    });

    it.each(['/v1/aws/roles?list=', '/v1/aws/roles?list=false', '/v1/aws/roles?list=0'])(
      'is no list: GET %s',
      async (path) => expect((await raw('GET', path)).status).toBe(405),
    );
  });

  describe('fields', () => {
    it('names what it does not know, and what the path said already', async () => {
      const { body } = await world.http.must(200, 'GET', 'aws/creds/deploy?zulu=1&alpha=2&name=deploy');
      expect(body.warnings).toEqual([
        'Endpoint ignored these unrecognized parameters: [alpha zulu]',
        "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [name]",
      ]);
      expect((await raw('PUT', '/v1/aws/roles/deploy', JSON.stringify({ policy, zulu: 1, name: 'x' }))).status).toBe(
        204,
      );
      expect((await raw('GET', '/v1/aws/roles/x')).status).toBe(404);
    });

    it('has no parameter but those that help shows', async () => {
      const { body } = await world.http.must(200, 'PUT', 'aws/creds/deploy', { door: 'sts' });
      expect(body.warnings).toEqual(['Endpoint ignored these unrecognized parameters: [door]']);
      expect(body.lease_id).toMatch(/^aws\/creds\/deploy\//);
    });

    it('takes a name of the language for what it is: an unknown field', async () => {
      const { body } = await world.http.must(
        200,
        'PUT',
        'aws/creds/deploy',
        '{"__proto__":{"ttl":"5x"},"constructor":1,"toString":null,"hasOwnProperty":[]}',
      );
      expect(body.warnings).toEqual([
        'Endpoint ignored these unrecognized parameters: [__proto__ constructor hasOwnProperty toString]',
      ]);
    });

    it('ignores a body where the query counts, and the query where the body counts', async () => {
      expect((await raw('GET', '/v1/aws/roles/deploy', '{"broken')).status).toBe(200);
      expect((await raw('DELETE', '/v1/aws/roles/nobody', '{"broken')).status).toBe(204);
      expect((await raw('PUT', '/v1/aws/config/lease?lease=1h&lease_max=2h', '{}')).status).toBe(400);
    });

    it.each([
      ['aws/roles/odd', '{"credential_type":"iam_user","policy_document":{"a":1}}', 'policy_document'],
      ['aws/roles/odd', '{"credential_type":["iam_user"]}', 'credential_type'],
      ['aws/roles/odd', '{"credential_type":"assumed_role","default_sts_ttl":"5x"}', 'default_sts_ttl'],
      ['aws/roles/odd', '{"credential_type":"assumed_role","default_sts_ttl":1.5}', 'default_sts_ttl'],
      ['aws/roles/odd', '{"credential_type":"assumed_role","max_sts_ttl":-1}', 'max_sts_ttl'],
      ['aws/roles/odd', '{"credential_type":"assumed_role","max_sts_ttl":"1d12h"}', 'max_sts_ttl'],
      ['aws/roles/odd', '{"credential_type":"assumed_role","max_sts_ttl":1e300}', 'max_sts_ttl'],
      ['aws/roles/odd', '{"credential_type":"assumed_role","max_sts_ttl":99999999999999999999}', 'max_sts_ttl'],
      ['aws/roles/odd', '{"credential_type":"assumed_role","max_sts_ttl":"99999999999999999999h"}', 'max_sts_ttl'],
      ['aws/roles/odd', '{"credential_type":"iam_user","iam_tags":["a"]}', 'iam_tags'],
      ['aws/roles/odd', '{"credential_type":"iam_user","iam_tags":""}', 'iam_tags'],
      ['aws/roles/odd', '{"credential_type":"iam_user","policy_arns":[["a"]]}', 'policy_arns'],
      ['aws/roles/odd', '{"credential_type":"iam_user","user_path":"/a\\u0000/"}', 'user_path'],
      ['aws/roles/odd', '{"credential_type":"iam_user","iam_tags":{"a\\u0000":"b"}}', 'iam_tags'],
      ['aws/roles/odd', '{"credential_type":"iam_user","iam_tags":{"a":{"b":1}}}', 'iam_tags'],
      ['aws/config/root', '{"max_retries":1.5}', 'max_retries'],
      ['aws/config/root', '{"max_retries":1e30}', 'max_retries'],
      ['aws/config/root', '{"region":"\\ud800"}', 'region'],
      ['aws/config/root', '{"region":{}}', 'region'],
      ['aws/creds/deploy', '{"ttl":"5x"}', 'ttl'],
      ['aws/sts/deploy', '{"ttl":{}}', 'ttl'],
      ['aws/sts/deploy', '{"ttl":"-5"}', 'ttl'],
      ['sys/leases/renew', '{"lease_id":"x","increment":"soon"}', 'increment'],
      ['sys/leases/revoke', '{"lease_id":["x"]}', 'lease_id'],
      ['sys/leases/revoke', '{"lease_id":"x","sync":"maybe"}', 'sync'],
      ['sys/mounts/odd', '{"type":"aws","config":[]}', 'config'],
      ['sys/mounts/odd', '{"type":"aws","config":{"force_no_cache":"perhaps"}}', 'force_no_cache'],
      ['sys/mounts/odd', '{"type":"aws","local":{}}', 'local'],
    ])('refuses %s %s', async (path, body, field) => {
      const answer = await refused(() => raw('PUT', `/v1/${path}`, body));
      expect(answer.status).toBe(400);
      expect(answer.errors?.[0]).toContain(`error converting input for field "${field}": `);
    });

    it('refuses a parameter that is said twice', async () => {
      const answer = await refused(() => raw('GET', '/v1/aws/sts/deploy?ttl=1h&ttl=2h'));
      expect([answer.status, answer.errors?.[0]]).toEqual([
        400,
        expect.stringContaining('error converting input for field "ttl": '),
      ]);
    });
  });

  describe('headers that ask for what is not here', () => {
    it('knows no namespace but the root', async () => {
      const at = (namespace: string) =>
        raw('GET', '/v1/aws/roles/deploy', undefined, { ...token, 'X-Vault-Namespace': namespace });
      for (const root of ['', 'root', '/', 'root/']) expect([root, (await at(root)).status]).toEqual([root, 200]);
      const answer = await at('team');
      expect([answer.status, answer.errors]).toEqual([404, ['namespace not found']]);
    });

    it('never hands out in the clear what was to be wrapped', async () => {
      const wrapped = (ttl: string) =>
        raw('GET', '/v1/aws/creds/deploy', undefined, { ...token, 'X-Vault-Wrap-TTL': ttl });
      expect((await refused(() => wrapped('soon'))).errors?.[0]).toMatch(/^error parsing X-Vault-Wrap-TTL header: /);
      expect((await wrapped('0')).status).toBe(200);
    });

    it('takes the other headers of the clients', async () => {
      const answer = await raw('GET', '/v1/aws/roles/deploy', undefined, {
        ...token,
        'X-Vault-Request': 'true',
        'X-Vault-No-Request-Forwarding': 'true',
        'X-Vault-Policy-Override': 'true',
        'X-Vault-Index': 'x',
        'Accept-Encoding': 'gzip',
      });
      expect(answer.status).toBe(200);
    });
  });
});
