import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { IAMClient, ListGroupPoliciesCommand, ListUsersCommand } from '@aws-sdk/client-iam';
import { oneTimeCode, seedTrustPolicy } from '../apps/simulator/src/index.js';
import { AuditFolder, recordsIn } from './support/audit-file.js';
import { everything } from './support/everything.js';
import { comesToRest, policyDocument, rowOf } from './support/lease-life.js';
import { type LentKeys, World } from './support/world.js';

const everythingAllowed = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: '*', Resource: '*' },
});
const serialNumber = 'arn:aws:iam::000000000000:mfa/root';
const seed = Buffer.from('12345678901234567890');
const rootArn = 'arn:aws:iam::000000000000:user/leasehold-root';

describe('what roles lend', () => {
  const audit = new AuditFolder();
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {}, rootPolicy: () => everythingAllowed, auditFile: audit.file('log') });
    await world.mount();
    const account = world.simulator.account();
    const { id: userId } = account.existingUser('leasehold-root');
    account.saveMfaDevice({ id: serialNumber, createdAt: 0, enabledAt: 0, userId, seed: seed.toString('base64') });
    account.createRole(
      'one',
      seedTrustPolicy(rootArn).replace('"sts:AssumeRole"', '["sts:AssumeRole","sts:TagSession"]'),
    );
    await write('user', { credential_type: 'iam_user', policy_document: policyDocument });
    await write('session', { credential_type: 'session_token' });
    await write('session-mfa', { credential_type: 'session_token', mfa_serial_number: serialNumber });
    await write('federated', { credential_type: 'federation_token', policy_document: policyDocument });
  });
  afterAll(async () => {
    await world.close();
    audit.remove();
  });
  afterEach(async () => {
    world.simulator.faults.clear();
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    await comesToRest(world);
  });

  const call = (method: string, path: string, body?: object, token?: string) =>
    world.http.call(method, path, body, { token });
  const write = async (name: string, body: object) => {
    const { status } = await call('PUT', `aws/roles/${name}`, body);
    expect([200, 204]).toContain(status);
  };
  const lend = async (path: string, body?: object, token?: string) => {
    const answer = await call(body ? 'PUT' : 'GET', `aws/${path}`, body, token);
    expect([path, answer.status, answer.body.errors]).toEqual([path, 200, undefined]);
    return answer.body;
  };
  const refusal = async (method: string, path: string, body?: object, token?: string) => {
    const before = await everything(world);
    const { status, body: answer } = await call(method, path, body, token);
    expect(await everything(world)).toEqual(before);
    return [status, answer.errors];
  };
  /** IAM as a holder of these keys sees it. */
  const iamOf = (data: Record<string, unknown>) => {
    const keys = data as unknown as LentKeys;
    return new IAMClient({
      endpoint: world.simulator.url,
      region: 'us-east-1',
      maxAttempts: 1,
      credentials: {
        accessKeyId: keys.access_key,
        secretAccessKey: keys.secret_key,
        sessionToken: keys.security_token ?? undefined,
      },
    });
  };
  const shown = async (path: string) =>
    (await world.http.must(200, 'PUT', 'sys/leases/lookup', { lease_id: path })).body.data;

  describe('a session token', () => {
    it.each(['creds', 'sts'])('is given by %s, and is a session of the root identity', async (door) => {
      const lent = await lend(`${door}/session`);
      expect(Object.keys(lent.data).sort()).toEqual([
        'access_key',
        'secret_key',
        'security_token',
        'session_token',
        'ttl',
      ]);
      expect(lent).toMatchObject({ renewable: false, warnings: null });
      expect([3_599, 3_600]).toContain(lent.lease_duration);
      expect(lent.data.security_token).toBe(lent.data.session_token);
      expect(lent.data.access_key).toMatch(/^ASIA/);
      expect(await world.whoIs(lent.data as unknown as LentKeys)).toBe(rootArn);
      await expect(iamOf(lent.data).send(new ListUsersCommand({}))).rejects.toMatchObject({
        name: 'InvalidClientTokenId',
      });
      expect((await call('PUT', 'sys/leases/renew', { lease_id: lent.lease_id })).body.errors).toEqual([
        'lease is not renewable',
      ]);
    });

    it('reaches IAM with the code of an MFA device', async () => {
      const lent = await lend('sts/session-mfa', { mfa_code: oneTimeCode(seed, Date.now()), ttl: '15m' });
      expect([899, 900]).toContain(lent.lease_duration);
      await expect(iamOf(lent.data).send(new ListUsersCommand({}))).resolves.toBeDefined();
    });

    it.each([
      ['session-mfa', {}, 'did not supply mfa_code, which a role with an mfa_serial_number asks for'],
      ['session-mfa', { mfa_code: '12' }, 'mfa_code must be the six digits that the MFA device shows'],
      ['session', { mfa_code: '123456' }, 'mfa_code is of no use here: the role has no mfa_serial_number'],
      [
        'session',
        { ttl: '10m' },
        'Error generating STS keys: InvalidParameter: 1 validation error(s) found.\n- minimum field value of 900, GetSessionTokenInput.DurationSeconds.\n',
      ],
    ])('is not asked for where AWS would refuse it: %s %j', async (role, body, text) => {
      expect(await refusal('PUT', `aws/creds/${role}`, body)).toEqual([400, [text]]);
    });

    it("is refused in AWS's own words for a code that is not the one of now", async () => {
      const answer = await call('PUT', 'aws/creds/session-mfa', {
        mfa_code: oneTimeCode(seed, Date.now() - 600_000),
      });
      expect(answer.status).toBe(400);
      expect(answer.body.errors[0]).toMatch(
        /^Error generating STS keys: AccessDenied: MultiFactorAuthentication failed with invalid MFA one time pass code/,
      );
    });

    it('keeps to the max of its role, and says so', async () => {
      await write('session-short', { credential_type: 'session_token', max_sts_ttl: '20m' });
      const lent = await lend('creds/session-short');
      expect([1_199, 1_200]).toContain(lent.lease_duration);
      expect(lent.warnings).toEqual([
        'TTL of "1h" exceeded the effective max_ttl of "20m"; TTL value is capped accordingly, since the role has that max_sts_ttl',
      ]);
    });
  });

  it('ends what STS gives with the batch token that asked, and says so', async () => {
    await world.http.must(204, 'PUT', 'sys/policies/acl/batch', { policy: 'path "aws/*" { capabilities = ["read"] }' });
    const made = await world.http.must(200, 'POST', 'auth/token/create', {
      type: 'batch',
      ttl: '30m',
      policies: ['batch'],
    });
    const { client_token: token } = made.body.auth as { client_token: string };
    for (const role of ['session', 'federated', 'user']) {
      const lent = await lend(`creds/${role}`, undefined, token);
      expect(lent.lease_duration).toBeLessThanOrEqual(1_800);
      expect(lent.warnings).toEqual([
        expect.stringMatching(
          /^TTL of "1h" exceeded the effective max_ttl of "(30m|29m\d+s)"; TTL value is capped accordingly, since the token ends then$/,
        ),
      ]);
    }
  });

  describe("the TTL of a user's keys", () => {
    it("is the role's own, and at a renewal the role's of then", async () => {
      await write('timed', {
        credential_type: 'iam_user',
        policy_document: policyDocument,
        default_user_ttl: '10m',
        max_user_ttl: '30m',
      });
      const lent = await lend('creds/timed');
      expect(lent).toMatchObject({ lease_duration: 600, warnings: null });
      const renew = async (increment: number) => {
        const { body } = await world.http.must(200, 'PUT', 'sys/leases/renew', { lease_id: lent.lease_id, increment });
        return { seconds: body.lease_duration, warnings: body.warnings?.length ?? 0 };
      };
      expect(await renew(0)).toEqual({ seconds: 600, warnings: 0 });
      const cut = await renew(7_200);
      expect(cut.warnings).toBe(1);
      expect(cut.seconds).toBeGreaterThan(1_700);
      expect(cut.seconds).toBeLessThanOrEqual(1_800);

      await write('timed', { default_user_ttl: '5m', max_user_ttl: 0 });
      expect(await renew(0)).toEqual({ seconds: 300, warnings: 0 });
      expect(await renew(7_200)).toEqual({ seconds: 7_200, warnings: 0 });

      await call('DELETE', 'aws/roles/timed');
      await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '7m', lease_max: '1h' });
      expect(await renew(0)).toEqual({ seconds: 420, warnings: 0 });
      await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1h', lease_max: '24h' });
    });

    it('is cut to the longest life that role and mount give, and says so', async () => {
      await write('long', { credential_type: 'iam_user', default_user_ttl: '900h' });
      expect((await lend('creds/long')).warnings).toEqual([
        'TTL of "900h" exceeded the effective max_ttl of "24h"; TTL value is capped accordingly',
      ]);
      await write('long', { max_user_ttl: '900h' });
      expect((await lend('creds/long')).warnings).toEqual([
        'TTL of "900h" exceeded the effective max_ttl of "768h"; TTL value is capped accordingly',
      ]);
    });
  });

  describe('templated from who asks', () => {
    const ofTeam = JSON.stringify({
      Version: '2012-10-17',
      Statement: {
        Effect: 'Allow',
        Action: 'iam:ListGroupPolicies',
        Resource: 'arn:aws:iam::000000000000:group/{{ .Metadata.team }}',
      },
    });

    beforeAll(async () => {
      for (const team of ['red', 'blue']) world.simulator.account().createGroup(team);
      await write('team', {
        credential_type: 'iam_user',
        policy_document: ofTeam,
        iam_tags: { owner: '{{ .Metadata.role_name }}-{{ .DisplayName }}' },
      });
      await write('tagged', {
        credential_type: 'assumed_role',
        role_arns: 'arn:aws:iam::000000000000:role/one',
        session_tags: { team: '{{ .Metadata.team }}' },
      });
      await world.http.must(204, 'PUT', 'sys/policies/acl/lend', {
        policy: 'path "aws/creds/*" { capabilities = ["read"] }',
      });
      await world.http.must(204, 'POST', 'auth/approle/role/ci', { token_policies: 'lend' });
    });

    /** The token of a service whose secret id has this metadata. */
    async function logIn(metadata: Record<string, string>): Promise<string> {
      const { role_id } = (await world.http.must(200, 'GET', 'auth/approle/role/ci/role-id')).body.data;
      const made = await world.http.must(200, 'POST', 'auth/approle/role/ci/secret-id', {
        metadata: JSON.stringify(metadata),
      });
      const ids = { role_id, secret_id: made.body.data.secret_id };
      const { body } = await world.http.must(200, 'POST', 'auth/approle/login', ids, { token: null });
      return (body.auth as { client_token: string }).client_token;
    }

    it('lets each caller do its own, and no other caller’s', async () => {
      for (const [team, other] of [
        ['red', 'blue'],
        ['blue', 'red'],
      ] as const) {
        const lent = await lend('creds/team', undefined, await logIn({ team }));
        const look = (GroupName: string) => iamOf(lent.data).send(new ListGroupPoliciesCommand({ GroupName }));
        await expect(look(team)).resolves.toMatchObject({ PolicyNames: [] });
        await expect(look(other)).rejects.toMatchObject({ name: 'AccessDenied' });
        const arn = await world.whoIs(lent.data as unknown as LentKeys);
        const user = world.simulator.account().existingUser(arn.split('/').at(-1)!);
        expect(user.tags).toEqual([{ key: 'owner', value: 'ci-approle' }]);
        expect(JSON.stringify(await rowOf(world, lent.lease_id))).not.toContain('{{');
      }
    });

    it.each([
      ['has none', {}],
      ['has a wildcard', { team: '*' }],
      ['has another part of an ARN', { team: 'red/../blue' }],
      ['has a policy variable', { team: '${aws:username}' }],
      ['has a quote', { team: 'a","Action":"*' }],
    ])('makes nothing for a caller that %s', async (_, metadata) => {
      const token = await logIn(metadata as Record<string, string>);
      for (const role of ['team', 'tagged']) {
        const [status, errors] = await refusal('GET', `aws/creds/${role}`, undefined, token);
        expect(status).toBe(400);
        expect((errors as string[])[0]).toMatch(
          /^The role is templated with the metadata "team" of its caller's token, /,
        );
        expect((errors as string[])[0]).not.toContain(Object.values(metadata)[0] ?? 'nothing');
      }
    });

    it('is not for who makes a token to choose, where a policy says so', async () => {
      await world.http.must(204, 'PUT', 'sys/policies/acl/makes', {
        policy: `path "auth/token/create*" { capabilities = ["update"], denied_parameters = { meta = [], display_name = [] } }
          path "aws/creds/*" { capabilities = ["read"] }`,
      });
      const make = (policies: string[], body: object, token?: string) =>
        call('POST', 'auth/token/create', { policies, ...body }, token);
      const { client_token: maker } = (await make(['makes'], {})).body.auth as { client_token: string };
      expect((await make(['makes'], { meta: { team: 'red' } }, maker)).status).toBe(403);
      expect((await make(['makes'], { display_name: 'red' }, maker)).status).toBe(403);
      const { client_token: child } = (await make(['makes'], {}, maker)).body.auth as { client_token: string };
      expect((await refusal('GET', 'aws/creds/team', undefined, child))[0]).toBe(400);
    });

    it('tags the session of an assumed role', async () => {
      const lent = await lend('creds/tagged', undefined, await logIn({ team: 'red' }));
      expect(await world.whoIs(lent.data as unknown as LentKeys)).toMatch(/:assumed-role\/one\/vault-approle-tagged-/);
    });
  });

  describe('a trial', () => {
    const trial = (role: string, body: object = {}, token?: string) =>
      call('POST', `aws/roles/${role}/trial`, body, token);

    it('makes what a caller would get, shows it to nobody and takes it back', async () => {
      const made = world.simulator.calls.count({ action: 'CreateAccessKey' });
      const answer = await trial('user');
      expect([answer.status, answer.body.data, answer.body.warnings, answer.body.lease_id]).toEqual([
        200,
        { credential_type: 'iam_user', account_id: '000000000000', ttl: 3_600, taken_back: true },
        null,
        '',
      ]);
      expect(world.simulator.calls.count({ action: 'CreateAccessKey' })).toBe(made + 1);
      expect(world.lentUsers()).toEqual([]);
      await comesToRest(world);
      const [last] = (await world.leases()).slice(-1);
      expect(last).toMatchObject({ state: 'ended', end_reason: 'not_received', accepted_at: null });
    });

    it.each([
      ['federated', {}, { credential_type: 'federation_token', taken_back: false }],
      ['session', {}, { credential_type: 'session_token', taken_back: false }],
      ['old', { path: 'sts' }, { credential_type: 'federation_token', taken_back: false }],
      ['old', { path: 'creds' }, { credential_type: 'iam_user', taken_back: true }],
    ])('of %s %j is of the type that a caller gets', async (role, body, data) => {
      await write('old', { policy: policyDocument });
      const answer = await trial(role, body);
      expect([answer.status, answer.body.data]).toEqual([200, expect.objectContaining(data)]);
      await comesToRest(world);
    });

    it('says what AWS said, and leaves nothing', async () => {
      world.simulator.faults.fail({
        action: 'PutUserPolicy',
        code: 'MalformedPolicyDocument',
        status: 400,
        message: 'as AWS says it',
      });
      const answer = await trial('user');
      expect(answer.status).toBe(400);
      expect(answer.body.errors[0]).toMatch(/^Error putting user policy: MalformedPolicyDocument: as AWS says it\n/);
      world.simulator.faults.clear();
      await comesToRest(world);
    });

    it('is refused when AWS does not let go of what it gave', async () => {
      world.simulator.faults.fail({
        action: 'DeleteUser',
        code: 'AccessDenied',
        status: 403,
        message: 'no such right',
      });
      const answer = await trial('user');
      expect(answer.status).toBe(400);
      expect(answer.body.errors[0]).toMatch(
        /^AWS gave the credential and does not let it be taken back, which is tried again by itself: .*no such right/,
      );
      world.simulator.faults.clear();
      await comesToRest(world);
    });

    it('leaves nothing when its caller hangs up half way', async () => {
      const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
      const leaving = new AbortController();
      const asked = world.http.call('POST', 'aws/roles/user/trial', {}, { signal: leaving.signal });
      await hold.reached;
      leaving.abort();
      await expect(asked).rejects.toThrow();
      hold.release();
      await comesToRest(world);
      expect(world.lentUsers()).toEqual([]);
    });

    it('is for who may try it, within the limits of who asks', async () => {
      await world.http.must(204, 'PUT', 'sys/policies/acl/trial', {
        policy: 'path "aws/roles/user/trial" { capabilities = ["update"] }',
      });
      const made = async (body: object) =>
        ((await world.http.must(200, 'POST', 'auth/token/create', body)).body.auth as { client_token: string })
          .client_token;
      const may = await made({ policies: ['trial'] });
      const mayNot = await made({ policies: ['lend', 'batch'] });
      expect((await trial('user', {}, may)).status).toBe(200);
      expect((await trial('session', {}, may)).status).toBe(403);
      expect((await call('GET', 'aws/creds/user', undefined, may)).status).toBe(403);
      expect((await trial('user', {}, mayNot)).status).toBe(403);
      await world.http.must(204, 'PUT', 'sys/freeze/role/aws/user', { reason: 'an incident' });
      expect((await trial('user', {}, may)).status).toBe(429);
      await world.http.must(204, 'DELETE', 'sys/freeze/role/aws/user');
    });

    it.each([
      ['nobody', {}, 'Role "nobody" not found'],
      ['user', { path: 'elsewhere' }, 'path must be creds or sts: by which of the two the role is to be tried'],
    ])('of %s %j asks AWS for nothing', async (role, body, text) => {
      expect(await refusal('POST', `aws/roles/${role}/trial`, body)).toEqual([400, [text]]);
    });
  });

  it('deletes a role with a word about the leases that live on', async () => {
    await write('leaving', { credential_type: 'iam_user', policy_document: policyDocument });
    await world.http.must(204, 'DELETE', 'aws/roles/leaving');
    await write('leaving', { credential_type: 'iam_user', policy_document: policyDocument });
    const kept = await lend('creds/leaving');
    const told = async () => (await world.http.must(200, 'DELETE', 'aws/roles/leaving')).body.warnings;
    expect(await told()).toEqual([
      'The role is deleted, and 1 lease of it lives on until revoked or expired: see sys/leases/revoke-prefix/aws/creds/leaving and aws/sts/leaving.',
    ]);
    await world.http.must(204, 'DELETE', 'aws/roles/leaving');
    expect(await shown(kept.lease_id)).toMatchObject({ renewable: true });
    await write('leaving', { credential_type: 'session_token' });
    await lend('sts/leaving');
    expect((await told())?.[0]).toContain('2 leases of it live on');
  });

  it('records a trial for who audits, without the code that it brought', async () => {
    const mfa_code = oneTimeCode(seed, Date.now());
    const { body } = await world.http.must(200, 'POST', 'aws/roles/session-mfa/trial', { mfa_code });
    const records = recordsIn(audit.file('log')).filter(({ request }) => request.id === body.request_id);
    expect(records.map(({ type, request }) => [type, request.path, request.operation])).toEqual([
      ['request', 'aws/roles/session-mfa/trial', 'update'],
      ['response', 'aws/roles/session-mfa/trial', 'update'],
    ]);
    expect(records[0]!.request.data).toEqual({ mfa_code: expect.stringMatching(/^hmac-sha256:/) });
    expect(JSON.stringify(records)).not.toContain(mfa_code);
  });
});
