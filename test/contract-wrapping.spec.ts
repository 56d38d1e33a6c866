import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { AuditFolder, recordsIn } from './support/audit-file.js';
import { everything } from './support/everything.js';
import type { HttpAnswer } from './support/http-client.js';
import { comesToRest, lentBy, rowOf, writeRole } from './support/lease-life.js';
import { giveTokens } from './support/tokens.js';
import { eventually, World } from './support/world.js';

/** What a client reads of a wrapped answer. */
interface WrapInfo {
  token: string;
  accessor: string;
  ttl: number;
  creation_time: string;
  creation_path: string;
  wrapped_accessor?: string;
}

const notValid = [400, ['wrapping token is not valid or does not exist']];

describe('response wrapping', () => {
  let world: World;
  let folder: AuditFolder;
  let auditFile: string;
  let names = 0;

  beforeAll(async () => {
    folder = new AuditFolder();
    auditFile = folder.file('audit.log');
    world = await World.start({ weather: {}, auditFile, timing: { idempotencyMs: 60_000 } });
    await world.mount();
    await writeRole(world, 'deploy');
  }, 60_000);
  afterAll(async () => {
    await world?.close();
    folder.remove();
  });
  afterEach(async () => {
    world.simulator.faults.clear();
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    await comesToRest(world);
  });

  type Options = { ttl?: string; token?: string | null; headers?: Record<string, string>; signal?: AbortSignal };
  const wrapping = (method: string, path: string, body?: object, { ttl = '60', headers, ...rest }: Options = {}) =>
    world.http.call(method, path, body, { ...rest, headers: { 'X-Vault-Wrap-TTL': ttl, ...headers } });
  const open = (token: string) => world.http.call('PUT', 'sys/wrapping/unwrap', { token });
  const openAs = (token: string, body?: string) => world.http.call('PUT', 'sys/wrapping/unwrap', body, { token });
  const told = ({ status, body }: HttpAnswer) => [status, body.errors] as const;
  const infoOf = (answer: HttpAnswer) => answer.body.wrap_info as WrapInfo;
  /** How many of these wraps there is still an answer of; of all, unless told. */
  const kept = async (...wraps: WrapInfo[]) => {
    const { rows } = await world.database.query<{ kept: number }>(
      `select count(*)::int as kept from wrapped_answers join tokens on id = token_id
       where cardinality($1::text[]) = 0 or accessor = any ($1)`,
      [wraps.map(({ accessor }) => accessor)],
    );
    return rows[0]!.kept;
  };

  /** What there is of leases, and of calls to AWS. */
  async function lentSoFar() {
    const { leases, commands, calls } = await everything(world);
    return { leases, commands, calls };
  }

  /** Asks for something wrapped, and has the wrap. */
  async function wrap(...asked: Parameters<typeof wrapping>): Promise<WrapInfo> {
    const answer = await wrapping(...asked);
    expect([asked[1], answer.status, answer.text]).toEqual([asked[1], 200, expect.stringContaining('"wrap_info":{')]);
    return infoOf(answer);
  }

  async function holderOf(policy: string): Promise<string> {
    const name = `wraps-${(names += 1)}`;
    await world.http.must(204, 'PUT', `sys/policies/acl/${name}`, { policy });
    const [token] = await giveTokens(world, { policies: [name] });
    return token!;
  }

  describe('of a credential', () => {
    it('sends a token in its place, which gives it once, as it would have been sent', async () => {
      const answer = await wrapping('GET', 'aws/creds/deploy', undefined, { ttl: '5m' });
      expect(answer.body).toEqual({
        request_id: '',
        lease_id: '',
        renewable: false,
        lease_duration: 0,
        data: null,
        wrap_info: {
          token: expect.stringMatching(/^hvs\.[\w-]{32}$/),
          accessor: expect.any(String),
          ttl: 300,
          creation_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
          creation_path: 'aws/creds/deploy',
        },
        warnings: null,
        auth: null,
      });
      // Lent when it was wrapped: the lease lives whether or not somebody opens it.
      const [living] = (await world.leases()).filter((row) => row.state === 'active');
      const opened = await open(infoOf(answer).token);
      expect([opened.status, opened.headers.get('content-type')]).toEqual([200, 'application/json']);
      expect(opened.body).toMatchObject({ lease_id: living!.id, renewable: true, wrap_info: null, auth: null });
      expect(await world.whoIs(lentBy(opened).keys)).toMatch(/:user\//);
      expect(told(await open(infoOf(answer).token))).toEqual(notValid);
      expect(await kept(infoOf(answer))).toBe(0);
    });

    it('is kept under a key that only its token gives, and its token as a hash', async () => {
      const { token } = await wrap('GET', 'aws/creds/deploy');
      const stored = JSON.stringify(await everything(world));
      expect(stored).not.toContain(token);
      const { rows } = await world.database.query<{ sealed: string }>(
        'select sealed_answer as sealed from wrapped_answers',
      );
      const [header] = rows[0]!.sealed.split('.');
      expect(JSON.parse(Buffer.from(header!, 'base64url').toString())).toMatchObject({
        alg: 'dir',
        enc: 'A256GCM',
        kid: 'caller',
      });
      await open(token);
    });

    it('is given to one of many who open it at the same moment', async () => {
      for (const each of [open, openAs]) {
        const { token } = await wrap('GET', 'aws/creds/deploy');
        const answers = await Promise.all(Array.from({ length: 10 }, () => each(token)));
        expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
        expect(answers.filter(({ text }) => text.includes('secret_key'))).toHaveLength(1);
      }
      const { token } = await wrap('GET', 'aws/creds/deploy');
      const both = await Promise.all([open(token), openAs(token), open(token), openAs(token)]);
      expect(both.filter(({ text }) => text.includes('secret_key')).length).toBeLessThanOrEqual(1);
    });

    it('is wiped when its time is over, and the lease stays', async () => {
      const wrapped = await wrap('GET', 'aws/creds/deploy', undefined, { ttl: '300ms' });
      const { token } = wrapped;
      const [living] = (await world.leases()).filter((row) => row.state === 'active');
      await eventually(async () => (await kept(wrapped)) === 0);
      expect(told(await open(token))).toEqual(notValid);
      expect((await world.http.call('GET', 'sys/wrapping/lookup', undefined, { token })).status).toBe(400);
      expect((await rowOf(world, living!.id)).state).toBe('active');
    });

    it('is taken back with its wrap when its caller left before the token came', async () => {
      const before = await kept();
      const lock = await world.database.connect();
      const hangUp = new AbortController();
      try {
        await lock.query('begin; lock table wrapped_answers in exclusive mode');
        const asked = wrapping('GET', 'aws/creds/deploy', undefined, { signal: hangUp.signal });
        asked.catch(() => undefined);
        await eventually(async () => (await world.leases()).some((row) => row.state === 'active'));
        hangUp.abort();
        await expect(asked).rejects.toThrow();
      } finally {
        await lock.query('commit');
        lock.release();
      }
      await comesToRest(world);
      expect((await world.leases()).at(-1)).toMatchObject({ end_reason: 'not_received' });
      await eventually(async () => (await kept()) === before);
    });

    it('is taken back when the wrap cannot be kept', async () => {
      await world.database.query('alter table wrapped_answers rename to away');
      try {
        const { status, text } = await wrapping('GET', 'aws/creds/deploy');
        expect([status, text]).toEqual([500, expect.not.stringContaining('secret')]);
      } finally {
        await world.database.query('alter table away rename to wrapped_answers');
      }
      await comesToRest(world);
    });

    it('asked for again under its Idempotency-Key is the same one, in a wrap of its own', async () => {
      const headers = { 'Idempotency-Key': 'wrapped' };
      const [one, other] = [
        await wrap('GET', 'aws/creds/deploy', undefined, { headers }),
        await wrap('GET', 'aws/creds/deploy', undefined, { headers }),
      ];
      expect(one.token).not.toBe(other.token);
      const [first, second] = [await open(one.token), await open(other.token)];
      expect(lentBy(first)).toEqual(lentBy(second));
    });

    it('is in the audit as a wrap of a lease, and nothing of it in the clear', async () => {
      const { token, accessor } = await wrap('GET', 'aws/creds/deploy');
      const lent = lentBy(await open(token));
      const records = recordsIn(auditFile);
      const wrapped = records.filter(({ type, request }) => type === 'response' && request.wrap_ttl === 60).at(-1)!;
      expect(wrapped.response).toMatchObject({
        secret: { lease_id: lent.leaseId },
        wrap_info: { ttl: 60, creation_path: 'aws/creds/deploy', token: expect.stringMatching(/^hmac-sha256:/) },
      });
      const text = JSON.stringify(records);
      for (const secret of [token, accessor, lent.keys.secret_key]) expect(text).not.toContain(secret);
    });
  });

  describe('of any other answer', () => {
    it('gives back what was sent to be wrapped, word for word, and numbers as they are', async () => {
      const body = { zip: 'zap', number: 5, nested: { list: [1, 'x', null] }, ttl: '5m' };
      const { token, creation_path } = await wrap('POST', 'sys/wrapping/wrap', body);
      expect(creation_path).toBe('sys/wrapping/wrap');
      const opened = await open(token);
      expect(opened.body).toMatchObject({ ...body, data: body, warnings: null });
      const empty = await wrap('PUT', 'sys/wrapping/wrap');
      expect([(await openAs(empty.token)).status, (await openAs(empty.token)).status]).toEqual([204, 403]);
      expect(told(await world.http.call('POST', 'sys/wrapping/wrap', body))).toEqual([
        400,
        ['endpoint requires response wrapping to be used'],
      ]);
    });

    it('holds a token, whose accessor is told, and a log-in', async () => {
      const made = await wrap('POST', 'auth/token/create', { policies: ['default'] });
      const { auth } = (await open(made.token)).body as unknown as { auth: { client_token: string; accessor: string } };
      expect(made.wrapped_accessor).toBe(auth.accessor);
      await world.http.must(200, 'GET', 'auth/token/lookup-self', undefined, { token: auth.client_token });
      const role = 'auth/approle/role/ci';
      await world.http.must(204, 'POST', role, { token_policies: 'default' });
      const { role_id } = (await world.http.must(200, 'GET', `${role}/role-id`)).body.data;
      const { token } = await wrap('POST', `${role}/secret-id`, {});
      const { secret_id } = (await open(token)).body.data;
      const login = await wrap('POST', 'auth/approle/login', { role_id, secret_id }, { token: null });
      const logged = (await openAs(login.token)).body as unknown as { auth: { accessor: string } };
      expect(login.wrapped_accessor).toBe(logged.auth.accessor);
    });

    it('comes as it is where there is no body, where it is refused, and where the system tells of itself', async () => {
      const before = await kept();
      for (const [method, path, body, status] of [
        ['PUT', 'aws/config/lease', { lease: '1h', lease_max: '2h' }, 204],
        ['GET', 'aws/roles/nobody', undefined, 404],
        ['GET', 'aws/creds/nobody', undefined, 400],
        ['GET', 'nowhere/x', undefined, 404],
        ['GET', 'sys/health', undefined, 200],
        ['GET', 'sys/seal-status', undefined, 200],
      ] as const) {
        const answer = await wrapping(method, path, body);
        expect([path, answer.status, answer.body.wrap_info]).toEqual([path, status, undefined]);
      }
      expect(await kept()).toBe(before);
    });

    it('is wrapped for as long as the header says, and not by one that says nothing sound', async () => {
      for (const ttl of ['soon', '-1', '-5m']) {
        const before = await lentSoFar();
        const answer = await wrapping('GET', 'aws/creds/deploy', undefined, { ttl });
        expect(told(answer)).toEqual([400, [expect.stringMatching(/^error parsing X-Vault-Wrap-TTL header: /)]]);
        expect(await lentSoFar()).toEqual(before);
      }
      for (const [ttl, seconds] of [
        ['1h', 3600],
        ['90', 90],
        ['1d', 86_400],
        ['1.5s', 1],
      ] as const) {
        expect((await wrap('GET', 'aws/roles/deploy', undefined, { ttl })).ttl).toBe(seconds);
      }
      expect((await wrapping('GET', 'aws/roles/deploy', undefined, { ttl: '0' })).body.wrap_info).toBeNull();
    });
  });

  describe('a wrapping token', () => {
    it('is opened as the clients do: by its holder alone, in a body, by the old path', async () => {
      const token = async () => (await wrap('GET', 'aws/roles/deploy')).token;
      // vault unwrap without an argument, and with one; hvac with a client that has the wrapping token; node-vault.
      const plain = (await world.http.must(200, 'GET', 'aws/roles/deploy')).body.data;
      expect((await openAs(await token(), 'null\n')).body.data).toEqual(plain);
      expect((await openAs(await token())).body.data).toEqual(plain);
      expect((await open(await token())).body.data).toEqual(plain);
      const own = await token();
      expect((await openAs(own, JSON.stringify({ token: own }))).body.data).toEqual(plain);
      expect((await world.http.call('POST', 'sys/wrapping/unwrap', { token: await token() })).body.data).toEqual(plain);
      const old = await world.http.must(200, 'GET', 'cubbyhole/response', undefined, { token: await token() });
      expect((JSON.parse(old.body.data.response as string) as { data: object }).data).toEqual(plain);
    });

    it('is looked at without being spent, by anybody who has it', async () => {
      const { token, creation_time } = await wrap('GET', 'aws/roles/deploy', undefined, { ttl: '2h' });
      const shown = { creation_ttl: 7200, creation_time, creation_path: 'aws/roles/deploy' };
      const look = (method: string, body?: object, as: string | null = null) =>
        world.http.call(method, 'sys/wrapping/lookup', body, { token: as });
      for (const answer of [
        await look('POST', { token }),
        await look('GET', undefined, token),
        await look('PUT', {}, token),
      ])
        expect(answer.body.data).toEqual(shown);
      expect((await open(token)).status).toBe(200);
      expect(told(await look('POST', { token }))).toEqual(notValid);
      expect(told(await look('POST', { token: world.http.token }))).toEqual(notValid);
      for (const method of ['GET', 'POST']) {
        expect(told(await look(method))).toEqual([403, ['error validating wrapping token: token is empty']]);
      }
    });

    it.each([
      ['GET', 'aws/creds/deploy'],
      ['GET', 'auth/token/lookup-self'],
      ['POST', 'sys/wrapping/rewrap'],
      ['POST', 'sys/wrapping/wrap'],
      ['GET', 'sys/no/such/path'],
    ])('shown to another path is refused and spent: %s %s', async (method, path) => {
      const wrapped = await wrap('GET', 'aws/roles/deploy');
      const { token } = wrapped;
      expect(await wrapping(method, path, undefined, { token })).toMatchObject({ status: 403 });
      expect(told(await open(token))).toEqual(notValid);
      expect((await openAs(token)).status).toBe(403);
      await eventually(async () => (await kept(wrapped)) === 0);
    });

    it('does not spend a token that wraps nothing, and is not opened by it', async () => {
      const made = await world.http.must(200, 'POST', 'auth/token/create', { policies: ['default'], num_uses: 2 });
      const { client_token: token } = made.body.auth as { client_token: string };
      for (const other of [token, world.http.token, 'hvs.nobody', ''])
        expect(told(await open(other))).toEqual(notValid);
      expect((await world.http.call('GET', 'cubbyhole/response')).status).toBe(404);
      const { num_uses } = (await world.http.must(200, 'POST', 'auth/token/lookup', { token })).body.data;
      expect(num_uses).toBe(2);
    });

    it('is replaced by another one for the same time, and the old one is dead', async () => {
      const old = await wrap('GET', 'aws/roles/deploy', undefined, { ttl: '7m' });
      const answer = await world.http.must(200, 'POST', 'sys/wrapping/rewrap', { token: old.token });
      const fresh = infoOf(answer);
      expect(fresh).toMatchObject({ ttl: 420, creation_path: 'aws/roles/deploy' });
      expect(told(await open(old.token))).toEqual(notValid);
      expect((await open(fresh.token)).status).toBe(200);
    });

    it('is still good when no other one could be kept in its place', async () => {
      const old = await wrap('GET', 'aws/roles/deploy');
      await world.database.query(
        `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'the disk is full'; end $$;
         create trigger refused before insert on wrapped_answers for each row execute function refuse()`,
      );
      try {
        await world.http.must(500, 'POST', 'sys/wrapping/rewrap', { token: old.token });
      } finally {
        await world.database.query(`drop function refuse() cascade`);
      }
      expect((await open(old.token)).status).toBe(200);
    });

    it('ends with its answer when it is revoked by its accessor', async () => {
      const wrapped = await wrap('GET', 'aws/roles/deploy');
      await world.http.must(204, 'POST', 'auth/token/revoke-accessor', { accessor: wrapped.accessor });
      expect(await kept(wrapped)).toBe(0);
      expect(told(await open(wrapped.token))).toEqual(notValid);
    });

    it('is not opened while the system is sealed, and is afterwards', async () => {
      const { token } = await wrap('GET', 'aws/roles/deploy');
      await world.http.must(204, 'PUT', 'sys/seal');
      for (const answer of [
        await open(token),
        await openAs(token),
        await world.http.call('POST', 'sys/wrapping/lookup', { token }),
        await world.http.call('GET', 'aws/roles/deploy', undefined, { token }),
      ])
        expect(told(answer)).toEqual([503, ['Vault is sealed']]);
      await world.http.must(200, 'PUT', 'sys/unseal', { key: world.options.masterKey.toString('hex') });
      expect((await open(token)).status).toBe(200);
    });
  });

  describe('as policies ask for it', () => {
    it('is for no less and no more than they say, also where the issuer asks them again', async () => {
      const token = await holderOf(
        'path "aws/creds/*" { capabilities = ["read"] min_wrapping_ttl = "1m" max_wrapping_ttl = "5m" }',
      );
      const before = await lentSoFar();
      for (const ttl of ['0', '59', '301']) {
        expect((await wrapping('GET', 'aws/creds/deploy', undefined, { ttl, token })).status).toBe(403);
      }
      expect((await world.http.call('GET', 'aws/creds/deploy', undefined, { token })).status).toBe(403);
      expect(await lentSoFar()).toEqual(before);
      const wrapped = await wrap('GET', 'aws/creds/deploy', undefined, { ttl: '90s', token });
      expect(await world.whoIs(lentBy(await open(wrapped.token)).keys)).toMatch(/:user\//);
    });

    it('has a policy of its own, which nobody lists, changes or gives', async () => {
      const { policy } = (await world.http.must(200, 'GET', 'sys/policies/acl/response-wrapping')).body.data;
      expect(policy).toContain('sys/wrapping/unwrap');
      for (const path of ['sys/policies/acl', 'sys/policy']) {
        expect((await world.http.must(200, 'LIST', path)).body.data.keys).not.toContain('response-wrapping');
      }
      expect(told(await world.http.call('DELETE', 'sys/policies/acl/response-wrapping'))).toEqual([
        400,
        ['cannot delete "response-wrapping" policy'],
      ]);
    });

    it('lets who has the default policy wrap and unwrap', async () => {
      const [token] = await giveTokens(world, { policies: ['default'] });
      const wrapped = await wrap('PUT', 'sys/wrapping/wrap', { a: 1 }, { token: token! });
      const opened = await world.http.must(
        200,
        'PUT',
        'sys/wrapping/unwrap',
        { token: wrapped.token },
        { token: token! },
      );
      expect(opened.body.data).toEqual({ a: 1 });
    });
  });
});
