import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { everything } from './support/everything.js';
import { rawRequest } from './support/raw-request.js';
import { eventually, type LentKeys, World } from './support/world.js';

const policy = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}';

describe('leases', () => {
  let world: World;

  beforeAll(async () => {
    // One refusal of AWS's is tried again so late that a journey sees what is left in between.
    world = await World.start({ weather: {}, timing: { retryBaseMs: 60_000, tombstoneLooksMs: [50] } });
    for (const mount of ['aws', 'aws-two']) {
      await world.mount(mount);
      for (const role of ['deploy', 'deploy2']) await world.http.must(204, 'PUT', `${mount}/roles/${role}`, { policy });
    }
    const root = world.simulator.account().existingUser('leasehold-root');
    world.simulator
      .account()
      .putUserPolicy(
        root,
        'federate',
        '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["ec2:*","sts:GetFederationToken"],"Resource":"*"}}',
      );
  });
  afterAll(() => world.close());
  afterEach(async () => {
    world.simulator.faults.clear();
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws-two');
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1h', lease_max: '24h' });
  });

  const call = (method: string, path: string, body?: object | string) => world.http.call(method, path, body);
  const lend = async (path = 'aws/creds/deploy') => (await world.http.must(200, 'GET', path)).body;
  const raw = (method: string, path: string, body?: string) =>
    rawRequest(world.http.url, method, `/v1/${path}`, { headers: { 'X-Vault-Token': world.http.token }, body });
  const lookUp = async (id: string) => call('PUT', 'sys/leases/lookup', { lease_id: id });
  const isThere = async (id: string) => (await lookUp(id)).status === 200;

  async function refusal(method: string, path: string, body?: object | string) {
    const before = await everything(world);
    const answer = await call(method, path, body);
    expect(await everything(world)).toEqual(before);
    return [answer.status, answer.body.errors];
  }

  describe('looking up', () => {
    it('says when it was issued, when it ends, and whether it can be renewed', async () => {
      const lent = await lend();
      const { body } = await lookUp(lent.lease_id);
      expect(body.data).toEqual({
        id: lent.lease_id,
        issue_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/),
        expire_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/),
        last_renewal: null,
        renewable: true,
        ttl: expect.any(Number),
      });
      expect(body.data.ttl).toBeGreaterThan(3500);
      expect(Date.parse(String(body.data.expire_time)) - Date.parse(String(body.data.issue_time))).toBe(3_600_000);
      await call('PUT', 'sys/leases/renew', { lease_id: lent.lease_id });
      expect((await lookUp(lent.lease_id)).body.data.last_renewal).toMatch(/^\d{4}-/);
    });

    it('knows an STS lease, which cannot be renewed', async () => {
      const lent = await lend('aws/sts/deploy');
      expect((await lookUp(lent.lease_id)).body.data).toMatchObject({ renewable: false, last_renewal: null });
      expect(await refusal('PUT', 'sys/leases/renew', { lease_id: lent.lease_id })).toEqual([
        400,
        ['lease is not renewable'],
      ]);
    });

    it.each([
      ['PUT', { lease_id: 'aws/creds/deploy/nobody' }, 'invalid lease'],
      ['POST', { lease_id: 'nonsense' }, 'invalid lease'],
      ['POST', { lease_id: 42 }, 'invalid lease'],
      ['POST', {}, 'lease_id must be specified'],
      ['PUT', { lease_id: null }, 'lease_id must be specified'],
      ['PUT', { lease_id: '' }, 'lease_id must be specified'],
    ])('refuses %s %j', async (method, body, text) => {
      expect(await refusal(method, 'sys/leases/lookup', body)).toEqual([400, [text]]);
    });
  });

  describe('listing', () => {
    it('lists what is under a prefix, folder by folder', async () => {
      const one = await lend('aws/creds/deploy');
      const two = await lend('aws/creds/deploy');
      await lend('aws/creds/deploy2');
      await lend('aws/sts/deploy');
      await lend('aws-two/creds/deploy');
      const keys = async (prefix: string) => (await call('LIST', `sys/leases/lookup${prefix}`)).body.data.keys;
      expect(await keys('')).toEqual(['aws-two/', 'aws/']);
      expect(await keys('/')).toEqual(['aws-two/', 'aws/']);
      expect(await keys('/aws')).toEqual(['creds/', 'sts/']);
      expect(await keys('/aws/creds/')).toEqual(['deploy/', 'deploy2/']);
      const ids = [one, two].map((lent) => lent.lease_id.slice('aws/creds/deploy/'.length)).sort();
      expect(await keys('/aws/creds/deploy')).toEqual(ids);
      expect((await call('GET', 'sys/leases/lookup/aws/creds/deploy/?list=true')).body.data.keys).toEqual(ids);
    });

    it.each(['sys/leases/lookup', 'sys/leases/lookup/aws/creds/dep', 'sys/leases/lookup/nowhere/'])(
      'finds nothing under %s',
      async (path) => {
        const answer = await call('LIST', path);
        expect([answer.status, answer.body]).toEqual([404, { errors: [] }]);
      },
    );
  });

  describe('renewing', () => {
    it.each([
      ['PUT', 'sys/leases/renew', true],
      ['POST', 'sys/leases/renew', true],
      ['PUT', 'sys/renew', true],
      ['PUT', 'sys/leases/renew/<id>', false],
      ['POST', 'sys/renew/<id>', false],
      ['PUT', 'sys/renew/<id>/', false],
      ['PUT', 'sys/leases/renew/aws/creds/deploy/nobody', true],
    ])('%s %s', async (method, path, inBody) => {
      const { lease_id } = await lend();
      const body = { increment: 7200, ...(inBody ? { lease_id } : {}) };
      const answer = await world.http.must(200, method, path.replace('<id>', lease_id), body);
      expect(answer.body).toMatchObject({
        lease_id,
        lease_duration: 7200,
        renewable: true,
        data: null,
        auth: null,
        warnings: null,
      });
    });

    it.each([
      [7200, 7200],
      ['7200', 7200],
      ['2h', 7200],
      ['1d', 86_400],
      [60, 60],
      [0, 1800],
      ['', 1800],
      [null, 1800],
      [undefined, 1800],
      ['0s', 1800],
    ])('takes the increment %j', async (increment, seconds) => {
      await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '30m', lease_max: '48h' });
      const { lease_id } = await lend();
      const { body } = await world.http.must(200, 'PUT', 'sys/leases/renew', { lease_id, increment });
      expect([body.lease_duration, body.warnings]).toEqual([seconds, null]);
    });

    it('never goes past the longest life, counted from the issue, and says so', async () => {
      const { lease_id } = await lend();
      const { body } = await world.http.must(200, 'PUT', 'sys/leases/renew', { lease_id, increment: '1000h' });
      expect(body.lease_duration).toBeGreaterThan(86_390);
      expect(body.lease_duration).toBeLessThanOrEqual(86_400);
      expect(body.warnings).toEqual([
        expect.stringMatching(
          /^TTL of "1000h" exceeded the effective max_ttl of ".+"; TTL value is capped accordingly$/,
        ),
      ]);
    });

    it('goes by the configuration of now, not by that of the issue', async () => {
      const { lease_id } = await lend();
      await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '10m', lease_max: '20m' });
      expect((await world.http.must(200, 'PUT', 'sys/renew', { lease_id })).body.lease_duration).toBe(600);
      await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1ms', lease_max: '1ms' });
      expect(await refusal('PUT', 'sys/renew', { lease_id })).toEqual([400, ['past the max TTL, cannot renew']]);
    });

    it.each([
      [{ lease_id: 'aws/creds/deploy/nobody' }, 'lease not found'],
      [{ lease_id: '' }, 'lease_id must be specified'],
      [{}, 'lease_id must be specified'],
      [
        { lease_id: 'x', increment: -1 },
        `Field validation failed: error converting input for field "increment": cannot provide negative value '-1'`,
      ],
    ])('refuses %j', async (body, text) => {
      for (const path of ['sys/leases/renew', 'sys/renew'])
        expect(await refusal('PUT', path, body)).toEqual([400, [text]]);
    });
  });

  describe('revoking one', () => {
    it.each([
      ['PUT', 'sys/leases/revoke', { lease_id: '<id>' }, 204],
      ['POST', 'sys/leases/revoke', { lease_id: '<id>', sync: true }, 204],
      ['PUT', 'sys/leases/revoke/<id>', undefined, 204],
      ['PUT', 'sys/leases/revoke/<id>', { sync: true }, 204],
      ['PUT', 'sys/leases/revoke/<id>/', {}, 204],
      ['PUT', 'sys/leases/revoke/nobody', { lease_id: '<id>' }, 204],
      ['PUT', 'sys/revoke/<id>', undefined, 204],
      ['POST', 'sys/revoke/<id>', {}, 204],
      ['PUT', 'sys/revoke', { lease_id: '<id>' }, 204],
      ['PUT', 'sys/leases/revoke/<id>', { sync: false }, 202],
      ['PUT', 'sys/leases/revoke', { lease_id: '<id>', sync: 'false' }, 202],
    ])('%s %s %j answers %s', async (_method, path, body, status) => {
      const lent = await lend();
      const other = await lend();
      const text = body && JSON.stringify(body).replace('<id>', lent.lease_id);
      const answer = await raw(_method, path.replace('<id>', lent.lease_id), text);
      expect([answer.status, answer.text]).toEqual([status, '']);
      expect(answer.headers['content-type']).toBe('application/json');
      await eventually(async () => !(await isThere(lent.lease_id)));
      expect(await world.whoIs(lent.data as unknown as LentKeys)).toBe('InvalidClientTokenId');
      expect(await isThere(other.lease_id)).toBe(true);
    });

    it.each([
      ['sys/leases/revoke/aws/creds/deploy/nobody', {}, 204],
      ['sys/leases/revoke', { lease_id: 'nobody' }, 204],
      ['sys/leases/revoke', { lease_id: 'nobody', sync: false }, 202],
      ['sys/revoke/nobody', undefined, 204],
    ])('of an unknown id is no error: %s %j', async (path, body, status) => {
      expect((await call('PUT', path, body)).status).toBe(status);
    });

    it.each(['sys/leases/revoke', 'sys/revoke'])('wants an id: %s', async (path) => {
      expect(await refusal('PUT', path, {})).toEqual([400, ['lease_id must be specified']]);
    });

    it('ends an STS lease at once, without AWS', async () => {
      const lent = await lend('aws/sts/deploy');
      const calls = world.simulator.calls.count();
      await world.http.must(204, 'PUT', `sys/leases/revoke/${lent.lease_id}`);
      expect([await isThere(lent.lease_id), world.simulator.calls.count()]).toEqual([false, calls]);
    });

    it.each(['sys/leases/revoke/<id>', 'sys/revoke/<id>'])(
      "keeps the lease when AWS refuses, and says AWS's words: %s",
      async (path) => {
        const lent = await lend();
        world.simulator.faults.fail({
          action: 'DeleteAccessKey',
          code: 'AccessDenied',
          status: 403,
          message: 'not you',
        });
        const answer = await call('PUT', path.replace('<id>', lent.lease_id));
        expect(answer.status).toBe(400);
        expect(answer.body.errors[0]).toMatch(
          /^failed to revoke entry: resp: \(\*logical\.Response\)\(nil\) err: AccessDenied: not you\n\tstatus code: 403, request id: /,
        );
        const { body } = await lookUp(lent.lease_id);
        expect(body.data).toMatchObject({ renewable: false });
        expect(body.data.ttl).toBeLessThanOrEqual(0);
        expect(await refusal('PUT', 'sys/leases/renew', { lease_id: lent.lease_id })).toEqual([400, ['lease expired']]);
        world.simulator.faults.clear();
        await world.http.must(204, 'PUT', `sys/leases/revoke/${lent.lease_id}`);
      },
    );
  });

  describe('revoking by prefix', () => {
    it.each([
      ['PUT', 'sys/leases/revoke-prefix/aws/creds/deploy', undefined],
      ['POST', 'sys/leases/revoke-prefix/aws/creds/deploy/', '{}'],
      ['PUT', 'sys/revoke-prefix/aws/creds/deploy', undefined],
      ['PUT', 'sys/revoke-prefix/aws/creds/deploy/', '{}'],
      ['PUT', 'sys/leases/revoke-prefix/aws/creds/deploy', '{"prefix":"aws-two/","sync":true}'],
      ['PUT', 'sys/leases/revoke-force/aws/creds/deploy', undefined],
      ['PUT', 'sys/revoke-force/aws/creds/deploy/', '{}'],
      ['PUT', 'sys/leases/revoke-prefix/aws%2Fcreds%2Fdeploy', '{"sync":false}'],
    ])('%s %s %s takes whole segments', async (method, path, body) => {
      const inside = [await lend(), await lend()];
      const outside = [
        await lend('aws/creds/deploy2'),
        await lend('aws/sts/deploy'),
        await lend('aws-two/creds/deploy'),
      ];
      const answer = await raw(method, path, body);
      expect([answer.status, answer.text]).toEqual([body === '{"sync":false}' ? 202 : 204, '']);
      for (const lent of inside) await eventually(async () => !(await isThere(lent.lease_id)));
      for (const lent of outside) expect([lent.lease_id, await isThere(lent.lease_id)]).toEqual([lent.lease_id, true]);
    });

    it.each(['revoke-prefix', 'revoke-force'])('%s takes a prefix that is exactly one lease', async (verb) => {
      const lent = await lend();
      const other = await lend();
      await world.http.must(204, 'PUT', `sys/leases/${verb}/${lent.lease_id}`);
      expect([await isThere(lent.lease_id), await isThere(other.lease_id)]).toEqual([false, true]);
    });

    it.each(['aws/creds/dep', 'nowhere', 'aw'])('finds nothing under %s, which is no error', async (prefix) => {
      const lent = await lend();
      await world.http.must(204, 'PUT', `sys/leases/revoke-prefix/${prefix}`);
      await world.http.must(204, 'PUT', `sys/leases/revoke-force/${prefix}`);
      expect(await isThere(lent.lease_id)).toBe(true);
    });

    it('goes on behind a lease that AWS refuses, names it, and keeps it', async () => {
      const stuck = await lend();
      const userName = (await world.leases()).find((row) => row.id === stuck.lease_id)!.user_name!;
      const other = await lend();
      world.simulator.faults.fail({ action: 'DeleteAccessKey', userName, code: 'AccessDenied', status: 403 });
      const answer = await call('PUT', 'sys/leases/revoke-prefix/aws/creds');
      expect(answer.status).toBe(400);
      expect(answer.body.errors[0]).toContain(`failed to revoke "${stuck.lease_id}" (1 / 2): failed to revoke entry: `);
      expect([await isThere(stuck.lease_id), await isThere(other.lease_id)]).toEqual([true, false]);
      const exact = await call('PUT', `sys/leases/revoke-prefix/${stuck.lease_id}`);
      expect(exact.body.errors[0]).toContain(`failed to revoke "${stuck.lease_id}": failed to revoke entry: `);
    });

    it('drops by force what AWS refuses', async () => {
      const lent = await lend();
      world.simulator.faults.fail({ action: 'DeleteAccessKey', code: 'AccessDenied', status: 403 });
      await world.http.must(204, 'PUT', 'sys/leases/revoke-force/aws/creds/deploy');
      expect(await isThere(lent.lease_id)).toBe(false);
      // It is looked at again all the same: once AWS lets it, the user goes too.
      world.simulator.faults.clear();
      await eventually(async () => (await world.leases()).every((row) => row.due_at === null));
      expect(world.lentUsers()).toEqual([]);
    });

    it.each(['sys/leases/revoke-prefix', 'sys/revoke-prefix', 'sys/leases/revoke-force'])(
      'has no path %s',
      async (path) => {
        expect(await refusal('PUT', path, {})).toEqual([404, ['1 error occurred:\n\t* unsupported path\n\n']]);
      },
    );
  });

  it.each([
    ['GET', 'sys/leases/lookup'],
    ['GET', 'sys/leases/renew'],
    ['DELETE', 'sys/leases/revoke/x'],
    ['GET', 'sys/revoke/x'],
    ['LIST', 'sys/leases/revoke-prefix/aws'],
  ])('refuses %s %s', async (method, path) => {
    expect(await refusal(method, path)).toEqual([405, ['1 error occurred:\n\t* unsupported operation\n\n']]);
  });

  it('names no lease to a caller without a token', async () => {
    const lent = await lend();
    for (const path of [
      `sys/revoke/${lent.lease_id}`,
      'sys/revoke-prefix/aws',
      'sys/leases/revoke-force/aws',
      'sys/renew',
    ]) {
      const answer = await world.http.call('PUT', path, { lease_id: lent.lease_id }, { token: null });
      expect([path, answer.status]).toEqual([path, 403]);
    }
    expect(await isThere(lent.lease_id)).toBe(true);
  });
});
