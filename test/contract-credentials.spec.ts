import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { seedTrustPolicy } from '../apps/simulator/src/index.js';
import { everything } from './support/everything.js';
import { eventually, type LentKeys, World } from './support/world.js';

const policy = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}';
const readOnly = 'arn:aws:iam::aws:policy/ReadOnlyAccess';
const arnOf = (role: string) => `arn:aws:iam::000000000000:role/${role}`;

/** The root identity of these journeys may do everything: what is refused, a fault refuses. */
const everythingAllowed = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: '*', Resource: '*' },
});

describe('credentials', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {}, rootPolicy: () => everythingAllowed });
    const account = world.simulator.account();
    for (const role of ['one', 'two']) {
      account.createRole(role, seedTrustPolicy(account.arn('user', '/', 'leasehold-root')));
    }
    await world.mount();
    const roles = {
      'old-policy': { policy },
      'old-managed': { arn: readOnly },
      'old-role': { arn: arnOf('one') },
      user: { credential_type: 'iam_user', policy_document: policy },
      'user-full': {
        credential_type: 'iam_user',
        policy_document: policy,
        policy_arns: readOnly,
        user_path: '/team/',
        iam_tags: { team: 'a' },
        permissions_boundary_arn: readOnly,
      },
      assumed: { credential_type: 'assumed_role', role_arns: arnOf('one'), policy_arns: readOnly },
      'assumed-many': {
        credential_type: 'assumed_role',
        role_arns: [arnOf('one'), arnOf('two')],
        default_sts_ttl: 1800,
        max_sts_ttl: '1h',
      },
      'assumed-none': { credential_type: 'assumed_role' },
      federated: { credential_type: 'federation_token', policy_document: policy, policy_arns: readOnly },
      'federated-none': { credential_type: 'federation_token' },
    };
    for (const [name, role] of Object.entries(roles)) await world.http.must(204, 'PUT', `aws/roles/${name}`, role);
  });
  afterAll(() => world.close());
  afterEach(() => world.simulator.faults.clear());

  const call = (method: string, path: string, body?: object | string) => world.http.call(method, `aws/${path}`, body);
  const lend = async (method: string, path: string, body?: object) =>
    (await world.http.must(200, method, `aws/${path}`, body)).body;
  const whoIs = (keys: unknown) => world.whoIs(keys as LentKeys);
  /** STS says the instant; on the way to the answer a second may pass. */
  const about = (seconds: number) => [seconds - 1, seconds];

  /** Seconds from the issue to the end that AWS set: `data.ttl` and `lease_duration` (contract.md 2.5). */
  async function truncatedAndRounded(leaseId: string): Promise<[number, number]> {
    const { rows } = await world.database.query<{ seconds: string }>(
      `select extract(epoch from expires_at - issued_at) as seconds from leases where id = $1`,
      [leaseId],
    );
    const seconds = Number(rows[0]!.seconds);
    return [Math.trunc(seconds), Math.round(seconds)];
  }

  it('shows the time of an STS credential truncated beside a lease that is rounded', async () => {
    // AWS gives whole seconds: one that is lent in the first half of a second is rounded up.
    const shown = await eventually(async () => {
      const lent = await lend('PUT', 'sts/assumed', { ttl: '15m' });
      return lent.lease_duration === 900 && lent.data.ttl;
    });
    expect(shown).toBe(899);
  });

  async function refusal(method: string, path: string, body?: object | string) {
    const before = await everything(world);
    const answer = await call(method, path, body);
    expect(await everything(world)).toEqual(before);
    return [answer.status, answer.body.errors];
  }

  it.each([
    ['GET', 'creds/user'],
    ['PUT', 'creds/user'],
    ['POST', 'creds/user'],
    ['GET', 'sts/user'],
    ['GET', 'creds/user-full'],
    ['GET', 'creds/old-policy'],
    ['POST', 'creds/old-managed'],
  ])('%s %s lends the key of a new user', async (method, path) => {
    const lent = await lend(method, path);
    expect(lent).toMatchObject({ lease_duration: 3600, renewable: true, warnings: null, wrap_info: null, auth: null });
    expect(lent.lease_id).toMatch(new RegExp(`^aws/${path}/\\w{24}$`));
    expect(lent.data).toEqual({
      access_key: expect.stringMatching(/^AKIA/),
      secret_key: expect.stringMatching(/^.{40}$/),
      security_token: null,
      session_token: null,
    });
    expect(await whoIs(lent.data)).toMatch(/:user\/(team\/)?vault-root-[\w-]+-\d+-\w{20}$/);
  });

  it('makes the user as the role says', async () => {
    const lent = await lend('GET', 'creds/user-full');
    const arn = await whoIs(lent.data);
    const user = world.simulator.account().existingUser(arn.split('/').at(-1)!);
    expect(user.path).toBe('/team/');
    expect(JSON.stringify([...user.tags])).toContain('team');
    const actions = world.simulator.calls.list({ userName: user.name }).map((made) => made.action);
    expect(actions.sort()).toEqual(['AttachUserPolicy', 'CreateAccessKey', 'CreateUser', 'PutUserPolicy']);
  });

  it.each([
    ['GET', 'creds/assumed', 'one'],
    ['GET', 'sts/assumed', 'one'],
    ['PUT', 'sts/old-role', 'one'],
    ['GET', `creds/assumed-many?role_arn=${arnOf('two')}`, 'two'],
  ])('%s %s assumes the role', async (method, path, role) => {
    const lent = await lend(method, path);
    const keys = Object.keys(lent.data).sort();
    expect(keys).toEqual(['access_key', 'arn', 'secret_key', 'security_token', 'session_token', 'ttl']);
    expect(lent.renewable).toBe(false);
    expect(lent.data.security_token).toBe(lent.data.session_token);
    expect(lent.data.arn).toMatch(new RegExp(`:assumed-role/${role}/vault-root-`));
    expect(await whoIs(lent.data)).toBe(lent.data.arn);
    expect(about(path.includes('many') ? 1800 : 3600)).toContain(lent.lease_duration);
    expect([lent.data.ttl, lent.lease_duration]).toEqual(await truncatedAndRounded(lent.lease_id));
  });

  it.each([
    ['GET', 'sts/federated'],
    ['POST', 'creds/federated'],
    ['GET', 'sts/old-policy'],
  ])('%s %s fetches a federation token', async (method, path) => {
    const lent = await lend(method, path);
    const keys = Object.keys(lent.data).sort();
    expect(keys).toEqual(['access_key', 'secret_key', 'security_token', 'session_token', 'ttl']);
    expect(lent.renewable).toBe(false);
    expect(about(3600)).toContain(lent.lease_duration);
    expect([lent.data.ttl, lent.lease_duration]).toEqual(await truncatedAndRounded(lent.lease_id));
    expect(await whoIs(lent.data)).toMatch(/:federated-user\/vault-\d+-\w{15}$/);
  });

  it.each([
    ['GET', 'sts/assumed?ttl=15m', undefined, 900],
    ['GET', 'creds/assumed?ttl=900', undefined, 900],
    ['PUT', 'sts/assumed', { ttl: '60m' }, 3600],
    ['PUT', 'sts/assumed', { ttl: 1200 }, 1200],
    ['PUT', 'sts/assumed', { ttl: '1200' }, 1200],
    ['PUT', 'sts/assumed', { ttl: null }, 3600],
    ['PUT', 'sts/assumed', { ttl: 0 }, 3600],
    ['PUT', 'sts/assumed', { ttl: '' }, 3600],
    ['PUT', 'sts/assumed-many', { role_arn: arnOf('one') }, 1800],
    ['PUT', 'sts/federated', { ttl: '36h' }, 129_600],
    ['PUT', 'creds/federated', { ttl: '20m' }, 1200],
  ])('%s %s %j lasts as asked, within the limits', async (method, path, body, seconds) => {
    const lent = await lend(method, path, body);
    expect(about(seconds)).toContain(lent.lease_duration);
    expect(lent.warnings).toBeNull();
  });

  it('cuts what is asked of STS to the max of the role, and says so', async () => {
    const lent = await lend('PUT', 'sts/assumed-many', { role_arn: arnOf('one'), ttl: '12h' });
    expect(about(3600)).toContain(lent.lease_duration);
    expect(lent.warnings).toEqual([
      'TTL of "12h" exceeded the effective max_ttl of "1h"; TTL value is capped accordingly, since the role has that max_sts_ttl',
    ]);
  });

  it('cuts what is asked of STS to the max of the mount, and says so', async () => {
    await world.http.must(204, 'PUT', 'sys/mounts/aws/tune', { max_lease_ttl: '30m', default_lease_ttl: '20m' });
    const lent = await lend('PUT', 'sts/federated', { ttl: '2h' });
    expect(about(1800)).toContain(lent.lease_duration);
    expect(lent.warnings).toEqual([
      'TTL of "2h" exceeded the effective max_ttl of "30m"; TTL value is capped accordingly',
    ]);
    await world.http.must(204, 'PUT', 'sys/mounts/aws/tune', { max_lease_ttl: '0', default_lease_ttl: '0' });
  });

  it('pays no heed to a ttl for an IAM user', async () => {
    expect(await lend('GET', 'creds/user?ttl=15m')).toMatchObject({ lease_duration: 3600, warnings: null });
    expect(await lend('PUT', 'creds/user', { ttl: '48h' })).toMatchObject({ lease_duration: 3600 });
  });

  it.each([
    ['30m', '12h', 1800, null],
    ['25h', '24h', 86_400, 'TTL of "25h" exceeded the effective max_ttl of "24h"; TTL value is capped accordingly'],
    ['0', '10m', 600, 'TTL of "1h" exceeded the effective max_ttl of "10m"; TTL value is capped accordingly'],
    ['1h0m30s', '1h', 3600, 'TTL of "1h30s" exceeded the effective max_ttl of "1h"; TTL value is capped accordingly'],
    ['-1h', '-1h', 3600, null],
    ['769h', '0', 2_764_800, 'TTL of "769h" exceeded the effective max_ttl of "768h"; TTL value is capped accordingly'],
    ['1000ms', '1d', 1, null],
  ])('lends by config/lease %s and %s', async (lease, leaseMax, seconds, warning) => {
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease, lease_max: leaseMax });
    const lent = await lend('GET', 'creds/user');
    expect([lent.lease_duration, lent.warnings]).toEqual([seconds, warning === null ? null : [warning]]);
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1h', lease_max: '24h' });
    await world.http.must(204, 'PUT', `sys/leases/revoke/${lent.lease_id}`);
  });

  it.each([
    ['ci job 7/8', 'ci_job_7_8'],
    ['a'.repeat(80), 'a'.repeat(64)],
    ['ok+=,.@_-', 'ok+=,.@_-'],
    [42, '42'],
  ])('names the session as asked: %s', async (asked, name) => {
    const lent = await lend('PUT', 'sts/assumed', { role_session_name: asked });
    expect(lent.data.arn).toBe(`arn:aws:sts::000000000000:assumed-role/one/${name}`);
  });

  it("does what hvac's PUT with a query and no body asks for", async () => {
    const query = new URLSearchParams({ name: 'assumed-many', ttl: '15m', role_arn: arnOf('two') });
    const lent = await lend('PUT', `sts/assumed-many?${query.toString()}`);
    expect(about(900)).toContain(lent.lease_duration);
    expect(lent.data.arn).toMatch(/:assumed-role\/two\//);
    const both = await lend('PUT', `sts/assumed-many?${query.toString()}`, { role_arn: arnOf('one') });
    expect(both.data.arn).toMatch(/:assumed-role\/one\//);
  });

  it.each([
    ['GET', 'creds/nobody', undefined, 'Role "nobody" not found'],
    ['PUT', 'sts/nobody', { ttl: '15m' }, 'Role "nobody" not found'],
    [
      'GET',
      'sts/old-managed',
      undefined,
      'attempted to retrieve iam_user credentials through the sts path; this is not allowed for legacy roles',
    ],
    [
      'GET',
      'creds/old-role',
      undefined,
      'attempted to retrieve assumed_role credentials through the creds path; this is not allowed for legacy roles',
    ],
    ['GET', 'sts/assumed-many', undefined, 'did not supply a role_arn parameter and unable to determine one'],
    ['GET', 'creds/assumed-none', undefined, 'did not supply a role_arn parameter and unable to determine one'],
    [
      'PUT',
      'sts/assumed-many',
      { role_arn: arnOf('three') },
      `role_arn "${arnOf('three')}" not in allowed role arns for Vault role "assumed-many"`,
    ],
    [
      'GET',
      'sts/federated-none',
      undefined,
      'must specify at least one of policy_arns or policy_document with federation_token credential_type',
    ],
    [
      'PUT',
      'sts/federated',
      { ttl: '10m' },
      'Error generating STS keys: InvalidParameter: 1 validation error(s) found.\n- minimum field value of 900, GetFederationTokenInput.DurationSeconds.\n',
    ],
    [
      'PUT',
      'sts/assumed',
      { ttl: 1 },
      'Error assuming role: InvalidParameter: 1 validation error(s) found.\n- minimum field value of 900, AssumeRoleInput.DurationSeconds.\n',
    ],
    [
      'GET',
      'sts/assumed?ttl=soon',
      undefined,
      'Field validation failed: error converting input for field "ttl": time: invalid duration "soon"',
    ],
  ])('refuses %s %s %j, and asks AWS for nothing', async (method, path, body, text) => {
    expect(await refusal(method, path, body)).toEqual([400, [text]]);
  });

  it.each([
    ['DELETE', 'creds/user'],
    ['LIST', 'creds/user'],
    ['DELETE', 'sts/user'],
  ])('refuses %s %s', async (method, path) => {
    expect(await refusal(method, path)).toEqual([405, ['1 error occurred:\n\t* unsupported operation\n\n']]);
  });

  it.each(['creds', 'sts', 'creds/a/b', 'credsx/user'])('has no path %s', async (path) => {
    expect(await refusal('GET', path)).toEqual([404, ['1 error occurred:\n\t* unsupported path\n\n']]);
  });

  describe('when AWS refuses', () => {
    const tail = /\n\tstatus code: 4\d\d, request id: [0-9a-f-]{36}$/;

    it.each([
      ['CreateUser', 'creds/user', 'AccessDenied', 403, 400, 'Error creating IAM user: AccessDenied: '],
      ['CreateUser', 'creds/user', 'LimitExceeded', 409, 400, 'Error creating IAM user: LimitExceeded: '],
      [
        'AttachUserPolicy',
        'creds/user-full',
        'PolicyNotAttachable',
        400,
        400,
        'Error attaching user policy: PolicyNot',
      ],
      ['PutUserPolicy', 'creds/user', 'MalformedPolicyDocument', 400, 400, 'Error putting user policy: Malformed'],
      ['CreateAccessKey', 'creds/user', 'LimitExceeded', 409, 400, 'Error creating access keys: LimitExceeded: '],
      ['AssumeRole', 'sts/assumed', 'AccessDenied', 403, 400, 'Error assuming role: AccessDenied: '],
      ['AssumeRole', 'sts/assumed', 'RegionDisabledException', 403, 400, 'Error assuming role: RegionDisabled'],
      ['GetFederationToken', 'sts/federated', 'PackedPolicyTooLarge', 400, 400, 'Error generating STS keys: Packed'],
      ['CreateUser', 'creds/user', 'Throttling', 400, 502, 'Error creating IAM user: Throttling: '],
      ['AssumeRole', 'sts/assumed', 'Throttling', 400, 502, 'Error assuming role: Throttling: '],
      ['GetFederationToken', 'sts/federated', 'RequestLimitExceeded', 400, 502, 'Error generating STS keys: Request'],
    ])('%s for %s, %s: the caller reads it', async (action, path, code, awsStatus, status, text) => {
      world.simulator.faults.fail({ action, code, status: awsStatus, message: 'as AWS says it' });
      const users = world.lentUsers();
      const leases = (await world.leases()).filter((row) => row.state === 'active').length;
      const answer = await call('GET', path);
      expect(answer.status).toBe(status);
      expect(answer.body.errors).toHaveLength(1);
      expect(answer.body.errors[0]!.startsWith(text)).toBe(true);
      expect(answer.body.errors[0]).toContain(': as AWS says it');
      expect(answer.body.errors[0]).toMatch(tail);
      world.simulator.faults.clear();
      await eventually(() => JSON.stringify(world.lentUsers()) === JSON.stringify(users));
      expect((await world.leases()).filter((row) => row.state === 'active')).toHaveLength(leases);
    });

    it('a root identity without the rights, the caller reads which one is missing', async () => {
      const account = world.simulator.account();
      const root = account.existingUser('leasehold-root');
      account.putUserPolicy(root, 'root', everythingAllowed.replace('"Action":"*"', '"Action":"s3:*"'));
      const users = world.lentUsers();
      const answer = await call('GET', 'creds/user');
      account.putUserPolicy(root, 'root', everythingAllowed);
      expect(answer.status).toBe(400);
      expect(answer.body.errors[0]).toMatch(
        new RegExp(
          '^Error creating IAM user: AccessDenied: User: arn:aws:iam::000000000000:user/leasehold-root ' +
            'is not authorized to perform: iam:CreateUser on resource: arn:aws:iam::000000000000:user/vault-root-user-' +
            '[\\w-]+ because no identity-based policy allows the iam:CreateUser action' +
            '\\n\\tstatus code: 403, request id: [0-9a-f-]{36}$',
        ),
      );
      expect(world.lentUsers()).toEqual(users);
    });
  });
});
