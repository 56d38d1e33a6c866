import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { OverBudget } from '#libs/contracts';
import { IssueLease } from '../apps/issuer/src/issue-lease.js';
import { seedRootPolicy } from '../apps/simulator/src/index.js';
import { commandFor, issuerBeside } from './support/beside.js';
import type { HttpAnswer } from './support/http-client.js';
import {
  comesToRest,
  lend,
  type Lent,
  lentBy,
  policyDocument,
  rowOf,
  someoneWaits,
  whileLocked,
  writeRole,
} from './support/lease-life.js';
import { eventually, shape, World } from './support/world.js';

const tell = (line: string) => process.stderr.write(`    ${line}\n`);

/** Room for two hundred requests at once on a busy machine. */
const patient = { callerWaitMs: 60_000, handOverMs: 10_000 };

/** The documented root policy, and these actions on everything. */
const seedAnd =
  (...actions: string[]) =>
  (accountId: string): string => {
    const { Version, Statement } = JSON.parse(seedRootPolicy(accountId)) as { Version: string; Statement: object[] };
    return JSON.stringify({
      Version,
      Statement: [...Statement, { Effect: 'Allow', Action: ['ec2:*', ...actions], Resource: '*' }],
    });
  };

/** How many were answered how. */
function tally(answers: HttpAnswer[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

const atOnce = (count: number, ask: () => Promise<HttpAnswer>) => Promise.all(Array.from({ length: count }, ask));

describe('limits that an operator sets', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {}, timing: patient, rootPolicy: seedAnd('sts:GetFederationToken') });
    await world.mount();
    await writeRole(world, 'deploy');
    await lend(world, 'deploy'); // who the root credentials are, and who else is in their account, is known from now on
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
  }, 60_000);
  afterAll(() => world.close());
  afterEach(async () => {
    world.simulator.faults.clear();
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
  });

  const ask = (path: string) => world.http.call('GET', `aws/${path}`);
  const calls = (action: string) => world.simulator.calls.count({ action });
  const revoke = (leaseId: string) => world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: leaseId });

  async function refusal(path: string): Promise<{ error?: string; retryAfter: string | null; calls: number }> {
    const before = world.simulator.calls.count();
    const { headers, body } = await world.http.must(429, 'GET', `aws/${path}`);
    return {
      error: body.errors[0],
      retryAfter: headers.get('retry-after'),
      calls: world.simulator.calls.count() - before,
    };
  }

  describe('on the leases of a role', () => {
    it('are exact: of 200 requests at once 10 succeed, and AWS hears of no other', async () => {
      await writeRole(world, 'ten', { max_leases: 10 });
      const asked = calls('CreateUser');
      const answers = await atOnce(200, () => ask('creds/ten'));
      const created = calls('CreateUser') - asked;
      tell(`200 requests for a role of 10 leases: ${JSON.stringify(tally(answers))}, ${created} CreateUser`);
      expect({ ...tally(answers), created }).toEqual({ 200: 10, 429: 190, created: 10 });
      await comesToRest(world, answers.filter(({ status }) => status === 200).map(lentBy));
      expect(await refusal('creds/ten')).toEqual({
        error:
          'Role "ten" of "aws/" has as many leases as it may have at once (max_leases 10); revoke one that is not needed, ' +
          'or try again when one has ended.',
        retryAfter: '10',
        calls: 0,
      });
      await lend(world, 'deploy'); // another role has its own

      await revoke(answers.find(({ status }) => status === 200)!.body.lease_id);
      await lend(world, 'ten');
      await world.http.must(429, 'GET', 'aws/creds/ten');
      await writeRole(world, 'ten', { max_leases: 0 });
      await lend(world, 'ten');
    }, 90_000);

    it('count what AWS does not let go', async () => {
      await writeRole(world, 'stuck', { max_leases: 1 });
      const { leaseId } = await lend(world, 'stuck');
      world.simulator.faults.fail({ action: 'DeleteUser', code: 'AccessDenied', status: 403 });
      await world.http.must(400, 'PUT', 'sys/leases/revoke', { lease_id: leaseId });
      await eventually(async () => (await rowOf(world, leaseId)).state === 'irrevocable');
      await world.http.must(429, 'GET', 'aws/creds/stuck');
      world.simulator.faults.clear();
      await revoke(leaseId);
      await lend(world, 'stuck');
    });

    it('hold for credentials of STS: for who is refused none is fetched, and none of those fetched at once is too many', async () => {
      const role = { credential_type: 'federation_token', policy_document: policyDocument, max_leases: 2 };
      await world.http.must(204, 'PUT', 'aws/roles/session', role);
      const holds = [1, 2, 3].map(() => world.simulator.faults.hold('GetFederationToken', 'after'));
      const asked = atOnce(3, () => ask('sts/session'));
      await Promise.all(holds.map(({ reached }) => reached));
      for (const hold of holds) hold.release();
      const answers = await asked;
      expect(tally(answers)).toEqual({ 200: 2, 429: 1 });
      expect(await refusal('sts/session')).toMatchObject({ retryAfter: '10', calls: 0 });
      await revoke(answers.find(({ status }) => status === 200)!.body.lease_id);
      await world.http.must(200, 'GET', 'aws/sts/session');
    });

    it('hold for a command that is delivered again: its second user counts beside the first', async () => {
      await writeRole(world, 'twice', { max_leases: 2 });
      const issuer = await issuerBeside(world);
      try {
        const issue = (command: ReturnType<typeof commandFor>) => issuer.get(IssueLease).execute(command);
        const making = world.simulator.faults.hold('CreateUser', 'after', { times: 2 });
        const removing = world.simulator.faults.hold('DeleteUser', 'before', { times: 9 });
        // Short: the first may find its user gone and wait for it to appear.
        const command = commandFor(world, 'twice', { waitMs: 4_000 });
        const first = issue(command).catch((error: unknown) => error);
        await making.reached;
        const second = issue(command).catch((error: unknown) => error);
        await eventually(async () => {
          const states = (await world.leases())
            .filter((row) => row.command_id === command.id)
            .map(({ state }) => state);
          return states.join() === 'revoking,issuing';
        });
        await expect(issue(command)).rejects.toThrow(OverBudget);
        await expect(issue(commandFor(world, 'twice'))).rejects.toThrow(OverBudget);
        removing.release();
        making.release();
        await Promise.all([first, second]);
      } finally {
        await issuer.close();
      }
      await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
      await comesToRest(world);
    });

    it('hold for a command that is delivered again: it waits for who opens one, and needs a place in its account', async () => {
      await writeRole(world, 'again', { max_leases: 9 });
      const issuer = await issuerBeside(world);
      try {
        const command = commandFor(world, 'again', { waitMs: 12_000 });
        const issue = () =>
          issuer
            .get(IssueLease)
            .execute(command)
            .catch((error: unknown) => error);
        const making = world.simulator.faults.hold('CreateUser', 'after', { times: 3 });
        // Who is superseded keeps its place until then.
        const removing = world.simulator.faults.hold('DeleteUser', 'before', { times: 9 });
        const first = issue();
        await making.reached;
        const second = await whileLocked(
          world,
          `select 1 from roles where name = 'again' for no key update`,
          async () => {
            const waiting = { outcome: issue() };
            await someoneWaits(world);
            return waiting;
          },
        );
        const attempts = async () => (await world.leases()).filter((row) => row.command_id === command.id).length;
        await eventually(async () => (await attempts()) === 2);
        await world.database.query(`update aws_accounts set quota = users + foreign_users`);
        expect(await issue()).toMatchObject({ code: 'over_budget', limit: 'users' });
        expect(await attempts()).toBe(2);
        removing.release();
        making.release();
        await Promise.all([first, second.outcome]);
      } finally {
        await world.database.query(`update aws_accounts set quota = null`);
        await issuer.close();
      }
      await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
      await comesToRest(world);
    });

    it('cost roles and tokens that have none neither a lock nor a wait', async () => {
      const sql = 'select 1 from roles, tokens for no key update';
      await whileLocked(world, sql, () => lend(world, 'deploy'));
    });

    it('are refused when they are negative, shown only where they are set, and outlive a write of 0.6 clients', async () => {
      await writeRole(world, 'shown');
      const read = async () => (await world.http.must(200, 'GET', 'aws/roles/shown')).body.data;
      expect(await read()).not.toHaveProperty('max_leases');
      const { body } = await world.http.must(400, 'PUT', 'aws/roles/shown', { max_leases: -1 });
      expect(body.errors).toEqual(['max_leases must be a number from 0, which means no limit, to 2147483647']);
      await writeRole(world, 'shown', { max_leases: '7' });
      expect(await read()).toMatchObject({ max_leases: 7 });
      await world.http.must(204, 'PUT', 'aws/roles/shown', { policy: policyDocument });
      expect(await read()).toMatchObject({ max_leases: 7, policy: policyDocument });
      await world.http.must(204, 'PUT', 'aws/roles/shown', { max_leases: 0 });
      expect(await read()).not.toHaveProperty('max_leases');
    });
  });

  it('on the leases of a token are exact, whatever the roles', async () => {
    await world.database.query(`update tokens set max_leases = 3`);
    try {
      await writeRole(world, 'other', { max_leases: 2 });
      const asked = calls('CreateUser');
      const answers = await Promise.all([
        atOnce(20, () => ask('creds/deploy')),
        atOnce(20, () => ask('creds/other')),
      ]).then((both) => both.flat());
      expect({ ...tally(answers), created: calls('CreateUser') - asked }).toEqual({ 200: 3, 429: 37, created: 3 });
      expect((await refusal('creds/deploy')).error).toBe(
        'This token has as many leases as it may have at once (max_leases 3); revoke one that is not needed, or try again ' +
          'when one has ended.',
      );
    } finally {
      await world.database.query(`update tokens set max_leases = null`);
    }
    await lend(world, 'deploy');
  });

  describe('by freezing', () => {
    const freeze = (path: string, reason?: string) => world.http.must(204, 'PUT', `sys/freeze/${path}`, { reason });
    const lift = (path: string) => world.http.must(204, 'DELETE', `sys/freeze/${path}`);
    const accessor = async () =>
      String((await world.http.must(200, 'GET', 'auth/token/lookup-self')).body.data.accessor);

    afterEach(async () => {
      const { body } = await world.http.must(200, 'GET', 'sys/freeze');
      for (const key of body.data.keys as string[]) await lift(key);
    });

    it('of a mount, a role or a token stop issuing, each until it is lifted, and say why', async () => {
      await writeRole(world, 'another');
      const session = { credential_type: 'federation_token', policy_document: policyDocument };
      await world.http.must(204, 'PUT', 'aws/roles/session', session);
      const token = `token/${await accessor()}`;
      await freeze('role/aws/deploy', 'keys of deploy were seen in a log');
      await freeze('role/aws/session');
      const { error, ...rest } = await refusal('creds/deploy');
      expect(error).toMatch(
        /^An operator has frozen issuing for role "deploy" of "aws\/" at \d{4}-\S+Z \(keys of deploy were seen in a log\); /,
      );
      expect(rest).toEqual({ retryAfter: '60', calls: 0 });
      expect((await refusal('sts/session')).error).toMatch(/ role "session" of "aws\/" at \S+Z; /);
      await lend(world, 'another');

      await freeze('mount/aws', 'moving house');
      await freeze(token, 'laptop lost');
      expect((await refusal('creds/another')).error).toMatch(/ mount "aws\/" at \S+ \(moving house\); /);
      const { body } = await world.http.must(200, 'LIST', 'sys/freeze');
      expect(body.data).toEqual({
        keys: ['mount/aws/', 'role/aws/deploy', 'role/aws/session', token],
        key_info: {
          'mount/aws/': { reason: 'moving house', since: expect.stringMatching(/Z$/) },
          'role/aws/deploy': { reason: 'keys of deploy were seen in a log', since: expect.stringMatching(/Z$/) },
          'role/aws/session': { reason: '', since: expect.stringMatching(/Z$/) },
          [token]: { reason: 'laptop lost', since: expect.stringMatching(/Z$/) },
        },
      });
      await lift('mount/aws/');
      expect((await refusal('creds/another')).error).toMatch(/ this token at \S+ \(laptop lost\); /);
      await lift(token);
      await lend(world, 'another');
      await lift('role/aws/deploy');
      await lend(world, 'deploy');
      await lift('role/aws/session');
      await world.http.must(404, 'LIST', 'sys/freeze');
    });

    it('of a token stop those who were given a token by it, too', async () => {
      const made = async (parent?: string) => {
        const body = { policies: ['root'] };
        const answer = await world.http.must(200, 'POST', 'auth/token/create', body, parent ? { token: parent } : {});
        return answer.body.auth as { client_token: string; accessor: string };
      };
      const parent = await made();
      const grandchild = await made((await made(parent.client_token)).client_token);
      const asked = () => world.http.call('GET', 'aws/creds/deploy', undefined, { token: grandchild.client_token });
      await freeze(`token/${parent.accessor}`, 'runs wild');
      const { status, body } = await asked();
      expect([status, body.errors]).toEqual([
        429,
        [expect.stringMatching(/ frozen issuing for a token that this one comes from at \S+ \(runs wild\); /)],
      ]);
      // Of STS what decides is stored after AWS was asked; but AWS is not asked for who is refused.
      const role = { credential_type: 'federation_token', policy_document: policyDocument };
      await world.http.must(204, 'PUT', 'aws/roles/session', role);
      const before = world.simulator.calls.count();
      const session = { token: grandchild.client_token };
      await world.http.must(429, 'GET', 'aws/sts/session', undefined, session);
      expect(world.simulator.calls.count()).toBe(before);
      await lend(world, 'deploy');
      await lift(`token/${parent.accessor}`);
      expect((await asked()).status).toBe(200);
      await world.http.must(200, 'GET', 'aws/sts/session', undefined, session);
    });

    it('leave renewing, looking up, revoking and expiring alone', async () => {
      const [renewed, expiring]: Lent[] = [await lend(world, 'deploy'), await lend(world, 'deploy')];
      await freeze('mount/aws', 'all of it');
      await freeze('role/aws/deploy');
      await freeze(`token/${await accessor()}`);
      await world.http.must(200, 'PUT', 'sys/leases/renew', { lease_id: renewed!.leaseId, increment: 60 });
      await world.http.must(200, 'PUT', 'sys/leases/lookup', { lease_id: renewed!.leaseId });
      await world.database.query(`update leases set expires_at = now(), due_at = now() where id = $1`, [
        expiring!.leaseId,
      ]);
      await eventually(async () => (await rowOf(world, expiring!.leaseId)).state === 'ended');
      expect((await rowOf(world, expiring!.leaseId)).end_reason).toBe('expired');
      await comesToRest(world, [renewed!]);
      await revoke(renewed!.leaseId);
      await comesToRest(world);
    });

    it('hold for what had passed the first look when they came, and leave alone what was begun', async () => {
      await world.mount('later');
      await world.http.must(204, 'PUT', 'later/roles/deploy', {
        credential_type: 'iam_user',
        policy_document: policyDocument,
      });
      const looking = world.simulator.faults.hold('GetCallerIdentity', 'before');
      const late = world.http.call('GET', 'later/creds/deploy');
      await looking.reached;
      const making = world.simulator.faults.hold('CreateUser', 'after');
      const begun = ask('creds/deploy');
      await making.reached;
      await freeze('mount/aws');
      await freeze('mount/later');
      const asked = calls('CreateUser');
      looking.release();
      expect((await late).status).toBe(429);
      expect(calls('CreateUser')).toBe(asked);
      making.release();
      expect((await begun).status).toBe(200);
    });

    it('survive a restart, and a role that is deleted and written anew', async () => {
      await writeRole(world, 'phoenix');
      await freeze('role/aws/phoenix', 'not yet');
      await world.restart();
      await world.http.must(204, 'DELETE', 'aws/roles/phoenix');
      await writeRole(world, 'phoenix');
      expect((await refusal('creds/phoenix')).error).toMatch(/\(not yet\)/);
      await freeze('role/aws/phoenix', 'soon');
      expect((await refusal('creds/phoenix')).error).toMatch(/\(soon\)/);
      await world.http.must(204, 'DELETE', 'aws/roles/phoenix');
      await lift('role/aws/phoenix');
    }, 60_000);

    it('end with their mount', async () => {
      await world.mount('gone');
      await freeze('mount/gone');
      await world.http.must(204, 'DELETE', 'sys/mounts/gone');
      await world.mount('gone');
      await world.http.must(404, 'LIST', 'sys/freeze');
      await world.http.must(204, 'DELETE', 'sys/mounts/gone');
    });

    it.each([
      ['PUT', 'mount/nowhere', 'There is no mount "nowhere/"; nothing was frozen.'],
      ['PUT', 'role/aws/nobody', 'There is no role "nobody" in "aws/"; nothing was frozen.'],
      ['PUT', 'role/nowhere/deploy', 'There is no role "deploy" in "nowhere/"; nothing was frozen.'],
      ['PUT', 'token/hvs.mistaken', 'There is no token with this accessor; nothing was frozen.'],
      ['DELETE', 'mount/aws', 'The mount "aws/" is not frozen; nothing was lifted.'],
      ['DELETE', 'role/aws/deploy', 'The role "deploy" in "aws/" is not frozen; nothing was lifted.'],
      ['DELETE', 'token/hvs.mistaken', 'The token with this accessor is not frozen; nothing was lifted.'],
    ])('are refused where there is nothing: %s %s', async (method, path, error) => {
      const { body } = await world.http.must(400, method, `sys/freeze/${path}`);
      expect(body.errors).toEqual([error]);
      await world.http.must(404, 'LIST', 'sys/freeze');
    });

    it('take no reason that is too long to be shown', async () => {
      const { body } = await world.http.must(400, 'PUT', 'sys/freeze/mount/aws', { reason: 'x'.repeat(501) });
      expect(body.errors).toEqual(['The reason is longer than 500 characters; nothing was frozen.']);
      await lend(world, 'deploy');
    });
  });
});

describe('users of an account that are no leases', () => {
  let world: World;
  let accounts = 0;
  /** The account that a test is about. */
  let accountId: string;
  let mount: string;
  const issuers = shape() === 'services' ? 2 : 1;

  beforeAll(async () => {
    world = await World.start({ weather: {}, timing: patient, surroundings: { usersPerAccount: 40 } });
  }, 60_000);
  afterAll(() => world.close());
  afterEach(() => world.simulator.faults.clear());

  /** A mount on an account of its own in which there are `foreign` users, of a quota of 40. */
  async function begin(rights: string[], foreign = 30): Promise<void> {
    accounts += 1;
    accountId = `11112222333${accounts}`;
    mount = `of-${accounts}`;
    world.simulator.faults.set({ usersPerAccount: 40 });
    const policy = seedAnd(...rights)(accountId);
    const root = world.simulator.provisionRootIdentity({ userName: 'root', account: accountId, policy });
    // The root credentials are a user's too.
    for (let made = 1; made < foreign; made += 1) account().createUser(`somebody-${made}`);
    await world.http.must(204, 'POST', `sys/mounts/${mount}`, { type: 'aws' });
    const { accessKeyId: access_key, secretAccessKey: secret_key } = root;
    await world.http.must(204, 'PUT', `${mount}/config/root`, { access_key, secret_key });
    await world.http.must(204, 'PUT', `${mount}/roles/deploy`, {
      credential_type: 'iam_user',
      policy_document: policyDocument,
    });
  }

  const account = () => world.simulator.account(accountId);
  const ask = () => world.http.call('GET', `${mount}/creds/deploy`);
  const calls = (action: string) => world.simulator.calls.count({ action, account: accountId });
  const counted = async () => {
    const { rows } = await world.database.query<{ users: number; foreign_users: number; quota: number | null }>(
      `select users, foreign_users, quota from aws_accounts where id = $1`,
      [accountId],
    );
    return rows[0]!;
  };
  /** What was made and counted is so long ago that it counts as settled. */
  const letTimePass = async () => {
    await world.database.query(`update leases set issued_at = issued_at - interval '1 minute'`);
    await world.database.query(`update aws_accounts set counted_at = counted_at - interval '1 minute'`);
  };
  const letCountBeDue = () =>
    world.database.query(`update aws_accounts set count_due_at = now() where id = $1`, [accountId]);

  it.each([
    ['iam:GetAccountSummary', 40],
    ['iam:ListUsers', null],
  ])(
    'count where %s is allowed: with 30 of 40, 10 of 200 requests at once succeed',
    async (right, quota) => {
      await begin([right]);
      const answers = await atOnce(200, ask);
      tell(
        `200 requests, 30 foreign users, room for 40: ${JSON.stringify(tally(answers))}, ${calls('CreateUser')} CreateUser`,
      );
      expect({ ...tally(answers), created: calls('CreateUser') }).toEqual({ 200: 10, 429: 190, created: 10 });
      expect(await counted()).toEqual({ users: 10, foreign_users: 30, quota });
      const asked = calls(right.slice('iam:'.length));
      expect(asked).toBeLessThanOrEqual(issuers);
      const { body, headers } = answers.find(({ status }) => status === 429)!;
      expect(body.errors).toEqual([
        `AWS account ${accountId} has no place for another IAM user: it may have 40, and they are all taken, 30 of them by users ` +
          "that are not leases'; try again when a lease has ended.",
      ]);
      expect(headers.get('retry-after')).toBe('10');
      const { body: one } = answers.find(({ status }) => status === 200)!;
      await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: one.lease_id });
      expect((await ask()).status).toBe(200);
      expect([(await ask()).status, calls('CreateUser'), calls(right.slice('iam:'.length))]).toEqual([429, 11, asked]);
    },
    90_000,
  );

  it('are counted anew when it is time, also while there is no place, and nobody waits for it', async () => {
    await begin(['iam:GetAccountSummary'], 39);
    expect([(await ask()).status, (await ask()).status]).toEqual([200, 429]);
    await letTimePass();
    for (const name of ['somebody-1', 'somebody-2']) account().deleteUser(account().existingUser(name));
    const hold = world.simulator.faults.hold('GetAccountSummary', 'before');
    await letCountBeDue();
    expect((await ask()).status).toBe(429);
    await hold.reached;
    expect((await ask()).status).toBe(429);
    hold.release();
    await eventually(async () => (await counted()).foreign_users === 37);
    const asked = calls('GetAccountSummary');
    expect([(await ask()).status, calls('GetAccountSummary')]).toEqual([200, asked]);
    await letCountBeDue();
    expect((await ask()).status).toBe(200);
    await eventually(() => calls('GetAccountSummary') === asked + 1);
  });

  it('are counted anew when AWS shows that there are more: its refusal is the answer, and the last of them', async () => {
    await begin(['iam:GetAccountSummary'], 37);
    expect((await ask()).status).toBe(200);
    await letTimePass();
    for (const name of ['newcomer-1', 'newcomer-2']) account().createUser(name);
    const { status, body } = await ask();
    expect([status, body.errors[0]]).toEqual([
      400,
      expect.stringMatching(/^Error creating IAM user: LimitExceeded: Cannot exceed quota for UsersPerAccount: 40/),
    ]);
    await eventually(async () => (await counted()).foreign_users === 39);
    const asked = calls('CreateUser');
    expect([(await ask()).status, calls('CreateUser')]).toEqual([429, asked]);
  });

  it('are not counted where neither right is given, which is asked once and at once', async () => {
    await begin([]);
    const hold = world.simulator.faults.hold('GetAccountSummary', 'before', { times: issuers });
    const answering = atOnce(10, ask);
    await hold.reached;
    await eventually(() => calls('ListUsers') > 0);
    hold.release();
    expect(tally(await answering)).toEqual({ 200: 10 });
    expect(await counted()).toEqual({ users: 10, foreign_users: 0, quota: null });
    const asked = calls('GetAccountSummary');
    expect(asked).toBeLessThanOrEqual(issuers);
    expect(calls('ListUsers')).toBe(asked);
    // Nor does AWS's own refusal make us ask again: the rights are still not given.
    await letTimePass();
    expect(tally(await atOnce(4, ask))).toEqual({ 400: 4 });
    expect([calls('GetAccountSummary'), calls('ListUsers')]).toEqual([asked, asked]);
  });

  it('do not keep anybody from a credential when AWS does not tell, and are counted soon after', async () => {
    await begin(['iam:GetAccountSummary']);
    world.simulator.faults.fail({ action: 'GetAccountSummary', code: 'ServiceUnavailable', status: 503 });
    expect((await ask()).status).toBe(200);
    expect(await counted()).toEqual({ users: 1, foreign_users: 0, quota: null });
    world.simulator.faults.clear({ usersPerAccount: 40 });
    await letTimePass();
    await letCountBeDue();
    expect((await ask()).status).toBe(200);
    await eventually(async () => (await counted()).quota === 40);
    // The user of the request that saw that it was due may be there already, and counts twice then.
    expect([30, 31]).toContain((await counted()).foreign_users);
  });
});
