import { isDeepStrictEqual } from 'node:util';
import { GetUserCommand, IAMClient } from '@aws-sdk/client-iam';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { seedAssumeRolePolicy, seedFederationPolicy, seedTrustPolicy } from '../../apps/simulator/src/index.js';
import { eventually, type LentKeys, World } from '../support/world.js';

const policyOf = (...statement: object[]) => JSON.stringify({ Version: '2012-10-17', Statement: statement });
/** What the provider's own test of a lent key needs: it asks IAM who it is. */
const policy = policyOf({ Effect: 'Allow', Action: ['ec2:*', 'iam:GetUser'], Resource: '*' });
const readOnly = 'arn:aws:iam::aws:policy/ReadOnlyAccess';
const viewOnly = 'arn:aws:iam::aws:policy/job-function/ViewOnlyAccess';

type Arguments = Record<string, unknown>;

describe('Terraform, as its vault provider behaves', () => {
  let world: World;
  let iamRoleArn: string;
  /** The provider's token: a child of the one that it is configured with, for 20 minutes. */
  let token: string;

  beforeAll(async () => {
    world = await World.start();
    const account = world.simulator.account();
    const root = account.existingUser('leasehold-root');
    iamRoleArn = account.arn('role', '/', 'RoleNameToAssume');
    account.createRole('RoleNameToAssume', seedTrustPolicy(account.arn('user', '/', 'leasehold-root')));
    account.putUserPolicy(root, 'federate', seedFederationPolicy());
    account.putUserPolicy(root, 'assume', seedAssumeRolePolicy(iamRoleArn));
    token = await configure();
  });
  afterAll(() => world.close());

  const call = (method: string, path: string, body?: object) => world.http.call(method, path, body, { token });
  const must = (status: number, method: string, path: string, body?: object) =>
    world.http.must(status, method, path, body, { token });

  /** Configures the provider: who am I, which version is this, and a token of its own. */
  async function configure(): Promise<string> {
    await world.http.must(200, 'GET', 'auth/token/lookup-self');
    const { version } = (await world.http.must(200, 'GET', 'sys/seal-status', undefined, { token: null })).body;
    expect(version).toMatch(/^\d+\.\d+\.\d+$/);
    const body = { ttl: '1200s', explicit_max_ttl: '1200s', display_name: 'terraform', num_uses: 0, renewable: false };
    const { auth } = (await world.http.must(200, 'PUT', 'auth/token/create', body)).body;
    return (auth as { client_token: string }).client_token;
  }

  /** `vault_aws_secret_backend`, created. */
  async function createBackend(path: string, wanted: Arguments): Promise<void> {
    const { description = '', default_lease_ttl_seconds = 0, max_lease_ttl_seconds = 0, ...root } = wanted;
    const config = {
      options: null,
      default_lease_ttl: `${default_lease_ttl_seconds as number}s`,
      max_lease_ttl: `${max_lease_ttl_seconds as number}s`,
      force_no_cache: false,
    };
    await must(204, 'POST', `sys/mounts/${path}`, { type: 'aws', description, config, local: false, seal_wrap: false });
    await must(204, 'PUT', `${path}/config/root`, root);
  }

  /** What the provider has of a backend after reading it back; null when it is gone. */
  async function readBackend(path: string): Promise<Arguments | null> {
    const mount = await call('GET', `sys/mounts/${path}`);
    if (mount.status === 400 && mount.body.errors[0]?.includes('No secret engine mount at')) return null;
    const { description, local, config } = mount.body.data as Arguments & { config: Arguments };
    const root = (await must(200, 'GET', `${path}/config/root`)).body.data;
    return {
      description,
      local,
      default_lease_ttl_seconds: config.default_lease_ttl,
      max_lease_ttl_seconds: config.max_lease_ttl,
      access_key: root.access_key,
      region: root.region || 'us-east-1',
      iam_endpoint: root.iam_endpoint,
      sts_endpoint: root.sts_endpoint,
      sts_region: root.sts_region,
      sts_fallback_endpoints: root.sts_fallback_endpoints,
      sts_fallback_regions: root.sts_fallback_regions,
      username_template: root.username_template,
    };
  }

  /** `vault_aws_secret_backend_role`, as it is read back; null when it is gone. */
  async function readRole(path: string): Promise<Arguments | null> {
    const answer = await call('GET', path);
    if (answer.status === 404 && isDeepStrictEqual(answer.body, { errors: [] })) return null;
    expect(answer.status).toBe(200);
    return answer.body.data;
  }

  /** The arguments that a plan would say have changed. Policies are compared as JSON, lists as sets; the secret is not read. */
  function drift(wanted: Arguments, found: Arguments | null): string[] {
    if (!found) return ['all of it'];
    const meaning = (name: string, value: unknown): unknown => {
      if (name === 'policy_document') return JSON.parse(value as string);
      return Array.isArray(value) ? [...(value as string[])].sort() : value;
    };
    return Object.keys(wanted).filter(
      (name) => name !== 'secret_key' && !isDeepStrictEqual(meaning(name, wanted[name]), meaning(name, found[name])),
    );
  }

  const rootArguments = () => ({
    access_key: world.root.accessKeyId,
    secret_key: world.root.secretAccessKey,
    region: 'us-east-1',
  });

  it('plans no change of a backend after it was made, read again, and written again', async () => {
    const wanted = {
      description: 'of the team',
      default_lease_ttl_seconds: 3600,
      max_lease_ttl_seconds: 86_400,
      ...rootArguments(),
    };
    await createBackend('team/aws', wanted);
    const first = await readBackend('team/aws');
    expect(drift(wanted, first)).toEqual([]);
    // What it did not name it keeps as it was read, and sends it back with the next change.
    await must(204, 'PUT', 'team/aws/config/root', { ...rootArguments(), username_template: first!.username_template });
    await must(204, 'POST', 'sys/mounts/team/aws/tune', {
      description: wanted.description,
      options: null,
      default_lease_ttl: '3600s',
      max_lease_ttl: '86400s',
      force_no_cache: false,
    });
    expect(await readBackend('team/aws')).toEqual(first);
  });

  it('sees what somebody else has changed, and puts it back', async () => {
    await world.http.must(204, 'POST', 'sys/mounts/team/aws/tune', { default_lease_ttl: '10m' });
    await world.http.must(204, 'PUT', 'team/aws/config/root', { region: 'eu-central-1' });
    const wanted = { default_lease_ttl_seconds: 3600, region: 'us-east-1' };
    expect(drift(wanted, await readBackend('team/aws'))).toEqual(['default_lease_ttl_seconds', 'region']);
    await must(204, 'POST', 'sys/mounts/team/aws/tune', { default_lease_ttl: '3600s', max_lease_ttl: '86400s' });
    await must(204, 'PUT', 'team/aws/config/root', rootArguments());
    expect(drift(wanted, await readBackend('team/aws'))).toEqual([]);
  });

  const roles: [what: string, role: () => Arguments][] = [
    ['a user with a policy', () => ({ credential_type: 'iam_user', policy_document: policy })],
    [
      'a policy as people write it',
      () => ({
        credential_type: 'iam_user',
        policy_document: `{\n  "Version": "2012-10-17",\n  "Statement": {\n    "Effect": "Allow",\n    "Action": "ec2:*",\n    "Resource": "*"\n  }\n}\n`,
      }),
    ],
    [
      'a policy with variables, signs and letters of other languages',
      () => ({
        credential_type: 'iam_user',
        policy_document: policyOf({
          Sid: 'a1',
          Effect: 'Allow',
          Action: ['s3:GetObject'],
          Resource: 'arn:aws:s3:::bücher/${aws:username}/<*>&"\\"\u2028',
          Condition: { NumericLessThan: { 'aws:MultiFactorAuthAge': '3600' }, Bool: { 'aws:SecureTransport': true } },
        }),
      }),
    ],
    [
      'a user with managed policies and all that a user may have',
      () => ({
        credential_type: 'iam_user',
        policy_arns: [viewOnly, readOnly],
        iam_groups: ['b', 'a'],
        iam_tags: { team: 'a', 'cost-centre': '7' },
        permissions_boundary_arn: readOnly,
        user_path: '/lent/',
      }),
    ],
    [
      'an assumed role',
      () => ({
        credential_type: 'assumed_role',
        role_arns: [iamRoleArn],
        default_sts_ttl: 1800,
        max_sts_ttl: 7200,
        external_id: 'of-the-team',
        session_tags: { team: 'a' },
      }),
    ],
    ['a federation token', () => ({ credential_type: 'federation_token', policy_document: policy, max_sts_ttl: 3600 })],
  ];
  it.each(roles)('plans no change of %s, however often it is written', async (_what, role) => {
    const wanted = role();
    const path = 'team/aws/roles/x';
    // The provider sends spans as texts.
    const sent = Object.fromEntries(
      Object.entries(wanted).map(([name, value]) => [name, typeof value === 'number' ? String(value) : value]),
    );
    await must(204, 'PUT', path, sent);
    const first = await readRole(path);
    expect(drift(wanted, first)).toEqual([]);
    await must(204, 'PUT', path, sent);
    expect(await readRole(path)).toEqual(first);
    await must(204, 'DELETE', path);
    expect(await readRole(path)).toBeNull();
  });

  it('gives a policy back byte for byte when it has no blanks to spare, as jsonencode writes it', async () => {
    await must(204, 'PUT', 'team/aws/roles/x', { credential_type: 'iam_user', policy_document: policy });
    expect((await readRole('team/aws/roles/x'))!.policy_document).toBe(policy);
  });

  it('sends what has changed alone, and the rest stays as it was', async () => {
    const path = 'team/aws/roles/x';
    await must(204, 'PUT', path, { credential_type: 'iam_user', policy_document: policy, policy_arns: [readOnly] });
    await must(204, 'PUT', path, { credential_type: 'iam_user', user_path: '/lent/' });
    const wanted = { policy_document: policy, policy_arns: [readOnly], user_path: '/lent/' };
    expect(drift(wanted, await readRole(path))).toEqual([]);
    // An argument that is taken out is sent as null or as empty.
    await must(204, 'PUT', path, { credential_type: 'iam_user', policy_arns: null, user_path: '' });
    expect(await readRole(path)).toMatchObject({ policy_document: policy, policy_arns: [], user_path: '' });
    const refused = await call('PUT', path, { credential_type: 'iam_user', policy_document: '{' });
    expect(refused.status).toBe(400);
    expect(await readRole(path)).toMatchObject({ credential_type: 'iam_user', policy_document: policy });
  });

  it('waits until a new key has been taken five times in a row, and hands it on', async () => {
    await must(204, 'PUT', 'team/aws/roles/x', { credential_type: 'iam_user', policy_document: policy });
    const lent = (await must(200, 'GET', 'team/aws/creds/x?role_arn=')).body;
    expect(lent).toMatchObject({ renewable: true, lease_duration: 3600, data: { security_token: null } });
    expect(lent.lease_id).toMatch(/^team\/aws\/creds\/x\//);
    const keys = lent.data as unknown as LentKeys;
    const iam = new IAMClient({
      endpoint: world.simulator.url,
      region: 'us-east-1',
      maxAttempts: 1,
      credentials: { accessKeyId: keys.access_key, secretAccessKey: keys.secret_key },
    });
    let inARow = 0;
    await eventually(async () => {
      const refusal = await iam.send(new GetUserCommand({})).then(
        () => null,
        (error: Error) => error.name,
      );
      // Any other refusal would end the provider's run.
      if (refusal !== null) expect(['AccessDenied', 'InvalidClientTokenId']).toContain(refusal);
      inARow = refusal === null ? inARow + 1 : 0;
      return inARow === 5;
    });
  });

  it('has STS credentials at once, of the role and the time that it names', async () => {
    await must(204, 'PUT', 'team/aws/roles/cross', { credential_type: 'assumed_role', role_arns: [iamRoleArn] });
    const query = `role_arn=${encodeURIComponent(iamRoleArn)}&ttl=30m`;
    const lent = (await must(200, 'GET', `team/aws/sts/cross?${query}`)).body;
    expect([1799, 1800]).toContain(lent.lease_duration);
    expect(lent.renewable).toBe(false);
    expect(await world.whoIs(lent.data as unknown as LentKeys)).toMatch(/:assumed-role\/RoleNameToAssume\//);
  });

  it('loses what it was lent when its token ends, and nothing that it has configured', async () => {
    const lent = (await must(200, 'GET', 'team/aws/creds/x?role_arn=')).body.data as unknown as LentKeys;
    await eventually(async () => (await world.whoIs(lent)).startsWith('arn:'));
    const before = await readBackend('team/aws');
    await world.http.must(204, 'PUT', 'auth/token/revoke', { token });
    await eventually(() => world.lentUsers().length === 0);
    token = await configure();
    expect(await readBackend('team/aws')).toEqual(before);
    expect(drift({ policy_document: policy }, await readRole('team/aws/roles/x'))).toEqual([]);
  });

  it('notices what is gone, and destroys any number of times', async () => {
    await call('DELETE', 'team/aws/roles/x');
    expect(await readRole('team/aws/roles/x')).toBeNull();
    for (const path of ['team/aws/roles/x', 'team/aws/roles/cross', 'sys/mounts/team/aws', 'sys/mounts/team/aws']) {
      // With a word about what lives on, or without one.
      expect([200, 204]).toContain((await call('DELETE', path)).status);
    }
    expect(await readBackend('team/aws')).toBeNull();
    expect(world.lentUsers()).toEqual([]);
  });
});
