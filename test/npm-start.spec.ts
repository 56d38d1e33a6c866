import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { HttpClient } from './support/http-client.js';
import { freePort, NpmStart, temporaryFolder } from './support/npm-start.js';
import { eventually, freshDatabase, type LentKeys } from './support/world.js';

const policy = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: 'ec2:*', Resource: '*' },
});

describe('npm start', () => {
  let folder: { path: string; remove: () => Promise<void> };
  let port: number;
  const running: NpmStart[] = [];

  beforeEach(async () => {
    folder = await temporaryFolder();
    port = await freePort();
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((system) => system.end('SIGTERM')));
    await folder.remove();
  });

  const start = (args: string[] = [], env: Record<string, string> = {}) => {
    const system = new NpmStart(args, { PORT: String(port), LEASEHOLD_DATA_DIR: folder.path, ...env });
    running.push(system);
    return system;
  };
  const client = async (system: NpmStart) => {
    const [, url] = await system.prints(/serves at (\S+)/);
    const [, token] = await system.prints(/Root token: (\S+)/);
    return new HttpClient(url!, token!);
  };
  /** Runs the commands that it printed as they stand: each must be answered, and none with an error. */
  const succeed = async (system: NpmStart) => {
    const [, commands] = await system.prints(/\nTry:\n([^]*?)\n\nCtrl-C/);
    const lines = commands!.split('\n').map((line) => line.trim().replace('curl -s ', 'curl -s -S --fail-with-body '));
    expect(lines.length).toBeGreaterThanOrEqual(4);
    const { stdout } = await promisify(execFile)('sh', ['-e', '-c', lines.join('\n')]);
    expect(stdout).toMatch(/"access_key":"AKIA/);
    expect(stdout).not.toContain('"errors"');
  };
  const whoIs = async (system: NpmStart, keys: LentKeys) => {
    const [, endpoint] = await system.prints(/simulator at (http[^\s)]+)/);
    const sts = new STSClient({
      endpoint: endpoint!,
      region: 'us-east-1',
      maxAttempts: 1,
      credentials: { accessKeyId: keys.access_key, secretAccessKey: keys.secret_key },
    });
    return sts.send(new GetCallerIdentityCommand({})).then(
      (identity) => identity.Arn!,
      (error: Error) => error.name,
    );
  };

  it('shows the quick start, every answer as expected, and then serves until Ctrl-C', async () => {
    const system = start();
    const http = await client(system);
    expect(system.output).not.toMatch(/^(4|5)\d\d /m);
    expect(system.output).toMatch(/:user\/vault-root-deploy-/);
    expect(system.output).toMatch(/:federated-user\/vault-/);
    expect(system.output).toMatch(/:assumed-role\/RoleNameToAssume\//);
    expect(system.output.match(/refused: InvalidClientTokenId/g)).toHaveLength(2);
    expect(system.output).not.toMatch(/"secret_key":"[^"…]{10,}"/);
    await http.must(200, 'GET', 'sys/mounts');
    expect(await system.end('SIGINT')).toBe(0);
    await expect(http.call('GET', 'sys/health')).rejects.toThrow();
  }, 90_000);

  it('leaves what its user has changed alone when it is started again, and says how to see the tour', async () => {
    const first = start();
    const http = await client(first);
    const mine = { lease: '30m0s', lease_max: '12h0m0s' };
    await http.must(204, 'PUT', 'aws/config/lease', mine);
    await http.must(204, 'PUT', 'aws/config/root', { region: 'eu-central-1' });
    await http.must(204, 'PUT', 'aws/roles/deploy', { policy_document: policy, credential_type: 'federation_token' });
    await http.must(204, 'DELETE', 'aws/roles/readonly');
    expect(await first.end('SIGINT')).toBe(0);

    const second = start();
    const again = await client(second);
    expect(second.output).toMatch(/^The tour is skipped: .* aws\/ already\.$/m);
    expect((await again.must(200, 'GET', 'aws/config/lease')).body.data).toEqual(mine);
    expect((await again.must(200, 'GET', 'aws/config/root')).body.data.region).toBe('eu-central-1');
    expect((await again.must(200, 'GET', 'aws/roles/deploy')).body.data.credential_type).toBe('federation_token');
    expect((await again.must(200, 'GET', 'aws/roles?list=true')).body.data.keys).toEqual(['cross', 'deploy']);
    await again.must(204, 'DELETE', 'sys/mounts/aws');
    await again.must(204, 'POST', 'sys/mounts/aws/prod', { type: 'aws' });
    expect(await second.end('SIGINT')).toBe(0);

    const third = start();
    await client(third);
    expect(third.output).toMatch(/^The tour is skipped: .* aws\/prod\/ already\.$/m);
    await succeed(third);
  }, 120_000);

  it('prints commands that work, with and without a tour before them', async () => {
    const toured = start();
    await succeed(toured);
    await toured.end('SIGINT');
    const bare = start(['--no-tour'], { LEASEHOLD_DATA_DIR: `${folder.path}/other/folder` });
    await succeed(bare);
    // The second time what they made is there.
    await bare.end('SIGINT');
    await succeed(start(['--no-tour'], { LEASEHOLD_DATA_DIR: `${folder.path}/other/folder` }));
  }, 120_000);

  it('stops in order in the middle of its start and of its tour', async () => {
    for (const moment of [/^Starting gateway/m, /^# Wait until it has run out/m]) {
      const system = start();
      await system.prints(moment);
      expect(await system.end('SIGINT')).toBe(0);
      expect(system.output).toMatch(/^Stopping\.$/m);
      expect(system.output).not.toMatch(/^\s+at |Error|serves at|tour ends here/m);
    }
  }, 90_000);

  it('keeps its data over kill -9, and finishes what was due meanwhile', async () => {
    const first = start(['--no-tour']);
    const http = await client(first);
    await http.must(204, 'POST', 'sys/mounts/team/aws', { type: 'aws' });
    await http.must(204, 'PUT', 'team/aws/roles/deploy', { policy_document: policy, credential_type: 'iam_user' });
    const kept = await http.must(200, 'GET', 'team/aws/creds/deploy');
    await http.must(204, 'PUT', 'team/aws/config/lease', { lease: '1s', lease_max: '1h' });
    const short = await http.must(200, 'GET', 'team/aws/creds/deploy');
    await first.end('SIGKILL');

    const second = start(['--no-tour']);
    const again = await client(second);
    expect(again.token).toBe(http.token);
    const shortKeys = short.body.data as unknown as LentKeys;
    await eventually(async () => (await whoIs(second, shortKeys)) === 'InvalidClientTokenId');
    expect(await whoIs(second, kept.body.data as unknown as LentKeys)).toMatch(/:user\/vault-/);
    await again.must(204, 'PUT', 'sys/leases/revoke', { lease_id: kept.body.lease_id });
  }, 90_000);

  it('uses the database, the token and the master key that it is given', async () => {
    const database = await freshDatabase();
    const env = {
      DATABASE_URL: database.url,
      LEASEHOLD_ROOT_TOKEN: 'my-root',
      LEASEHOLD_MASTER_KEY: randomBytes(32).toString('base64'),
    };
    const system = start(['--no-tour'], env);
    const http = await client(system);
    expect(http.token).toBe('my-root');
    await http.must(204, 'POST', 'sys/mounts/aws', { type: 'aws' });
    await system.end();
    const pool = new pg.Client({ connectionString: database.url });
    await pool.connect();
    expect((await pool.query('select path from mounts')).rows).toEqual([{ path: 'aws/' }]);
    await pool.end();

    const other = start(['--no-tour'], { ...env, LEASEHOLD_MASTER_KEY: randomBytes(32).toString('base64') });
    expect(await other.exit()).toBe(1);
    expect(other.output).toContain('The master key does not open the keyring of this database');
    expect(other.output).not.toMatch(/^\s+at /m);
    await database.drop();
  }, 90_000);

  it('says in one sentence that the master key is another one, also on its own database', async () => {
    const first = start(['--no-tour']);
    await client(first);
    await first.end();
    const other = start(['--no-tour'], { LEASEHOLD_MASTER_KEY: randomBytes(32).toString('base64') });
    expect(await other.exit()).toBe(1);
    expect(other.output.trimEnd().split('\n').slice(-1)).toEqual([
      'The master key does not open the keyring of this database: give the LEASEHOLD_MASTER_KEY that it is sealed under, ' +
        'the one of the first start or of the last "npm run rekey".',
    ]);
    expect(other.output).not.toMatch(/^\s+at |[eE]rror:/m);
  }, 90_000);

  it('says that it was sealed, and how it is opened', async () => {
    const first = start(['--no-tour']);
    const http = await client(first);
    await http.must(204, 'PUT', 'sys/seal');
    expect(await first.end()).toBe(0);
    const again = start();
    const sealed = await client(again);
    const [, commands] = await again.prints(/It is sealed, .*\n\nTry:\n([^]*?)\n\nCtrl-C/);
    expect((await sealed.call('GET', 'sys/mounts')).status).toBe(503);
    const { stdout } = await promisify(execFile)('sh', ['-e', '-c', commands!]);
    expect(stdout).toContain('"sealed":false');
    await sealed.must(200, 'GET', 'sys/mounts');
  }, 90_000);

  it('with --aws leaves the simulator and the tour out', async () => {
    const system = start(['--aws']);
    const http = await client(system);
    expect(system.output).toContain('real AWS');
    expect(system.output).not.toContain('simulator at');
    expect(Object.keys((await http.must(200, 'GET', 'sys/mounts')).body.data)).toEqual(['cubbyhole/', 'sys/']);
  }, 60_000);

  it('says in one sentence why it does not start', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const takenPort = String((taken.address() as AddressInfo).port);
    const cases: [string[], Record<string, string>, RegExp][] = [
      [[], { PORT: takenPort }, /^Port \d+ of 127\.0\.0\.1 is in use: .*\.$/m],
      [[], { PORT: 'eighty' }, /^The system does not start: PORT must be a number from 0 to 65535\.$/m],
      [['--fast'], {}, /^Not started: --fast is no option .*\.$/m],
      [
        [],
        { LEASEHOLD_DATA_DIR: '/dev/null/leasehold' },
        /^The data folder \/dev\/null\/leasehold cannot be written.*\.$/m,
      ],
      [
        [],
        { LEASEHOLD_DATA_DIR: '/proc/leasehold/data' },
        /^The data folder \/proc\/leasehold\/data cannot be written.*\.$/m,
      ],
      [[], { LEASEHOLD_MASTER_KEY: 'short' }, /^LEASEHOLD_MASTER_KEY must be 32 random bytes .*\.$/m],
      [
        [],
        { DATABASE_URL: 'postgres://nobody:none@127.0.0.1:1/none' },
        /^The database at DATABASE_URL cannot be reached.*\.$/m,
      ],
    ];
    for (const [args, env, sentence] of cases) {
      const system = start(args, env);
      expect(await system.exit()).toBe(1);
      expect(system.output).toMatch(sentence);
      expect(system.output).not.toMatch(/^\s+at /m);
      expect(system.output).not.toContain('none@');
    }
    await new Promise((resolve) => taken.close(resolve));
  }, 90_000);
});
