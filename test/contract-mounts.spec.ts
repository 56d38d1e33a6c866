import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { everything } from './support/everything.js';
import { rawRequest } from './support/raw-request.js';
import { World } from './support/world.js';

const policy = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}';

describe('mounts', () => {
  let world: World;
  let untouched: unknown;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    untouched = (await world.http.must(200, 'GET', 'sys/mounts')).body.data;
    await world.mount();
  });
  afterAll(() => world.close());

  const call = (method: string, path: string, body?: object | string) => world.http.call(method, path, body);
  const get = async (path: string) => (await world.http.must(200, 'GET', path)).body;
  const put = (path: string, body?: object) => world.http.must(204, 'PUT', path, body);

  it('has none on a fresh server, and shows itself', () => {
    expect(untouched).toEqual({
      'cubbyhole/': expect.objectContaining({ type: 'cubbyhole', local: true }),
      'sys/': expect.objectContaining({ type: 'system' }),
    });
  });

  it('lists every mount in data and beside the envelope', async () => {
    const body = await get('sys/mounts');
    expect(body['aws/']).toEqual(body.data['aws/']);
    expect(body['sys/']).toEqual(body.data['sys/']);
    expect(body.data['aws/']).toEqual({
      type: 'aws',
      description: '',
      accessor: expect.stringMatching(/^aws_[0-9a-f]{8}$/),
      uuid: expect.stringMatching(/^[0-9a-f-]{36}$/),
      local: false,
      seal_wrap: false,
      external_entropy_access: false,
      options: null,
      plugin_version: '',
      running_plugin_version: '',
      running_sha256: '',
      deprecation_status: 'supported',
      config: { default_lease_ttl: 0, max_lease_ttl: 0, force_no_cache: false },
    });
    const one = await get('sys/mounts/aws');
    expect(one.data).toEqual(body.data['aws/']);
    expect(one.accessor).toEqual(one.data.accessor);
  });

  it.each([
    ['one segment', 'plain', 'plain'],
    ['a closing slash', 'slash/', 'slash'],
    ['several segments', 'team/prod/cloud', 'team/prod/cloud'],
    ['encoded slashes', 'teams%2Fdev%2Faws', 'teams/dev/aws'],
    ['doubled slashes', '/odd//one', 'odd/one'],
    ['letters of other languages', 'Stra%C3%9Fe/%E6%97%A5%E6%9C%AC', 'Straße/日本'],
    ['blanks and signs', 'a%20b/c+d@e', 'a b/c+d@e'],
    ['a name that is a pattern', 'x_y%25', 'x_y%'],
    ['a name that begins like the core', 'system', 'system'],
  ])('mounts at a path with %s, lends from it and takes it down', async (_name, asked, path) => {
    const headers = { 'X-Vault-Token': world.http.token };
    const send = (method: string, rest: string, body?: object) =>
      rawRequest(world.http.url, method, `/v1/${rest}`, { headers, body: body && JSON.stringify(body) });
    expect((await send('POST', `sys/mounts/${asked}`, { type: 'aws', description: 'for a test' })).status).toBe(204);
    expect((await get('sys/mounts')).data[`${path}/`]).toMatchObject({ type: 'aws', description: 'for a test' });
    const { access_key, secret_key } = { access_key: world.root.accessKeyId, secret_key: world.root.secretAccessKey };
    const mount = asked.replace(/\/$/, '');
    expect((await send('PUT', `${mount}/config/root`, { access_key, secret_key, region: 'us-east-1' })).status).toBe(
      204,
    );
    expect((await send('PUT', `${mount}/roles/deploy`, { policy })).status).toBe(204);
    const lent = JSON.parse((await send('GET', `${mount}/creds/deploy`)).text) as { lease_id: string };
    expect(lent.lease_id.startsWith(`${path}/creds/deploy/`)).toBe(true);
    expect((await send('GET', `${mount}/creds/nobody`)).errors).toEqual(['Role "nobody" not found']);
    expect((await send('DELETE', `sys/mounts/${asked}`)).status).toBe(204);
    expect((await get('sys/mounts')).data).not.toHaveProperty([`${path}/`]);
    expect((await send('GET', `${mount}/roles/deploy`)).status).toBe(404);
    expect(world.lentUsers()).toEqual([]);
  });

  it('keeps what two mounts hold apart', async () => {
    await world.mount('first');
    await world.mount('second');
    await put('first/roles/deploy', { policy });
    await put('first/config/lease', { lease: '10m', lease_max: '1h' });
    expect((await call('GET', 'second/roles/deploy')).status).toBe(404);
    expect((await call('GET', 'second/config/lease')).status).toBe(404);
    expect((await call('GET', 'second/creds/deploy')).status).toBe(400);
    await put('second/roles/deploy', { policy });
    const [one, two] = [await get('first/creds/deploy'), await get('second/creds/deploy')];
    expect([one.lease_duration, two.lease_duration]).toEqual([600, 3600]);
    await world.http.must(204, 'DELETE', 'sys/mounts/first');
    expect((await call('PUT', 'sys/leases/lookup', { lease_id: one.lease_id })).status).toBe(400);
    expect((await call('PUT', 'sys/leases/lookup', { lease_id: two.lease_id })).status).toBe(200);
    await world.http.must(204, 'DELETE', 'sys/mounts/second');
    expect(world.lentUsers()).toEqual([]);
  });

  it('begins afresh where a mount was taken down', async () => {
    await world.mount('again');
    await put('again/roles/deploy', { policy });
    await put('again/config/lease', { lease: '10m', lease_max: '1h' });
    const { accessor } = (await get('sys/mounts/again')).data;
    await world.http.must(204, 'DELETE', 'sys/mounts/again');
    await world.http.must(204, 'POST', 'sys/mounts/again', { type: 'aws' });
    expect((await get('sys/mounts/again')).data.accessor).not.toBe(accessor);
    for (const path of ['again/config/root', 'again/config/lease', 'again/roles/deploy', 'again/roles?list=true']) {
      expect([path, (await call('GET', path)).status]).toEqual([path, 404]);
    }
  });

  it('takes down what is not there, any number of times', async () => {
    await world.http.must(204, 'DELETE', 'sys/mounts/nowhere');
    await world.http.must(204, 'DELETE', 'sys/mounts/nowhere/');
  });

  it.each([
    ['a path in use', 'aws', { type: 'aws' }, 'path is already in use at aws/'],
    ['a path below one in use', 'aws/below', { type: 'aws' }, 'path is already in use at aws/'],
    ['no type', 'new', {}, 'backend type must be specified as a string'],
    ['a null type', 'new', { type: null }, 'backend type must be specified as a string'],
    ['another engine', 'new', { type: 'kv' }, 'plugin not found in the catalog: kv'],
    ['a path of the core', 'sys/new', { type: 'aws' }, 'cannot mount "sys/new/"'],
    ['the core itself', 'sys', { type: 'aws' }, 'cannot mount "sys/"'],
    ['a path of tokens', 'auth/aws', { type: 'aws' }, 'cannot mount "auth/aws/"'],
    ['a path of audit', 'audit', { type: 'aws' }, 'cannot mount "audit/"'],
    ['a path of cubbyhole', 'cubbyhole/x', { type: 'aws' }, 'cannot mount "cubbyhole/x/"'],
    ['a path of identity', 'identity', { type: 'aws' }, 'cannot mount "identity/"'],
    [
      'a version',
      'new',
      { type: 'aws', options: { version: '2' } },
      'secrets engine "aws" does not allow setting a version',
    ],
    [
      'a version among its configuration',
      'new',
      { type: 'aws', config: { options: { version: '2' } } },
      'secrets engine "aws" does not allow setting a version',
    ],
    [
      'a version of the plugin',
      'new',
      { type: 'aws', plugin_version: 'v1' },
      'secrets engine "aws" does not allow setting a version',
    ],
    [
      'a bad default TTL',
      'new',
      { type: 'aws', config: { default_lease_ttl: '5x' } },
      'unable to parse default TTL of 5x: time: unknown unit "x" in duration "5x"',
    ],
    [
      'a bad max TTL',
      'new',
      { type: 'aws', config: { max_lease_ttl: 'soon' } },
      'unable to parse max TTL of soon: time: invalid duration "soon"',
    ],
    [
      'a TTL of a thousand years',
      'new',
      { type: 'aws', config: { max_lease_ttl: '8766000h' } },
      'unable to parse max TTL of 8766000h: time: invalid duration "8766000h"',
    ],
    [
      'a default over the max',
      'new',
      { type: 'aws', config: { default_lease_ttl: '2h', max_lease_ttl: '1h' } },
      'given default lease TTL greater than given max lease TTL',
    ],
    [
      "a default over the system's max",
      'new',
      { type: 'aws', config: { default_lease_ttl: '769h' } },
      'given default lease TTL greater than system max lease TTL of 2764800',
    ],
    [
      'a bad visibility',
      'new',
      { type: 'aws', config: { listing_visibility: 'loud' } },
      'invalid listing_visibility loud',
    ],
    ['an endless path', 'x/'.repeat(600), { type: 'aws' }, 'mount path is longer than 1024 bytes'],
  ])('refuses to mount with %s', async (_name, path, body, text) => {
    const before = await everything(world);
    const answer = await call('POST', `sys/mounts/${path}`, body);
    expect([answer.status, answer.body.errors]).toEqual([400, [text]]);
    expect(await everything(world)).toEqual(before);
  });

  it('refuses a path above one in use', async () => {
    await world.mount('deep/down');
    expect((await call('POST', 'sys/mounts/deep', { type: 'aws' })).body.errors).toEqual([
      'path is already in use at deep/down/',
    ]);
  });

  it.each([
    ['GET', 'sys/mounts/nowhere', 'No secret engine mount at nowhere/'],
    ['GET', 'sys/mounts/nowhere/tune', 'cannot fetch sysview for path "nowhere/"'],
    ['POST', 'sys/mounts/nowhere/tune', 'tune of path "nowhere/" failed: no mount entry found'],
    ['DELETE', 'sys/mounts/sys', 'cannot unmount "sys/"'],
    ['DELETE', 'sys/mounts/cubbyhole', 'cannot unmount "cubbyhole/"'],
    ['DELETE', 'sys/mounts/auth/token', 'cannot unmount "auth/token/"'],
  ])('refuses %s %s', async (method, path, text) => {
    const answer = await call(method, path, method === 'POST' ? { description: 'x' } : undefined);
    expect([answer.status, answer.body.errors]).toEqual([400, [text]]);
  });

  it("mounts what today's and the oldest command line ask for", async () => {
    const config = { options: null, default_lease_ttl: '0s', max_lease_ttl: '0s', force_no_cache: false };
    const flags = { local: false, seal_wrap: false, external_entropy_access: false, options: null };
    await world.http.must(204, 'POST', 'sys/mounts/today', { type: 'aws', description: '', config, ...flags });
    await world.http.must(204, 'POST', 'sys/mounts/old', {
      type: 'aws',
      description: '',
      config: { default_lease_ttl: '', max_lease_ttl: '' },
    });
    await world.http.must(204, 'POST', 'sys/mounts/named', { plugin_name: 'aws' });
    for (const path of ['today', 'old', 'named']) {
      expect((await get(`sys/mounts/${path}`)).data).toMatchObject({
        type: 'aws',
        options: null,
        config: { default_lease_ttl: 0, max_lease_ttl: 0 },
      });
    }
  });

  it('mounts with everything that can be said, and shows it', async () => {
    await world.http.must(204, 'POST', 'sys/mounts/full', {
      type: 'aws',
      description: 'full',
      local: true,
      seal_wrap: true,
      external_entropy_access: true,
      options: { one: 1 },
      plugin_version: '',
      config: {
        default_lease_ttl: '30m',
        max_lease_ttl: 7200,
        force_no_cache: 'true',
        listing_visibility: 'hidden',
        audit_non_hmac_request_keys: ['a', 'b'],
        audit_non_hmac_response_keys: 'c,d',
        passthrough_request_headers: [],
        allowed_response_headers: null,
        unknown_member: { deep: true },
      },
    });
    expect((await get('sys/mounts/full')).data).toMatchObject({
      description: 'full',
      local: true,
      seal_wrap: true,
      external_entropy_access: true,
      options: { one: '1' },
      config: {
        default_lease_ttl: 1800,
        max_lease_ttl: 7200,
        force_no_cache: true,
        listing_visibility: 'hidden',
        audit_non_hmac_request_keys: ['a', 'b'],
        audit_non_hmac_response_keys: ['c', 'd'],
      },
    });
  });

  describe('tuning', () => {
    beforeAll(() => world.mount('tuned'));

    it('reads what is in force, in seconds', async () => {
      const body = await get('sys/mounts/tuned/tune');
      expect(body.data).toEqual({
        description: '',
        default_lease_ttl: 2_764_800,
        max_lease_ttl: 2_764_800,
        force_no_cache: false,
      });
      expect(body.max_lease_ttl).toBe(2_764_800);
    });

    it('changes what it names, and lends by it', async () => {
      await put('tuned/roles/deploy', { policy });
      await put('sys/mounts/tuned/tune', { default_lease_ttl: '10m', max_lease_ttl: '1h', description: 'now' });
      await put('sys/mounts/tuned/tune/', { description: 'then' });
      expect((await get('sys/mounts/tuned/tune')).data).toMatchObject({
        description: 'then',
        default_lease_ttl: 600,
        max_lease_ttl: 3600,
      });
      expect((await get('tuned/creds/deploy')).lease_duration).toBe(600);
      await put('sys/mounts/tuned/tune', { default_lease_ttl: 'system', max_lease_ttl: '' });
      expect((await get('sys/mounts/tuned')).data.config).toMatchObject({ default_lease_ttl: 0, max_lease_ttl: 0 });
      expect((await get('tuned/creds/deploy')).lease_duration).toBe(3600);
    });

    it('takes every field, shows it in both places, and changes no other one', async () => {
      const fields = {
        description: 'for them',
        force_no_cache: true,
        listing_visibility: 'unauth',
        audit_non_hmac_request_keys: ['a', 'b'],
        audit_non_hmac_response_keys: ['c'],
        passthrough_request_headers: ['X-One'],
        allowed_response_headers: ['X-Two', 'X-Three'],
        options: { color: 'red' },
      };
      await world.mount('whole');
      const shown: Record<string, unknown> = { default_lease_ttl: 2_764_800, max_lease_ttl: 2_764_800 };
      for (const [name, value] of Object.entries(fields)) {
        await put('sys/mounts/whole/tune', { [name]: value });
        shown[name] = value;
        const { data } = await get('sys/mounts/whole/tune');
        expect([name, data]).toEqual([name, { description: '', force_no_cache: false, ...shown }]);
      }
      const { description, options, config } = (await get('sys/mounts/whole')).data;
      const { description: _, options: __, ...configured } = fields;
      expect({ description, options, config }).toEqual({
        description: fields.description,
        options: fields.options,
        config: { default_lease_ttl: 0, max_lease_ttl: 0, ...configured },
      });
      await put('sys/mounts/whole/tune', {
        options: { size: 'xl' },
        audit_non_hmac_request_keys: '',
        listing_visibility: '',
      });
      expect((await get('sys/mounts/whole/tune')).data).toMatchObject({
        options: { color: 'red', size: 'xl' },
        audit_non_hmac_request_keys: [],
      });
      expect((await get('sys/mounts/whole/tune')).data).not.toHaveProperty('listing_visibility');
    });

    it('lets a max of its own go beyond that of the system', async () => {
      await put('sys/mounts/tuned/tune', { max_lease_ttl: '1000h', default_lease_ttl: '999h' });
      const lent = await get('tuned/creds/deploy');
      expect([lent.lease_duration, lent.warnings]).toEqual([999 * 3600, null]);
    });

    it.each([
      [{ default_lease_ttl: '5x' }, 'time: unknown unit "x" in duration "5x"'],
      [{ max_lease_ttl: -1 }, "cannot provide negative value '-1'"],
      [{ listing_visibility: 'loud' }, 'invalid listing_visibility loud'],
      [{ options: { version: '2' } }, 'secrets engine "aws" does not allow setting a version'],
      [
        { default_lease_ttl: '2h', max_lease_ttl: '1h' },
        'backend max lease TTL of 3600 would be less than backend default lease TTL of 7200',
      ],
    ])('refuses %j', async (body, text) => {
      const before = await everything(world);
      const answer = await call('POST', 'sys/mounts/tuned/tune', body);
      expect([answer.status, answer.body.errors]).toEqual([400, [text]]);
      expect(await everything(world)).toEqual(before);
    });
  });

  it('stays, tainted, while AWS refuses to let a lease go, and goes once it agrees', async () => {
    await world.mount('stuck');
    await put('stuck/roles/deploy', { policy });
    const lent = await get('stuck/creds/deploy');
    world.simulator.faults.fail({ action: 'DeleteAccessKey', code: 'AccessDenied', status: 403 });
    const refused = await call('DELETE', 'sys/mounts/stuck');
    expect(refused.status).toBe(400);
    expect(refused.body.errors[0]).toContain(`failed to revoke "${lent.lease_id}" (1 / 1): failed to revoke entry: `);
    expect(refused.body.errors[0]).toContain('AccessDenied: ');
    expect((await get('sys/mounts')).data).toHaveProperty(['stuck/']);
    const closed = await call('GET', 'stuck/roles/deploy');
    expect([closed.status, closed.body.errors]).toEqual([
      404,
      ['no handler for route "stuck/roles/deploy" on namespace "". route entry or namespace is tainted.'],
    ]);
    world.simulator.faults.clear();
    await world.http.must(204, 'DELETE', 'sys/mounts/stuck');
    expect((await get('sys/mounts')).data).not.toHaveProperty(['stuck/']);
  });
});
