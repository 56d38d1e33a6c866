import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { everything } from './support/everything.js';
import { lend, lentBy, writeRole } from './support/lease-life.js';
import type { HttpAnswer } from './support/http-client.js';
import { eventually, World } from './support/world.js';

/** `auth` of an answer, and `data` of a look-up. */
interface Auth {
  client_token: string;
  accessor: string;
  [key: string]: unknown;
}

/** It is an argument of `vault token lookup -accessor`, which takes what begins with a dash for an option of its own. */
const accessorForm = /^[0-9a-f]{36}$/;
const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/;
const denied = '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n';
const systemMax = 768 * 3600;

describe('tokens', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    for (const name of ['a', 'b', 'a,b', 'deploy', 'dev', 'other', 'team-a', 'team-x', 'test', 'x']) {
      const policy = 'path "nothing" { capabilities = ["deny"] }';
      await world.http.must(204, 'PUT', `sys/policies/acl/${encodeURIComponent(name)}`, { policy });
    }
    await world.mount();
    await writeRole(world, 'deploy');
  });
  afterAll(() => world.close());

  const call = (method: string, path: string, body?: object, token?: string | null) =>
    world.http.call(method, path, body, token === undefined ? {} : { token });
  const authOf = (answer: HttpAnswer) => answer.body.auth as Auth;
  const create = async (body: object = {}, path = 'auth/token/create') =>
    authOf(await world.http.must(200, 'POST', path, body));
  const lookUp = async (token: string) =>
    (await world.http.must(200, 'POST', 'auth/token/lookup', { token })).body.data;
  const isKnown = async (token: string) => (await call('POST', 'auth/token/lookup', { token })).status === 200;

  async function refusal(method: string, path: string, body?: object, token?: string | null) {
    const before = await everything(world);
    const answer = await call(method, path, body, token);
    expect(await everything(world)).toEqual(before);
    return [answer.status, answer.body.errors];
  }

  describe('making them', () => {
    it.each(['POST', 'PUT'])('answers the token once, in the envelope: %s', async (method) => {
      const answer = await world.http.must(200, method, 'auth/token/create', {
        policies: ['deploy'],
        meta: { team: 'a' },
      });
      expect(answer.body).toMatchObject({
        lease_id: '',
        renewable: false,
        lease_duration: 0,
        data: null,
        warnings: null,
      });
      expect(authOf(answer)).toEqual({
        client_token: expect.stringMatching(/^hvs\.[\w-]{24,}$/),
        accessor: expect.stringMatching(accessorForm),
        policies: ['default', 'deploy'],
        token_policies: ['default', 'deploy'],
        metadata: { team: 'a' },
        lease_duration: systemMax,
        renewable: true,
        entity_id: '',
        token_type: 'service',
        orphan: false,
        mfa_requirement: null,
        num_uses: 0,
      });
    });

    it('takes what the command line sends, where 0 is not set', async () => {
      const body = {
        policies: ['deploy'],
        ttl: '0s',
        explicit_max_ttl: '0s',
        period: '0s',
        display_name: '',
        num_uses: 0,
        renewable: true,
        type: 'service',
        entity_alias: '',
      };
      expect(await create(body)).toMatchObject({ lease_duration: systemMax, renewable: true, num_uses: 0 });
      expect(await create({ ...body, no_parent: true })).toMatchObject({ orphan: true });
    });

    it.each([
      [{ ttl: '1h' }, { lease_duration: 3600, renewable: true }],
      [{ ttl: 90 }, { lease_duration: 90 }],
      [{ ttl: '1d' }, { lease_duration: 86_400 }],
      [{ lease: '2h' }, { lease_duration: 7200 }],
      [{ ttl: '1h', lease: '2h' }, { lease_duration: 3600 }],
      [{ ttl: '1h', renewable: false }, { renewable: false }],
      [{ ttl: '1h', renewable: null }, { renewable: true }],
      [
        { period: '2h', ttl: '1h' },
        { lease_duration: 7200, renewable: true },
      ],
      [{ explicit_max_ttl: '1h', ttl: '30m' }, { lease_duration: 1800 }],
      [{ num_uses: 3 }, { num_uses: 3 }],
      [
        { type: 'batch', ttl: '1h' },
        { token_type: 'batch', accessor: '', renewable: false, lease_duration: 3600 },
      ],
      [{ policies: ['B', 'a', 'a ', ''] }, { policies: ['a', 'b', 'default'] }],
      [{ policies: ['a'], no_default_policy: true }, { policies: ['a'] }],
      [{ policies: 'a,b' }, { policies: ['a,b', 'default'] }],
      [{ policies: ['a', 'root'], ttl: '1h' }, { policies: ['root'] }],
      [{ no_parent: true }, { orphan: true }],
    ])('%j gives %j', async (body, auth) => {
      expect(await create({ policies: ['deploy'], ...body })).toMatchObject(auth);
    });

    it('gives the policies of its maker when none are asked for', async () => {
      expect(await create()).toMatchObject({ policies: ['root'], lease_duration: 0, renewable: false });
    });

    it.each([
      [{ ttl: '800h' }, ['TTL of "800h" exceeded the effective max_ttl of "768h"; TTL value is capped accordingly']],
      [
        { ttl: '2h', explicit_max_ttl: '1h' },
        ['TTL of "2h" exceeded the effective max_ttl of "1h"; TTL value is capped accordingly'],
      ],
      [
        { period: '800h' },
        ['period of "800h" exceeded the effective max_ttl of "768h"; period value is capped accordingly'],
      ],
      [{ policies: ['x', 'nobody-wrote'] }, ['Policy "nobody-wrote" does not exist']],
      [{ colour: 'red' }, ['Endpoint ignored these unrecognized parameters: [colour]']],
    ])('warns of %j', async (body, warnings) => {
      const answer = await world.http.must(200, 'POST', 'auth/token/create', { policies: ['x'], ...body });
      expect(answer.body.warnings).toEqual(warnings);
    });

    it('takes an id of its maker, once', async () => {
      const answer = await world.http.must(200, 'POST', 'auth/token/create', { id: 'my-own', policies: ['root'] });
      expect([authOf(answer).client_token, answer.body.warnings]).toEqual([
        'my-own',
        [expect.stringMatching(/^A custom ID /)],
      ]);
      expect((await lookUp('my-own')).id).toBe('my-own');
      const again = await refusal('POST', 'auth/token/create', { id: 'my-own' });
      expect(again).toEqual([400, ['cannot create a token with a duplicate ID']]);
    });

    it('makes orphans at a path of their own', async () => {
      const made = await create({ policies: ['x'] }, 'auth/token/create-orphan');
      expect(made.orphan).toBe(true);
      expect((await lookUp(made.client_token)).path).toBe('auth/token/create-orphan');
    });

    it.each([
      [{ id: 's.x' }, "custom token ID cannot have the 's.' prefix"],
      [{ id: 'hvs.x' }, "custom token ID cannot have the 'hvs.' prefix"],
      [{ id: 'x.y' }, "custom token ID cannot have a '.' in the value"],
      [{ ttl: '-1h' }, 'ttl must be positive'],
      [{ ttl: 'soon' }, 'time: invalid duration "soon"'],
      [{ ttl: 1.5 }, 'time: missing unit in duration "1.5"'],
      [{ period: '-1h' }, 'period must be positive'],
      [{ explicit_max_ttl: '-1' }, 'explicit_max_ttl must be positive'],
      [{ num_uses: -1 }, 'number of uses cannot be negative'],
      [{ num_uses: 2 ** 31 }, 'num_uses must be at most 2147483647; 0 is any number'],
      [{ max_leases: -1 }, 'max_leases cannot be negative'],
      [{ max_leases: 2 ** 31 }, 'max_leases must be at most 2147483647; 0 is any number'],
      [{ type: 'other' }, "invalid 'token_type' value"],
      [{ type: 'batch' }, 'batch tokens cannot be root tokens'],
      [{ type: 'batch', num_uses: 1 }, 'batch tokens cannot have "num_uses" set'],
      [{ type: 'batch', period: '1h' }, 'batch tokens cannot have "period" set'],
      [{ type: 'batch', explicit_max_ttl: '1h' }, 'batch tokens cannot have "explicit_max_ttl" set'],
      [{ entity_alias: 'me' }, "'entity_alias' is only allowed in combination with token role"],
      [
        { num_uses: 'many' },
        `Field validation failed: error converting input for field "num_uses": expected type 'int', got string`,
      ],
    ])('refuses %j', async (body, text) => {
      expect(await refusal('POST', 'auth/token/create', body)).toEqual([400, [text]]);
    });

    it('refuses a role that does not exist', async () => {
      expect(await refusal('POST', 'auth/token/create/nobody', {})).toEqual([400, ['unknown role nobody']]);
    });

    it('does not let a limited root token make one without limits', async () => {
      const limited = (await create({ policies: ['root'], ttl: '1h' })).client_token;
      expect(await refusal('POST', 'auth/token/create', {}, limited)).toEqual([
        400,
        ['expiring root tokens cannot create non-expiring root tokens'],
      ]);
      expect((await call('POST', 'auth/token/create', { ttl: '30m' }, limited)).status).toBe(200);
    });

    it('does not let a counted token make others', async () => {
      const counted = (await create({ policies: ['root'], num_uses: 2 })).client_token;
      const errors = [];
      for (let use = 0; use < 3; use++) errors.push((await call('POST', 'auth/token/create', {}, counted)).body.errors);
      expect(errors).toEqual([
        ['restricted use token cannot generate child tokens'],
        ['parent token lookup failed: no parent found'],
        [denied],
      ]);
    });
  });

  describe('looking them up', () => {
    it('says all there is of one that expires', async () => {
      const made = await create({
        policies: ['x'],
        ttl: '1h',
        explicit_max_ttl: '2h',
        display_name: 'CI job',
        meta: { a: 'b' },
      });
      const data = await lookUp(made.client_token);
      expect(data).toEqual({
        id: made.client_token,
        accessor: made.accessor,
        policies: ['default', 'x'],
        path: 'auth/token/create',
        meta: { a: 'b' },
        display_name: 'token-CI-job',
        num_uses: 0,
        orphan: false,
        creation_time: expect.any(Number),
        creation_ttl: 3600,
        expire_time: expect.stringMatching(instant),
        issue_time: expect.stringMatching(instant),
        ttl: expect.any(Number),
        explicit_max_ttl: 7200,
        entity_id: '',
        type: 'service',
        renewable: true,
      });
      expect(Date.parse(String(data.expire_time)) - Date.parse(String(data.issue_time))).toBe(3_600_000);
      expect(data.ttl).toBeGreaterThan(3500);
      const byGet = await world.http.must(200, 'GET', `auth/token/lookup?token=${made.client_token}`);
      expect(byGet.body.data.id).toBe(made.client_token);
    });

    it('leaves out, of a root token, when it would expire', async () => {
      const data = await lookUp((await create()).client_token);
      expect([data.expire_time, data.ttl, 'renewable' in data, 'issue_time' in data]).toEqual([null, 0, false, false]);
    });

    it("is the caller's own where none is named", async () => {
      const own = (await create({ policies: ['root'], ttl: '1h' })).client_token;
      for (const [method, path, body] of [
        ['GET', 'auth/token/lookup-self'],
        ['PUT', 'auth/token/lookup-self', {}],
        ['POST', 'auth/token/lookup', {}],
        ['POST', 'auth/token/lookup', { token: '' }],
        ['GET', 'auth/token/lookup'],
      ] as [string, string, object?][])
        expect([path, (await call(method, path, body, own)).body.data.id]).toEqual([path, own]);
    });

    it('by an accessor never says the token, nor does any list', async () => {
      const made = await create({ policies: ['x'] });
      const answer = await world.http.must(200, 'POST', 'auth/token/lookup-accessor', { accessor: made.accessor });
      expect(answer.body.data).toMatchObject({ id: '', accessor: made.accessor, policies: ['default', 'x'] });
      const list = await world.http.must(200, 'LIST', 'auth/token/accessors');
      expect(list.body.data.keys).toContain(made.accessor);
      for (const text of [answer.text, list.text]) expect(text).not.toContain(made.client_token);
    });

    it('knows a batch token by itself alone', async () => {
      const made = await create({ policies: ['x'], type: 'batch' });
      expect(await lookUp(made.client_token)).toMatchObject({ accessor: '', type: 'batch', renewable: false });
    });

    it.each([
      ['auth/token/lookup', { token: 'nobody' }, 403, 'bad token'],
      ['auth/token/lookup-accessor', { accessor: 'nobody' }, 400, '1 error occurred:\n\t* invalid accessor\n\n'],
      ['auth/token/lookup-accessor', {}, 400, '1 error occurred:\n\t* missing accessor\n\n'],
    ])('refuses %s %j', async (path, body, status, text) => {
      expect(await refusal('POST', path, body)).toEqual([status, [text]]);
    });
  });

  describe('renewing them', () => {
    it.each([
      ['PUT', 'auth/token/renew', 'token'],
      ['POST', 'auth/token/renew', 'token'],
      ['PUT', 'auth/token/renew-self', 'self'],
      ['POST', 'auth/token/renew-accessor', 'accessor'],
    ])('replaces what is left: %s %s', async (method, path, by) => {
      const made = await create({ policies: ['root'], ttl: '1h' });
      const which =
        by === 'token' ? { token: made.client_token } : by === 'accessor' ? { accessor: made.accessor } : {};
      const caller = by === 'self' ? made.client_token : undefined;
      const renewed = authOf(await call(method, path, { ...which, increment: 7200 }, caller));
      expect(renewed).toMatchObject({
        client_token: by === 'accessor' ? '' : made.client_token,
        accessor: made.accessor,
        lease_duration: 7200,
        renewable: true,
      });
      // Without a wish it is as at its creation.
      expect(authOf(await call(method, path, { ...which, increment: 0 }, caller)).lease_duration).toBe(3600);
      expect(await lookUp(made.client_token)).toMatchObject({
        last_renewal: expect.stringMatching(instant),
        last_renewal_time: expect.any(Number),
      });
    });

    it('never goes past the explicit max, and warns', async () => {
      const made = await create({ policies: ['x'], ttl: '30m', explicit_max_ttl: '1h' });
      const answer = await call('POST', 'auth/token/renew', { token: made.client_token, increment: '3h' });
      expect(authOf(answer).lease_duration).toBeGreaterThan(3500);
      expect(authOf(answer).lease_duration).toBeLessThanOrEqual(3600);
      expect(answer.body.warnings).toEqual([
        expect.stringMatching(
          /^TTL of "3h" exceeded the effective max_ttl of "(1h|59m\d+s)"; TTL value is capped accordingly$/,
        ),
      ]);
    });

    it('gives a period again and again, whatever is asked', async () => {
      const made = await create({ policies: ['x'], period: '1h' });
      expect(await lookUp(made.client_token)).toMatchObject({ period: 3600, creation_ttl: 3600 });
      const answer = await call('POST', 'auth/token/renew', { token: made.client_token, increment: 60 });
      expect(authOf(answer).lease_duration).toBe(3600);
    });

    it('is refused for who cannot be renewed', async () => {
      const fixed = await create({ policies: ['x'], ttl: '1h', renewable: false });
      const batch = await create({ policies: ['x'], type: 'batch' });
      const renew = (token: string) => refusal('POST', 'auth/token/renew', { token });
      expect(await renew(fixed.client_token)).toEqual([400, ['lease is not renewable']]);
      expect(await renew(batch.client_token)).toEqual([400, ['batch tokens cannot be renewed']]);
      expect(await renew('nobody')).toEqual([400, ['token not found']]);
      expect(await renew('')).toEqual([400, ['missing token ID']]);
      expect(await refusal('PUT', 'auth/token/renew-self', {})).toEqual([400, ['invalid lease ID']]);
    });
  });

  describe('ending them', () => {
    it.each([
      ['PUT', 'auth/token/revoke', 'token'],
      ['POST', 'auth/token/revoke', 'token'],
      ['PUT', 'auth/token/revoke-self', 'self'],
      ['POST', 'auth/token/revoke-accessor', 'accessor'],
    ])('ends the ones below it too: %s %s', async (method, path, by) => {
      const parent = await create({ policies: ['root'], ttl: '1h' });
      const child = authOf(await call('POST', 'auth/token/create', { ttl: '1h' }, parent.client_token));
      const grandchild = authOf(await call('POST', 'auth/token/create', { ttl: '1h' }, child.client_token));
      const orphan = authOf(await call('POST', 'auth/token/create-orphan', { ttl: '1h' }, child.client_token));
      const body =
        by === 'token' ? { token: parent.client_token } : by === 'accessor' ? { accessor: parent.accessor } : {};
      const answer = await call(method, path, body, by === 'self' ? parent.client_token : undefined);
      expect([answer.status, answer.text]).toEqual([204, '']);
      for (const { client_token } of [parent, child, grandchild]) {
        expect((await call('GET', 'auth/token/lookup-self', undefined, client_token)).body.errors).toEqual([denied]);
        expect(await isKnown(client_token)).toBe(false);
      }
      expect(await isKnown(orphan.client_token)).toBe(true);
    });

    it('alone leaves the ones below it as orphans', async () => {
      const parent = await create({ policies: ['root'], ttl: '1h' });
      const child = authOf(await call('POST', 'auth/token/create', { ttl: '1h' }, parent.client_token));
      await world.http.must(204, 'PUT', 'auth/token/revoke-orphan', { token: parent.client_token });
      expect(await isKnown(parent.client_token)).toBe(false);
      expect(await lookUp(child.client_token)).toMatchObject({ orphan: true });
    });

    it('by where they were made, as the command line does', async () => {
      await world.http.must(204, 'POST', 'auth/token/roles/batchwise', { path_suffix: 'v_1' });
      const path = 'auth/token/create/batchwise';
      const inside = await create({ policies: ['x'] }, path);
      await world.http.must(204, 'POST', 'auth/token/roles/batchwise', { path_suffix: 'vx1' });
      const beside = await create({ policies: ['x'] }, path);
      await world.http.must(204, 'PUT', `sys/leases/revoke-prefix/${path}/v_1`, { sync: false });
      expect([await isKnown(inside.client_token), await isKnown(beside.client_token)]).toEqual([false, true]);
    });

    it.each([
      ['auth/token/revoke', {}, 'missing token ID'],
      ['auth/token/revoke-orphan', {}, 'missing token ID'],
      ['auth/token/revoke-orphan', { token: 'nobody' }, 'token to revoke not found'],
      ['auth/token/revoke-accessor', {}, '1 error occurred:\n\t* missing accessor\n\n'],
    ])('refuses %s %j', async (path, body, text) => {
      expect(await refusal('PUT', path, body)).toEqual([400, [text]]);
    });

    it('of an unknown one is no error', async () => {
      await world.http.must(204, 'PUT', 'auth/token/revoke', { token: 'nobody' });
      const answer = await world.http.must(200, 'POST', 'auth/token/revoke-accessor', { accessor: 'nobody' });
      expect([answer.body.data, answer.body.warnings]).toEqual([null, ['No token found with this accessor']]);
    });

    it('is refused of batch tokens, which end with their parent', async () => {
      const parent = await create({ policies: ['root'], ttl: '1h' });
      const batch = authOf(
        await call('POST', 'auth/token/create', { type: 'batch', policies: ['x'] }, parent.client_token),
      );
      for (const path of ['auth/token/revoke', 'auth/token/revoke-orphan'])
        expect(await refusal('PUT', path, { token: batch.client_token })).toEqual([
          400,
          ['batch tokens cannot be revoked'],
        ]);
      await world.http.must(204, 'PUT', 'auth/token/revoke', { token: parent.client_token });
      expect(await isKnown(batch.client_token)).toBe(false);
    });

    it('says that tidying goes on by itself', async () => {
      const answer = await world.http.must(202, 'PUT', 'auth/token/tidy');
      expect(answer.body.warnings).toEqual([expect.stringMatching(/^Tidy operation successfully started\./)]);
    });
  });

  describe('token roles', () => {
    const path = 'auth/token/roles/ci';

    it('are written, read, listed and deleted', async () => {
      expect((await call('GET', path)).status).toBe(404);
      await world.http.must(204, 'POST', path, {
        allowed_policies: 'dev,Test',
        orphan: true,
        period: '1h',
        token_num_uses: 0,
      });
      expect((await world.http.must(200, 'GET', path)).body.data).toEqual({
        name: 'ci',
        allowed_policies: ['dev', 'test'],
        allowed_policies_glob: [],
        disallowed_policies: [],
        disallowed_policies_glob: [],
        allowed_entity_aliases: [],
        orphan: true,
        path_suffix: '',
        period: 3600,
        token_period: 3600,
        explicit_max_ttl: 0,
        token_explicit_max_ttl: 0,
        renewable: true,
        token_no_default_policy: false,
        token_type: 'default-service',
      });
      await world.http.must(204, 'PUT', path, { token_period: 7200 });
      expect((await call('GET', path)).body.data).toMatchObject({ period: 0, token_period: 7200, orphan: true });
      expect((await world.http.must(200, 'LIST', 'auth/token/roles')).body.data.keys).toContain('ci');
      await world.http.must(204, 'DELETE', path);
      expect((await call('GET', path)).status).toBe(404);
    });

    it('say what their tokens are', async () => {
      await world.http.must(204, 'POST', path, {
        allowed_policies: ['dev'],
        allowed_policies_glob: ['team-*'],
        disallowed_policies: ['team-x'],
        orphan: true,
        path_suffix: 'rev1',
        token_explicit_max_ttl: '1h',
        token_num_uses: 5,
        renewable: false,
      });
      const made = await create({ num_uses: 9, ttl: '30m' }, 'auth/token/create/ci');
      expect(made).toMatchObject({ policies: ['default', 'dev'], orphan: true, num_uses: 5, renewable: false });
      expect(await lookUp(made.client_token)).toMatchObject({
        role: 'ci',
        path: 'auth/token/create/ci/rev1',
        explicit_max_ttl: 3600,
      });
      expect(await create({ policies: ['team-a'] }, 'auth/token/create/ci')).toMatchObject({
        policies: ['default', 'team-a'],
      });
      expect(await refusal('POST', 'auth/token/create/ci', { policies: ['other'] })).toEqual([
        400,
        [
          `token policies (["default" "other"]) must be subset of the role's allowed policies (["default" "dev"]) or glob policies (["team-*"])`,
        ],
      ]);
      expect(await refusal('POST', 'auth/token/create/ci', { policies: ['team-x'] })).toEqual([
        400,
        ['token policy "team-x" is disallowed by this role'],
      ]);
      expect(await refusal('POST', 'auth/token/create/ci', { entity_alias: 'x' })).toEqual([
        400,
        ["invalid 'entity_alias' value"],
      ]);
    });

    it.each([
      [{ token_type: 'odd' }, `invalid 'token_type' value "odd"`],
      [{ token_type: 'batch' }, "'token_type' cannot be 'batch' when role is set to generate non-orphan tokens"],
      [
        { token_type: 'batch', orphan: true },
        "'token_type' cannot be 'batch' when role is set to generate renewable tokens",
      ],
      [{ path_suffix: '../x' }, String.raw`given role path suffix contains invalid characters; must match \w[\w-.]+\w`],
      [{ token_bound_cidrs: '10.0.0.0/99' }, 'error parsing bound_cidrs: "10.0.0.0/99" is no block of addresses'],
    ])('refuse %j', async (body, text) => {
      expect(await refusal('POST', 'auth/token/roles/refused', body)).toEqual([400, [text]]);
    });

    it('bind their tokens to addresses', async () => {
      await world.http.must(204, 'POST', 'auth/token/roles/here', { token_bound_cidrs: ['127.0.0.0/8', '::1'] });
      await world.http.must(204, 'POST', 'auth/token/roles/elsewhere', { token_bound_cidrs: '10.0.0.0/8' });
      const body = { policies: ['root'], ttl: '1h', num_uses: 2 };
      const here = await create(body, 'auth/token/create/here');
      const elsewhere = await create(body, 'auth/token/create/elsewhere');
      expect(await lookUp(here.client_token)).toMatchObject({ bound_cidrs: ['127.0.0.0/8', '::1'] });
      expect((await call('GET', 'sys/mounts', undefined, here.client_token)).status).toBe(200);
      const answer = await call('GET', 'sys/mounts', undefined, elsewhere.client_token);
      expect([answer.status, answer.body.errors]).toEqual([403, ['permission denied']]);
      // Who was not let in has used nothing.
      expect(await lookUp(elsewhere.client_token)).toMatchObject({ num_uses: 2 });
      // The gateway has looked at the address; the issuer takes its word.
      const lent = lentBy(
        await call(
          'GET',
          'aws/creds/deploy',
          undefined,
          (await create({ ...body, num_uses: 0 }, 'auth/token/create/here')).client_token,
        ),
      );
      expect(await world.whoIs(lent.keys)).toMatch(/:user\//);
    });
  });

  describe('counted tokens', () => {
    it('let exactly so many requests in, however many come at once', async () => {
      const { client_token } = await create({ policies: ['root'], num_uses: 5 });
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => call('GET', 'sys/mounts', undefined, client_token)),
      );
      expect(answers.map((answer) => answer.status).sort()).toEqual([...Array(5).fill(200), ...Array(15).fill(403)]);
      expect(await isKnown(client_token)).toBe(false);
    });

    it('count what is refused, and say what is left', async () => {
      const { client_token } = await create({ policies: ['root'], num_uses: 3 });
      expect((await call('GET', 'nowhere', undefined, client_token)).status).toBe(404);
      const ownNumber = async () =>
        (await call('GET', 'auth/token/lookup-self', undefined, client_token)).body.data.num_uses;
      expect([await ownNumber(), await ownNumber()]).toEqual([1, -1]);
      expect((await call('GET', 'sys/mounts', undefined, client_token)).body.errors).toEqual([denied]);
    });

    it('spend one use for a credential, though two doors check it', async () => {
      const { client_token } = await create({ policies: ['root'], num_uses: 3 });
      await world.http.must(200, 'GET', 'aws/creds/deploy', undefined, { token: client_token });
      expect((await lookUp(client_token)).num_uses).toBe(2);
    });

    it('take with them what they asked for as soon as the last one is spent', async () => {
      const { client_token } = await create({ policies: ['root'], num_uses: 2 });
      const lent = lentBy(await call('GET', 'aws/creds/deploy', undefined, client_token));
      // A refused request is a use as any other.
      expect((await call('GET', 'nowhere', undefined, client_token)).status).toBe(404);
      await eventually(async () => (await world.whoIs(lent.keys)) === 'InvalidClientTokenId');
    });

    it('are given no credential for their last use, and nothing is made for them', async () => {
      const { client_token } = await create({ policies: ['root'], num_uses: 1 });
      const calls = world.simulator.calls.count();
      const answer = await call('GET', 'aws/creds/deploy', undefined, client_token);
      expect([answer.status, answer.body.errors]).toEqual([
        400,
        ['Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.'],
      ]);
      expect(world.simulator.calls.count()).toBe(calls);
      expect(await isKnown(client_token)).toBe(false);
    });
  });

  it('have as many leases at once as they were made for, and so have their children', async () => {
    const { client_token } = await create({ policies: ['root'], ttl: '1h', max_leases: 1 });
    const child = authOf(await call('POST', 'auth/token/create', { ttl: '30m' }, client_token)).client_token;
    for (const token of [client_token, child]) {
      expect((await lookUp(token)).max_leases).toBe(1);
      await world.http.must(200, 'GET', 'aws/creds/deploy', undefined, { token });
      expect((await call('GET', 'aws/creds/deploy', undefined, token)).status).toBe(429);
    }
    await world.http.must(204, 'PUT', 'auth/token/revoke', { token: client_token });
  });

  it('end with their time: what they were lent goes by itself', async () => {
    const { client_token } = await create({ policies: ['root'], ttl: '2s' });
    const lent = lentBy(await world.http.must(200, 'GET', 'aws/creds/deploy', undefined, { token: client_token }));
    const others = await lend(world, 'deploy');
    await eventually(async () => (await world.whoIs(lent.keys)) === 'InvalidClientTokenId');
    expect((await world.leases()).find((row) => row.id === lent.leaseId)).toMatchObject({ end_reason: 'token_ended' });
    expect(await world.whoIs(others.keys)).toMatch(/:user\//);
  });

  it('of the batch kind bound what they are lent to their own time', async () => {
    // No policy but root opens a mount, and no batch token is root: it is given the policy behind the API's back.
    const { client_token } = await create({ policies: ['x'], type: 'batch', ttl: '10m' });
    await world.database.query(`update tokens set policies = '{root}' where type = 'batch'`);
    const answer = await world.http.must(200, 'GET', 'aws/creds/deploy', undefined, { token: client_token });
    expect(answer.body.lease_duration).toBeGreaterThan(590);
    expect(answer.body.lease_duration).toBeLessThanOrEqual(600);
    expect(answer.body.warnings).toEqual([expect.stringMatching(/^TTL of "1h" exceeded the effective max_ttl of /)]);
    const renewed = await call('PUT', 'sys/leases/renew', { lease_id: answer.body.lease_id, increment: 7200 });
    expect(renewed.body.lease_duration).toBeLessThanOrEqual(600);
  });

  it('are kept as keyed hashes alone', async () => {
    const made = await create({ policies: ['x'] });
    const { rows } = await world.database.query<{ line: string }>('select t::text as line from tokens t');
    expect(rows.some(({ line }) => line.includes(made.accessor))).toBe(true);
    for (const form of ['utf8', 'hex', 'base64'] as const) {
      const text = Buffer.from(made.client_token).toString(form);
      expect(rows.some(({ line }) => line.includes(text))).toBe(false);
    }
  });

  it.each([
    ['GET', 'auth/token/create'],
    ['DELETE', 'auth/token/revoke'],
    ['GET', 'auth/token/renew-self'],
    ['GET', 'auth/token/accessors'],
  ])('know no %s %s', async (method, path) => {
    expect(await refusal(method, path)).toEqual([405, ['1 error occurred:\n\t* unsupported operation\n\n']]);
  });

  it('are listed among the ways in', async () => {
    const { body } = await world.http.must(200, 'GET', 'sys/auth');
    expect(Object.keys(body.data)).toEqual(['approle/', 'token/']);
    expect(body.data['token/']).toMatchObject({ type: 'token', config: { max_lease_ttl: systemMax } });
    expect(body['token/']).toEqual(body.data['token/']);
  });
});
