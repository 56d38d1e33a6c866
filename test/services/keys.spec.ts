import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { LeaseholdClient } from '#libs/client';
import { newIssuerKeys } from '#libs/contracts';
import type { Fleet, Kind, Service } from '../../apps/cluster/src/fleet.js';
import { readExposition } from '../support/exposition.js';
import { HttpClient } from '../support/http-client.js';
import { comesToRest, lend, type Lent, rowOf, writeRole } from '../support/lease-life.js';
import { newFleet, testServers } from '../support/services.js';
import { eventually, World } from '../support/world.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const namespace = `test-${randomBytes(6).toString('hex')}`;
const newKey = randomBytes(32).toString('base64');
const [oldPair, newPair] = [newIssuerKeys(), newIssuerKeys()];

describe('keys that are changed while the services run', () => {
  let world: World;
  let fleet: Fleet;
  let masterKey: string;
  const held: Lent[] = [];
  const lines: string[] = [];

  beforeAll(async () => {
    Logger.overrideLogger(false);
    world = await World.start({
      weather: {},
      run: async (system) => {
        const { surroundings, databaseUrl, timing, rootToken } = system;
        masterKey = system.masterKey.toString('base64');
        fleet = newFleet({
          databaseUrl,
          masterKey: system.masterKey,
          timing,
          aws: { url: surroundings.defaultEndpoint, ...(await surroundings.ambientCredentials()()) },
          env: {
            LEASEHOLD_NAMESPACE: namespace,
            LEASEHOLD_ISSUER_KEY: oldPair.privateKey,
            LEASEHOLD_ISSUER_PUBLIC_KEY: oldPair.publicKey,
          },
          onLine: (line) => void lines.push(line),
        });
        await fleet.migrate({ LEASEHOLD_ROOT_TOKEN: rootToken });
        const kinds = ['gateway', 'issuer', 'revoker'] as const;
        const [gateway] = await Promise.all(kinds.map((kind) => fleet.start(kind).serves()));
        return { url: gateway!.url, close: () => fleet.close() };
      },
    });
    await world.mount();
    await writeRole(world, 'deploy');
  }, 60_000);
  afterAll(() => world?.close());

  /** Runs a command of apps/migrate and gives its exit code and what it printed. */
  async function command(name: string, env: Record<string, string>, ...options: string[]) {
    const child = spawn(process.execPath, [`dist/apps/migrate/src/${name}.js`, ...options], {
      cwd: root,
      env: { PATH: process.env.PATH, DATABASE_URL: world.options.databaseUrl, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [said, told] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (told += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number];
    return { code, said: said.trimEnd(), told: told.trimEnd() };
  }

  /** In the place of those of its kind that run. */
  async function restart(kind: Kind, env: Record<string, string>): Promise<Service> {
    const before = fleet.running(kind);
    const service = await fleet.start(kind, env).serves();
    await Promise.all(before.map((each) => each.end()));
    if (kind === 'gateway') world.http.url = service.url;
    return service;
  }

  const terms = async () => {
    const { rows } = await world.database.query<{ term: number }>(
      `select term from keyring where purpose = 'seal' order by term`,
    );
    return rows.map((row) => row.term);
  };
  const lendOne = async () => void held.push(await lend(world, 'deploy'));

  it('a new term reaches every process without a restart, and the old one ends by itself', async () => {
    const other = await fleet.start('gateway').serves();
    const http = new HttpClient(other.url, world.http.token);
    await world.http.must(204, 'PUT', 'sys/rotate');
    expect((await http.must(200, 'GET', 'sys/key-status')).body.data).toMatchObject({ term: 2 });
    // Sealed under the new term by who has heard of none, and opened by an issuer that has not either.
    await http.must(204, 'PUT', 'aws/config/root', { secret_key: world.root.secretAccessKey });
    await lendOne();
    await eventually(async () => (await terms()).join() === '2');
    expect(lines.some((line) => line.includes('"term of the keyring ended"'))).toBe(true);
    await restart('issuer', {});
    await lendOne();
    await comesToRest(world, held);
    await other.end();
  }, 60_000);

  it('the master key, machine by machine', async () => {
    const both = { LEASEHOLD_MASTER_KEY: newKey, LEASEHOLD_MASTER_KEY_PREVIOUS: masterKey };
    const only = { LEASEHOLD_MASTER_KEY: newKey };
    const refused = /^The master key does not open the keyring of this database: give the LEASEHOLD_MASTER_KEY/;
    const refusal = async (kind: Kind, env: Record<string, string>) => {
      const service = fleet.start(kind, env);
      const code = await service.ended;
      return [code, service.said.split('\n').find((line) => line && !line.startsWith('{'))];
    };
    expect(await refusal('issuer', only)).toEqual([1, expect.stringMatching(refused)]);
    // Half of the machines have both keys, half the old one.
    await restart('gateway', both);
    await world.http.must(204, 'PUT', 'sys/rotate');
    await world.http.must(204, 'PUT', 'aws/config/root', { secret_key: world.root.secretAccessKey });
    await lendOne();

    expect(await command('rekey', { ...both, LEASEHOLD_MASTER_KEY_PREVIOUS: '' })).toMatchObject({
      code: 1,
      told: 'The change of the master key does not start: LEASEHOLD_MASTER_KEY_PREVIOUS is missing.',
    });
    const wrong = randomBytes(32).toString('base64');
    expect(await command('rekey', { ...both, LEASEHOLD_MASTER_KEY_PREVIOUS: wrong })).toMatchObject({
      code: 1,
      told: expect.stringMatching(refused),
    });
    await lendOne();
    for (const said of [/^The keyring is sealed under LEASEHOLD_MASTER_KEY now\./, /already; nothing to do\.$/]) {
      expect(await command('rekey', both)).toEqual({ code: 0, said: expect.stringMatching(said), told: '' });
    }

    // Those that run go on, whichever key they were started with; those that start need the new one.
    await lendOne();
    expect(await refusal('issuer', {})).toEqual([1, expect.stringMatching(refused)]);
    for (const kind of ['gateway', 'issuer', 'revoker'] as const) await restart(kind, only);
    await lendOne();
    await world.http.must(204, 'PUT', `sys/leases/revoke/${held.pop()!.leaseId}`, { sync: true });
    await comesToRest(world, held);
  }, 90_000);

  it("the issuers' pair, with commands to both under way", async () => {
    const only = { LEASEHOLD_MASTER_KEY: newKey };
    const client = (issuerPublicKey: string) =>
      new LeaseholdClient({
        rabbitmqUrl: testServers().rabbitmqUrl,
        namespace,
        issuerPublicKey,
        token: world.http.token,
        waitMs: 8_000,
      });
    const [old, young] = [client(oldPair.publicKey), client(newPair.publicKey)];
    const wish = { mount: 'aws/', role: 'deploy' };
    try {
      await expect(young.issue(wish)).rejects.toThrow();
      const issuer = { ...only, LEASEHOLD_ISSUER_KEY: `${newPair.privateKey},${oldPair.privateKey}` };
      await restart('issuer', issuer);
      await lendOne();
      for (const asker of [old, young]) await asker.revoke((await asker.issue(wish)).leaseId);
      await restart('gateway', { ...only, LEASEHOLD_ISSUER_PUBLIC_KEY: newPair.publicKey });
      await lendOne();
      await restart('issuer', { ...only, LEASEHOLD_ISSUER_KEY: newPair.privateKey });
      await lendOne();
      await young.revoke((await young.issue(wish)).leaseId);
      await expect(old.issue(wish)).rejects.toThrow();
    } finally {
      await Promise.all([old.close(), young.close()]);
    }
    await comesToRest(world, held);
  }, 60_000);

  it('a lost root token, by a command that shows the new one once', async () => {
    const env = { LEASEHOLD_MASTER_KEY: newKey };
    const works = async (token: string) => (await world.http.call('GET', 'sys/mounts', undefined, { token })).status;
    const lost = world.http.token;
    expect(await command('root-token', { LEASEHOLD_MASTER_KEY: masterKey })).toMatchObject({
      code: 1,
      said: '',
      told: expect.stringMatching(/^The master key does not open the keyring/),
    });
    expect(await command('root-token', env, '--all')).toMatchObject({ code: 1, said: '' });

    const added = await command('root-token', env);
    expect(added).toMatchObject({ code: 0, said: expect.stringMatching(/^hvs\.[\w-]{32}$/) });
    expect([await works(added.said), await works(lost)]).toEqual([200, 200]);

    const replaced = await command('root-token', env, '--replace');
    expect(replaced).toMatchObject({ code: 0, told: expect.stringContaining('LEASEHOLD_ROOT_TOKEN') });
    expect([await works(replaced.said), await works(added.said), await works(lost)]).toEqual([200, 403, 403]);
    world.http.token = replaced.said;
    // What the lost one had asked for is still there, and is taken back by the new one.
    const [lease] = held;
    expect((await rowOf(world, lease!.leaseId)).state).toBe('active');
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    held.length = 0;
    await comesToRest(world);

    // One that was ended comes back when migrate is given it: the command says so.
    await fleet.migrate({ ...env, LEASEHOLD_ROOT_TOKEN: added.said });
    expect([await works(added.said), await works(replaced.said)]).toEqual([200, 403]);
    await fleet.migrate({ ...env, LEASEHOLD_ROOT_TOKEN: replaced.said });
    expect([await works(added.said), await works(replaced.said)]).toEqual([403, 200]);
  }, 60_000);

  it('a seal is opened by a command as well, with the key of the services', async () => {
    const [gateway] = fleet.running('gateway');
    const unsealed = async () => {
      const text = await (await fetch(`${gateway!.operations}/metrics`)).text();
      return readExposition(text).find('vault_core_unsealed');
    };
    const status = async () => (await world.http.call('GET', 'aws/creds/deploy')).status;
    expect(await unsealed()).toBe(1);
    await world.http.must(204, 'PUT', 'sys/seal');
    expect([await unsealed(), await status()]).toEqual([0, 503]);
    expect(await command('unseal', { LEASEHOLD_MASTER_KEY: masterKey })).toMatchObject({ code: 1 });
    expect([await unsealed(), await status()]).toEqual([0, 503]);
    for (const said of ['The system is unsealed.', 'The system was not sealed; nothing to do.']) {
      expect(await command('unseal', { LEASEHOLD_MASTER_KEY: newKey })).toEqual({ code: 0, said, told: '' });
    }
    expect([await unsealed(), await status()]).toEqual([1, 200]);
  });

  it('refuses commands of a sealed system at the issuer itself', async () => {
    const client = new LeaseholdClient({
      rabbitmqUrl: testServers().rabbitmqUrl,
      namespace,
      issuerPublicKey: newPair.publicKey,
      token: world.http.token,
    });
    try {
      const { leaseId } = await client.issue({ mount: 'aws/', role: 'deploy' });
      await world.http.must(204, 'PUT', 'sys/seal');
      const sealed = { code: 'sealed', message: 'Vault is sealed', retryable: true };
      await expect(client.issue({ mount: 'aws/', role: 'deploy' })).rejects.toMatchObject(sealed);
      await expect(client.renew(leaseId)).rejects.toMatchObject(sealed);
      await expect(client.revoke(leaseId)).rejects.toMatchObject(sealed);
    } finally {
      await client.close();
      await command('unseal', { LEASEHOLD_MASTER_KEY: newKey });
    }
  });

  it('may be read from files, and says which of them everybody may read', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'leasehold-keys-'));
    try {
      await writeFile(`${folder}/open`, `${newKey}\n`, { mode: 0o644 });
      await writeFile(`${folder}/closed`, newPair.privateKey, { mode: 0o600 });
      await writeFile(`${folder}/other`, randomBytes(32).toString('hex'), { mode: 0o600 });
      const files = {
        LEASEHOLD_MASTER_KEY: '',
        LEASEHOLD_ISSUER_KEY: '',
        LEASEHOLD_ISSUER_KEY_FILE: `${folder}/closed`,
      };
      lines.length = 0;
      await restart('issuer', { ...files, LEASEHOLD_MASTER_KEY_FILE: `${folder}/open` });
      await lendOne();
      expect(lines.filter((line) => line.includes('Every user of this machine may read'))).toEqual([
        expect.stringContaining('LEASEHOLD_MASTER_KEY_FILE'),
      ]);
      const other = fleet.start('issuer', { ...files, LEASEHOLD_MASTER_KEY_FILE: `${folder}/other` });
      expect([await other.ended, other.said]).toEqual([1, expect.stringContaining('The master key does not open')]);
      const none = fleet.start('issuer', { ...files, LEASEHOLD_MASTER_KEY_FILE: `${folder}/none` });
      expect([await none.ended, none.said]).toEqual([
        1,
        expect.stringContaining('LEASEHOLD_MASTER_KEY_FILE cannot be read'),
      ]);
    } finally {
      await rm(folder, { recursive: true });
    }
  }, 60_000);
});
