import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { seedRootPolicy } from '../apps/simulator/src/index.js';
import { everything } from './support/everything.js';
import { writeRole } from './support/lease-life.js';
import { World } from './support/world.js';

const noSchedule = 'rotation_schedule and rotation_window are not supported: give a rotation_period, or neither';
const policy = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}';

describe('the configuration of an engine', () => {
  let world: World;
  let mounts = 0;
  let mount: string;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
  });
  afterAll(() => world.close());

  beforeEach(async () => {
    mounts += 1;
    mount = `team/aws${mounts}`;
    await world.http.must(204, 'POST', `sys/mounts/${mount}`, { type: 'aws' });
  });

  const call = (method: string, path: string, body?: object | string) =>
    world.http.call(method, `${mount}/${path}`, body);
  const read = async (path: string) => (await world.http.must(200, 'GET', `${mount}/${path}`)).body.data;
  const write = (path: string, body: object | string) => world.http.must(204, 'POST', `${mount}/${path}`, body);

  /** Sends a write that must be refused with 400, and changes nothing. */
  async function refusal(path: string, body: object | string): Promise<string | undefined> {
    const before = await everything(world);
    const answer = await call('PUT', path, body);
    expect(answer.status).toBe(400);
    expect(await everything(world)).toEqual(before);
    return answer.body.errors[0];
  }

  describe('config/root', () => {
    it('is not there before it is written', async () => {
      const answer = await call('GET', 'config/root');
      expect([answer.status, answer.body]).toEqual([404, { errors: [] }]);
    });

    it('shows every field but the secret', async () => {
      await write('config/root', { access_key: 'AKIAEXAMPLE', secret_key: 'a-secret', region: 'eu-west-1' });
      const answer = await call('GET', 'config/root');
      expect(answer.text).not.toContain('a-secret');
      expect(answer.body.data).toEqual({
        access_key: 'AKIAEXAMPLE',
        region: 'eu-west-1',
        iam_endpoint: '',
        sts_endpoint: '',
        sts_region: '',
        sts_fallback_endpoints: [],
        sts_fallback_regions: [],
        max_retries: -1,
        username_template: expect.stringContaining('{{ if eq .Type "STS" }}'),
        role_arn: '',
        identity_token_audience: '',
        identity_token_ttl: 0,
        rotation_period: 0,
        rotation_schedule: '',
        rotation_window: 0,
        disable_automated_rotation: false,
        rotation_policy: '',
      });
      expect(world.log.join('')).not.toContain('a-secret');
      expect(JSON.stringify(await everything(world))).not.toContain('a-secret');
    });

    it('changes what a write names and leaves the rest, the secret included', async () => {
      await write('config/root', {
        access_key: world.root.accessKeyId,
        secret_key: world.root.secretAccessKey,
        region: 'us-east-1',
        sts_fallback_endpoints: [world.simulator.url],
        sts_fallback_regions: 'us-west-2',
      });
      await write('config/root', { region: 'eu-central-1', max_retries: '2' });
      await write('config/root', {});
      expect(await read('config/root')).toMatchObject({
        access_key: world.root.accessKeyId,
        region: 'eu-central-1',
        max_retries: 2,
        sts_fallback_endpoints: [world.simulator.url],
        sts_fallback_regions: ['us-west-2'],
      });
      await write('roles/deploy', { policy });
      expect((await call('GET', 'creds/deploy')).status).toBe(200);
    });

    it('takes a null of hvac for the default number of retries', async () => {
      await write('config/root', { max_retries: 2 });
      await write('config/root', { max_retries: null });
      expect((await read('config/root')).max_retries).toBe(-1);
    });

    it('keeps and shows what needs no federation to be true, and how its key is rotated', async () => {
      const rotation = { rotation_period: '24h', disable_automated_rotation: true };
      await write('config/root', { identity_token_ttl: '30m', ...rotation });
      const kept = { identity_token_ttl: 1800, disable_automated_rotation: true };
      expect(await read('config/root')).toMatchObject({ ...kept, rotation_period: 86_400 });
      expect(await read('config/root')).toMatchObject(kept);
      await write('config/root', { region: 'eu-west-1', rotation_policy: '', rotation_period: 0, rotation_window: '' });
      expect(await read('config/root')).toMatchObject({ ...kept, rotation_policy: '', rotation_period: 0 });
    });

    it('shows a configuration that an earlier build wrote', async () => {
      await write('config/root', { region: 'eu-west-1' });
      await world.database.query(
        `update root_configs set settings = settings - 'identityTokenTtlSeconds' - 'disableAutomatedRotation'`,
      );
      expect(await read('config/root')).toMatchObject({ identity_token_ttl: 0, disable_automated_rotation: false });
    });

    it('takes null for "not given" where nothing was written yet', async () => {
      await write('config/root', {
        access_key: 'A',
        secret_key: 'S',
        region: null,
        max_retries: null,
        iam_endpoint: null,
      });
      expect(await read('config/root')).toMatchObject({ region: '', max_retries: -1, iam_endpoint: '' });
    });

    it('goes back to its own template when none is given', async () => {
      const template = '{{ printf "vault-%s" (random 20) }}';
      await write('config/root', { username_template: template });
      expect((await read('config/root')).username_template).toBe(template);
      await write('config/root', { username_template: '' });
      expect((await read('config/root')).username_template).toContain('{{ if eq .Type "STS" }}');
    });

    it.each([
      [
        { sts_fallback_endpoints: ['a', 'b'], sts_fallback_regions: ['c'] },
        'fallback endpoints and fallback regions must be the same length',
      ],
      [{ sts_fallback_regions: 'c' }, 'fallback endpoints and fallback regions must be the same length'],
      [
        { sts_endpoint: 'sts.example' },
        'sts_endpoint "sts.example" is no http:// or https:// URL: write one, or leave it empty',
      ],
      [
        { iam_endpoint: 'ftp://x' },
        'iam_endpoint "ftp://x" is no http:// or https:// URL: write one, or leave it empty',
      ],
      [
        { sts_fallback_endpoints: 'https://sts.example,b', sts_fallback_regions: 'c,d' },
        'sts_fallback_endpoints "b" is no http:// or https:// URL: write one, or leave it empty',
      ],
      [
        { access_key: 'A', identity_token_audience: 'x' },
        "only one of 'access_key' or 'identity_token_audience' can be set",
      ],
      [{ identity_token_audience: 'x' }, "missing required 'role_arn' when 'identity_token_audience' is set"],
      [
        { rotation_period: 60, rotation_schedule: '0 * * * *' },
        'mutually exclusive fields rotation_schedule and rotation_period were both specified; only one of them can be provided',
      ],
      [{ rotation_period: 60, rotation_window: 60 }, 'rotation_window does not apply to period'],
      [{ rotation_window: 60 }, 'cannot use rotation_window without rotation_schedule'],
      [
        { rotation_period: 59 },
        'rotation_period must be 60 seconds or more: the key before has to be removed first; 0: no rotation',
      ],
      [{ rotation_schedule: '0 */6 * * 1-5' }, noSchedule],
      [{ rotation_schedule: '@daily', rotation_window: 3600 }, noSchedule],
      [{ rotation_schedule: 'TZ=Europe/Berlin 30 4 1,15 JAN-jun sun' }, noSchedule],
      [
        { rotation_schedule: 'every day' },
        'failed to parse provided rotation_schedule: expected exactly 5 fields, found 2',
      ],
      [
        { rotation_schedule: '60 * * * *' },
        'failed to parse provided rotation_schedule: the minute field must hold values from 0 to 59',
      ],
      [{ rotation_policy: 'weekly' }, 'rotation_policy is not supported: leave it empty'],
      [
        { role_arn: 'arn:aws:iam::000000000000:role/web' },
        'web identity federation is not supported: leave role_arn and identity_token_audience empty',
      ],
    ])('refuses %j', async (body, text) => {
      expect(await refusal('config/root', body)).toBe(text);
    });

    it('finds out about keys that are none when it lends', async () => {
      await write('config/root', { access_key: 'AKIANOBODY', secret_key: 'nothing', region: 'us-east-1' });
      await write('roles/deploy', { policy });
      await write('roles/federated', { credential_type: 'federation_token', policy_document: policy });
      await write('roles/assumed', { credential_type: 'assumed_role', role_arns: 'arn:aws:iam::000000000000:role/x' });
      const before = await everything(world);
      for (const [path, prefix] of [
        ['creds/deploy', 'Error creating IAM user'],
        ['sts/deploy', 'Error generating STS keys'],
        ['creds/federated', 'Error generating STS keys'],
        ['sts/assumed', 'Error assuming role'],
      ] as const) {
        const answer = await call('GET', path);
        expect([path, answer.status]).toEqual([path, 400]);
        expect(answer.body.errors[0]).toMatch(
          new RegExp(`^${prefix}: InvalidClientTokenId: .*\n\tstatus code: 403, request id: [0-9a-f-]{36}$`),
        );
      }
      expect(await everything(world)).toEqual(before);
    });
  });

  describe('config/lease', () => {
    it('is not there before it is written, and a lease is an hour long', async () => {
      const answer = await call('GET', 'config/lease');
      expect([answer.status, answer.body]).toEqual([404, { errors: [] }]);
    });

    it.each([
      ['30m', '12h', '30m0s', '12h0m0s'],
      ['1h', '24h', '1h0m0s', '24h0m0s'],
      ['3600', 7200, '1h0m0s', '2h0m0s'],
      ['45', '1d', '45s', '24h0m0s'],
      ['300ms', '36h1m1.5s', '300ms', '36h1m1.5s'],
      ['1.5h', '1h30m', '1h30m0s', '1h30m0s'],
      ['0', 0, '0s', '0s'],
      ['-5', '-1h30m', '-5s', '-1h30m0s'],
      [false, true, '0s', '1s'],
      ['2h', '1h', '2h0m0s', '1h0m0s'],
    ])('takes %s and %s', async (lease, leaseMax, shown, maxShown) => {
      await write('config/lease', { lease, lease_max: leaseMax });
      expect(await read('config/lease')).toEqual({ lease: shown, lease_max: maxShown });
    });

    it.each([
      [{}, "'lease' is a required parameter"],
      [{ lease: '', lease_max: '1h' }, "'lease' is a required parameter"],
      [{ lease: null, lease_max: '1h' }, "'lease' is a required parameter"],
      [{ lease_max: '1h' }, "'lease' is a required parameter"],
      [{ lease: '1h' }, "'lease_max' is a required parameter"],
      [{ lease: '1h', lease_max: null }, "'lease_max' is a required parameter"],
      [{ lease: '5x', lease_max: '1h' }, 'Invalid lease: time: unknown unit "x" in duration "5x"'],
      [{ lease: '1h', lease_max: '1.5' }, 'Invalid lease_max: time: missing unit in duration "1.5"'],
      [{ lease: '1h', lease_max: 1.5 }, 'Invalid lease_max: time: missing unit in duration "1.5"'],
      [{ lease: '1.5d', lease_max: '1h' }, 'Invalid lease: time: unknown unit "d" in duration "1.5d"'],
      [{ lease: '-', lease_max: '1h' }, 'Invalid lease: time: invalid duration "-"'],
      [{ lease: ' 1h', lease_max: '1h' }, 'Invalid lease: time: invalid duration " 1h"'],
      [{ lease: '1h', lease_max: '9999999h' }, 'Invalid lease_max: time: invalid duration "9999999h"'],
    ])('refuses %j', async (body, text) => {
      expect(await refusal('config/lease', body)).toBe(text);
    });

    it('keeps what it was when a write is refused', async () => {
      await write('config/lease', { lease: '30m', lease_max: '12h' });
      await refusal('config/lease', { lease: '1h', lease_max: 'soon' });
      expect(await read('config/lease')).toEqual({ lease: '30m0s', lease_max: '12h0m0s' });
    });
  });

  it.each([
    ['DELETE', 'config/root'],
    ['DELETE', 'config/lease'],
    ['LIST', 'config/root'],
    ['LIST', 'config/lease'],
  ])('refuses %s %s', async (method, path) => {
    const answer = await call(method, path);
    expect([answer.status, answer.body.errors]).toEqual([405, ['1 error occurred:\n\t* unsupported operation\n\n']]);
  });
});

describe('an engine that works with the role of the machine that it is on', () => {
  it('notes the role once, however many machines have sessions of it', async () => {
    let session: Awaited<ReturnType<typeof openSession>>;
    const world = await World.start({
      weather: {},
      surroundings: { ambientCredentials: () => () => Promise.resolve(session) },
    });
    try {
      const trust = JSON.stringify({
        Version: '2012-10-17',
        Statement: { Effect: 'Allow', Principal: { AWS: '*' }, Action: 'sts:AssumeRole' },
      });
      const account = world.simulator.account();
      account.createRole('issuer', trust, { policies: { all: seedRootPolicy(account.id) } });
      const caller = world.simulator.provisionRootIdentity({
        userName: 'machines',
        policy: JSON.stringify({
          Version: '2012-10-17',
          Statement: { Effect: 'Allow', Action: 'sts:AssumeRole', Resource: '*' },
        }),
      });
      session = await openSession(world.simulator.url, caller, `arn:aws:iam::${account.id}:role/issuer`, 'i-0001');
      await world.http.must(204, 'POST', 'sys/mounts/aws', { type: 'aws' });
      await world.http.must(204, 'PUT', 'aws/config/root', { region: 'us-east-1' });
      await writeRole(world, 'deploy');
      const noted = async () => {
        await world.http.must(200, 'GET', 'aws/creds/deploy');
        return (await world.database.query('select identity_arn, xmin from root_configs')).rows as object[];
      };
      const first = await noted();
      expect(first).toMatchObject([{ identity_arn: `arn:aws:sts::${account.id}:assumed-role/issuer` }]);
      session = await openSession(world.simulator.url, caller, `arn:aws:iam::${account.id}:role/issuer`, 'i-0002');
      await world.restart();
      expect(await noted()).toEqual(first);
      const federated = { credential_type: 'federation_token', policy_document: policy };
      const { body } = await world.http.must(400, 'PUT', 'aws/roles/federated', federated);
      expect(body.errors[0]).toContain('temporary credentials');
      await world.http.must(204, 'PUT', 'sys/revoke-prefix/aws');
    } finally {
      await world.close();
    }
  });
});

/** What a machine with a role is given of it. */
async function openSession(
  endpoint: string,
  credentials: { accessKeyId: string; secretAccessKey: string },
  RoleArn: string,
  RoleSessionName: string,
) {
  const client = new STSClient({ endpoint, region: 'us-east-1', credentials });
  const { Credentials } = await client.send(new AssumeRoleCommand({ RoleArn, RoleSessionName }));
  const { AccessKeyId, SecretAccessKey, SessionToken } = Credentials!;
  return { accessKeyId: AccessKeyId!, secretAccessKey: SecretAccessKey!, sessionToken: SessionToken! };
}
