import { mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { byAccessKeySql } from '#libs/leases';
import { startSystem } from '../apps/standalone/src/system.js';
import { AuditFolder, type AuditRecord, recordsIn } from './support/audit-file.js';
import { everything } from './support/everything.js';
import { comesToRest, lend, policyDocument, rowOf, writeRole } from './support/lease-life.js';
import { giveTokens } from './support/tokens.js';
import { eventually, World } from './support/world.js';

const hashed = expect.stringMatching(/^hmac-sha256:[0-9a-f]{64}$/);

describe('audit', () => {
  let world: World;
  let folder: AuditFolder;
  let names = 0;

  beforeAll(async () => {
    folder = new AuditFolder();
    world = await World.start({ weather: {} });
    await world.mount();
    await writeRole(world, 'deploy');
  }, 60_000);
  afterAll(async () => {
    await world?.close();
    folder.remove();
  });
  afterEach(async () => {
    world.simulator.faults.clear();
    await world.database.query('delete from audit_devices');
  });

  const call = (method: string, path: string, body?: object | string) => world.http.call(method, path, body);
  const must = (status: number, method: string, path: string, body?: object) =>
    world.http.must(status, method, path, body);

  /** Enables a device with a new file, and says where that is. */
  async function enable(path = 'file', options: Record<string, string> = {}): Promise<string> {
    const file = folder.file(`audit-${(names += 1)}.log`);
    await must(204, 'PUT', `sys/audit/${path}`, { type: 'file', options: { file_path: file, ...options } });
    return file;
  }
  const hash = async (input: string, device = 'file') =>
    (await must(200, 'POST', `sys/audit-hash/${device}`, { input })).body.data.hash;
  /** The two records of what was just asked at that path. */
  function pairAt(file: string, path: string): [AuditRecord, AuditRecord] {
    const found = recordsIn(file).filter((record) => record.request.path === path);
    expect(found.slice(-2).map((record) => record.type)).toEqual(['request', 'response']);
    return found.slice(-2) as [AuditRecord, AuditRecord];
  }
  /** Puts a folder in the place of the file, which nobody can write. */
  function breakFile(file: string): void {
    rmSync(file);
    mkdirSync(file);
  }
  const refusesAll = () => eventually(async () => (await call('GET', 'sys/mounts')).status === 500);

  describe('devices', () => {
    it('are listed, as old clients read them too, enabled and disabled', async () => {
      expect((await must(200, 'GET', 'sys/audit')).body).toMatchObject({ data: {} });
      const file = await enable('file', { mode: '0640' });
      const shown = {
        path: 'file/',
        type: 'file',
        description: '',
        options: { file_path: file, mode: '0640' },
        local: false,
      };
      expect((await must(200, 'GET', 'sys/audit')).body).toMatchObject({ data: { 'file/': shown }, 'file/': shown });
      expect(statSync(file).mode & 0o777).toBe(0o640);
      await must(204, 'DELETE', 'sys/audit/file');
      await must(204, 'DELETE', 'sys/audit/file');
      const { length } = recordsIn(file);
      await must(200, 'GET', 'sys/mounts');
      expect(recordsIn(file)).toHaveLength(length);
      expect((await must(200, 'GET', 'sys/audit')).body.data).toEqual({});
    });

    it('have a salt of their own, sealed', async () => {
      await enable('one');
      await enable('two');
      expect(await hash('text', 'one')).not.toBe(await hash('text', 'two'));
      const { rows } = await world.database.query<{ sealed_salt: string }>('select sealed_salt from audit_devices');
      expect(rows.map((row) => row.sealed_salt.split('.').length)).toEqual([5, 5]);
    });

    it.each<[object, RegExp]>([
      [{}, /backend type must be specified/],
      [{ type: 'syslog' }, /unknown backend type: "syslog"/],
      [{ type: 'file' }, /file_path is required/],
      [{ type: 'file', options: { file_path: 'audit.log' } }, /must be an absolute path/],
      [
        { type: 'file', options: { file_path: '/nowhere/audit.log' } },
        /cannot be written: .*no such file or directory/,
      ],
      [{ type: 'file', options: { file_path: '/tmp' } }, /cannot be written/],
      [{ type: 'file', options: { file_path: '/dev/full' } }, /cannot be written/],
      [{ type: 'file', options: { file_path: 'stdout', log_raw: 'true' } }, /log_raw is not supported/],
      [{ type: 'file', options: { file_path: 'stdout', format: 'jsonx' } }, /format must be json/],
      [{ type: 'file', options: { file_path: 'stdout', mode: '0755' } }, /executable|octal/],
      [{ type: 'file', options: { file_path: 'stdout', mode: 'rw' } }, /octal/],
      [{ type: 'file', options: { file_path: 'stdout', prefix: '* * * * * root reboot #' } }, /prefix must be/],
      [{ type: 'file', options: { file_path: 'stdout', hmac_accessor: 'maybe' } }, /hmac_accessor must be/],
      [{ type: 'file', options: { file_path: 'stdout', colour: 'red' } }, /unknown option "colour"/],
    ])('refuses %j, and keeps nothing', async (body, text) => {
      const answer = await call('PUT', 'sys/audit/file', body);
      expect([answer.status, answer.body.errors[0]]).toEqual([400, expect.stringMatching(text)]);
      expect((await must(200, 'GET', 'sys/audit')).body.data).toEqual({});
    });

    it('do not share a path', async () => {
      await enable('file');
      const again = await call('PUT', 'sys/audit/file', { type: 'file', options: { file_path: folder.file('x') } });
      expect([again.status, again.body.errors]).toEqual([400, ['path already in use at file/']]);
    });

    it.each([
      ['nowhere', { input: 'x' }, 'unknown audit backend "nowhere/"'],
      ['file', {}, 'the "input" parameter is empty'],
    ])('hash nothing at %s for %j', async (path, body, text) => {
      await enable('file');
      const answer = await call('POST', `sys/audit-hash/${path}`, body);
      expect([answer.status, answer.body.errors]).toEqual([400, [text]]);
    });
  });

  describe('records', () => {
    it('say of a credential who asked for it and what was lent, and nothing that could be used', async () => {
      const file = await enable();
      const answer = await must(200, 'GET', 'aws/creds/deploy?ttl=90');
      const { request_id: id, lease_id, data } = answer.body;
      const [request, response] = pairAt(file, 'aws/creds/deploy');
      const token = await hash(world.http.token);
      expect(request).toEqual({
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        type: 'request',
        auth: {
          client_token: token,
          accessor: hashed,
          display_name: 'root',
          policies: ['root'],
          token_policies: ['root'],
          token_type: 'service',
          token_issue_time: expect.any(String),
          policy_results: { allowed: true, granting_policies: [{ name: 'root', namespace_id: 'root', type: 'acl' }] },
        },
        request: {
          id,
          operation: 'read',
          mount_point: 'aws/',
          mount_type: 'aws',
          mount_accessor: expect.stringMatching(/^aws_/),
          client_token: token,
          client_token_accessor: hashed,
          namespace: { id: 'root' },
          path: 'aws/creds/deploy',
          data: { ttl: await hash('90') },
          remote_address: '127.0.0.1',
        },
      });
      expect(response).toMatchObject({ type: 'response', auth: request.auth, request: request.request });
      expect(response.response).toEqual({
        mount_point: 'aws/',
        mount_type: 'aws',
        mount_accessor: request.request.mount_accessor,
        data: {
          access_key: await hash(String(data.access_key)),
          secret_key: await hash(String(data.secret_key)),
          security_token: null,
          session_token: null,
        },
        secret: { lease_id },
      });
    });

    it('leave numbers, booleans and what the mount says to be clear, and hash what is inside lists and objects', async () => {
      const file = await enable();
      await must(204, 'POST', 'sys/mounts/aws/tune', {
        audit_non_hmac_request_keys: ['lease'],
        audit_non_hmac_response_keys: ['access_key'],
      });
      await must(204, 'PUT', 'aws/config/lease', {
        lease: '1h',
        lease_max: '24h',
        'odd one': [1, true, null, { a: 'b' }],
      });
      const [request] = pairAt(file, 'aws/config/lease');
      expect(request.request.data).toEqual({
        lease: '1h',
        lease_max: await hash('24h'),
        'odd one': [1, true, null, { a: await hash('b') }],
      });
      const lent = await lend(world, 'deploy');
      const [, response] = pairAt(file, 'aws/creds/deploy');
      expect(response.response.data).toMatchObject({ access_key: lent.keys.access_key, secret_key: hashed });
      await must(200, 'LIST', 'aws/roles');
      expect(pairAt(file, 'aws/roles/')[1]).toMatchObject({
        request: { operation: 'list' },
        response: { data: { keys: [await hash('deploy')] } },
      });
      await must(204, 'PUT', 'sys/leases/revoke', { lease_id: lent.leaseId });
      expect(pairAt(file, 'sys/leases/revoke')[0].request).toMatchObject({
        mount_point: 'sys/',
        mount_type: 'system',
        data: { lease_id: await hash(lent.leaseId) },
      });
    });

    it('show an accessor where the device is told to', async () => {
      const file = await enable('file', { hmac_accessor: 'false', prefix: '' });
      await must(200, 'GET', 'sys/mounts');
      const { accessor } = (await must(200, 'GET', 'auth/token/lookup-self')).body.data;
      expect(pairAt(file, 'sys/mounts')[0]).toMatchObject({
        auth: { accessor },
        request: { client_token_accessor: accessor },
      });
    });

    it('begin with the prefix of the device', async () => {
      const file = await enable('file', { prefix: '@cee: ' });
      await must(200, 'GET', 'sys/mounts');
      for (const line of readFileSync(file, 'utf8').trimEnd().split('\n').slice(1)) expect(line).toMatch(/^@cee: \{/);
    });

    it.each([
      ['nobody', 'GET', 'aws/creds/deploy', undefined, null, 403, false],
      ['an unknown token', 'GET', 'sys/mounts', undefined, 'unknown', 403, false],
      ['a path that is not there', 'GET', 'nowhere/x', undefined, undefined, 404, true],
      ['a method that the path has not', 'DELETE', 'sys/mounts', undefined, undefined, 405, true],
    ])('are made of what is refused: %s', async (_, method, path, body, token, status, isAllowed) => {
      const file = await enable();
      const answer = await world.http.must(status, method, path, body, { token });
      const [request, response] = pairAt(file, path);
      for (const record of [request, response]) {
        expect(record.auth).toMatchObject({ policy_results: { allowed: isAllowed } });
        expect('display_name' in record.auth).toBe(isAllowed);
      }
      expect(response).toMatchObject({ error: answer.body.errors[0] });
    });

    it('name the policies that let the caller through, of all that it has', async () => {
      const policy = (name: string, text: string) => must(204, 'PUT', `sys/policies/acl/${name}`, { policy: text });
      await policy('reader', 'path "aws/roles/*" { capabilities = ["read"] }');
      await policy('writer', 'path "aws/roles/*" { capabilities = ["create", "update", "delete"] }');
      await policy(
        'both',
        'path "aws/roles/*" { capabilities = ["read", "update"] }\npath "sys/mounts" { capabilities = ["read"] }',
      );
      await policy('narrow', 'path "aws/roles/deny" { capabilities = ["deny"] }');
      await policy('lister', 'path "aws/roles" { capabilities = ["list"] }');
      const [token] = await giveTokens(world, {
        policies: ['both', 'lister', 'narrow', 'reader', 'writer', 'not-there'],
      });
      const file = await enable();
      const ask = (method: string, path: string, body?: object) => world.http.call(method, path, body, { token });
      for (const [method, path, at, granting] of [
        ['GET', 'aws/roles/deploy', 'aws/roles/deploy', ['both', 'reader']],
        ['PUT', 'aws/roles/deploy', 'aws/roles/deploy', ['both', 'writer']],
        ['DELETE', 'aws/roles/nobody', 'aws/roles/nobody', ['writer']],
        ['LIST', 'aws/roles', 'aws/roles/', ['lister']],
        ['GET', 'sys/mounts', 'sys/mounts', ['both']],
      ] as const) {
        await ask(method, path, method === 'PUT' ? { policy_document: policyDocument } : undefined);
        const granting_policies = granting.map((name) => ({ name, namespace_id: 'root', type: 'acl' }));
        for (const record of pairAt(file, at)) {
          expect([method, record.auth.policy_results]).toEqual([method, { allowed: true, granting_policies }]);
        }
      }
      for (const [method, path] of [
        ['GET', 'aws/roles/deny'],
        ['GET', 'aws/config/root'],
        ['PUT', 'sys/mounts/x'],
      ] as const) {
        await ask(method, path, method === 'PUT' ? { type: 'aws' } : undefined);
        for (const record of pairAt(file, path)) {
          expect([path, record.auth.policy_results]).toEqual([path, { allowed: false }]);
        }
      }
      // Help asks no policy.
      await ask('GET', 'aws/config/root?help=1');
      expect(pairAt(file, 'aws/config/root')[1].auth.policy_results).toEqual({ allowed: true });
    });

    it.each([
      ['PUT', 'aws/roles/broken', '{"policy":"SECRET-WORD', 400],
      ['POST', 'sys/mounts/broken', '[1]', 400],
      ['PATCH', 'aws/roles/broken', '{}', 415],
    ])('are made of a body that cannot be read, without it: %s %s %s', async (method, path, body, status) => {
      const file = await enable();
      const answer = await world.http.must(status, method, path, body);
      const [request, response] = pairAt(file, path);
      expect(request).toMatchObject({
        auth: { client_token: await hash(world.http.token), policy_results: { allowed: false } },
        request: { operation: method === 'PATCH' ? 'patch' : 'update', data: {}, remote_address: '127.0.0.1' },
      });
      if (status === 400) expect(response.response.data).toEqual({ error: await hash(answer.body.errors[0]!) });
      else expect(response.error).toBe(answer.body.errors[0]);
      expect(readFileSync(file, 'utf8')).not.toContain('SECRET-WORD');
    });

    it("hash the handler's own refusal, which quotes what was sent", async () => {
      const file = await enable();
      const refusal = await must(400, 'GET', 'aws/creds/nobody-has-this');
      const [request, response] = pairAt(file, 'aws/creds/nobody-has-this');
      expect([request.error, response.error]).toEqual([undefined, undefined]);
      expect(response.response.data).toEqual({ error: await hash(refusal.body.errors[0]!) });
    });

    it('hash an accessor that a refusal quotes, whatever its status', async () => {
      await must(204, 'POST', 'auth/approle/role/ci', {});
      const file = await enable();
      const path = 'auth/approle/role/ci/secret-id-accessor/lookup';
      const secret = 'no-accessor-but-a-secret-id-by-mistake';
      const { body } = await must(404, 'POST', path, { secret_id_accessor: secret });
      expect(body.errors).toEqual([`failed to find accessor entry for secret_id_accessor: "${secret}"`]);
      const [, answered] = pairAt(file, path);
      expect(answered.response.data).toEqual({ error: await hash(body.errors[0]!) });
      expect(readFileSync(file, 'utf8')).not.toContain(secret);
      // What is refused before anything is handled quotes the path alone.
      await must(404, 'GET', 'nowhere/at/all');
      expect(pairAt(file, 'nowhere/at/all')[1].error).toBe(
        'no handler for route "nowhere/at/all". route entry not found.',
      );
      await must(204, 'DELETE', 'auth/approle/role/ci');
    });

    it('stay short, whatever names a caller makes up for what it sends', async () => {
      const file = await enable();
      const name = 'n'.repeat(4_000_000);
      for (const token of [undefined, 'nobody']) {
        await world.http.call('POST', 'sys/capabilities-self', { [name]: 'x', path: 'sys/mounts' }, { token });
      }
      expect(statSync(file).size).toBeLessThan(100_000);
      expect(pairAt(file, 'sys/capabilities-self')[0].request.data).toEqual({
        [String(await hash(name))]: await hash('x'),
        path: await hash('sys/mounts'),
      });
    });

    it('are not made of what load balancers ask', async () => {
      const file = await enable();
      for (const path of ['sys/health', 'sys/seal-status', 'sys/leader', 'sys/init']) await call('GET', path);
      await must(200, 'GET', 'sys/mounts?help=1');
      const asked = recordsIn(file).map(({ request }) => `${request.operation} ${request.path}`);
      expect(asked).toEqual(['update sys/audit/test', 'update sys/audit/file', 'help sys/mounts', 'help sys/mounts']);
    });

    it('are whole lines, two of each request and in order, however many come at once', async () => {
      const file = await enable();
      const answers = await Promise.all(
        Array.from({ length: 150 }, (_, n) =>
          call('PUT', `sys/leases/lookup`, { lease_id: `x`.repeat(n * 50) || 'x' }),
        ),
      );
      const records = recordsIn(file).filter((record) => record.request.path === 'sys/leases/lookup');
      expect(records).toHaveLength(2 * answers.length);
      const types = new Map<string, string>();
      for (const { request, type } of records) types.set(request.id, `${types.get(request.id) ?? ''} ${type}`);
      expect(types.size).toBe(answers.length);
      expect(new Set(types.values())).toEqual(new Set([' request response']));
    });

    it('have no secret, token or root key in any form', async () => {
      const files = [await enable('one'), await enable('two', { hmac_accessor: 'false' })];
      const lent = await lend(world, 'deploy');
      await must(204, 'PUT', 'aws/config/root', {
        access_key: world.root.accessKeyId,
        secret_key: world.root.secretAccessKey,
        region: 'us-east-1',
      });
      await call('PUT', 'aws/config/root', { secret_key: [world.root.secretAccessKey] });
      await call('GET', `auth/token/lookup-self?token=${world.http.token}`);
      await call('PUT', 'sys/leases/revoke', { lease_id: lent.leaseId, token: world.http.token });
      const secrets = [lent.keys.secret_key, world.http.token, world.root.secretAccessKey];
      for (const file of files) {
        const text = readFileSync(file, 'utf8');
        expect(text).toContain(lent.leaseId);
        const planted = `${text}${Buffer.from(secrets[0]!).toString('base64')}`;
        const foundIn = (where: string) => secrets.flatMap(forms).filter((form) => where.includes(form));
        expect(foundIn(planted)).not.toEqual([]);
        expect(foundIn(text)).toEqual([]);
      }
    });
  });

  it('asks for sudo, and records who was denied it', async () => {
    const file = await enable('file', { hmac_accessor: 'false' });
    const paths = ['sys/audit', 'sys/audit/other', 'sys/leases/lookup-access-key'];
    const rules = (capabilities: string) => paths.map((path) => `path "${path}" { capabilities = [${capabilities}] }`);
    await must(204, 'PUT', 'sys/policies/acl/auditor', { policy: rules('"read", "update", "delete"').join('\n') });
    const { auth } = (await must(200, 'POST', 'auth/token/create', { policies: ['auditor'], display_name: 'ann' }))
      .body;
    const { client_token: token, accessor } = auth as unknown as Record<string, string>;
    const asked: [string, string, object?][] = [
      ['GET', 'sys/audit'],
      ['PUT', 'sys/audit/other', { type: 'file', options: { file_path: folder.file('other.log') } }],
      ['DELETE', 'sys/audit/other'],
      ['PUT', 'sys/leases/lookup-access-key', { access_key: 'AKIAAAAAAAAAAAAAAAAA' }],
    ];
    const ask = async () =>
      Promise.all(
        asked.map(async ([method, path, body]) => (await world.http.call(method, path, body, { token })).status),
      );
    expect(await ask()).toEqual([403, 403, 403, 403]);
    expect(pairAt(file, 'sys/leases/lookup-access-key')[0]).toMatchObject({
      auth: {
        accessor,
        display_name: 'token-ann',
        policies: ['auditor', 'default'],
        policy_results: { allowed: false },
      },
      error: expect.stringContaining('permission denied'),
    });
    await must(204, 'PUT', 'sys/policies/acl/auditor', {
      policy: rules('"read", "update", "delete", "sudo"').join('\n'),
    });
    expect(await ask()).toEqual([200, 204, 204, 404]);
    expect(pairAt(file, 'sys/leases/lookup-access-key')[0].auth).toMatchObject({ policy_results: { allowed: true } });
    const made = pairAt(file, 'auth/token/create')[1].response.auth;
    expect(made).toMatchObject({ client_token: await hash(token!), accessor });
    expect(readFileSync(file, 'utf8')).not.toContain(token);
  });

  describe('a file', () => {
    it('that is renamed or removed is made anew', async () => {
      const file = await enable();
      renameSync(file, `${file}.1`);
      const written = () => {
        try {
          return recordsIn(file).some((record) => record.request.path === 'sys/mounts');
        } catch {
          return false;
        }
      };
      await eventually(async () => (await must(200, 'GET', 'sys/mounts')) && written());
      const before = recordsIn(`${file}.1`).length;
      await must(200, 'GET', 'sys/mounts');
      expect(recordsIn(`${file}.1`)).toHaveLength(before);
      rmSync(file);
      await eventually(async () => (await must(200, 'GET', 'sys/mounts')) && written());
    });

    it('that cannot be written refuses every request before it is handled', async () => {
      const file = await enable();
      breakFile(file);
      await refusesAll();
      const before = await everything(world);
      for (const [method, path, body] of [
        ['GET', 'aws/creds/deploy'],
        ['PUT', 'aws/roles/another', { policy: policyDocument }],
        ['DELETE', 'sys/audit/file'],
        ['GET', 'aws/creds/nobody-has-this'],
      ] as [string, string, object?][]) {
        const answer = await call(method, path, body);
        expect([answer.status, answer.body]).toEqual([500, { errors: ['1 error occurred:\n\t* internal error\n\n'] }]);
      }
      expect((await world.http.call('GET', 'sys/mounts', undefined, { token: null })).status).toBe(500);
      expect(await everything(world)).toEqual(before);
      expect((await call('GET', 'sys/health')).status).toBe(200);
      rmSync(file, { recursive: true });
      await eventually(async () => (await call('GET', 'sys/mounts')).status === 200);
      expect(pairAt(file, 'sys/mounts')).toHaveLength(2);
    });

    it('that breaks while a credential is made refuses the answer, and the credential is taken back', async () => {
      await must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
      const file = await enable();
      const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
      const asked = call('GET', 'aws/creds/deploy');
      await hold.reached;
      breakFile(file);
      await refusesAll();
      hold.release();
      const answer = await asked;
      expect([answer.status, answer.text]).toEqual([500, expect.not.stringContaining('secret_key')]);
      await eventually(() => world.lentUsers().length === 0);
      rmSync(file, { recursive: true });
      await eventually(async () => (await call('GET', 'sys/mounts')).status === 200);
      const row = (await world.leases()).at(-1)!;
      expect([row.state, row.end_reason]).toEqual(['ended', 'not_received']);
      await comesToRest(world);
    });

    it('that breaks beside another one stops nobody; it is logged once and counted', async () => {
      const [broken, whole] = [await enable('broken'), await enable('whole')];
      breakFile(broken);
      const said = () => world.log.filter((line) => line.includes('audit device cannot be written')).length;
      const before = said();
      await eventually(async () => (await must(200, 'GET', 'sys/mounts')) && said() > before);
      const lent = await lend(world, 'deploy');
      await must(204, 'PUT', 'sys/leases/revoke', { lease_id: lent.leaseId });
      expect(said()).toBe(before + 1);
      expect(pairAt(whole, 'aws/creds/deploy')[1].response.secret.lease_id).toBe(lent.leaseId);
      const figures = (await must(200, 'GET', 'sys/metrics?format=prometheus')).text;
      const failed = /^leasehold_audit_records_total\{.*type="response",outcome="failed".*\} (\d+)$/m.exec(figures);
      expect(Number(failed?.[1])).toBeGreaterThan(1);
    });
  });

  describe('an access key', () => {
    const lookUp = async (accessKey: string) => call('PUT', 'sys/leases/lookup-access-key', { access_key: accessKey });

    it('says whose it is while it lives, and whose it was once it has ended', async () => {
      const lent = await lend(world, 'deploy');
      const token = (await must(200, 'GET', 'auth/token/lookup-self')).body.data;
      const living = (await lookUp(lent.keys.access_key)).body;
      const { user_name, account_id } = await rowOf(world, lent.leaseId);
      const instant = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
      expect(living.data).toEqual({
        lease_id: lent.leaseId,
        state: 'active',
        credential_type: 'iam_user',
        account_id,
        user_name,
        role: 'deploy',
        mount_point: 'aws/',
        mount_accessor: expect.stringMatching(/^aws_/),
        token_accessor: token.accessor,
        display_name: 'root',
        request_id: expect.any(String),
        issue_time: instant,
        accept_time: instant,
        last_renewal: null,
        expire_time: instant,
        end_time: null,
        end_reason: null,
      });
      await must(200, 'PUT', 'sys/leases/renew', { lease_id: lent.leaseId });
      await must(204, 'PUT', 'sys/leases/revoke', { lease_id: lent.leaseId });
      expect(
        (await must(200, 'GET', `sys/leases/lookup-access-key?access_key=${lent.keys.access_key}`)).body.data,
      ).toEqual({
        ...living.data,
        state: 'ended',
        last_renewal: instant,
        expire_time: instant,
        end_time: instant,
        end_reason: 'revoked',
      });
    });

    it('of STS is known as well', async () => {
      const root = world.simulator.account().existingUser('leasehold-root');
      const federate = { Effect: 'Allow', Action: ['ec2:*', 'sts:GetFederationToken'], Resource: '*' };
      world.simulator
        .account()
        .putUserPolicy(root, 'federate', JSON.stringify({ Version: '2012-10-17', Statement: federate }));
      const federated = { credential_type: 'federation_token', policy_document: policyDocument };
      await must(204, 'PUT', 'aws/roles/federated', federated);
      const { body } = await must(200, 'GET', 'aws/sts/federated');
      expect(body.data.access_key).toMatch(/^ASIA/);
      expect((await lookUp(String(body.data.access_key))).body.data).toMatchObject({
        lease_id: body.lease_id,
        credential_type: 'federation_token',
        user_name: null,
        state: 'active',
      });
    });

    it.each([
      [{ access_key: 'AKIAAAAAAAAAAAAAAAAA' }, 404, []],
      [{}, 400, ['access_key must be specified']],
    ])('that is none of ours is not found: %j', async (body, status, errors) => {
      const answer = await call('PUT', 'sys/leases/lookup-access-key', body);
      expect([answer.status, answer.body.errors]).toEqual([status, errors]);
    });

    it('is found by the index, however many leases there are', async () => {
      const lent = await lend(world, 'deploy');
      const client = await world.database.connect();
      try {
        await client.query('begin');
        await client.query('set local session_replication_role = replica');
        await client.query(
          `insert into leases (id, command_id, state, credential_type, mount_id, mount_version, role_name, role_version,
             root_version, account_id, token_id, request_id, access_key_id, renewable, ended_at)
           select 'aws/sts/x/' || n, command_id, 'ended', 'federation_token', mount_id, mount_version, role_name, role_version,
             root_version, account_id, token_id, request_id, 'ASIA' || n, false, now()
           from leases, generate_series(1, 20000) n where id = $1`,
          [lent.leaseId],
        );
        await client.query('analyze leases');
        const { rows } = await client.query<{ 'QUERY PLAN': string }>(
          `explain ${byAccessKeySql.replace('$1', `'ASIA77'`)}`,
        );
        const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
        expect(plan).toContain('leases_access_key');
        expect(plan).not.toContain('Seq Scan on leases');
      } finally {
        await client.query('rollback');
        client.release();
      }
    });
  });
});

describe('a device of the environment', () => {
  it('is there from the first request on, and nobody disables it over the API', async () => {
    const folder = new AuditFolder();
    const auditFile = folder.file('audit.log');
    const world = await World.start({ weather: {}, auditFile });
    try {
      await world.mount();
      expect(recordsIn(auditFile).map(({ type, request }) => `${type} ${request.path}`)).toEqual([
        'request sys/mounts/aws',
        'response sys/mounts/aws',
        'request aws/config/root',
        'response aws/config/root',
      ]);
      const refusal = await world.http.call('DELETE', 'sys/audit/configured');
      expect([refusal.status, refusal.body.errors]).toEqual([
        400,
        ['cannot disable configuration-managed audit device'],
      ]);
      const { body } = await world.http.must(200, 'GET', 'sys/audit');
      expect(body.data).toMatchObject({ 'configured/': { type: 'file', options: { file_path: auditFile } } });
      const taken = { type: 'file', options: { file_path: folder.file('other') } };
      expect((await world.http.call('PUT', 'sys/audit/configured', taken)).status).toBe(400);
      const { hash } = (await world.http.must(200, 'POST', 'sys/audit-hash/configured', { input: 'aws' })).body.data;
      expect(JSON.stringify(recordsIn(auditFile)[0])).toContain(`"type":"${String(hash)}"`);
    } finally {
      await world.close();
      folder.remove();
    }
  }, 60_000);

  it('whose disk is full lets nothing be done', async () => {
    const world = await World.start({ weather: {}, auditFile: '/dev/full', run: startSystem });
    try {
      const answer = await world.http.call('POST', 'sys/mounts/aws', { type: 'aws' });
      expect([answer.status, answer.body]).toEqual([500, { errors: ['1 error occurred:\n\t* internal error\n\n'] }]);
      const { rows } = await world.database.query('select 1 from mounts');
      expect(rows).toEqual([]);
      expect(world.log.join('\n')).toContain('no space left on device');
    } finally {
      await world.close();
    }
  }, 60_000);
});

/** How a secret may stand in a text. */
function forms(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [
    ...new Set([
      secret,
      bytes.toString('base64'),
      bytes.toString('base64url'),
      bytes.toString('hex'),
      encodeURIComponent(secret),
    ]),
  ];
}
