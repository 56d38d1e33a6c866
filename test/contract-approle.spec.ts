import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { everything } from './support/everything.js';
import { someoneWaits, whileLocked } from './support/lease-life.js';
import { World } from './support/world.js';

const uuid = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/;
const invalid = 'invalid role or secret ID';
const role = 'auth/approle/role/ci';

describe('AppRole', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
  });
  afterAll(() => world.close());
  beforeEach(async () => {
    await world.http.must(204, 'DELETE', role);
    await world.http.must(204, 'POST', role, { token_policies: 'deploy', token_ttl: '20m', token_max_ttl: '30m' });
  });

  const call = (method: string, path: string, body?: object) => world.http.call(method, path, body);
  const roleId = async () => (await world.http.must(200, 'GET', `${role}/role-id`)).body.data.role_id as string;
  const secretId = async (body: object = {}) =>
    (await world.http.must(200, 'POST', `${role}/secret-id`, body)).body.data as Record<string, string>;
  const logIn = (body: object) => world.http.call('POST', 'auth/approle/login', body, { token: null });
  const refusal = async (method: string, path: string, body?: object) => {
    const before = await everything(world);
    const answer = await call(method, path, body);
    expect(await everything(world)).toEqual(before);
    return [answer.status, answer.body.errors];
  };

  describe('roles', () => {
    it('are not made anew by a write of one field that a deletion overtakes', async () => {
      const lock = `select pg_advisory_xact_lock(hashtext('leasehold app role'))`;
      const written = await whileLocked(world, lock, async () => {
        const write = call('POST', `${role}/policies`, { token_policies: 'deploy' });
        await someoneWaits(world);
        await world.http.must(204, 'DELETE', role);
        return { write };
      });
      expect([(await written.write).status, (await call('GET', role)).status]).toEqual([404, 404]);
    });

    it('are written, read, listed and deleted', async () => {
      expect((await world.http.must(200, 'GET', role)).body.data).toEqual({
        bind_secret_id: true,
        local_secret_ids: false,
        secret_id_bound_cidrs: null,
        secret_id_num_uses: 0,
        secret_id_ttl: 0,
        token_bound_cidrs: [],
        token_explicit_max_ttl: 0,
        token_max_ttl: 1800,
        token_no_default_policy: false,
        token_num_uses: 0,
        token_period: 0,
        token_policies: ['deploy'],
        token_ttl: 1200,
        token_type: 'default',
      });
      await world.http.must(204, 'PUT', role, { token_num_uses: 3, secret_id_ttl: '1h' });
      expect((await call('GET', role)).body.data).toMatchObject({
        token_num_uses: 3,
        secret_id_ttl: 3600,
        token_ttl: 1200,
      });
      expect((await world.http.must(200, 'LIST', 'auth/approle/role')).body.data.keys).toEqual(['ci']);
      expect((await call('GET', 'auth/approle/role/CI')).body.data).toMatchObject({ token_ttl: 1200 });
      await world.http.must(204, 'DELETE', role);
      expect((await call('GET', role)).status).toBe(404);
      expect((await call('LIST', 'auth/approle/role')).status).toBe(404);
    });

    it('have an id, which may be set', async () => {
      expect(await roleId()).toMatch(uuid);
      await world.http.must(204, 'POST', `${role}/role-id`, { role_id: 'of-my-own' });
      expect(await roleId()).toBe('of-my-own');
      await world.http.must(204, 'POST', 'auth/approle/role/other', {});
      expect(await refusal('POST', 'auth/approle/role/other/role-id', { role_id: 'of-my-own' })).toEqual([
        400,
        ['role_id already in use'],
      ]);
      await world.http.must(204, 'DELETE', 'auth/approle/role/other');
      expect(await refusal('POST', `${role}/role-id`, {})).toEqual([400, ['missing role_id']]);
    });

    it.each([
      ['policies', 'token_policies', ['deploy'], { token_policies: 'b,a' }, ['a', 'b'], []],
      ['policies', 'token_policies', ['deploy'], { policies: ['c'] }, ['c'], []],
      ['bind-secret-id', 'bind_secret_id', true, { bind_secret_id: 'true' }, true, true],
      ['bound-cidr-list', 'bound_cidr_list', null, { bound_cidr_list: '10.0.0.0/8' }, ['10.0.0.0/8'], null],
      [
        'secret-id-bound-cidrs',
        'secret_id_bound_cidrs',
        null,
        { secret_id_bound_cidrs: ['::1/128'] },
        ['::1/128'],
        null,
      ],
      ['secret-id-num-uses', 'secret_id_num_uses', 0, { secret_id_num_uses: '4' }, 4, 0],
      ['secret-id-ttl', 'secret_id_ttl', 0, { secret_id_ttl: '90m' }, 5400, 0],
      ['token-bound-cidrs', 'token_bound_cidrs', [], { token_bound_cidrs: '10.1.0.0/16' }, ['10.1.0.0/16'], []],
      ['token-num-uses', 'token_num_uses', 0, { token_num_uses: 7 }, 7, 0],
      ['token-ttl', 'token_ttl', 1200, { token_ttl: '5m' }, 300, 0],
      ['token-max-ttl', 'token_max_ttl', 1800, { token_max_ttl: 7200 }, 7200, 0],
      ['period', 'token_period', 0, { token_period: '1h' }, 3600, 0],
      ['period', 'token_period', 0, { period: 60 }, 60, 0],
    ])('are read, set and set back one field at a time: %s as %s', async (path, name, before, body, after, back) => {
      const whole = (await call('GET', role)).body.data;
      const field = async () => (await world.http.must(200, 'GET', `${role}/${path}`)).body.data;
      expect(await field()).toEqual({ [name]: before });
      await world.http.must(204, 'POST', `${role}/${path}`, body);
      expect(await field()).toEqual({ [name]: after });
      const shownAs = name === 'bound_cidr_list' ? 'secret_id_bound_cidrs' : name;
      expect((await call('GET', role)).body.data).toEqual({ ...whole, [shownAs]: after });
      await world.http.must(204, 'DELETE', `${role}/${path}`);
      expect(await field()).toEqual({ [name]: back });
      expect((await call('GET', role)).body.data).toEqual({ ...whole, [shownAs]: back });
    });

    it.each([
      ['POST', 'token-ttl', {}, 400, 'missing token_ttl'],
      ['POST', 'policies', { token_ttl: 5 }, 400, 'missing token_policies'],
      ['POST', 'token-ttl', { token_ttl: '31m' }, 400, "'token_ttl' cannot be greater than 'token_max_ttl'"],
      ['POST', 'policies', { policies: 'root' }, 400, 'auth methods cannot create root tokens'],
      [
        'POST',
        'bind-secret-id',
        { bind_secret_id: false },
        400,
        'at least one constraint should be enabled on the role',
      ],
    ])('keep all their rules when one field is asked for: %s %s %j', async (method, path, body, status, text) => {
      expect(await refusal(method, `${role}/${path}`, body)).toEqual([status, [text]]);
    });

    it('are not made by a write of one field', async () => {
      for (const [method, path, body] of [
        ['POST', 'token-ttl', { token_ttl: 5 }],
        ['DELETE', 'token-ttl', undefined],
      ] as const) {
        expect(await refusal(method, `auth/approle/role/nobody/${path}`, body)).toEqual([
          404,
          ['role "nobody" does not exist'],
        ]);
      }
      expect(await refusal('GET', 'auth/approle/role/nobody/token-ttl')).toEqual([404, []]);
    });

    it.each([
      [{ token_ttl: '2h', token_max_ttl: '1h' }, "'token_ttl' cannot be greater than 'token_max_ttl'"],
      [{ bind_secret_id: false }, 'at least one constraint should be enabled on the role'],
      [{ token_policies: 'a,root' }, 'auth methods cannot create root tokens'],
      [{ token_policies: 'a, Response-Wrapping' }, 'cannot assign policy "response-wrapping"'],
      [{ token_type: 'odd' }, `invalid 'token_type' value "odd"`],
      [
        { token_type: 'batch', token_num_uses: 1 },
        "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count",
      ],
      [{ token_num_uses: 2 ** 31 }, 'token_num_uses must be at most 2147483647; 0 is any number'],
      [{ secret_id_num_uses: 2 ** 31 }, 'secret_id_num_uses must be at most 2147483647; 0 is any number'],
      [{ secret_id_num_uses: -1 }, 'secret_id_num_uses cannot be negative'],
      [
        { secret_id_bound_cidrs: '10.0.0.0/99' },
        'invalid CIDR blocks: "10.0.0.0/99" of secret_id_bound_cidrs is no block of addresses',
      ],
    ])('refuse %j', async (body, text) => {
      expect(await refusal('POST', role, body)).toEqual([400, [text]]);
    });

    it('warn of a type that says nothing', async () => {
      const answer = await world.http.must(200, 'POST', role, { token_type: 'default-service' });
      expect(answer.body.warnings).toEqual(['default-service has no useful meaning; adjusting to service']);
    });
  });

  describe('logging in', () => {
    it.each(['POST', 'PUT'])('gives a token with what the role says: %s', async (method) => {
      const body = { role_id: await roleId(), secret_id: (await secretId({ metadata: '{"team":"a"}' })).secret_id };
      const answer = await world.http.must(200, method, 'auth/approle/login', body, { token: null });
      expect(answer.body).toMatchObject({ data: null, lease_id: '', warnings: null });
      const auth = answer.body.auth as Record<string, string>;
      expect(auth).toEqual({
        client_token: expect.stringMatching(/^hvs\./),
        accessor: expect.any(String),
        policies: ['default', 'deploy'],
        token_policies: ['default', 'deploy'],
        metadata: { role_name: 'ci', team: 'a' },
        lease_duration: 1200,
        renewable: true,
        entity_id: '',
        token_type: 'service',
        orphan: true,
        mfa_requirement: null,
        num_uses: 0,
      });
      const { body: found } = await call('POST', 'auth/token/lookup', { token: auth.client_token });
      expect(found.data).toMatchObject({ path: 'auth/approle/login', display_name: 'approle', orphan: true });
      // Its longest life bounds its renewals.
      const renewed = await call('POST', 'auth/token/renew', { token: auth.client_token, increment: '2h' });
      expect((renewed.body.auth as { lease_duration: number }).lease_duration).toBeLessThanOrEqual(1800);
    });

    it('gives batch and counted tokens where the role says so', async () => {
      const { secret_id } = await secretId();
      const ids = { role_id: await roleId(), secret_id };
      await world.http.must(204, 'POST', role, { token_num_uses: 7, token_no_default_policy: true });
      expect((await logIn(ids)).body.auth).toMatchObject({ num_uses: 7, policies: ['deploy'] });
      await world.http.must(204, 'POST', role, { token_num_uses: 0, token_type: 'batch' });
      expect((await logIn(ids)).body.auth).toMatchObject({ token_type: 'batch', accessor: '', renewable: false });
    });

    it('is refused without the right pair', async () => {
      const id = await roleId();
      const { secret_id } = await secretId();
      await world.http.must(204, 'POST', 'auth/approle/role/other', {});
      const other = (await call('GET', 'auth/approle/role/other/role-id')).body.data.role_id;
      const text = async (body: object) => {
        const answer = await logIn(body);
        return [answer.status, answer.body.errors[0]];
      };
      expect(await text({ secret_id })).toEqual([400, 'missing role_id']);
      expect(await text({ role_id: id })).toEqual([400, 'missing secret_id']);
      expect(await text({ role_id: id, secret_id: 'wrong' })).toEqual([400, invalid]);
      expect(await text({ role_id: 'wrong', secret_id })).toEqual([400, invalid]);
      expect(await text({ role_id: other, secret_id })).toEqual([400, invalid]);
      expect((await logIn({ role_id: id, secret_id })).status).toBe(200);
      // A role that is deleted and written again is another one.
      await world.http.must(204, 'DELETE', role);
      await world.http.must(204, 'POST', role, { role_id: id });
      expect(await text({ role_id: id, secret_id })).toEqual([400, invalid]);
      await world.http.must(204, 'DELETE', 'auth/approle/role/other');
    });

    it('needs no secret id where addresses bind the role instead', async () => {
      await world.http.must(204, 'POST', role, { bind_secret_id: false, secret_id_bound_cidrs: '127.0.0.1/32,::1' });
      const ids = { role_id: await roleId() };
      expect((await logIn(ids)).status).toBe(200);
      await world.http.must(204, 'POST', role, { secret_id_bound_cidrs: ['10.0.0.0/8'] });
      const answer = await logIn(ids);
      expect([answer.status, answer.body.errors[0]]).toEqual([
        400,
        'source address "127.0.0.1" unauthorized by CIDR restrictions on the role',
      ]);
    });

    it('binds the token to addresses', async () => {
      await world.http.must(204, 'POST', role, { token_bound_cidrs: '10.0.0.0/8' });
      const ids = { role_id: await roleId(), secret_id: (await secretId()).secret_id };
      const { client_token } = (await logIn(ids)).body.auth as { client_token: string };
      const answer = await world.http.call('GET', 'auth/token/lookup-self', undefined, { token: client_token });
      expect([answer.status, answer.body.errors]).toEqual([403, ['permission denied']]);
    });

    it('binds the token to no addresses that the role has ceased to allow', async () => {
      const { secret_id } = await secretId({ token_bound_cidrs: '127.0.0.0/8' });
      const ids = { role_id: await roleId(), secret_id };
      expect((await logIn(ids)).status).toBe(200);
      await world.http.must(204, 'POST', role, { token_bound_cidrs: '10.0.0.0/8' });
      const answer = await logIn(ids);
      expect([answer.status, answer.body.errors[0]]).toEqual([
        400,
        'failed to verify subset relationship between CIDR blocks on the role ["10.0.0.0/8"] and CIDR blocks on the secret ID ["127.0.0.0/8"]',
      ]);
    });

    it('is given exactly as often as a secret id allows, however many come at once', async () => {
      const ids = { role_id: await roleId(), secret_id: (await secretId({ num_uses: 4 })).secret_id };
      const answers = await Promise.all(Array.from({ length: 12 }, () => logIn(ids)));
      expect(answers.map((answer) => answer.status).sort()).toEqual([...Array(4).fill(200), ...Array(8).fill(400)]);
      expect((await call('POST', `${role}/secret-id/lookup`, { secret_id: ids.secret_id })).status).toBe(204);
    });

    it('ends with the time of a secret id', async () => {
      const ids = { role_id: await roleId(), secret_id: (await secretId({ ttl: '300ms' })).secret_id };
      // Sub-second parts are dropped, and no time at all is without an end.
      expect((await logIn(ids)).status).toBe(200);
      await world.http.must(204, 'POST', role, { secret_id_ttl: 3600 });
      const timed = { ...ids, secret_id: (await secretId({ ttl: 600 })).secret_id };
      await world.database.query(`update app_role_secret_ids set expires_at = now() where ttl_ms = 600000`);
      expect((await logIn(timed)).body.errors).toEqual([invalid]);
    });
  });

  describe('secret ids', () => {
    it('are shown once, and looked up without being said', async () => {
      const made = await secretId({ num_uses: 5, ttl: '1h', cidr_list: '127.0.0.0/8', metadata: 'a=b, c=d' });
      expect(made).toEqual({
        secret_id: expect.stringMatching(/^[\w-]{32}$/),
        secret_id_accessor: expect.stringMatching(uuid),
        secret_id_ttl: 3600,
        secret_id_num_uses: 5,
      });
      const data = {
        secret_id_accessor: made.secret_id_accessor,
        secret_id_num_uses: 5,
        secret_id_ttl: 3600,
        creation_time: expect.any(String),
        expiration_time: expect.any(String),
        last_updated_time: expect.any(String),
        metadata: { a: 'b', c: 'd' },
        cidr_list: ['127.0.0.0/8'],
        token_bound_cidrs: [],
      };
      const bySecretId = await world.http.must(200, 'POST', `${role}/secret-id/lookup`, made);
      const byAccessor = await world.http.must(200, 'POST', `${role}/secret-id-accessor/lookup`, made);
      for (const answer of [bySecretId, byAccessor]) {
        expect(answer.body.data).toEqual(data);
        expect(answer.text).not.toContain(made.secret_id);
      }
      const list = await world.http.must(200, 'LIST', `${role}/secret-id`);
      expect(list.body.data.keys).toEqual([made.secret_id_accessor]);
    });

    it('may be chosen, once', async () => {
      await world.http.must(200, 'POST', `${role}/custom-secret-id`, { secret_id: 'my-own' });
      expect((await logIn({ role_id: await roleId(), secret_id: 'my-own' })).status).toBe(200);
      expect((await refusal('POST', `${role}/custom-secret-id`, { secret_id: 'my-own' }))[0]).toBe(400);
      expect(await refusal('POST', `${role}/custom-secret-id`, {})).toEqual([400, ['missing secret_id']]);
    });

    it.each(['POST', 'DELETE'])('are ended by themselves or by their accessor: %s', async (method) => {
      const [one, two] = [await secretId(), await secretId()];
      const end = (path: string, name: string, value: string) =>
        method === 'POST'
          ? world.http.must(204, method, `${role}/${path}`, { [name]: value })
          : world.http.must(204, method, `${role}/${path}?${name}=${value}`);
      await end('secret-id/destroy', 'secret_id', one.secret_id!);
      await end('secret-id-accessor/destroy', 'secret_id_accessor', two.secret_id_accessor!);
      for (const { secret_id } of [one, two])
        expect((await logIn({ role_id: await roleId(), secret_id })).body.errors).toEqual([invalid]);
      expect((await call('LIST', `${role}/secret-id`)).status).toBe(404);
      await end('secret-id/destroy', 'secret_id', one.secret_id!);
      expect((await call('POST', `${role}/secret-id-accessor/lookup`, two)).status).toBe(404);
    });

    it.each([
      [{ num_uses: 6 }, "num_uses cannot be higher than the role's secret_id_num_uses"],
      [{ num_uses: 0 }, "num_uses cannot be higher than the role's secret_id_num_uses"],
      [{ num_uses: -1 }, 'num_uses cannot be negative'],
      [{ ttl: '2h' }, "ttl cannot be longer than the role's secret_id_ttl"],
      [{ cidr_list: 'here' }, 'failed to validate CIDR blocks'],
      [
        { cidr_list: '11.0.0.0/8' },
        'failed to verify subset relationship between CIDR blocks on the role ["10.0.0.0/8"] and CIDR blocks on the secret ID ["11.0.0.0/8"]',
      ],
      [{ metadata: 'nothing' }, 'failed to parse metadata: it must be pairs of the form k=v'],
      [{ num_uses: 2 ** 31 }, 'num_uses must be at most 2147483647; 0 is any number'],
      [{ metadata: String.raw`{"a":"\u0000"}` }, 'failed to parse metadata: it must be a JSON object of texts'],
      [{ metadata: '{"a":1}' }, 'failed to parse metadata: it must be a JSON object of texts'],
    ])('get no more than their role allows: %j', async (body, text) => {
      const limits = { secret_id_num_uses: 5, secret_id_ttl: '1h', secret_id_bound_cidrs: '10.0.0.0/8' };
      await world.http.must(204, 'POST', role, limits);
      expect(await refusal('POST', `${role}/secret-id`, body)).toEqual([400, [text]]);
    });

    it('need a role', async () => {
      for (const path of ['secret-id', 'custom-secret-id', 'secret-id/lookup', 'secret-id-accessor/destroy'])
        expect(
          await refusal('POST', `auth/approle/role/nobody/${path}`, { secret_id: 'x', secret_id_accessor: 'x' }),
        ).toEqual([404, ['role "nobody" does not exist']]);
    });

    it('are kept as keyed hashes alone', async () => {
      const { secret_id } = await secretId();
      const { rows } = await world.database.query<{ line: string }>(
        'select t::text as line from app_role_secret_ids t',
      );
      expect(rows).toHaveLength(1);
      for (const form of ['utf8', 'hex', 'base64'] as const)
        expect(rows[0]!.line).not.toContain(Buffer.from(secret_id!).toString(form));
    });
  });

  it('is written by those with a token alone', async () => {
    for (const path of [role, `${role}/secret-id`, `${role}/role-id`])
      expect((await world.http.call('POST', path, {}, { token: null })).status).toBe(403);
  });
});
