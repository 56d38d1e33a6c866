import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { seedFederationPolicy } from '../../apps/simulator/src/index.js';
import type { HttpAnswer } from '../support/http-client.js';
import { comesToRest, lend, type Lent, lentBy, writeRole } from '../support/lease-life.js';
import { eventually, World } from '../support/world.js';

const hour = 3600;

/** How what is renewed lives: the seconds that it has been given, and whether there may be more. */
interface Life {
  seconds: number;
  renewable: boolean;
}

/**
 * Keeps something alive as the Go client's LifetimeWatcher does, and with it Vault Agent, consul-template and the operators of
 * clusters: it renews, sleeps two thirds of what it was given and a third of its grace, and is done when what is left, or would be
 * after that sleep, is within a grace of a tenth. Whoever uses it then asks for another one.
 * @param pass lets so many seconds pass.
 * @returns what it was given by each renewal, seconds.
 */
async function watch(
  { seconds: first, renewable }: Life,
  renew: () => Promise<Life>,
  pass: (seconds: number) => Promise<void>,
): Promise<number[]> {
  const given: number[] = [];
  let grace = first / 10;
  let left = first;
  for (;;) {
    const prior = left;
    if (renewable) {
      left = (await renew()).seconds;
      given.push(left);
    }
    if (left > prior) grace = left / 10;
    const sleep = (left * 2) / 3 + grace / 3;
    if (left <= grace || left - sleep <= grace) return given;
    await pass(sleep);
    // What cannot be renewed is what it was, less what has passed.
    if (!renewable) left -= sleep;
  }
}

describe('agents that keep a lease or a token alive', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    const account = world.simulator.account();
    account.putUserPolicy(account.existingUser('leasehold-root'), 'federate', seedFederationPolicy());
    await world.mount();
    await writeRole(world, 'deploy');
    await writeRole(world, 'federated', { credential_type: 'federation_token' });
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1h', lease_max: '4h' });
    await world.http.must(204, 'PUT', 'sys/policies/acl/lender', {
      policy: 'path "aws/creds/*" { capabilities = ["read"] } path "aws/sts/*" { capabilities = ["read", "update"] }',
    });
    await world.http.must(204, 'PUT', 'auth/approle/role/agent', {
      token_policies: 'lender',
      token_ttl: '1h',
      token_max_ttl: '4h',
    });
  });
  afterAll(() => world.close());
  afterEach(async () => {
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    await comesToRest(world);
  });

  /** Lets time pass for one row: PostgreSQL's clock decides what is due, so all instants of the row move back. */
  async function passFor(table: 'leases' | 'tokens', where: string, value: string, seconds: number): Promise<void> {
    const { rows } = await world.database.query<{ column: string }>(
      `select column_name as column from information_schema.columns
       where table_name = $1 and data_type = 'timestamp with time zone'`,
      [table],
    );
    const moves = rows.map(({ column }) => `${column} = ${column} - $2 * interval '1 second'`);
    await world.database.query(`update ${table} set ${moves.join()} where ${where} = $1`, [value, seconds]);
  }
  const passForLease = (leaseId: string) => (seconds: number) => passFor('leases', 'id', leaseId, seconds);
  const passForToken = (accessor: string) => (seconds: number) => passFor('tokens', 'accessor', accessor, seconds);

  const lifeOf = ({ body }: HttpAnswer): Life => ({ seconds: body.lease_duration, renewable: body.renewable });
  const authOf = ({ body }: HttpAnswer) =>
    body.auth as { client_token: string; accessor: string; lease_duration: number; renewable: boolean };

  /** What the Go client sends to renew a lease. */
  const renewLease = (leaseId: string) => () =>
    world.http.must(200, 'PUT', 'sys/leases/renew', { increment: 0, lease_id: leaseId }).then(lifeOf);

  /** Logs in with AppRole, as an agent with auto-auth does. */
  async function logIn() {
    const roleId = (await world.http.must(200, 'GET', 'auth/approle/role/agent/role-id')).body.data.role_id;
    const secretId = (await world.http.must(200, 'PUT', 'auth/approle/role/agent/secret-id')).body.data.secret_id;
    const body = { role_id: roleId, secret_id: secretId };
    return authOf(await world.http.must(200, 'PUT', 'auth/approle/login', body, { token: null }));
  }

  const isGone = async (lent: Lent) => (await world.whoIs(lent.keys)) === 'InvalidClientTokenId';

  it('renew an hour at two thirds of it until four hours are nearly over, then ask anew before the key is gone', async () => {
    const first = lentBy(await world.http.must(200, 'GET', 'aws/creds/deploy'));
    const given = await watch(
      { seconds: hour, renewable: true },
      renewLease(first.leaseId),
      passForLease(first.leaseId),
    );
    // Every 42 minutes another hour; then what is left of the four, which no renewal makes longer.
    expect(given.slice(0, -2)).toEqual(Array(given.length - 2).fill(hour));
    expect(given.length).toBeGreaterThanOrEqual(6);
    expect(given.at(-2)).toBeLessThan(hour);
    expect(given.at(-1)).toBeLessThan(given.at(-2)!);
    expect(await world.whoIs(first.keys)).toMatch(/:user\//);

    const second = await lend(world, 'deploy');
    await passForLease(first.leaseId)(given.at(-1)! + 1);
    await eventually(() => isGone(first));
    expect(await world.whoIs(second.keys)).toMatch(/:user\//);
    await comesToRest(world, [second]);
  });

  it('are told with the shorter time why it is shorter, and at last that there is no more', async () => {
    const lent = await lend(world, 'deploy');
    await passForLease(lent.leaseId)(hour / 2);
    await renewLease(lent.leaseId)();
    for (const _ of Array(4)) {
      await passForLease(lent.leaseId)(2400);
      await renewLease(lent.leaseId)();
    }
    await passForLease(lent.leaseId)(2000);
    const cut = await world.http.must(200, 'PUT', 'sys/leases/renew', { increment: 0, lease_id: lent.leaseId });
    expect(cut.body.warnings).toEqual([
      expect.stringMatching(/^TTL of "1h" exceeded the effective max_ttl of "\w+"; /),
    ]);
    expect(cut.body.renewable).toBe(true);
    // Past its end it is gone, and a renewal cannot bring it back.
    await passForLease(lent.leaseId)(cut.body.lease_duration + 1);
    const late = await world.http.call('PUT', 'sys/leases/renew', { increment: 0, lease_id: lent.leaseId });
    expect(late.status).toBe(400);
    expect(late.body.errors[0]).toMatch(/^lease (expired|not found)$/);
    await eventually(() => isGone(lent));
  });

  it('renew over a restart of the system as if there had been none', async () => {
    const lent = await lend(world, 'deploy');
    await passForLease(lent.leaseId)(2400);
    await world.restart();
    expect((await renewLease(lent.leaseId)()).seconds).toBe(hour);
    await passForLease(lent.leaseId)(2400);
    expect(await world.whoIs(lent.keys)).toMatch(/:user\//);
    await comesToRest(world, [lent]);
  });

  it('do not renew what cannot be renewed: they ask for another one while it still works', async () => {
    const answer = await world.http.must(200, 'GET', 'aws/sts/federated');
    const { leaseId, keys } = lentBy(answer);
    expect(answer.body.renewable).toBe(false);
    const life = lifeOf(answer);
    let renewals = 0;
    const renew = () => {
      renewals += 1;
      return Promise.resolve(life);
    };
    expect(await watch(life, renew, passForLease(leaseId))).toEqual([]);
    expect(renewals).toBe(0);
    // One that tries all the same is told so, and changes nothing.
    const before = (await world.http.must(200, 'PUT', 'sys/leases/lookup', { lease_id: leaseId })).body.data;
    expect(before).toMatchObject({ renewable: false });
    const tried = await world.http.call('PUT', 'sys/leases/renew', { increment: hour, lease_id: leaseId });
    expect([tried.status, tried.body.errors]).toEqual([400, ['lease is not renewable']]);
    const after = (await world.http.must(200, 'PUT', 'sys/leases/lookup', { lease_id: leaseId })).body.data;
    expect(after.expire_time).toBe(before.expire_time);
    expect(await world.whoIs(keys)).toMatch(/:federated-user\//);
    const next = lentBy(await world.http.must(200, 'GET', 'aws/sts/federated'));
    expect(next.leaseId).not.toBe(leaseId);
  });

  it('keep a token alive to its longest life, and log in again with a key of the new token in hand', async () => {
    const first = await logIn();
    const lent = lentBy(
      await world.http.must(200, 'GET', 'aws/creds/deploy', undefined, { token: first.client_token }),
    );
    const renew = async () => {
      const auth = authOf(
        await world.http.must(200, 'PUT', 'auth/token/renew-self', { increment: 0 }, { token: first.client_token }),
      );
      // Its lease is kept alive beside it.
      await world.http.must(
        200,
        'PUT',
        'sys/leases/renew',
        { increment: 0, lease_id: lent.leaseId },
        { token: first.client_token },
      );
      return { seconds: auth.lease_duration, renewable: auth.renewable };
    };
    const pass = async (seconds: number) => {
      await passForLease(lent.leaseId)(seconds);
      await passForToken(first.accessor)(seconds);
    };
    const given = await watch({ seconds: first.lease_duration, renewable: first.renewable }, renew, pass);
    expect(given.slice(0, -2)).toEqual(Array(given.length - 2).fill(hour));
    expect(given.at(-1)).toBeLessThan(hour / 2);

    const second = await logIn();
    const next = lentBy(
      await world.http.must(200, 'GET', 'aws/creds/deploy', undefined, { token: second.client_token }),
    );
    // The first token's time is over, and so is that of what it was lent.
    await passForToken(first.accessor)(given.at(-1)! + 1);
    await eventually(() => isGone(lent));
    expect(await world.whoIs(next.keys)).toMatch(/:user\/vault-approle-deploy-/);
    await comesToRest(world, [next]);
  });

  it('heal by themselves: a token that was taken away is refused in the words that they look for', async () => {
    const first = await logIn();
    const lent = lentBy(
      await world.http.must(200, 'GET', 'aws/creds/deploy', undefined, { token: first.client_token }),
    );
    await world.http.must(204, 'POST', 'auth/token/revoke-accessor', { accessor: first.accessor });
    await eventually(() => isGone(lent));
    for (const [method, path, body] of [
      ['PUT', 'auth/token/renew-self', { increment: 0 }],
      ['PUT', 'sys/leases/renew', { increment: 0, lease_id: lent.leaseId }],
      ['GET', 'aws/creds/deploy', undefined],
    ] as const) {
      const refused = await world.http.call(method, path, body, { token: first.client_token });
      expect([path, refused.status, refused.body.errors]).toEqual([
        path,
        403,
        ['2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n'],
      ]);
    }
    const second = await logIn();
    const next = lentBy(
      await world.http.must(200, 'GET', 'aws/creds/deploy', undefined, { token: second.client_token }),
    );
    await comesToRest(world, [next]);
  });

  it('render anew when an operator has revoked what they hold', async () => {
    const lent = await lend(world, 'deploy');
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws/creds/deploy');
    const refused = await world.http.call('PUT', 'sys/leases/renew', { increment: 0, lease_id: lent.leaseId });
    expect([refused.status, refused.body.errors]).toEqual([400, ['lease not found']]);
    const next = await lend(world, 'deploy');
    expect(next.leaseId).not.toBe(lent.leaseId);
    expect(await isGone(lent)).toBe(true);
    await comesToRest(world, [next]);
  });

  it('wait while the role is denied them, and go on with the token that they have', async () => {
    const { client_token: token } = await logIn();
    await world.http.must(204, 'PUT', 'sys/policies/acl/lender', {
      policy: 'path "aws/roles/*" { capabilities = ["list"] }',
    });
    const denied = await world.http.call('GET', 'aws/creds/deploy', undefined, { token });
    // Not the words of a dead token: logging in again would not help.
    expect([denied.status, denied.body.errors]).toEqual([403, ['1 error occurred:\n\t* permission denied\n\n']]);
    await world.http.must(200, 'PUT', 'auth/token/renew-self', { increment: 0 }, { token });
    await world.http.must(204, 'PUT', 'sys/policies/acl/lender', {
      policy: 'path "aws/creds/*" { capabilities = ["read"] }',
    });
    const lent = lentBy(await world.http.must(200, 'GET', 'aws/creds/deploy', undefined, { token }));
    await comesToRest(world, [lent]);
  });
});
