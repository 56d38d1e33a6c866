import { randomBytes, randomUUID } from 'node:crypto';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { LeaseholdClient } from '#libs/client';
import { CodedError, handOutLease, newIssuerKeys, parseIssuerPublicKey } from '#libs/contracts';
import { CommandClient } from '#libs/runtime';
import { firstValueFrom } from 'rxjs';
import type { Fleet } from '../../apps/cluster/src/fleet.js';
import { AuditFolder, type AuditRecord, recordsIn } from '../support/audit-file.js';
import { HttpClient } from '../support/http-client.js';
import { comesToRest, lend, someoneWaits, whileLocked, writeRole } from '../support/lease-life.js';
import { ready, writePooled } from '../support/pools.js';
import { newFleet, testServers } from '../support/services.js';
import { giveTokens } from '../support/tokens.js';
import { eventually, World } from '../support/world.js';

const keys = newIssuerKeys();
const namespace = `test-${randomBytes(6).toString('hex')}`;
const hashed = expect.stringMatching(/^hmac-sha256:[0-9a-f]{64}$/);

describe('audit by several services', () => {
  let world: World;
  let fleet: Fleet;
  let folder: AuditFolder;
  let client: LeaseholdClient;
  let file: string;
  let names = 0;

  beforeAll(async () => {
    folder = new AuditFolder();
    world = await World.start({
      weather: {},
      timing: { pooledMinMs: 1 },
      run: async ({ databaseUrl, masterKey, timing, rootToken, surroundings }) => {
        fleet = newFleet({
          databaseUrl,
          masterKey,
          timing,
          aws: { url: surroundings.defaultEndpoint, ...(await surroundings.ambientCredentials()()) },
          env: {
            LEASEHOLD_NAMESPACE: namespace,
            LEASEHOLD_ISSUER_KEY: keys.privateKey,
            LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
          },
          onLine: (line) => void world?.log.push(line),
        });
        await fleet.migrate({ LEASEHOLD_ROOT_TOKEN: rootToken });
        const kinds = ['gateway', 'gateway', 'issuer', 'revoker'] as const;
        await Promise.all(kinds.map((kind) => fleet.start(kind).serves()));
        return { url: fleet.running('gateway')[0]!.url, close: () => fleet.close() };
      },
    });
    await world.mount();
    await writeRole(world, 'deploy');
    client = new LeaseholdClient({
      rabbitmqUrl: testServers().rabbitmqUrl,
      namespace,
      issuerPublicKey: keys.publicKey,
      token: world.options.rootToken,
    });
  }, 90_000);
  afterAll(async () => {
    await client?.close();
    await world?.close();
    folder.remove();
  });
  afterEach(async () => {
    world.simulator.faults.clear();
    await world.database.query('delete from audit_devices');
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
  });

  async function enable(filePath = folder.file(`audit-${(names += 1)}.log`)): Promise<void> {
    file = filePath;
    await world.http.must(204, 'PUT', 'sys/audit/file', { type: 'file', options: { file_path: filePath } });
  }
  const hash = async (input: string) =>
    (await world.http.must(200, 'POST', 'sys/audit-hash/file', { input })).body.data.hash;
  const told = () => recordsIn(file).filter(({ request }) => !request.path.startsWith('sys/audit'));
  const inShort = ({ type, request, error }: AuditRecord) =>
    [type, request.command ?? 'http', request.path, ...(error ? [error] : [])].join(' ');
  /** What a gateway and the issuer do when the file cannot be written. */
  function breakFile(): void {
    rmSync(file);
    mkdirSync(file);
  }

  /** The issuer looks at its file within a second, as the gateways do at theirs. */
  const issuerRefuses = () =>
    client.renew('aws/creds/deploy/x').catch((error: CodedError) => error.code === 'internal');

  it('a device that one gateway enables is written by the next request at the other one', async () => {
    const [one, other] = fleet.running('gateway').map(({ url }) => new HttpClient(url, world.options.rootToken));
    for (let round = 0; round < 20; round += 1) {
      await one!.must(204, 'PUT', 'sys/audit/file', { type: 'file', options: { file_path: folder.file('both.log') } });
      const { body } = await other!.must(200, 'GET', 'sys/mounts');
      const ids = recordsIn(folder.file('both.log')).map(({ request }) => request.id);
      expect(ids.filter((id) => id === body.request_id)).toHaveLength(2);
      await one!.must(204, 'DELETE', 'sys/audit/file');
    }
  });

  it('commands of an internal service are recorded by the issuer, and those of a gateway by the gateway alone', async () => {
    await enable();
    const lent = await client.issue({ mount: 'aws', role: 'deploy', ttlSeconds: 90 });
    await client.renew(lent.leaseId, 60);
    await client.revoke(lent.leaseId);
    const overHttp = await lend(world, 'deploy');
    expect(told().map(inShort)).toEqual([
      'request lease.hand-out aws/creds/deploy',
      'response lease.hand-out aws/creds/deploy',
      'request lease.issue aws/creds/deploy',
      'response lease.issue aws/creds/deploy',
      'request lease.accept sys/leases/accept',
      'response lease.accept sys/leases/accept',
      'request lease.renew sys/leases/renew',
      'response lease.renew sys/leases/renew',
      'request lease.revoke sys/leases/revoke',
      'response lease.revoke sys/leases/revoke',
      'request http aws/creds/deploy',
      'response http aws/creds/deploy',
    ]);
    const records = told();
    expect(records[3]).toMatchObject({
      auth: { client_token: await hash(world.http.token), accessor: hashed, display_name: 'root', policies: ['root'] },
      request: { operation: 'read', mount_point: 'aws/', mount_type: 'aws', data: { ttl: 90 } },
      response: {
        secret: { lease_id: lent.leaseId },
        data: {
          access_key: await hash(lent.credential.accessKeyId),
          secret_key: await hash(lent.credential.secretAccessKey),
          security_token: null,
        },
      },
    });
    const granting_policies = [{ name: 'root', namespace_id: 'root', type: 'acl' }];
    const results = records.map((record) => record.auth.policy_results);
    const [asked, answered] = [
      { allowed: true, granting_policies },
      { allowed: true, granting_policies },
    ];
    // Of an offer no policy is asked: who asked for it may have it.
    const ofOffer = [undefined, { allowed: true }];
    const ofBoth = [asked, answered];
    expect(results.slice(0, 10)).toEqual([...ofBoth, ...ofBoth, ...ofOffer, ...ofBoth, ...ofBoth]);
    expect(records[6]!.request.data).toEqual({ lease_id: await hash(lent.leaseId), increment: 60 });
    expect(records[11]!.response.secret.lease_id).toBe(overHttp.leaseId);
    expect(records.map((record) => JSON.stringify(record)).join()).not.toContain(lent.credential.secretAccessKey);
  });

  it('a command that is refused is recorded with its refusal', async () => {
    await enable();
    const stranger = new LeaseholdClient({
      rabbitmqUrl: testServers().rabbitmqUrl,
      namespace,
      issuerPublicKey: keys.publicKey,
      token: 'nobody has this token',
    });
    try {
      await expect(stranger.revoke('aws/creds/deploy/x')).rejects.toMatchObject({ code: 'permission_denied' });
      await expect(client.issue({ mount: 'aws', role: 'nobody' })).rejects.toMatchObject({ code: 'role_not_found' });
    } finally {
      await stranger.close();
    }
    const [, denied, , notFound] = told();
    expect(denied).toMatchObject({ error: expect.stringContaining('invalid token') });
    expect(denied!.auth).toEqual({
      client_token: await hash('nobody has this token'),
      policy_results: { allowed: false },
    });
    expect(notFound!.response.data).toEqual({ error: await hash('Role "nobody" not found') });
  });

  it('a command that policies refuse says so in both records, and one that they allow names them', async () => {
    await world.http.must(204, 'PUT', 'sys/policies/acl/renewer', {
      policy: 'path "sys/leases/renew" { capabilities = ["update"] }',
    });
    const [token] = await giveTokens(world, { policies: ['renewer', 'default'] });
    await enable();
    const service = new LeaseholdClient({
      rabbitmqUrl: testServers().rabbitmqUrl,
      namespace,
      issuerPublicKey: keys.publicKey,
      token: token!,
    });
    try {
      await expect(service.issue({ mount: 'aws', role: 'deploy' })).rejects.toMatchObject({
        code: 'permission_denied',
      });
      await expect(service.renew('aws/creds/deploy/x', 60)).rejects.toMatchObject({ code: 'invalid_request' });
    } finally {
      await service.close();
    }
    const granting_policies = ['default', 'renewer'].map((name) => ({ name, namespace_id: 'root', type: 'acl' }));
    const allowed = { allowed: true, granting_policies };
    expect(told().map((record) => record.auth.policy_results)).toEqual([
      { allowed: false },
      { allowed: false },
      allowed,
      allowed,
    ]);
  });

  it('a service that claims to be a gateway is recorded all the same', async () => {
    await enable();
    const claim = { mount: 'aws', role: 'nobody', audited: randomBytes(32).toString('base64url') };
    await expect(client.issue(claim)).rejects.toThrow(CodedError);
    expect(told().map(inShort)).toEqual([
      'request lease.hand-out aws/creds/nobody',
      'response lease.hand-out aws/creds/nobody',
    ]);
  });

  it('a command that cannot be recorded is refused before anything is made', async () => {
    await enable();
    breakFile();
    await eventually(issuerRefuses);
    const calls = world.simulator.calls.list().length;
    await expect(client.issue({ mount: 'aws', role: 'deploy' })).rejects.toMatchObject({ code: 'internal' });
    expect(world.simulator.calls.list()).toHaveLength(calls);
  });

  it('a credential whose answer cannot be recorded is not given to the service, and is taken back', async () => {
    await enable();
    const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
    const asked = client.issue({ mount: 'aws', role: 'deploy' }).catch((error: CodedError) => error.code);
    await hold.reached;
    breakFile();
    await eventually(issuerRefuses);
    hold.release();
    expect(await asked).toBe('internal');
    await world.database.query('delete from audit_devices');
    await comesToRest(world);
  });

  it('a user of a pool is recorded as any credential, and is taken back when its answer cannot be', async () => {
    await writePooled(world, 'pooled', 2);
    const made = (await ready(world, 'pooled', 2)).map((row) => row.id);
    await enable();
    const lent = await client.issue({ mount: 'aws', role: 'pooled' });
    const [request, response] = told();
    expect([request, response].map((record) => inShort(record!))).toEqual([
      'request lease.hand-out aws/creds/pooled',
      'response lease.hand-out aws/creds/pooled',
    ]);
    expect(response!.response).toMatchObject({
      secret: { lease_id: lent.leaseId },
      data: { access_key: await hash(lent.credential.accessKeyId) },
    });
    // Without what the client library would take back.
    const broker = { url: testServers().rabbitmqUrl, namespace };
    const issuers = new CommandClient({ broker, publicKey: parseIssuerPublicKey(keys.publicKey) });
    const command = { id: randomUUID(), waitMs: 20_000, requestId: 'r', token: world.http.token };
    const wish = { ...command, mount: 'aws/', role: 'pooled', door: 'creds' };
    let asked: Promise<unknown> | undefined;
    await whileLocked(world, 'lock table pooled_keys', async () => {
      asked = firstValueFrom(issuers.send(handOutLease.pattern, wish)).catch((error: CodedError) => error.code);
      await someoneWaits(world, 'with asked as (');
      breakFile();
      await eventually(issuerRefuses);
    });
    expect(await asked).toBe('internal');
    await world.database.query('delete from audit_devices');
    const [other] = made.filter((id) => id !== lent.leaseId);
    const taken = await eventually(async () => {
      const row = (await world.leases()).find(({ id }) => id === other)!;
      return row.state === 'ended' && row;
    });
    expect(taken.end_reason).toBe('not_received');
    await issuers.close();
    await writePooled(world, 'pooled', 0);
  });

  it('standard output takes records between the lines of the log, each whole', async () => {
    await enable('stdout');
    const gateway = fleet.running('gateway')[0]!;
    await Promise.all(
      Array.from({ length: 60 }, (_, n) =>
        world.http.call('PUT', 'sys/leases/lookup', { lease_id: Array.from({ length: n * 5 }, () => 'x') }),
      ),
    );
    await world.http.must(404, 'GET', 'the/last/one');
    const isLast = (line: string) => line.includes('"type":"response"') && line.includes('the/last/one');
    await eventually(() => world.log.some(isLast));
    const lines = world.log.filter((line) => line.startsWith('{'));
    const records = lines.map((line) => JSON.parse(line) as AuditRecord).filter((line) => line.type === 'response');
    expect(records.filter(({ request }) => request.path === 'sys/leases/lookup')).toHaveLength(60);
    expect(gateway.running).toBe(true);
  });

  it('SIGHUP makes a gateway look for its file, and does not end it', async () => {
    await enable();
    renameSync(file, `${file}.1`);
    const gateway = fleet.running('gateway')[0]!;
    gateway.signal('SIGHUP');
    await eventually(async () => (await world.http.must(200, 'GET', 'sys/mounts')) && existsSync(file));
    await world.http.must(200, 'GET', 'aws/roles/deploy');
    expect(told().map(inShort)).toContain('response http aws/roles/deploy');
    expect(gateway.running).toBe(true);
  });

  it('a record that the disk took half of is refused, and what follows begins a line of its own', async () => {
    const path = folder.file('torn.log');
    const code = `
      import { truncateSync } from 'node:fs';
      import { FileSink } from './dist/libs/audit/src/audit-sink.js';
      const sink = new FileSink(process.env.FILE, 0o600);
      const lineOf = (text) => JSON.stringify({ text }) + '\\n';
      const took = [];
      for (let n = 0; n < 6; n += 1) took.push(await sink.append(lineOf('x'.repeat(1_000))).then(() => true, () => false));
      truncateSync(process.env.FILE, 4_060);
      took.push(await sink.append(lineOf('after')).then(() => true, () => false));
      console.log(JSON.stringify(took));`;
    // A file of this process can be no longer than 4 KiB.
    const { stdout } = await promisify(execFile)(
      'bash',
      ['-c', `trap '' XFSZ; ulimit -f 4; exec "$0" --input-type=module --eval "$1"`, process.execPath, code],
      { env: { PATH: process.env.PATH, FILE: path } },
    );
    expect(JSON.parse(stdout)).toEqual([true, true, true, true, false, false, true]);
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(lines).toHaveLength(6);
    const whole = lines.toSpliced(4, 1).map((line) => (JSON.parse(line) as { text: string }).text.length);
    expect(whole).toEqual([1_000, 1_000, 1_000, 1_000, 5]);
  });
});
