import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { seedFederationPolicy } from '../apps/simulator/src/index.js';
import { everything } from './support/everything.js';
import type { HttpAnswer } from './support/http-client.js';
import { comesToRest, lentBy, rowOf, writeRole } from './support/lease-life.js';
import { otherToken } from './support/other-token.js';
import { eventually, World } from './support/world.js';

describe('a request with an Idempotency-Key', () => {
  let world: World;
  let stranger: string;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    await world.mount();
    await writeRole(world, 'deploy');
    await writeRole(world, 'other');
    const account = world.simulator.account();
    account.putUserPolicy(account.existingUser('leasehold-root'), 'federate', seedFederationPolicy());
    await writeRole(world, 'federated', { credential_type: 'federation_token' });
    stranger = await otherToken(world.options);
  });
  afterAll(() => world.close());
  afterEach(async () => {
    world.simulator.faults.clear();
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1h', lease_max: '24h' });
    await comesToRest(world);
  });

  interface Asking {
    path?: string;
    body?: object;
    token?: string;
    signal?: AbortSignal;
  }
  const ask = (key: string, { path = 'aws/creds/deploy', body, ...options }: Asking = {}) =>
    world.http.call(body ? 'PUT' : 'GET', path, body, { headers: { 'Idempotency-Key': key }, ...options });
  const askTwice = async (key: string, first: Asking, second: Asking) => [
    await ask(key, first),
    await ask(key, second),
  ];
  const answerRows = async () =>
    (await world.database.query<{ lease_id: string | null }>('select lease_id from idempotent_answers')).rows;

  function expectSame(first: HttpAnswer, second: HttpAnswer): void {
    expect([first.status, second.status]).toEqual([200, 200]);
    const { request_id: one, lease_duration: lives, ...answer } = first.body;
    const { request_id: two, lease_duration: left, ...again } = second.body;
    expect(again).toEqual(answer);
    // What is left when it is given again.
    expect(left).toBeLessThanOrEqual(lives);
    expect(left).toBeGreaterThan(lives - 60);
    expect(two === one).toBe(first === second);
  }

  it('is answered again with the same credential, and says so', async () => {
    const [first, second] = await askTwice('again', {}, {});
    expectSame(first!, second!);
    expect([first!, second!].map((answer) => answer.headers.get('idempotency-replayed'))).toEqual([null, 'true']);
    await comesToRest(world, [lentBy(first!)]);
    expect(await world.whoIs(lentBy(second!).keys)).toMatch(/:user\/vault-root-deploy-/);
  });

  it('without the header is another one each time, and keeps nothing', async () => {
    const answers = [
      await world.http.call('GET', 'aws/creds/deploy'),
      await world.http.call('GET', 'aws/creds/deploy'),
    ];
    expect(new Set(answers.map((answer) => answer.body.lease_id)).size).toBe(2);
    expect(await answerRows()).toEqual([]);
  });

  it('waits for the first while that is under way, and all get one credential', async () => {
    const created = () => world.simulator.calls.count({ action: 'CreateUser' });
    const before = created();
    const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
    const first = ask('at once');
    await hold.reached;
    const others = [ask('at once'), ask('at once'), ask('at once')];
    hold.release();
    for (const other of await Promise.all(others)) expectSame(await first, other);
    await comesToRest(world, [lentBy(await first)]);
    expect(created()).toBe(before + 1);
  });

  it('that many send at the same instant makes one credential', async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => ask('same instant')));
    for (const answer of answers) expectSame(answers[0]!, answer);
    await comesToRest(world, [lentBy(answers[0]!)]);
  });

  it('is refused with another body, while the first is under way as well as afterwards', async () => {
    const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
    const first = ask('other body', { body: { ttl: '1h' } });
    await hold.reached;
    const early = await ask('other body', { body: { ttl: '2h' } });
    hold.release();
    const { status } = await first;
    const before = await everything(world);
    const late = await ask('other body', { body: {} });
    expect([status, early.status, late.status]).toEqual([200, 422, 422]);
    expect(late.body.errors).toEqual([
      'This Idempotency-Key was used with another body a moment ago: use a new key for another request.',
    ]);
    expect(await everything(world)).toEqual(before);
    expectSame(await first, await ask('other body', { body: { ttl: 3600 } }));
    await comesToRest(world, [lentBy(await first)]);
  });

  it.each<[string, Asking]>([
    ['token', { token: 'other' }],
    ['role', { path: 'aws/creds/other' }],
  ])('is another request with another %s', async (_, other) => {
    const [first, second] = await askTwice('scope', {}, other.token ? { token: stranger } : other);
    expect([first!.status, second!.status]).toEqual([200, 200]);
    await comesToRest(world, [lentBy(first!), lentBy(second!)]);
  });

  it('is refused without a token that is alive, whatever is kept', async () => {
    const first = await ask('no token');
    expect((await ask('no token', { token: 'hvs.wrong' })).status).toBe(403);
    await comesToRest(world, [lentBy(first)]);
  });

  it.each([
    ['empty', ''],
    ['of 256 characters', 'x'.repeat(256)],
    ['with a character that is not ASCII', 'schlüssel'],
    ['with a control character', 'a\tb'],
  ])('is refused when its key is %s', async (_, key) => {
    const before = await everything(world);
    const refused = await ask(key);
    expect([refused.status, refused.body.errors]).toEqual([
      400,
      ['An Idempotency-Key must have 1 to 255 printable ASCII characters.'],
    ]);
    expect(await everything(world)).toEqual(before);
  });

  it('may have a key of 255 characters', async () => {
    const key = '~'.repeat(255);
    expectSame(await ask(key), await ask(key));
  });

  it('is tried anew when AWS refused the first', async () => {
    world.simulator.faults.fail({ action: 'CreateUser', code: 'AccessDenied', status: 403, times: 1 });
    const [refused, lent] = await askTwice('refused', {}, {});
    expect([refused!.status, lent!.status]).toEqual([400, 200]);
    expect(lent!.headers.get('idempotency-replayed')).toBeNull();
    await comesToRest(world, [lentBy(lent!)]);
  });

  it('that waited for a first which AWS refused makes its own', async () => {
    world.simulator.faults.fail({ action: 'PutUserPolicy', code: 'AccessDenied', status: 403, times: 1 });
    const hold = world.simulator.faults.hold('PutUserPolicy', 'before');
    const first = ask('refused under way');
    await hold.reached;
    const second = ask('refused under way');
    hold.release();
    expect([(await first).status, (await second).status]).toEqual([400, 200]);
    await comesToRest(world, [lentBy(await second)]);
  });

  describe('whose lease', () => {
    it('was revoked is answered anew, and nothing of the first answer is kept', async () => {
      const first = lentBy(await ask('revoked'));
      expect(await answerRows()).toEqual([{ lease_id: first.leaseId }]);
      await world.http.must(204, 'PUT', `sys/revoke/${first.leaseId}`);
      expect(await answerRows()).toEqual([]);
      const second = lentBy(await ask('revoked', { body: { ttl: '5h' } }));
      expect(second.leaseId).not.toBe(first.leaseId);
      await comesToRest(world, [second]);
    });

    it('is being revoked is answered anew at once', async () => {
      const first = lentBy(await ask('revoking'));
      const hold = world.simulator.faults.hold('DeleteUser', 'before');
      await world.http.must(204, 'PUT', `sys/leases/revoke-prefix/aws`, { sync: false }).catch(() => undefined);
      await hold.reached;
      expect(await answerRows()).toEqual([]);
      const second = lentBy(await ask('revoking'));
      hold.release();
      await comesToRest(world, [second]);
      expect(second.leaseId).not.toBe(first.leaseId);
    });

    it('has expired is answered anew, and was kept no longer than it lived', async () => {
      await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '2s', lease_max: '1h' });
      const first = lentBy(await ask('expired'));
      const { rows } = await world.database.query(
        `select k.ends_at = l.expires_at as "endsWithIt" from idempotent_answers k join leases l on l.id = k.lease_id`,
      );
      expect(rows).toEqual([{ endsWithIt: true }]);
      await eventually(async () => (await rowOf(world, first.leaseId)).state === 'ended');
      expect(await answerRows()).toEqual([]);
      await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1h', lease_max: '1h' });
      const second = lentBy(await ask('expired'));
      await comesToRest(world, [second]);
    });

    it('was renewed is answered as before, with the time that is left now', async () => {
      const first = await ask('renewed');
      await world.http.must(200, 'PUT', 'sys/renew', { lease_id: first.body.lease_id, increment: 7200 });
      const second = await ask('renewed');
      expect(second.body.lease_duration).toBeGreaterThan(7140);
      expectSame(first, { ...second, body: { ...second.body, lease_duration: first.body.lease_duration } });
      await comesToRest(world, [lentBy(first)]);
    });

    it('outlives the window is answered anew after it, and the sweep forgets the answer', async () => {
      const first = lentBy(await ask('window'));
      const { rows } = await world.database.query<{ ms: number }>(
        `select extract(epoch from ends_at - now())::float8 * 1000 as ms from idempotent_answers`,
      );
      expect(rows[0]!.ms).toBeGreaterThan(world.options.timing.idempotencyMs - 10_000);
      expect(rows[0]!.ms).toBeLessThanOrEqual(world.options.timing.idempotencyMs);
      await world.database.query('update idempotent_answers set ends_at = now()');
      const second = lentBy(await ask('window'));
      await comesToRest(world, [first, second]);
      await world.database.query('update idempotent_answers set ends_at = now()');
      await eventually(async () => (await answerRows()).length === 0);
    });
  });

  describe('whose caller hung up', () => {
    const hungUp = async (key: string) => {
      const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
      const hangUp = new AbortController();
      const asked = ask(key, { signal: hangUp.signal });
      await hold.reached;
      hangUp.abort();
      await expect(asked).rejects.toThrow();
      return hold;
    };

    it('before it was made is given it when it asks again', async () => {
      const hold = await hungUp('hung up');
      const again = ask('hung up');
      hold.release();
      const lent = lentBy(await again);
      expect((await again).headers.get('idempotency-replayed')).toBe('true');
      await comesToRest(world, [lent]);
    });

    it('and does not ask again leaves nothing', async () => {
      const hold = await hungUp('gone');
      hold.release();
      await eventually(async () => (await world.leases()).at(-1)!.state === 'offered');
      await comesToRest(world);
      expect((await world.leases()).at(-1)).toMatchObject({ state: 'ended', end_reason: 'not_accepted' });
      expect(await answerRows()).toEqual([]);
    });
  });

  it('gives the same credential of STS again, which nothing takes back, until it is revoked', async () => {
    const path = 'aws/sts/federated';
    const [first, second] = await askTwice('sts', { path }, { path });
    expect(second!.body.lease_id).toBe(first!.body.lease_id);
    expect(second!.body.data).toEqual({ ...first!.body.data, ttl: expect.any(Number) });
    expect(Number(first!.body.data.ttl) - Number(second!.body.data.ttl)).toBeLessThanOrEqual(60);
    expect(world.simulator.calls.list({ action: 'GetFederationToken' })).toHaveLength(1);
    await world.http.must(204, 'PUT', `sys/revoke/${first!.body.lease_id}`);
    expect(await answerRows()).toEqual([]);
    expect((await ask('sts', { path })).body.lease_id).not.toBe(first!.body.lease_id);
  });

  it('leaves rows that tell nothing of it, nor that two of them are alike', async () => {
    const lent = [lentBy(await ask('a-key-to-hide')), lentBy(await ask('another-to-hide'))];
    const { rows } = await world.database.query<{ row: string; id: Buffer; body_hash: Buffer; sealed_answer: string }>(
      `select k::text as row, id, body_hash, sealed_answer from idempotent_answers k`,
    );
    expect(rows).toHaveLength(2);
    for (const field of ['id', 'body_hash', 'sealed_answer'] as const) {
      expect(new Set(rows.map((row) => row[field].toString('hex'))).size).toBe(2);
    }
    const { rows: tokens } = await world.database.query<{ hash: Buffer }>('select hash from tokens');
    const hidden = [
      ...lent.flatMap(({ keys }) => [keys.access_key, keys.secret_key]),
      ...['a-key-to-hide', 'another-to-hide', world.http.token],
    ].flatMap((text) => [text, Buffer.from(text).toString('hex'), Buffer.from(text).toString('base64url')]);
    for (const { row } of rows) {
      for (const secret of [...hidden, ...tokens.map(({ hash }) => hash.toString('hex'))]) {
        expect(row).not.toContain(secret);
      }
    }
    await comesToRest(world, lent);
  });
});
