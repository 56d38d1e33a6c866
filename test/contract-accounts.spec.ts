import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { NestFactory } from '@nestjs/core';
import { AccessModule } from '#libs/access';
import { AwsAccounts } from '#libs/aws';
import { RolesModule } from '#libs/roles';
import { databaseModule } from '#libs/runtime';
import { Comparison } from '../apps/revoker/src/comparison.js';
import { seedRootPolicy } from '../apps/simulator/src/index.js';
import { everything } from './support/everything.js';
import { lentBy, policyDocument, writeRole } from './support/lease-life.js';
import { ready, writePooled } from './support/pools.js';
import { eventually, type LentKeys, World } from './support/world.js';

const [mine, payments, search, nobodys] = ['000000000000', '111111111111', '222222222222', '999999999999'] as const;
const allow = (actions: string | string[], resource = '*') =>
  JSON.stringify({ Version: '2012-10-17', Statement: { Effect: 'Allow', Action: actions, Resource: resource } });

describe('one mount for many accounts', () => {
  let world: World;
  /** Keys of an identity in `payments`, and the role in `search` that the root may assume. */
  let keys: { access_key: string; secret_key: string };
  let byRole: { role_arn: string; external_id: string };
  const roleArn = (account: string, name: string) => `arn:aws:iam::${account}:role/${name}`;

  beforeAll(async () => {
    // The root of these journeys manages users at home and assumes roles everywhere.
    const rootPolicy = () =>
      JSON.stringify({
        Version: '2012-10-17',
        Statement: [
          ...(JSON.parse(seedRootPolicy(mine)) as { Statement: object[] }).Statement,
          { Effect: 'Allow', Action: 'sts:AssumeRole', Resource: '*' },
        ],
      });
    world = await World.start({ weather: {}, rootPolicy });
    await world.mount();
    keys = keysOf(payments, 'lender');
    byRole = { role_arn: roleArn(search, 'lender'), external_id: 'our-word' };
    for (const account of [mine, payments, search])
      trusting(account, 'worker', `arn:aws:iam::${mine}:user/leasehold-root`);
    trusting(search, 'lender', `arn:aws:iam::${mine}:root`, {
      condition: { StringEquals: { 'sts:ExternalId': byRole.external_id } },
      policy: seedRootPolicy(search),
    });
    trusting(payments, 'inner', `arn:aws:iam::${payments}:user/lender`);
  });
  afterAll(() => world.close());
  beforeEach(async () => {
    await world.http.must(204, 'PUT', 'sys/revoke-prefix/aws');
    for (const account of [payments, search]) await world.http.must(204, 'DELETE', `aws/config/accounts/${account}`);
    world.simulator.faults.clear();
  });

  /** Keys of a user of an account, who may manage users there and federate what roles here allow. */
  function keysOf(accountId: string, userName: string) {
    const policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        ...(JSON.parse(seedRootPolicy(accountId)) as { Statement: object[] }).Statement,
        { Effect: 'Allow', Action: ['sts:GetFederationToken', 'ec2:*'], Resource: '*' },
      ],
    });
    const { accessKeyId, secretAccessKey } = world.simulator.provisionRootIdentity({
      userName,
      policy,
      account: accountId,
    });
    return { access_key: accessKeyId, secret_key: secretAccessKey };
  }

  /** A role that somebody may assume. */
  function trusting(
    accountId: string,
    name: string,
    principal: string,
    { condition, policy = allow('ec2:*') }: { condition?: object; policy?: string } = {},
  ) {
    const statement = { Effect: 'Allow', Principal: { AWS: principal }, Action: 'sts:AssumeRole' };
    const trust = JSON.stringify({
      Version: '2012-10-17',
      Statement: { ...statement, ...(condition && { Condition: condition }) },
    });
    world.simulator.account(accountId).createRole(name, trust, { policies: { all: policy } });
  }

  const write = (accountId: string, body: object) =>
    world.http.must(204, 'PUT', `aws/config/accounts/${accountId}`, body);
  const lend = async (role: string) => lentBy(await world.http.must(200, 'GET', `aws/creds/${role}`));
  const assume = async (path: string) => {
    const { data } = (await world.http.must(200, 'GET', path)).body;
    return { arn: data.arn, is: await world.whoIs(data as unknown as LentKeys) };
  };
  const lentIn = (accountId: string) =>
    world.simulator
      .account(accountId)
      .users()
      .filter(({ name }) => name.startsWith('vault-')).length;
  const rowOf = async (leaseId: string) => (await world.leases()).find(({ id }) => id === leaseId);
  const revoke = (leaseId: string) =>
    world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: leaseId, sync: true });
  /** Has old root keys forgotten which no lease needs: two hours later than whatever was made and written. */
  async function sweepsRootKeys(): Promise<void> {
    const mount = `swept-${randomBytes(4).toString('hex')}`;
    await world.mount(mount);
    await world.http.must(204, 'PUT', `${mount}/config/root`, { region: 'eu-west-1' });
    await world.database.query(
      `update root_configs set superseded_at = superseded_at - interval '2 hours';
       update leases set created_at = created_at - interval '2 hours'`,
    );
    const left = `select 1 from root_configs join mounts on id = mount_id where path = $1 and superseded_at is not null`;
    await eventually(async () => (await world.database.query(left, [`${mount}/`])).rowCount === 0);
  }

  /** What is refused before AWS is asked for anything. */
  async function refusal(path: string): Promise<unknown[]> {
    const before = await everything(world);
    const { status, body } = await world.http.call('GET', path);
    expect(await everything(world)).toEqual(before);
    return [status, ...body.errors];
  }

  describe('without identities of its own', () => {
    it('lends sessions of roles of all of them, at the expense of its own account', async () => {
      const role_arns = [mine, payments, search].map((account) => roleArn(account, 'worker'));
      const role = { credential_type: 'assumed_role', role_arns, policy_document: '' };
      await writeRole(world, 'anywhere', role);
      world.simulator.calls.clear();
      for (const [nth, account] of [mine, payments, search].entries()) {
        const { arn, is } = await assume(`aws/sts/anywhere?role_arn=${role_arns[nth]}`);
        expect(arn).toMatch(new RegExp(`^arn:aws:sts::${account}:assumed-role/worker/vault-`));
        expect(is).toBe(arn);
      }
      const calls = world.simulator.calls.list({ action: 'AssumeRole' });
      expect(calls.map((call) => call.account)).toEqual([mine, mine, mine]);
      const rows = (await world.leases()).filter(({ id }) => id.includes('anywhere'));
      expect(rows.map((row) => row.account_id)).toEqual([mine, mine, mine]);
    });

    it('refuses a role that names an account, and says where its credentials are written', async () => {
      await writeRole(world, 'stranger', { account_id: nobodys });
      expect(await refusal('aws/creds/stranger')).toEqual([
        400,
        `Role "stranger" lends from AWS account ${nobodys}, for which "aws/" has no credentials: write them to ` +
          `aws/config/accounts/${nobodys}.`,
      ]);
    });
  });

  describe('with keys of another account', () => {
    beforeEach(async () => {
      await write(payments, keys);
      await writeRole(world, 'payer', { account_id: payments });
    });

    it('lends users of that account, counts them there, and takes them back', async () => {
      const lent = await lend('payer');
      expect(await world.whoIs(lent.keys)).toContain(`arn:aws:iam::${payments}:user/vault-`);
      expect([lentIn(mine), lentIn(payments)]).toEqual([0, 1]);
      expect(await rowOf(lent.leaseId)).toMatchObject({ account_id: payments, state: 'active' });
      const { rows } = await world.database.query('select users from aws_accounts where id = $1', [payments]);
      expect(rows).toEqual([{ users: 1 }]);
      await revoke(lent.leaseId);
      expect(lentIn(payments)).toBe(0);
    });

    it('makes users ahead there, and gives them back when its keys or those of the root are written anew', async () => {
      const made = async () => (await ready(world, 'stocked', 2)).map(({ id }) => id);
      await writePooled(world, 'stocked', 2, { account_id: payments });
      let before = await made();
      expect(lentIn(payments)).toBe(2);
      for (const change of [
        () => write(payments, keysOf(payments, 'lender-too')),
        () => world.http.must(204, 'PUT', 'aws/config/root', { region: 'us-east-1' }),
      ]) {
        await change();
        const { leaseId } = await lend('stocked');
        expect(before).not.toContain(leaseId);
        await revoke(leaseId);
        await eventually(async () => (await made()).every((id) => !before.includes(id)));
        before = await made();
      }
      await world.http.must(204, 'DELETE', 'aws/roles/stocked');
      await eventually(() => lentIn(payments) === 0);
    });

    it('has a quota of its own there: full, it lends from the others', async () => {
      await writeRole(world, 'home');
      const lent = await lend('payer');
      await world.database.query('update aws_accounts set quota = users + foreign_users where id = $1', [payments]);
      expect(await refusal('aws/creds/payer')).toEqual([
        429,
        expect.stringContaining(`AWS account ${payments} has no place for another IAM user`),
      ]);
      await lend('home');
      await world.database.query('update aws_accounts set quota = null where id = $1', [payments]);
      await revoke(lent.leaseId);
    });

    it('is compared with AWS account by account, after a restore', async () => {
      const { databaseUrl: url, masterKey, surroundings } = world.options;
      const lent = await lend('payer');
      const report = await NestFactory.createApplicationContext(
        {
          module: class {},
          imports: [databaseModule({ url }, 2), AccessModule.open(masterKey), RolesModule],
          providers: [Comparison, { provide: AwsAccounts, useValue: new AwsAccounts(surroundings) }],
        },
        { logger: false },
      );
      try {
        const compared = await report.get(Comparison).execute();
        expect(compared.map(({ path, accountId, existing }) => [path, accountId, existing.length])).toEqual([
          ['aws/', mine, 0],
          ['aws/', payments, 1],
        ]);
        expect(compared[1]!.existing).toMatchObject([{ leaseId: lent.leaseId, accountId: payments }]);
      } finally {
        await report.close();
      }
    });

    it('lends federation tokens and sessions of it, too', async () => {
      await writeRole(world, 'federated', { credential_type: 'federation_token', account_id: payments });
      const { data } = (await world.http.must(200, 'GET', 'aws/sts/federated')).body;
      expect(await world.whoIs(data as unknown as LentKeys)).toContain(`arn:aws:sts::${payments}:federated-user/`);
      const inner = { credential_type: 'assumed_role', role_arns: roleArn(payments, 'inner'), policy_document: '' };
      // The role trusts that account's identity alone, so by whom it was assumed is seen.
      await writeRole(world, 'inner', inner);
      expect((await assume('aws/sts/inner')).is).toContain(`:sts::${payments}:assumed-role/inner/`);
      await world.http.must(204, 'DELETE', `aws/config/accounts/${payments}`);
      expect((await world.http.call('GET', 'aws/sts/inner')).body.errors[0]).toContain('sts:AssumeRole');
    });

    it('takes leases back with the newer keys, and those that were deleted with the kept ones', async () => {
      const [first, second] = [await lend('payer'), await lend('payer')];
      await write(payments, keysOf(payments, 'successor'));
      world.simulator.calls.clear();
      await revoke(first.leaseId);
      expect(world.simulator.calls.list({ accessKeyId: keys.access_key })).toEqual([]);
      await world.http.must(204, 'DELETE', `aws/config/accounts/${payments}`);
      expect(await refusal('aws/creds/payer')).toMatchObject([400, expect.stringContaining('has no credentials')]);
      await revoke(second.leaseId);
      expect(lentIn(payments)).toBe(0);
    });

    it('takes leases back also after keys of yet another account were written, and lends nothing by these', async () => {
      const lent = await lend('payer');
      await write(payments, keysOf(search, 'wrong'));
      expect(await refusal('aws/creds/payer')).toEqual([
        400,
        `aws/config/accounts/${payments} has credentials of account ${search}: write those of account ${payments}.`,
      ]);
      await revoke(lent.leaseId);
      expect(lentIn(payments)).toBe(0);
    });

    it('takes leases back where their AWS was, also after the root names another one', async () => {
      const lent = await lend('payer');
      const nowhere = 'http://127.0.0.1:9';
      await world.http.must(204, 'PUT', 'aws/config/root', { iam_endpoint: nowhere, sts_endpoint: nowhere });
      await sweepsRootKeys();
      await revoke(lent.leaseId);
      expect(lentIn(payments)).toBe(0);
      await world.http.must(204, 'PUT', 'aws/config/root', { iam_endpoint: '', sts_endpoint: '' });
      await sweepsRootKeys();
    });

    it('forgets former keys when no lease needs them any more, and not before', async () => {
      const lent = await lend('payer');
      await write(search, byRole);
      for (const account of [payments, search]) await world.http.must(204, 'DELETE', `aws/config/accounts/${account}`);
      await world.database.query(`update account_identities set superseded_at = now() - interval '2 hours'`);
      const isKept = async (account: string) =>
        (await world.database.query('select 1 from account_identities where account_id = $1', [account])).rowCount! > 0;
      await eventually(async () => !(await isKept(search)));
      expect(await isKept(payments)).toBe(true);
      await revoke(lent.leaseId);
      expect(lentIn(payments)).toBe(0);
      await eventually(async () => !(await isKept(payments)));
    });
  });

  describe('with a role of another account', () => {
    beforeEach(async () => {
      await write(search, byRole);
      await writeRole(world, 'finder', { account_id: search });
    });

    it('lends users of it by a session that is opened once, and takes them back', async () => {
      world.simulator.calls.clear();
      const lent = [await lend('finder'), await lend('finder'), await lend('finder')];
      expect(await world.whoIs(lent[0]!.keys)).toContain(`arn:aws:iam::${search}:user/vault-`);
      const opened = world.simulator.calls.list({ action: 'AssumeRole' });
      expect(opened.map(({ account, parameters }) => [account, parameters.RoleSessionName])).toEqual([
        [mine, 'leasehold'],
      ]);
      expect(lentIn(search)).toBe(3);
      for (const { leaseId } of lent) await revoke(leaseId);
      expect(lentIn(search)).toBe(0);
    });

    const formerRoots = async () => {
      const former = `select 1 from root_configs where superseded_at < now() - interval '1 hour'`;
      return (await world.database.query(former)).rowCount;
    };

    it('takes leases back through a former root, kept for that, when the new one may not assume the role', async () => {
      const lent = await lend('finder');
      const other = world.simulator.provisionRootIdentity({ userName: 'other', policy: seedRootPolicy(mine) });
      const root = { access_key: other.accessKeyId, secret_key: other.secretAccessKey };
      await world.http.must(204, 'PUT', 'aws/config/root', root);
      await sweepsRootKeys();
      expect(await formerRoots()).toBe(1);
      expect((await world.http.call('GET', 'aws/creds/finder')).body.errors[0]).toMatch(
        /^Error creating IAM user: AccessDenied: .*sts:AssumeRole/,
      );
      await revoke(lent.leaseId);
      expect(lentIn(search)).toBe(0);
      await eventually(async () => (await formerRoots()) === 0);
      const { accessKeyId, secretAccessKey } = world.root;
      await world.http.must(204, 'PUT', 'aws/config/root', { access_key: accessKeyId, secret_key: secretAccessKey });
    });

    it('forgets former roots however many leases are made by their successors', async () => {
      const early = await lend('finder');
      await world.http.must(204, 'PUT', 'aws/config/root', { max_retries: 2 });
      await sweepsRootKeys();
      const late = await lend('finder');
      expect(await formerRoots()).toBeGreaterThan(0);
      await revoke(early.leaseId);
      await eventually(async () => (await formerRoots()) === 0);
      await revoke(late.leaseId);
      expect(lentIn(search)).toBe(0);
    });

    it('lends neither federation tokens nor sessions of a user, and says so to who writes such a role', async () => {
      for (const credential_type of ['federation_token', 'session_token']) {
        const policy_document = credential_type === 'federation_token' ? policyDocument : '';
        const role = { credential_type, account_id: search, policy_document };
        const { body } = await world.http.must(400, 'PUT', 'aws/roles/keyless', role);
        expect(body.errors[0]).toContain(
          `a ${credential_type} is given for the long-term keys of an IAM user only, and this mount works with temporary ` +
            `credentials in account ${search}`,
        );
      }
    });

    it('says it to who asks for one, before AWS is asked, where the role was written before', async () => {
      await world.http.must(204, 'DELETE', `aws/config/accounts/${search}`);
      await writeRole(world, 'federated-finder', { credential_type: 'federation_token', account_id: search });
      await write(search, byRole);
      expect(await refusal('aws/sts/federated-finder')).toEqual([
        400,
        `Role "federated-finder" cannot lend a federation_token of AWS account ${search}: AWS gives it for the keys of an ` +
          `IAM user only, and aws/config/accounts/${search} has a role_arn. Write access_key and secret_key there, or lend an ` +
          'assumed_role.',
      ]);
    });

    it('lends sessions of its other roles for an hour at most, unless another way is longer', async () => {
      const longer = { credential_type: 'assumed_role', default_sts_ttl: '2h', policy_document: '' };
      const { body } = await world.http.must(400, 'PUT', 'aws/roles/longer', {
        ...longer,
        role_arns: roleArn(search, 'worker'),
      });
      expect(body.errors[0]).toContain('default_sts_ttl of 7200 s cannot be had');
      const either = [search, mine].map((account) => roleArn(account, 'worker'));
      await world.http.must(204, 'PUT', 'aws/roles/longer', { ...longer, role_arns: either });
    });

    it('leaves a lease irrevocable that no identity reaches, and says what to write', async () => {
      const lent = await lend('finder');
      await world.database.query(`delete from account_identities`);
      await world.http.call('PUT', 'sys/leases/revoke', { lease_id: lent.leaseId, sync: true });
      const row = await eventually(async () => {
        const found = await rowOf(lent.leaseId);
        return found?.state === 'irrevocable' ? found : null;
      });
      expect(row.last_error).toContain(`neither config/root nor config/accounts/${search} has credentials of it`);
      await write(search, byRole);
      await revoke(lent.leaseId);
      expect(lentIn(search)).toBe(0);
    });
  });

  describe('config/accounts', () => {
    const read = async (accountId: string) => world.http.call('GET', `aws/config/accounts/${accountId}`);

    it('shows what was written but the secret, lists the accounts, and forgets what is deleted', async () => {
      expect((await read(payments)).status).toBe(404);
      expect((await world.http.call('LIST', 'aws/config/accounts')).status).toBe(404);
      await write(search, byRole);
      await write(payments, keys);
      expect((await read(search)).body.data).toEqual({ account_id: search, access_key: '', ...byRole });
      const shown = await read(payments);
      const { access_key } = keys;
      expect(shown.body.data).toEqual({ account_id: payments, access_key, role_arn: '', external_id: '' });
      expect((await world.http.must(200, 'LIST', 'aws/config/accounts')).body.data).toEqual({
        keys: [payments, search],
      });
      // A write replaces the whole.
      await write(search, { role_arn: byRole.role_arn });
      expect((await read(search)).body.data).toMatchObject({ external_id: '' });
      for (const text of [shown.text, world.log.join(''), JSON.stringify(await everything(world))]) {
        expect(text).not.toContain(keys.secret_key);
      }
      await world.http.must(204, 'DELETE', `aws/config/accounts/${payments}`);
      await world.http.must(204, 'DELETE', `aws/config/accounts/${payments}`);
      expect((await read(payments)).status).toBe(404);
      expect((await world.http.must(200, 'GET', 'aws/config/accounts?list=true')).body.data).toEqual({
        keys: [search],
      });
    });

    const secret = randomBytes(12).toString('hex');
    it.each([
      [payments, {}, /^give access_key and secret_key of the account, or role_arn of a role in it/],
      [payments, { access_key: 'AKIA' }, /^access_key and secret_key must be given together$/],
      [payments, { secret_key: secret }, /^access_key and secret_key must be given together$/],
      [
        '12345',
        { access_key: 'AKIA', secret_key: secret },
        /^"12345" is no id of an AWS account, which has twelve digits$/,
      ],
      [
        payments,
        { access_key: 'AKIA', secret_key: secret, role_arn: roleArn(search, 'x'), external_id: '!' },
        /^give access_key and secret_key or role_arn, not both; role_arn is of another account than 111111111111; external_id must be/,
      ],
      [payments, { role_arn: `arn:aws:iam::${payments}:user/x` }, /^role_arn is no ARN of an IAM role$/],
      [
        payments,
        { access_key: 'AKIA', secret_key: secret, external_id: 'word' },
        /^external_id is for assuming role_arn/,
      ],
    ])('refuses for %s %j, and says all that is wrong', async (accountId, body, text) => {
      const before = await everything(world);
      const answer = await world.http.call('PUT', `aws/config/accounts/${accountId}`, body);
      expect([answer.status, answer.body.errors[0]]).toEqual([400, expect.stringMatching(text)]);
      expect(answer.text).not.toContain(secret);
      expect(await everything(world)).toEqual(before);
    });

    it('goes with its mount', async () => {
      await world.mount('leaving');
      await world.http.must(204, 'PUT', `leaving/config/accounts/${payments}`, keys);
      await world.http.must(204, 'DELETE', 'sys/mounts/leaving');
      await world.database.query(`update mounts set removed_at = now() - interval '2 hours' where path = 'leaving/'`);
      await eventually(async () => {
        const left = `select 1 from account_identities join mounts on id = mount_id where path = 'leaving/'`;
        return (await world.database.query(left)).rowCount === 0;
      });
    });
  });

  it('shows of a role which account it names, where it names one', async () => {
    const shown = async () => (await world.http.must(200, 'GET', 'aws/roles/named')).body.data;
    await writeRole(world, 'named');
    expect(await shown()).not.toHaveProperty('account_id');
    await writeRole(world, 'named', { account_id: payments });
    expect((await shown()).account_id).toBe(payments);
    const { body } = await world.http.must(400, 'PUT', 'aws/roles/named', { account_id: 'payments' });
    expect(body.errors).toEqual(['account_id must be the twelve digits of an AWS account, or empty']);
    await writeRole(world, 'named', { account_id: '' });
    expect(await shown()).not.toHaveProperty('account_id');
  });
});
