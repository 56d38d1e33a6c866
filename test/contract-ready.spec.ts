import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { IssueLease } from '../apps/issuer/src/issue-lease.js';
import { seedTrustPolicy } from '../apps/simulator/src/index.js';
import { commandFor, issuerBeside } from './support/beside.js';
import { comesToRest, keysInAws, lend, type Lent, lentBy, policyDocument, writeRole } from './support/lease-life.js';
import { eventually, World } from './support/world.js';

const never = 3_600_000;
const allowAll = JSON.stringify({ Version: '2012-10-17', Statement: { Effect: 'Allow', Action: '*', Resource: '*' } });

describe('a credential that is to be ready', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({
      weather: {},
      rootPolicy: () => allowAll,
      timing: { readyEveryMs: 25, readyTimes: 4 },
    });
    await world.mount();
    await writeRole(world, 'deploy');
    await writeRole(world, 'steady', { ready: true });
    const { arn } = { arn: world.simulator.account().arn('role', '/', 'assumed') };
    world.simulator
      .account()
      .createRole('assumed', seedTrustPolicy(world.simulator.account().arn('user', '/', 'leasehold-root')));
    await writeRole(world, 'assumed', { credential_type: 'assumed_role', role_arns: arn, policy_document: '' });
  });
  afterAll(() => world.close());
  afterEach(async () => {
    world.simulator.faults.clear();
    await world.http.must(204, 'PUT', 'sys/revoke-prefix/aws');
    await comesToRest(world);
  });

  /** AWS learns of a key at one server after the other. */
  const lags = (...propagationMs: number[]) => world.simulator.faults.set({ propagationMs });
  /** What AWS's servers, asked in turn, say to the holder. */
  const answersTo = async ({ keys }: Lent) => {
    const answers: string[] = [];
    for (let turn = 0; turn < 6; turn++) answers.push(await world.whoIs(keys));
    return answers;
  };
  const works = expect.stringContaining(':user/vault-root-');
  /** The keys of living users that AWS was asked about and did not know. */
  const probes = () => {
    const asked = world.simulator.calls.list({ action: 'GetCallerIdentity', outcome: 'InvalidClientTokenId' });
    return new Set(asked.map((call) => call.accessKeyId).filter((id) => keysInAws(world).includes(id!)));
  };

  it('is needed: without it, some of the servers of AWS refuse the key', async () => {
    lags(0, 0, never);
    const lent = await lend(world, 'deploy');
    expect(new Set(await answersTo(lent))).toEqual(new Set([works, 'InvalidClientTokenId']));
  });

  it.each([
    ['the query says so', 'GET', 'aws/creds/deploy?ready=true', undefined],
    ['the body says so', 'PUT', 'aws/creds/deploy', { ready: true }],
    ['the role says so', 'GET', 'aws/creds/steady', undefined],
  ])('works at every server of AWS where %s', async (_, method, path, body) => {
    lags(0, 150, 400);
    const answer = await world.http.must(200, method, path, body);
    expect(await answersTo(lentBy(answer))).toEqual(Array.from({ length: 6 }, () => works));
    expect(answer.body.warnings).toBeNull();
    expect(answer.body.lease_duration).toBe(3600);
  });

  it('is not waited for where the caller says no to what the role says', async () => {
    lags(never);
    const answer = await world.http.must(200, 'GET', 'aws/creds/steady?ready=false');
    expect([answer.body.warnings, probes().size]).toEqual([null, 0]);
  });

  it('is given with a warning where AWS takes longer than the caller waits, and given again with the same one', async () => {
    lags(0, never);
    const askedAt = Date.now();
    const headers = { 'Idempotency-Key': randomUUID() };
    const first = await world.http.must(200, 'GET', 'aws/creds/deploy?ready=true', undefined, { headers });
    const again = await world.http.must(200, 'GET', 'aws/creds/deploy?ready=true', undefined, { headers });
    expect(first.body.warnings).toEqual([
      expect.stringMatching(
        /^AWS does not accept this key everywhere yet: expect it to work from \S+Z on\. .*InvalidClientTokenId/,
      ),
    ]);
    const [instant = ''] = /\S+Z/.exec(first.body.warnings![0]!) ?? [];
    expect(new Date(instant).getTime()).toBeGreaterThan(askedAt + 15_000);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect([again.body.data, again.body.warnings]).toEqual([first.body.data, first.body.warnings]);
    await comesToRest(world, [lentBy(first)]);
    const other = await world.http.call('GET', 'aws/creds/deploy', undefined, { headers });
    expect(other.status).toBe(422);
  });

  it('is what a credential of STS is anyway, so nobody asks', async () => {
    world.simulator.calls.clear();
    const answer = await world.http.must(200, 'GET', 'aws/sts/assumed?ready=true');
    expect(answer.body.warnings).toBeNull();
    const root = world.root.accessKeyId;
    expect(world.simulator.calls.list().every((call) => call.accessKeyId === root)).toBe(true);
  });

  it('is gone from AWS when its caller hangs up while it waits', async () => {
    lags(never);
    const caller = new AbortController();
    const asked = world.http.call('GET', 'aws/creds/deploy?ready=true', undefined, { signal: caller.signal });
    const outcome = asked.then(
      () => 'answered',
      () => 'gone',
    );
    await eventually(() => probes().size === 1);
    caller.abort();
    expect(await outcome).toBe('gone');
    await comesToRest(world);
  });

  it('is gone from AWS when its issuer is late', async () => {
    lags(never);
    const asked = world.http.call('GET', 'aws/creds/deploy?ready=true');
    await eventually(() => probes().size === 1);
    await world.database.query(`update leases set due_at = now() where state = 'issuing'`);
    expect((await asked).status).toBe(503);
    await comesToRest(world);
    expect((await world.leases()).at(-1)).toMatchObject({ state: 'ended', accepted_at: null });
  });

  it('holds up nobody: beyond half of what an issuer is at work on at once, nobody waits', async () => {
    lags(never);
    const issuer = await issuerBeside(world, { atOnce: 4 });
    try {
      const issue = () => issuer.get(IssueLease).execute(commandFor(world, 'steady'));
      const answered: string[] = [];
      const patient = [issue(), issue()].map(async (asked) => answered.push((await asked).leaseId));
      await eventually(() => probes().size === 2);
      const { ready, usableFrom } = await issue();
      expect([answered, ready, typeof usableFrom]).toEqual([[], undefined, 'string']);
      await Promise.all(patient);
    } finally {
      await issuer.close();
    }
  });

  it('is counted, with the time that it took', async () => {
    const count = async (outcome: string) => {
      const { text } = await world.http.must(200, 'GET', 'sys/metrics?format=prometheus');
      const line = new RegExp(`^leasehold_key_usable_seconds_count\\{.*outcome="${outcome}".*\\} (\\d+)$`, 'm');
      return Number(line.exec(text)?.[1] ?? 0);
    };
    const before = await count('accepted');
    await lend(world, 'steady');
    expect(await count('accepted')).toBe(before + 1);
    expect(await count('unwanted')).toBeGreaterThan(0);
  });

  it('is a parameter that policies see', async () => {
    const rules = (parameters: object) => ({
      policy: JSON.stringify({ path: { 'aws/creds/deploy': { capabilities: ['read', 'update'], ...parameters } } }),
    });
    await world.http.must(204, 'PUT', 'sys/policies/acl/quick', rules({ denied_parameters: { ready: [] } }));
    await world.http.must(204, 'PUT', 'sys/policies/acl/patient', rules({ required_parameters: ['ready'] }));
    const tokenOf = async (policy: string) => {
      const { body } = await world.http.must(200, 'POST', 'auth/token/create', { policies: [policy] });
      return { token: (body.auth as { client_token: string }).client_token };
    };
    const [quick, patient] = [await tokenOf('quick'), await tokenOf('patient')];
    const statusOf = async (path: string, as: { token: string }) =>
      (await world.http.call('GET', path, undefined, as)).status;
    expect(await statusOf('aws/creds/deploy', quick)).toBe(200);
    expect(await statusOf('aws/creds/deploy?ready=true', quick)).toBe(403);
    expect(await statusOf('aws/creds/deploy', patient)).toBe(403);
    expect(await statusOf('aws/creds/deploy?ready=false', patient)).toBe(200);
    for (const { token } of [quick, patient]) await world.http.must(204, 'POST', 'auth/token/revoke', { token });
  });

  it('is shown of a role only where it was set', async () => {
    const read = async () => (await world.http.must(200, 'GET', 'aws/roles/shown')).body.data;
    await writeRole(world, 'shown', { ready: 'true' });
    expect((await read()).ready).toBe(true);
    await world.http.must(204, 'PUT', 'aws/roles/shown', { policy: policyDocument });
    expect((await read()).ready).toBe(true);
    await writeRole(world, 'shown', { ready: false });
    expect(await read()).not.toHaveProperty('ready');
  });
});
