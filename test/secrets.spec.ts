import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { LeaseholdClient } from '#libs/client';
import { newIssuerKeys, parseIssuerPrivateKeys } from '#libs/contracts';
import { JsonLog } from '#libs/runtime';
import { startRedis } from '#servers';
import { connect } from 'amqplib';
import { Redis } from 'ioredis';
import {
  seedAssumeRolePolicy,
  seedFederationPolicy,
  seedRootPolicy,
  seedRotationPolicy,
  seedTrustPolicy,
} from '../apps/simulator/src/index.js';
import { startSystem } from '../apps/standalone/src/system.js';
import type { Fleet } from '../apps/cluster/src/fleet.js';
import { comesToRest, lend, policyDocument, rowOf, writeRole } from './support/lease-life.js';
import { ready, writePooled } from './support/pools.js';
import { findSecrets, formsOf, packings, type Place, type Secret, secretOf } from './support/secret-scan.js';
import { startFleet, testServers } from './support/services.js';
import { tap, type Tap } from './support/tap.js';
import { eventually, shape, World } from './support/world.js';

/** As secret as what it opens. Every way to write it down changes it. */
const idempotencyKey = `an "idempotency key" \\ that / 100% of nobody + reads`;
const issuerKeys = newIssuerKeys();

/** Everything between the parts of a system, written down. */
interface Lines {
  aws: Tap;
  database: Tap;
  broker?: Tap;
  redis?: Tap;
}

describe('a secret', () => {
  let world: World;
  let lines: Lines;
  let fleet: Fleet | undefined;
  let redis: { url: string; folder: string } | undefined;
  const namespace = `test-${randomBytes(6).toString('hex')}`;
  const log: string[] = [];
  /** Tokens and secret ids that were made. */
  const given: string[] = [];
  /** What had crossed to PostgreSQL before secrets were sent where they do not belong. */
  let beforeMisplaced: Buffer[] = [];
  let auditFile = '';
  let auditedBeforeMisplaced = 0;
  const stops: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    Logger.overrideLogger(false);
    world = await World.start({
      timing: { maxAttempts: 2, idempotencyMs: 600_000 },
      run: async (system) => {
        lines = { aws: await tap(system.surroundings.defaultEndpoint!), database: await tap(system.databaseUrl) };
        const tapped = {
          ...system,
          databaseUrl: lines.database.url,
          surroundings: { ...system.surroundings, defaultEndpoint: lines.aws.url },
          logger: new JsonLog({ write: (line: string) => void log.push(line) }, 'trace'),
        };
        stops.push(
          () => lines.aws.close(),
          () => lines.database.close(),
        );
        return shape() === 'services' ? asServices(tapped) : startSystem(tapped);
      },
    });
    await journey();
  }, 120_000);
  afterAll(async () => {
    await world?.close();
    for (const stop of stops.toReversed()) await stop();
  });

  /** On a Redis of its own, whose files can be read, and a broker on which every byte is seen. */
  async function asServices(system: Parameters<typeof startFleet>[0]) {
    const folder = await mkdtemp(join(tmpdir(), 'leasehold-secrets-'));
    stops.push(() => rm(folder, { recursive: true, force: true }));
    const server = await startRedis({ folder });
    stops.push(() => server.stop());
    redis = { url: server.url, folder };
    lines.broker = await tap(testServers().rabbitmqUrl);
    lines.redis = await tap(server.url);
    stops.push(
      () => lines.broker!.close(),
      () => lines.redis!.close(),
    );
    fleet = await startFleet(system, {
      redisUrl: lines.redis.url,
      rabbitmqUrl: lines.broker.url,
      onLine: (line) => void log.push(line),
      env: {
        LEASEHOLD_NAMESPACE: namespace,
        LEASEHOLD_LOG_LEVEL: 'trace',
        LEASEHOLD_ISSUER_KEY: issuerKeys.privateKey,
        LEASEHOLD_ISSUER_PUBLIC_KEY: issuerKeys.publicKey,
      },
    });
    return { url: fleet.running('gateway')[0]!.url, close: () => fleet!.close() };
  }

  const keyed = { headers: { 'Idempotency-Key': idempotencyKey } };

  async function journey(): Promise<void> {
    const { http, simulator, root } = world;
    const { faults } = simulator;
    const folder = await mkdtemp(join(tmpdir(), 'leasehold-audit-'));
    stops.push(() => rm(folder, { recursive: true }));
    auditFile = join(folder, 'audit.log');
    await http.must(204, 'PUT', 'sys/audit/file', { type: 'file', options: { file_path: auditFile } });
    await world.mount();
    const account = simulator.account();
    account.putUserPolicy(account.existingUser('leasehold-root'), 'federate', seedFederationPolicy());
    await writeRole(world, 'deploy');
    await http.must(204, 'PUT', 'aws/roles/both', { policy: policyDocument });
    // Lent, lent again, renewed, given back.
    for (const path of ['aws/creds/deploy', 'aws/creds/both', 'aws/sts/both']) {
      await http.must(200, 'GET', path);
      for (const _ of [1, 2]) await http.must(200, 'GET', path, undefined, keyed);
    }
    await http.must(204, 'PUT', 'aws/roles/session', { credential_type: 'session_token' });
    await http.must(200, 'GET', 'aws/creds/session');
    // Made, and shown to nobody at all.
    for (const role of ['deploy', 'both', 'session']) await http.must(200, 'PUT', `aws/roles/${role}/trial`);
    const { leaseId } = await lend(world, 'deploy');
    await http.must(200, 'PUT', 'sys/leases/renew', { lease_id: leaseId, increment: 600 });
    await http.must(200, 'PUT', 'sys/leases/lookup', { lease_id: leaseId });
    await http.must(200, 'GET', 'auth/token/lookup-self');
    await journeyOfTokens();
    await journeyOfAccounts();
    await journeyOfKeys();
    await http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: leaseId, sync: true });

    // The ways of failure write more than the others.
    for (const [action, code] of [
      ['PutUserPolicy', 'AccessDenied'],
      ['CreateUser', 'Throttling'],
      ['CreateAccessKey', 'ServiceFailure'],
      ['GetFederationToken', 'AccessDenied'],
    ]) {
      faults.fail({ action: action!, code: code!, status: code === 'AccessDenied' ? 403 : 503, times: 2 });
      await http.call('GET', action === 'GetFederationToken' ? 'aws/sts/both' : 'aws/creds/deploy');
      await http.call('GET', action === 'GetFederationToken' ? 'aws/sts/both' : 'aws/creds/deploy', undefined, {
        headers: { 'Idempotency-Key': `${idempotencyKey}!` },
      });
      faults.clear(simulator.faults.settings);
    }
    for (const action of ['CreateAccessKey', 'CreateUser', 'PutUserPolicy', 'GetFederationToken']) {
      faults.loseReply({ action, times: 1 });
      await http.call('GET', action === 'GetFederationToken' ? 'aws/sts/both' : 'aws/creds/deploy');
    }
    // Made, and then nobody is there to have it.
    const hold = faults.hold('CreateAccessKey', 'after');
    const left = new AbortController();
    const leaving = http.call('GET', 'aws/creds/deploy', undefined, { signal: left.signal }).catch(() => undefined);
    await hold.reached;
    left.abort();
    await leaving;
    hold.release();

    // Secrets where they do not belong: those in a path are looked for among the names, and found to be none.
    beforeMisplaced = lines.database.seen();
    auditedBeforeMisplaced = (await readFile(auditFile)).length;
    const wrong = [root.secretAccessKey, world.options.masterKey.toString('base64'), http.token, idempotencyKey];
    for (const secret of wrong) {
      const inPath = encodeURIComponent(secret);
      for (const [method, path, body] of [
        ['GET', `aws/creds/${inPath}`],
        ['GET', `aws/roles/${inPath}`],
        ['DELETE', `aws/roles/${inPath}`],
        ['GET', `${inPath}/creds/deploy`],
        ['GET', `sys/mounts/${inPath}`],
        ['GET', `sys/leases/lookup/${inPath}?list=true`],
        ['PUT', `sys/leases/revoke/${inPath}`],
        ['PUT', `sys/leases/revoke-prefix/${inPath}`],
        ['GET', `aws/creds/deploy?secret_key=${inPath}`],
        ['GET', `aws/roles?after=${inPath}`],
        ['GET', `sys/health?activecode=${inPath}`],
        ['GET', `%zz${inPath}`],
        ['PUT', 'aws/sts/both', { ttl: secret }],
        ['PUT', 'aws/sts/both', { role_arn: secret }],
        ['PUT', 'aws/creds/deploy', { secret_key: secret, [secret]: 'as a name' }],
        ['PUT', 'aws/config/root', { unknown: secret, [secret]: 1 }],
        ['PUT', 'aws/config/root', { secret_key: { nested: secret } }],
        ['PUT', 'aws/config/root', { secret_key: [secret] }],
        ['PUT', 'aws/config/root', { secret_key: `${secret}\u0000` }],
        ['PUT', 'aws/config/root', { max_retries: secret }],
        ['PUT', 'aws/config/root', { sts_fallback_endpoints: secret, secret_key: secret }],
        ['PUT', 'aws/config/root', { username_template: `{{ ${secret} }}` }],
        ['PUT', 'aws/config/root', { rotation_schedule: secret }],
        ['PUT', 'aws/config/root', `{"secret_key": "${secret}`],
        ['PUT', 'aws/config/root', `{"secret_key": '${secret}'}`],
        ['PUT', 'aws/config/lease', { lease: secret, lease_max: secret }],
        ['PUT', 'aws/roles/refused', { credential_type: 'iam_user', policy_document: `{"Statement": ${secret}` }],
        ['PUT', 'aws/roles/refused', { credential_type: secret }],
        ['POST', 'sys/mounts/other', { type: secret }],
        ['POST', 'sys/mounts/other', { type: 'aws', config: { default_lease_ttl: secret } }],
        ['PUT', 'sys/leases/renew', { lease_id: secret, increment: secret }],
        ['PUT', 'sys/leases/lookup', { lease_id: secret }],
        ['PUT', 'sys/unseal', { key: secret }],
        ['PUT', 'sys/init', { secret_shares: secret, pgp_keys: [secret] }],
        ['PUT', 'sys/no/such/path', { token: secret }],
      ] as const) {
        await http.call(method, path, body);
      }
      for (const token of [`${secret}x`, secret.slice(1)]) await http.call('GET', 'sys/mounts', undefined, { token });
      for (const name of ['Authorization', 'X-Vault-Wrap-TTL', 'X-Vault-Namespace', 'Cookie', 'User-Agent']) {
        await http.call('GET', 'sys/mounts', undefined, { headers: { [name]: `Bearer ${secret}` } });
      }
      await http.call('GET', 'aws/creds/deploy', undefined, {
        headers: { 'Idempotency-Key': secret.padEnd(256, secret) },
      });
    }

    // Sealed and opened, with a key that is wrong and one that is right; and a new term.
    await http.must(204, 'PUT', 'sys/seal');
    await http.call('PUT', 'sys/unseal', { key: randomBytes(32).toString('base64') });
    await http.must(200, 'PUT', 'sys/unseal', { key: world.options.masterKey.toString('hex') });
    await http.must(204, 'PUT', 'sys/rotate');

    // A database that goes away under everybody.
    const asking = Array.from({ length: 6 }, () => http.call('GET', 'aws/creds/deploy').catch(() => undefined));
    for (const _ of [1, 2, 3]) {
      await world.database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'leasehold'`,
      );
      await http.call('GET', 'aws/creds/deploy', undefined, { headers: { 'Idempotency-Key': `${idempotencyKey}?` } });
    }
    await Promise.all(asking);
    await eventually(async () => (await http.call('GET', 'aws/creds/deploy')).status === 200);

    if (fleet) await journeyOfProcesses(fleet);

    // A revocation that is refused to the last try, and then dropped.
    const refused = await lend(world, 'deploy');
    faults.fail({ action: 'DeleteAccessKey', code: 'AccessDenied', status: 403 });
    await http.call('PUT', 'sys/leases/revoke', { lease_id: refused.leaseId, sync: true });
    await eventually(async () => (await rowOf(world, refused.leaseId)).state === 'irrevocable');
    await http.must(200, 'GET', 'sys/leases?type=irrevocable');
    faults.clear();
    await http.must(204, 'PUT', 'sys/leases/revoke-force/aws');
    await eventually(async () => (await world.leases()).every((row) => row.state === 'ended'), 20_000);
    // Made ahead, handed out, and made again.
    await writePooled(world, 'stocked', 2);
    await ready(world, 'stocked', 2);
    for (const _ of [1, 2]) await http.must(200, 'GET', 'aws/creds/stocked', undefined, keyed);
    await ready(world, 'stocked', 2);
    // Half way, when everything is looked at: tried, and then nobody goes on with it.
    const trying = faults.hold('GetCallerIdentity', 'before');
    await world.database.query(`update static_roles set next_rotation_at = now() where name = 'kept'`);
    await trying.reached;
    await world.database.query(`update rotations set claim_id = gen_random_uuid(), due_at = now() + interval '1 hour'`);
    trying.release();
    // Kept for who asks again, when everything is looked at.
    for (const path of ['aws/creds/both', 'aws/sts/both']) await http.must(200, 'GET', path, undefined, keyed);
  }

  /** Lent by keys of another account, and by a session of a role there; a key that AWS is asked about. */
  async function journeyOfAccounts(): Promise<void> {
    const { http, simulator } = world;
    const [byKeys, byRole] = ['111111111111', '222222222222'] as const;
    const own = simulator.provisionRootIdentity({ userName: 'own', account: byKeys });
    given.push(own.secretAccessKey);
    const body = { access_key: own.accessKeyId, secret_key: own.secretAccessKey };
    await http.must(204, 'PUT', `aws/config/accounts/${byKeys}`, body);
    await http.call('PUT', `aws/config/accounts/${byRole}`, { ...body, role_arn: own.secretAccessKey });
    const role_arn = `arn:aws:iam::${byRole}:role/lender`;
    const account = simulator.account();
    const root = account.existingUser('leasehold-root');
    account.putUserPolicy(root, 'assume', seedAssumeRolePolicy(role_arn));
    simulator.account(byRole).createRole('lender', seedTrustPolicy(account.arn('user', '/', root.name)), {
      policies: { all: seedRootPolicy(byRole) },
    });
    await http.must(204, 'PUT', `aws/config/accounts/${byRole}`, { role_arn });
    for (const account_id of [byKeys, byRole]) {
      await http.must(200, 'GET', `aws/config/accounts/${account_id}`);
      await writeRole(world, 'elsewhere', { account_id });
      const { body: lent } = await http.must(200, 'GET', 'aws/creds/elsewhere?ready=true');
      await http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: lent.lease_id, sync: true });
    }
  }

  /** Kept, rotated, refused, and lost on the way. */
  async function journeyOfKeys(): Promise<void> {
    const { http, simulator } = world;
    const { faults } = simulator;
    const account = simulator.account();
    account.putUserPolicy(account.existingUser('leasehold-root'), 'rotate', seedRotationPolicy());
    for (const role of ['kept', 'lost']) {
      account.createUser(`vault-of-${role}`);
      if (role === 'lost') faults.loseReply({ action: 'CreateAccessKey', userName: 'vault-of-lost', times: 1 });
      await http.must(200, 'POST', `aws/static-roles/${role}`, {
        username: `vault-of-${role}`,
        rotation_period: 60,
      });
      await http.must(200, 'GET', `aws/static-creds/${role}`);
    }
    await world.database.query('update static_roles set next_rotation_at = now()');
    faults.fail({ action: 'CreateAccessKey', userName: 'leasehold-root', code: 'AccessDenied', status: 403, times: 1 });
    await http.must(500, 'POST', 'aws/config/rotate-root');
    faults.loseReply({ action: 'CreateAccessKey', userName: 'leasehold-root', times: 1 });
    await http.must(200, 'POST', 'aws/config/rotate-root');
    await eventually(async () => {
      const { rows } = await world.database.query(
        `select 1 from rotations union all select 1 from static_roles where next_rotation_at <= now()`,
      );
      return rows.length === 0;
    }, 20_000);
  }

  /** Tokens and secret ids are made and shown once. */
  async function journeyOfTokens(): Promise<void> {
    const { http } = world;
    for (const body of [{ policies: ['x'] }, { policies: ['x'], type: 'batch' }]) {
      const { body: made } = await http.must(200, 'POST', 'auth/token/create', body);
      given.push((made.auth as { client_token: string }).client_token);
    }
    const role = 'auth/approle/role/ci';
    await http.must(204, 'POST', role, { token_policies: 'x' });
    const { role_id } = (await http.must(200, 'GET', `${role}/role-id`)).body.data;
    const { secret_id } = (await http.must(200, 'POST', `${role}/secret-id`, {})).body.data;
    const { body: loggedIn } = await http.must(200, 'POST', 'auth/approle/login', { role_id, secret_id });
    given.push(secret_id as string, (loggedIn.auth as { client_token: string }).client_token);
    await http.call('POST', 'auth/approle/login', { role_id: 'wrong', secret_id });
    await http.call('POST', 'auth/token/renew', { token: given[0], increment: 'x' });
    await journeyOfWraps();
  }

  /** Wrapped for whoever comes: opened, shown to the wrong path, put into a new wrap, and left unopened. */
  async function journeyOfWraps(): Promise<void> {
    const { http } = world;
    const wrap = async (method: string, path: string, body?: object) => {
      const { body: told } = await http.must(200, method, path, body, { headers: { 'X-Vault-Wrap-TTL': '1h' } });
      const { token } = told.wrap_info as { token: string };
      given.push(token);
      return token;
    };
    await http.must(200, 'PUT', 'sys/wrapping/unwrap', undefined, { token: await wrap('GET', 'aws/creds/deploy') });
    await http.must(403, 'GET', 'sys/mounts', undefined, { token: await wrap('GET', 'aws/creds/both') });
    const { body } = await http.must(200, 'POST', 'auth/token/create', { policies: ['x'] });
    const { client_token: token } = body.auth as { client_token: string };
    given.push(token);
    const first = await wrap('PUT', 'sys/wrapping/wrap', { token });
    for (const method of ['PUT', 'POST']) await http.must(200, method, 'sys/wrapping/lookup', { token: first });
    await wrap('PUT', 'sys/wrapping/rewrap', { token: first });
    await http.call('PUT', 'sys/wrapping/unwrap', { token: first });
    for (const path of ['aws/creds/deploy', 'aws/sts/both']) await wrap('GET', path);
  }

  /** What only processes can do: be killed, and be asked over the broker. */
  async function journeyOfProcesses(services: Fleet): Promise<void> {
    const { http, simulator } = world;
    const hold = simulator.faults.hold('CreateAccessKey', 'after');
    const answer = http.call('GET', 'aws/creds/deploy', undefined, {
      headers: { 'Idempotency-Key': `${idempotencyKey}#` },
    });
    await hold.reached;
    await Promise.all(services.running('issuer').map((issuer) => issuer.end('SIGKILL')));
    hold.release();
    await services.start('issuer').serves();
    await answer;

    const options = { rabbitmqUrl: lines.broker!.url, namespace, waitMs: 8_000 };
    const client = new LeaseholdClient({ ...options, issuerPublicKey: issuerKeys.publicKey, token: http.token });
    const stranger = new LeaseholdClient({
      ...options,
      issuerPublicKey: newIssuerKeys().publicKey,
      token: `${http.token}x`,
    });
    const nobody = new LeaseholdClient({ ...options, issuerPublicKey: issuerKeys.publicKey, token: `${http.token}x` });
    const wish = { mount: 'aws/', role: 'deploy', idempotencyKey: `${idempotencyKey}&` };
    const { leaseId } = await client.issue(wish);
    await client.issue(wish);
    await client.renew(leaseId);
    for (const other of [nobody, stranger]) {
      await expect(other.issue(wish)).rejects.toThrow();
      await expect(other.revoke(http.token)).rejects.toThrow();
    }
    await expect(client.issue({ ...wish, role: http.token })).rejects.toThrow();
    await client.revoke(leaseId);
    await Promise.all([client, stranger, nobody].map((each) => each.close()));
  }

  /** Whatever AWS has ever answered as a secret, also to a try of which nothing came, and all that opens something. */
  function secrets(): Secret[] {
    const { masterKey } = world.options;
    const answers = lines.aws
      .seen()
      .map((stream) => stream.toString())
      .join('\n');
    const made = [...answers.matchAll(/<(SecretAccessKey|SessionToken)>([^<]+)</g)].map(([, kind, secret]) =>
      secretOf(`a lent ${kind}`, secret!),
    );
    const [privateKey] = parseIssuerPrivateKeys(issuerKeys.privateKey);
    return [
      ...made,
      secretOf('the root key', world.root.secretAccessKey),
      secretOf('the token', world.http.token),
      ...given.map((secret) => secretOf('a token, secret id or key of an account', secret)),
      secretOf('the master key', masterKey),
      secretOf("the issuers' key", issuerKeys.privateKey),
      secretOf("the issuers' key, as bytes", Buffer.from(issuerKeys.privateKey, 'base64')),
      secretOf("the issuers' key, its number", Buffer.from(privateKey!.export({ format: 'jwk' }).d!, 'base64url')),
      secretOf('the idempotency key', idempotencyKey),
    ];
  }

  /** Every value of every table, the queue's included: as text, and where it is bytes, those. */
  async function tables(): Promise<Place[]> {
    const { rows } = await world.database.query<{ name: string }>(
      `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
       where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`,
    );
    const asText = { getTypeParser: () => (text: string) => text };
    const places = await Promise.all(
      rows.map(async ({ name }) => {
        const { rows: values } = await world.database.query<Record<string, string | null>>({
          text: `select * from ${name}`,
          types: asText as never,
        });
        return values.flatMap((row) =>
          Object.entries(row).flatMap(([column, value]) => {
            if (value === null) return [];
            const place = `${name}.${column}`;
            const bytes = /^\\x((?:[0-9a-f]{2})*)$/.exec(value)?.[1];
            return [
              { name: place, bytes: Buffer.from(value) },
              ...(bytes ? [{ name: place, bytes: Buffer.from(bytes, 'hex') }] : []),
            ];
          }),
        );
      }),
    );
    return places.flat();
  }

  /** Every key of Redis with its values, whatever its type. */
  async function redisKeys(pattern = '*'): Promise<Place[]> {
    const client = new Redis(redis!.url);
    const readers: Record<string, (key: Buffer) => Promise<unknown>> = {
      string: (key) => client.getBuffer(key),
      list: (key) => client.lrangeBuffer(key, 0, -1),
      set: (key) => client.smembersBuffer(key),
      zset: (key) => client.zrangeBuffer(key, 0, -1),
      // Not hgetall, which makes texts of the fields.
      hash: async (key) => [await client.hkeysBuffer(key), await client.hvalsBuffer(key)],
      stream: (key) => client.xrangeBuffer(key, '-', '+'),
      // Gone since the keys were listed.
      none: async () => null,
    };
    try {
      const places: Place[] = [];
      for (const key of await client.keysBuffer(pattern)) {
        places.push({ name: 'a key of Redis', bytes: key });
        for (const bytes of buffersIn(await readers[await client.type(key)]!(key))) {
          places.push({ name: 'a value of Redis', bytes });
        }
      }
      return places;
    } finally {
      client.disconnect();
    }
  }

  /** What Redis has written to the disk. */
  async function redisFiles(): Promise<Place[]> {
    const folder = join(redis!.folder, 'appendonlydir');
    const files = await readdir(folder);
    return Promise.all(
      files.map(async (file) => ({ name: 'a file of Redis', bytes: await readFile(join(folder, file)) })),
    );
  }

  function buffersIn(value: unknown): Buffer[] {
    if (Buffer.isBuffer(value)) return [value];
    if (Array.isArray(value)) return value.flatMap(buffersIn);
    if (typeof value !== 'object' || value === null) return [];
    return Object.entries(value).flatMap(([key, entry]) => [Buffer.from(key), ...buffersIn(entry)]);
  }

  const crossed = (name: string, line: Tap): Place[] => line.seen().map((bytes) => ({ name, bytes }));
  const logged = (): Place[] => [{ name: 'the log', bytes: Buffer.from(log.join('\n')) }];
  async function figures(): Promise<Place[]> {
    const urls = (fleet?.running() ?? []).map((service) => `${service.operations}/metrics`);
    const texts = await Promise.all(urls.map(async (url) => (await fetch(url)).text()));
    const { text } = await world.http.must(200, 'GET', 'sys/metrics?format=prometheus');
    return [...texts, text].map((each) => ({ name: 'the figures', bytes: Buffer.from(each) }));
  }

  it('was made, kept and lost often enough', async () => {
    const found = secrets();
    for (const [kind, least] of Object.entries({ SecretAccessKey: 15, SessionToken: 3 })) {
      expect(found.filter(({ name }) => name === `a lent ${kind}`).length).toBeGreaterThanOrEqual(least);
    }
    const { rows } = await world.database.query<{ kept: number }>(
      'select count(sealed_answer)::int as kept from idempotent_answers',
    );
    expect(rows[0]!.kept).toBeGreaterThanOrEqual(2);
    const { rows: wraps } = await world.database.query('select 1 from wrapped_answers');
    expect(wraps).toHaveLength(3);
    const text = log.join('\n');
    for (const sentence of [
      'issue failed',
      'request refused',
      'credential given again',
      'credential offered',
      'offered from the pool',
    ]) {
      expect(text).toContain(sentence);
    }
  });

  it('is in no table, in no form', async () => {
    const places = await tables();
    const names = new Set(places.map(({ name }) => name));
    for (const name of [
      'public.tokens.hash',
      'public.root_configs.sealed_secret_key',
      'public.static_roles.sealed_secret_key',
      'public.rotations.sealed_secret_key',
      'public.pooled_keys.sealed_secret_key',
      'public.leases.end_reason',
    ]) {
      expect(names).toContain(name);
    }
    expect(findSecrets(secrets(), places)).toEqual([]);
  });

  it('is sealed under the keyring only where a newer term finds it', async () => {
    const { rows } = await world.database.query<{ id: string }>(`select id from keyring where purpose = 'seal'`);
    const heads = rows.map(({ id }) => Buffer.from(`"kid":"${id}"`));
    const sealed = (await tables()).filter(({ bytes }) => {
      const [header] = /^[\w-]+(?=\.[\w-]*\.[\w-]+\.[\w-]+\.[\w-]+$)/.exec(bytes.toString()) ?? [];
      return header !== undefined && heads.some((head) => Buffer.from(header, 'base64url').includes(head));
    });
    expect(sealed.length).toBeGreaterThan(0);
    for (const { name } of sealed) expect(name).toMatch(/^public\.\w+\.sealed_\w+$/);
  });

  it('never crosses to the database, but as a name that a caller asked for', () => {
    const places = (streams: Buffer[]) => streams.map((bytes) => ({ name: 'the line to PostgreSQL', bytes }));
    expect(findSecrets(secrets(), places(beforeMisplaced))).toEqual([]);
    const lent = secrets().filter(({ name }) => name.startsWith('a lent'));
    expect(findSecrets(lent, places(lines.database.seen()))).toEqual([]);
  });

  it('is in no audit record, but in the path that a caller asked for', async () => {
    const name = 'the audit file';
    const bytes = await readFile(auditFile);
    for (const text of ['aws/creds/both', 'auth/approle/login', 'sys/rotate']) expect(bytes.includes(text)).toBe(true);
    const before = bytes.subarray(0, auditedBeforeMisplaced);
    expect(before.includes('hmac-sha256:')).toBe(true);
    expect(findSecrets(secrets(), [{ name, bytes: before }])).toEqual([]);
    const lent = secrets().filter((secret) => secret.name.startsWith('a lent'));
    expect(findSecrets(lent, [{ name, bytes }])).toEqual([]);
  });

  it('is in no line of the log and in no figure, in no form', async () => {
    expect(findSecrets(secrets(), [...logged(), ...(await figures())])).toEqual([]);
  });

  it('never crosses the broker, and is nowhere in Redis', async () => {
    if (shape() === 'embedded') return expect(lines).not.toHaveProperty('broker');
    const crossing = [...crossed('the line to RabbitMQ', lines.broker!), ...crossed('the line to Redis', lines.redis!)];
    const stored = [...(await redisKeys()), ...(await redisFiles())];
    process.stderr.write(
      `    scanned: ${Math.round(crossing.reduce((sum, { bytes }) => sum + bytes.length, 0) / 1024)} kB that crossed, ` +
        `${stored.length} values of Redis, ${log.length} lines of log\n`,
    );
    expect(crossing.some(({ bytes }) => bytes.includes(`${namespace}.commands`))).toBe(true);
    expect(crossing.some(({ bytes }) => bytes.includes('lease.issued'))).toBe(true);
    expect(stored.some(({ name }) => name === 'a file of Redis')).toBe(true);
    expect(findSecrets(secrets(), [...crossing, ...stored])).toEqual([]);
  });

  it('is not read back from config/root, not even when a write of it is refused', async () => {
    const answers = [
      await world.http.call('GET', 'aws/config/root'),
      await world.http.call('PUT', 'aws/config/root', { secret_key: [world.root.secretAccessKey] }),
      await world.http.call('PUT', 'aws/config/root', `{"secret_key": "${world.root.secretAccessKey}`),
      await world.http.call('PUT', 'aws/config/root', `{"secret_key": '${world.root.secretAccessKey}'}`),
    ];
    expect(answers.map((answer) => answer.status)).toEqual([200, 400, 400, 400]);
    for (const answer of answers) expect(answer.text).not.toContain(world.root.secretAccessKey.slice(0, 8));
  });

  describe('would be found', () => {
    /** Not one that is anywhere else. */
    const planted = secretOf(
      'the planted one',
      `a "planted" secret \\ with / all + 100% of it ${randomBytes(12).toString('hex')}`,
    );
    const forms = formsOf(planted.bytes);
    const packed = Object.entries(packings).map(([name, pack]) => [name, pack(planted.bytes)] as const);
    /** Each in the middle of something else. */
    const texts = Object.entries(forms)
      // A half is looked for as it is; no text holds a zero byte.
      .filter(([name, form]) => !name.endsWith('half') && !form.includes(0))
      .map(([name, form]) => [name, `before${form.toString()}after`] as const);
    const every = [
      ...Object.entries(forms).map(([name, form]) => [name, Buffer.concat([Buffer.from('before'), form])] as const),
      ...packed,
    ];

    const isFound = (places: Place[]) => findSecrets([planted], places).length > 0;

    it.each(every)('as %s', (_, bytes) => {
      expect(isFound([{ name: 'here', bytes }])).toBe(true);
      // And nothing is found where it is not.
      expect(isFound([{ name: 'here', bytes: Buffer.from(bytes.map((byte) => byte ^ 1)) }])).toBe(false);
    });

    it('at whichever offset of base64 it stands, packed or not', () => {
      for (let before = 0; before < 6; before += 1) {
        const text = Buffer.concat([randomBytes(before), planted.bytes, randomBytes(7)]).toString('base64');
        expect(isFound([{ name: 'here', bytes: Buffer.from(text) }])).toBe(true);
      }
    });

    it('in a table, as text, as JSON or as bytes', async () => {
      const inIt = async () => (await tables()).filter(({ name }) => name.startsWith('public.planted.'));
      await world.database.query('create table planted (text text, json jsonb, bytes bytea)');
      try {
        for (const [name, bytes] of every) {
          await world.database.query('insert into planted (bytes) values ($1)', [bytes]);
          expect([name, isFound(await inIt())]).toEqual([name, true]);
          await world.database.query('truncate planted');
        }
        for (const [name, text] of texts) {
          for (const column of ['text', 'json']) {
            const value = column === 'json' ? JSON.stringify({ deep: [text] }) : text;
            await world.database.query(`insert into planted (${column}) values ($1)`, [value]);
            expect([name, column, isFound(await inIt())]).toEqual([name, column, true]);
            await world.database.query('truncate planted');
          }
        }
      } finally {
        await world.database.query('drop table planted');
      }
    });

    it('in a line of the log', () => {
      const { length } = log;
      const told = new JsonLog({ write: (line: string) => void log.push(line) });
      for (const [name, text] of texts) {
        told.log({ msg: 'planted', detail: { text } });
        expect([name, isFound(logged())]).toEqual([name, true]);
        log.length = length;
      }
    });

    it('in Redis, whatever the type, and in a message', async () => {
      if (shape() === 'embedded') return expect(redis).toBeUndefined();
      // In the midst of other bytes, those of brotli are like any: they have no mark.
      const marked = every.filter(([form]) => form !== 'brotli');
      const client = new Redis(lines.redis!.url);
      const writers: ((bytes: Buffer) => Promise<unknown>)[] = [
        (bytes) => client.set('planted', bytes),
        (bytes) => client.set(Buffer.concat([Buffer.from('planted'), bytes]), ''),
        (bytes) => client.rpush('planted', bytes),
        (bytes) => client.sadd('planted', bytes),
        (bytes) => client.zadd('planted', 1, bytes),
        (bytes) => client.hset('planted', 'field', bytes),
        (bytes) => client.hset('planted', bytes, 'value'),
        (bytes) => client.xadd('planted', '*', 'field', bytes),
      ];
      const values = () => redisKeys('planted*');
      for (const [name, bytes] of marked) {
        for (const [nth, write] of writers.entries()) {
          await write(bytes);
          expect([name, nth, isFound(await values())]).toEqual([name, nth, true]);
          await client.del('planted', Buffer.concat([Buffer.from('planted'), bytes]));
        }
      }
      expect(isFound(await values())).toBe(false);
      // What is gone from Redis has crossed to it, and is in its file.
      expect(isFound(crossed('the line to Redis', lines.redis!))).toBe(true);
      await eventually(async () => isFound(await redisFiles()));
      client.disconnect();

      const connection = await connect(lines.broker!.url);
      const channel = await connection.createConfirmChannel();
      const { queue } = await channel.assertQueue('', { exclusive: true });
      for (const [name, bytes] of marked) {
        const before = lines.broker!.seen();
        channel.sendToQueue(queue, bytes);
        await channel.waitForConfirms();
        const since = lines.broker!.seen().map((stream, nth) => stream.subarray(before[nth]?.length ?? 0));
        expect([name, isFound(since.map((stream) => ({ name: 'a message', bytes: stream })))]).toEqual([name, true]);
      }
      await connection.close();
    }, 60_000);
  });

  it('leaves nothing behind when all is over', async () => {
    await world.http.call('DELETE', 'aws/roles/stocked');
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    const account = world.simulator.account();
    for (const role of ['kept', 'lost']) {
      await world.http.must(204, 'DELETE', `aws/static-roles/${role}`);
      account.deleteUser(account.existingUser(`vault-of-${role}`));
    }
    await comesToRest(world);
  });
});
