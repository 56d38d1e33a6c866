import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { request } from 'node:https';
import { connect as connectPlain, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { LeaseholdClient } from '#libs/client';
import { connectionsOf } from '#libs/runtime';
import type { Fleet, Kind } from '../../apps/cluster/src/fleet.js';
import { Authority, type Certified } from '../support/certificates.js';
import { startSecureServers } from '../support/secure-servers.js';
import { startFleet } from '../support/services.js';
import { eventually, World } from '../support/world.js';

const servers = ['DATABASE', 'REDIS', 'RABBITMQ'] as const;

describe('services that speak TLS alone', () => {
  let folder: string;
  let ours: Authority;
  let theirs: Authority;
  let gatewayCert: Certified;
  let caller: Certified;
  let lines: Awaited<ReturnType<typeof startSecureServers>>;
  let world: World;
  let fleet: Fleet;
  /** Of `DATABASE`, `REDIS` and `RABBITMQ`, under these names. */
  let trust: Record<string, string>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'leasehold-tls-'));
    [ours, theirs] = await Promise.all([Authority.named('ours'), Authority.named('theirs')]);
    const service = await ours.certify('service');
    [gatewayCert, caller] = await Promise.all([ours.certify('gateway'), ours.certify('caller')]);
    lines = await startSecureServers(folder, ours);
    const trusted = servers.flatMap((server) => [
      [`${server}_CA`, ours.cert],
      [`${server}_CERT`, service.cert],
      [`${server}_KEY`, service.key],
    ]);
    trust = Object.fromEntries(trusted) as Record<string, string>;
    for (const part of ['cert', 'key'] as const) await writeFile(join(folder, part), gatewayCert[part]);
    world = await World.start({
      databaseServer: lines.database,
      weather: {},
      run: async (system) => {
        fleet = await startFleet(system, {
          redisUrl: lines.redis,
          rabbitmqUrl: lines.rabbitmq,
          kinds: ['gateway', 'issuer', 'revoker'],
          env: {
            ...trust,
            LEASEHOLD_TLS_CERT_FILE: join(folder, 'cert'),
            LEASEHOLD_TLS_KEY_FILE: join(folder, 'key'),
            LEASEHOLD_TLS_CLIENT_CA: ours.cert,
          },
        });
        return { url: fleet.running('gateway')[0]!.url, close: () => fleet.close() };
      },
    });
  }, 120_000);
  afterAll(async () => {
    await world?.close();
    await lines?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** Status and body of what is asked over HTTPS, as a caller with a certificate. */
  function ask(method: string, path: string, body?: object): Promise<{ status: number; body: { lease_id: string } }> {
    const headers = { 'X-Vault-Token': world.http.token };
    return new Promise((resolve, reject) => {
      const url = `${world.http.url}/v1/${path}`;
      const asked = request(url, { method, headers, ca: ours.cert, ...caller, agent: false }, (answer) => {
        let text = '';
        answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
        answer.on('end', () => resolve({ status: answer.statusCode!, body: JSON.parse(text || '{}') as never }));
      });
      asked.on('error', reject);
      asked.end(body && JSON.stringify(body));
    });
  }

  it('lend, renew and take back, over HTTP and over AMQP, and every connection is encrypted and certified', async () => {
    expect(world.http.url).toMatch(/^https:/);
    expect((await ask('POST', 'sys/mounts/aws', { type: 'aws' })).status).toBe(204);
    const { accessKeyId: access_key, secretAccessKey: secret_key } = world.root;
    expect((await ask('PUT', 'aws/config/root', { access_key, secret_key, region: 'us-east-1' })).status).toBe(204);
    const policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: 's3:*', Resource: '*' }],
    });
    const role = { credential_type: 'iam_user', policy_document: policy };
    expect((await ask('POST', 'aws/roles/deploy', role)).status).toBe(204);
    const lent = await ask('GET', 'aws/creds/deploy');
    expect([lent.status, world.lentUsers()]).toEqual([200, [expect.any(String)]]);
    const { lease_id } = lent.body;
    expect((await ask('PUT', 'sys/leases/renew', { lease_id })).status).toBe(200);
    expect((await ask('PUT', 'sys/leases/revoke', { lease_id, sync: true })).status).toBe(204);
    expect(world.lentUsers()).toEqual([]);

    const { LEASEHOLD_NAMESPACE: namespace, LEASEHOLD_ISSUER_PUBLIC_KEY: issuerPublicKey } = fleet.environment;
    const client = new LeaseholdClient({
      rabbitmqUrl: lines.rabbitmq,
      rabbitmqTls: { ca: ours.cert, ...caller },
      namespace,
      issuerPublicKey: issuerPublicKey!,
      token: world.http.token,
    });
    const overAmqp = await client.issue({ mount: 'aws', role: 'deploy' });
    await client.revoke(overAmqp.leaseId);
    await client.close();
    await eventually(() => world.lentUsers().length === 0);

    const { rows } = await world.database.query<{ ssl: boolean; client_dn: string | null }>(
      `select distinct ssl, client_dn from pg_stat_ssl join pg_stat_activity using (pid)
       where application_name in ('leasehold', 'leasehold watch') and datname = current_database()`,
    );
    expect(rows).toEqual([{ ssl: true, client_dn: '/CN=service' }]);
  });

  it.each<Kind>(['gateway', 'migrate'])(
    'refuse in a sentence a server that another authority vouches for: %s',
    async (kind) => {
      const service = fleet.start(kind, { DATABASE_CA: theirs.cert });
      expect(await service.ended).toBe(1);
      expect(service.said.split('\n')).toContainEqual(
        expect.stringMatching(
          /^The server at DATABASE_URL shows a certificate that is not trusted \(.*\): give the certificate of its authority in DATABASE_CA\.$/,
        ),
      );
    },
  );

  describe('and reach Redis and RabbitMQ', () => {
    const refusalOf = (env: Record<string, string | undefined>) =>
      connectionsOf({
        DATABASE_URL: lines.database,
        REDIS_URL: lines.redis,
        RABBITMQ_URL: lines.rabbitmq,
        ...trust,
        LEASEHOLD_DATABASE_POOL: 2,
        LEASEHOLD_NAMESPACE: 'test',
        ...env,
      }).then(
        () => 'none',
        (error: Error) => error.message,
      );

    it('where they are trusted, and need not be there yet', async () => {
      expect(await refusalOf({})).toBe('none');
      expect(await refusalOf({ REDIS_URL: 'rediss://127.0.0.1:1', RABBITMQ_URL: 'amqps://127.0.0.1:1' })).toBe('none');
    });

    it.each(['REDIS', 'RABBITMQ'] as const)('not where another authority vouches for it: %s', async (server) => {
      const sentence = `The server at ${server}_URL shows a certificate that is not trusted (`;
      expect(await refusalOf({ [`${server}_CA`]: theirs.cert })).toContain(sentence);
      expect(await refusalOf({ [`${server}_CA`]: undefined })).toContain(sentence);
    });

    it.each(['REDIS', 'RABBITMQ'] as const)("not where its certificate is another host's: %s", async (server) => {
      const url = { REDIS: lines.redis, RABBITMQ: lines.rabbitmq }[server].replace('127.0.0.1', '127.0.0.2');
      const elsewhere = createServer((from) =>
        from.pipe(connectPlain(Number(new URL(url).port), '127.0.0.1')).pipe(from),
      );
      await once(elsewhere.listen(Number(new URL(url).port), '127.0.0.2'), 'listening');
      try {
        expect(await refusalOf({ [`${server}_URL`]: url })).toContain('shows a certificate that is not trusted');
      } finally {
        elsewhere.close();
      }
    });

    it.each(['REDIS', 'RABBITMQ'] as const)('not where it wants another certificate of theirs: %s', async (server) => {
      const sentence = `The server at ${server}_URL wants another certificate of this client`;
      const stranger = await theirs.certify('stranger');
      const { cert, key } = stranger;
      expect(await refusalOf({ [`${server}_CERT`]: undefined, [`${server}_KEY`]: undefined })).toContain(sentence);
      expect(await refusalOf({ [`${server}_CERT`]: cert, [`${server}_KEY`]: key })).toContain(sentence);
    });

    it('not where nobody speaks TLS', async () => {
      const plain = fleet.running('issuer')[0]!.operations.replace('http:', 'rediss:');
      expect(await refusalOf({ REDIS_URL: plain })).toContain('The server at REDIS_URL does not speak TLS there');
    });
  });

  it('serve with a renewed certificate at a signal, and go on with the old one while it cannot be used', async () => {
    const gateway = fleet.running('gateway')[0]!;
    const { port } = new URL(gateway.url);
    const shown = () =>
      new Promise<string>((resolve, reject) => {
        const socket = connect({ host: '127.0.0.1', port: Number(port), ca: ours.cert, ...caller }, () => {
          resolve(socket.getPeerCertificate().subject.CN as string);
          socket.destroy();
        });
        socket.on('error', reject);
      });
    expect(await shown()).toBe('gateway');
    const renewed = await ours.certify('renewed');
    await writeFile(join(folder, 'cert'), renewed.cert);
    gateway.signal('SIGHUP');
    await eventually(() => gateway.said.includes('the certificate cannot be renewed'));
    expect(await shown()).toBe('gateway');
    await writeFile(join(folder, 'key'), renewed.key);
    gateway.signal('SIGHUP');
    await eventually(() => gateway.said.includes('the certificate was renewed'));
    expect(await shown()).toBe('renewed');
  });
});
