import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { lend, rowOf, writeRole } from './support/lease-life.js';
import { giveTokens } from './support/tokens.js';
import { eventually, World } from './support/world.js';

const started =
  "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs.";

describe('tidying', () => {
  let world: World;

  beforeAll(async () => {
    // The sweep does not come round: what is tidied was tidied because somebody asked.
    world = await World.start({ weather: {}, timing: { sweepEveryMs: 3_600_000, retentionMs: 1_000 } });
    await world.mount();
    await writeRole(world, 'deploy');
    await writeRole(world, 'assume', { credential_type: 'federation_token' });
    const root = world.simulator.account().existingUser('leasehold-root');
    const document = JSON.stringify({
      Version: '2012-10-17',
      Statement: { Effect: 'Allow', Action: ['ec2:*', 'sts:GetFederationToken'], Resource: '*' },
    });
    world.simulator.account().putUserPolicy(root, 'federate', document);
    await world.http.must(204, 'PUT', 'sys/policies/acl/deploy', {
      policy: 'path "aws/creds/deploy" { capabilities = ["read"] }',
    });
  });
  afterAll(() => world.close());

  const tidy = async (path: string) => {
    const { body } = await world.http.must(202, 'POST', path);
    expect(body).toMatchObject({ data: null, warnings: [started] });
  };
  const count = async (sql: string, value: string) =>
    Number((await world.database.query<{ count: string }>(sql, [value])).rows[0]!.count);

  it.each(['PUT', 'POST'])('of leases takes back what ended tokens and AWS itself have left: %s', async (method) => {
    const [token] = await giveTokens(world, { policies: ['deploy'] });
    const ofEnded = (await world.http.must(200, 'GET', 'aws/creds/deploy', undefined, { token })).body.lease_id;
    const ofSts = (await world.http.must(200, 'GET', 'aws/sts/assume')).body.lease_id;
    const kept = await lend(world, 'deploy');
    // As whoever died between marking the token's end and looking for its leases would leave it.
    await world.database.query(
      `update tokens set ended_at = now(), due_at = now() where id = (select token_id from leases where id = $1)`,
      [ofEnded],
    );
    await world.database.query(`update leases set due_at = now() where id = $1`, [ofSts]);
    const { body } = await world.http.must(202, method, 'sys/leases/tidy');
    expect(body.warnings).toEqual([started]);
    await eventually(async () => (await rowOf(world, ofEnded)).end_reason === 'token_ended');
    await eventually(async () => (await rowOf(world, ofSts)).state === 'ended');
    await eventually(async () => world.lentUsers().length === 1);
    expect((await rowOf(world, kept.leaseId)).state).toBe('active');
    await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: kept.leaseId });
  });

  it('of leases forgets what is kept no longer, and can be asked for again', async () => {
    const lent = await lend(world, 'deploy');
    await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: lent.leaseId });
    await world.database.query(`update leases set ended_at = now() - interval '1 hour', due_at = null where id = $1`, [
      lent.leaseId,
    ]);
    await eventually(async () => {
      await world.http.must(202, 'PUT', 'sys/leases/tidy');
      return (await count('select count(*) from leases where id = $1', lent.leaseId)) === 0;
    });
  });

  it('of tokens ends those whose time is over', async () => {
    const { auth } = (await world.http.must(200, 'POST', 'auth/token/create', { ttl: '1h' })).body as unknown as {
      auth: { accessor: string };
    };
    await world.database.query(`update tokens set expires_at = now(), due_at = now() where accessor = $1`, [
      auth.accessor,
    ]);
    await tidy('auth/token/tidy');
    await eventually(
      async () =>
        (await count('select count(*) from tokens where accessor = $1 and ended_at is not null', auth.accessor)) === 1,
    );
  });

  it('of secret ids forgets those that open nothing, and no other', async () => {
    await world.http.must(204, 'POST', 'auth/approle/role/ci', { token_policies: 'deploy' });
    const make = async () =>
      (await world.http.must(200, 'POST', 'auth/approle/role/ci/secret-id', { ttl: '1h' })).body.data
        .secret_id_accessor as string;
    const [over, alive] = [await make(), await make()];
    await world.database.query(`update app_role_secret_ids set expires_at = now() where accessor::text = $1`, [over]);
    await tidy('auth/approle/tidy/secret-id');
    const sql = 'select count(*) from app_role_secret_ids where accessor::text = $1';
    await eventually(async () => (await count(sql, over)) === 0);
    expect(await count(sql, alive)).toBe(1);
  });

  it.each(['sys/leases/tidy', 'auth/token/tidy', 'auth/approle/tidy/secret-id'])('is for who may: %s', async (path) => {
    const [token] = await giveTokens(world, { policies: ['deploy'] });
    for (const each of [token!, null]) {
      expect((await world.http.call('PUT', path, undefined, { token: each })).status).toBe(403);
    }
    expect((await world.http.call('GET', path)).status).toBe(405);
  });
});
