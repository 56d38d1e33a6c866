import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { ChildSystem } from './support/child-system.js';
import { everything } from './support/everything.js';
import {
  comesToRest,
  type Lent,
  lentBy,
  policyDocument,
  rowOf,
  someoneWaits,
  whileLocked,
} from './support/lease-life.js';
import { giveTokens } from './support/tokens.js';
import { eventually, World } from './support/world.js';

describe('moving a mount to another path', () => {
  let world: World;
  let names = 0;
  const child = new ChildSystem();

  beforeAll(async () => {
    world = await World.start({
      weather: {},
      run: child.run,
      timing: { syncOneMs: 300, maxAttempts: 2, retryBaseMs: 50, tombstoneLooksMs: [50] },
    });
  });
  afterAll(() => world.close());
  afterEach(() => world.simulator.faults.clear());

  const call = (method: string, path: string, body?: object) => world.http.call(method, path, body);
  const get = async (path: string) => (await world.http.must(200, 'GET', path)).body;
  /** How the statement begins that asks for a mount's leases. */
  const asksBack = 'with sts as';
  /** A mount of its own with a role, and where it is to go. */
  async function mounted() {
    const from = `from-${(names += 1)}`;
    await world.mount(from);
    await world.http.must(204, 'PUT', `${from}/roles/deploy`, {
      credential_type: 'iam_user',
      policy_document: policyDocument,
    });
    return { from, to: `moved/to-${names}` };
  }
  const lend = async (mount: string) => lentBy(await world.http.must(200, 'GET', `${mount}/creds/deploy`));
  const move = async (from: string, to: string) =>
    (await world.http.must(200, 'POST', 'sys/remount', { from, to })).body.data.migration_id as string;
  const standing = async (id: string) =>
    (await get(`sys/remount/status/${id}`)).data.migration_info as { status: string; error?: string };
  const comesTo = (id: string, status: string) => eventually(async () => (await standing(id)).status === status);
  const isThere = async ({ leaseId }: Lent) =>
    (await call('PUT', 'sys/leases/lookup', { lease_id: leaseId })).status === 200;

  it('takes back what was lent under the old path, and takes along all that the engine has', async () => {
    const { from, to } = await mounted();
    await world.http.must(204, 'PUT', `${from}/config/lease`, { lease: '10m', lease_max: '2h' });
    await world.http.must(204, 'POST', `sys/mounts/${from}/tune`, {
      description: 'theirs',
      listing_visibility: 'hidden',
    });
    const paths = ['config/root', 'config/lease', 'roles/deploy', 'roles?list=true'];
    const told = (mount: string) => Promise.all(paths.map(async (path) => (await get(`${mount}/${path}`)).data));
    const before = { told: await told(from), info: (await get(`sys/mounts/${from}`)).data };
    const lent = await lend(from);

    const { body } = await world.http.must(200, 'POST', 'sys/remount', { from: `/${from}/`, to: `${to}/` });
    const { migration_id } = body.data;
    expect(body).toMatchObject({
      migration_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      warnings: [
        "Mount move has been queued. Progress will be reported in Vault's server log, tagged with the returned migration_id",
      ],
    });
    expect((await get(`sys/remount/status/${String(migration_id)}`)).data).toEqual({
      migration_id,
      migration_info: { source_mount: `${from}/`, target_mount: `${to}/`, status: 'success' },
    });

    expect([await isThere(lent), await world.whoIs(lent.keys)]).toEqual([false, 'InvalidClientTokenId']);
    expect(await rowOf(world, lent.leaseId)).toMatchObject({ state: 'ended', end_reason: 'unmounted' });
    expect({ told: await told(to), info: (await get(`sys/mounts/${to}`)).data }).toEqual(before);
    const anew = await world.http.must(200, 'GET', `${to}/creds/deploy`);
    expect([anew.body.lease_duration, anew.body.lease_id.startsWith(`${to}/creds/deploy/`)]).toEqual([600, true]);
    for (const path of ['roles/deploy', 'creds/deploy']) {
      const gone = await call('GET', `${from}/${path}`);
      expect([gone.status, gone.body.errors]).toEqual([
        404,
        [`no handler for route "${from}/${path}". route entry not found.`],
      ]);
    }
    await world.http.must(204, 'POST', `sys/mounts/${from}`, { type: 'aws' });
    expect((await call('GET', `${from}/roles/deploy`)).status).toBe(404);
    await world.http.must(204, 'DELETE', `sys/mounts/${to}`);
    await comesToRest(world);
  });

  it.each([
    [{}, "both 'from' and 'to' path must be specified as a string"],
    [{ from: 'stays' }, "both 'from' and 'to' path must be specified as a string"],
    [{ from: '', to: 'x' }, "both 'from' and 'to' path must be specified as a string"],
    [{ from: '/', to: 'x' }, "both 'from' and 'to' path must be specified as a string"],
    [{ from: 'nowhere', to: 'x' }, 'no matching mount at "nowhere/"'],
    [{ from: 'stays/roles', to: 'x' }, 'no matching mount at "stays/roles/"'],
    [{ from: 'STAYS', to: 'x' }, 'no matching mount at "STAYS/"'],
    [{ from: 'stays', to: 'other' }, 'path already in use at "other/"'],
    [{ from: 'stays', to: 'other/below' }, 'path already in use at "other/"'],
    [{ from: 'stays', to: 'stays' }, 'path already in use at "stays/"'],
    [{ from: 'stays', to: 'stays/below' }, 'path already in use at "stays/"'],
    [{ from: 'sys', to: 'x' }, 'cannot remount "sys/"'],
    [{ from: 'auth/token', to: 'x' }, 'cannot remount "auth/token/"'],
    [{ from: 'cubbyhole', to: 'x' }, 'cannot remount "cubbyhole/"'],
    [{ from: 'stays', to: 'sys/x' }, 'cannot remount to destination sys/x/'],
    [{ from: 'stays', to: '//auth//x' }, 'cannot remount to destination auth/x/'],
    [{ from: 'stays', to: 'a/../other' }, 'relative paths not supported'],
    [{ from: 'stays/./', to: 'x' }, 'relative paths not supported'],
    [{ from: 'stays', to: 'x\u202e' }, 'path cannot contain non-printable characters'],
    [{ from: 'stays', to: 'x/'.repeat(600) }, 'mount path is longer than 1024 bytes'],
  ])('is refused for %j', async (body, text) => {
    for (const path of ['stays', 'other']) {
      if ((await call('GET', `sys/mounts/${path}`)).status !== 200) await world.mount(path);
    }
    const before = await everything(world);
    const answer = await call('POST', 'sys/remount', body);
    expect([answer.status, answer.body.errors]).toEqual([400, [text]]);
    expect(await everything(world)).toEqual(before);
  });

  it('is for who has sudo on it, and nobody else', async () => {
    const { from, to } = await mounted();
    const policy = (name: string, words: string[]) =>
      world.http.must(204, 'PUT', `sys/policies/acl/${name}`, {
        policy: `path "sys/remount" { capabilities = ${JSON.stringify(words)} }`,
      });
    await policy('mover', ['update', 'sudo']);
    await policy('asker', ['update']);
    const [mover, asker] = await giveTokens(world, { policies: ['mover'] }, { policies: ['asker'] });
    const ask = (token: string | null) => world.http.call('POST', 'sys/remount', { from, to }, { token });
    for (const token of [null, asker!]) expect((await ask(token)).status).toBe(403);
    expect((await get(`sys/mounts/${from}`)).data.type).toBe('aws');
    expect((await ask(mover!)).status).toBe(200);
    expect((await get(`sys/mounts/${to}`)).data.type).toBe('aws');
  });

  it('knows no move but those that were asked for', async () => {
    for (const id of ['nobody', '00000000-0000-0000-0000-000000000000', "'"]) {
      const answer = await call('GET', `sys/remount/status/${id}`);
      expect([answer.status, answer.body.errors]).toEqual([404, []]);
    }
  });

  it('serves nothing and gives neither path away while AWS is slow, and ends by itself', async () => {
    const { from, to } = await mounted();
    const lent = await lend(from);
    const held = world.simulator.faults.hold('DeleteUser', 'before');
    const id = await move(from, to);
    await held.reached;
    expect(await standing(id)).toMatchObject({ status: 'in-progress' });
    for (const path of [`${from}/creds/deploy`, `${from}/roles/deploy`]) {
      const answer = await call('GET', path);
      expect([answer.status, answer.body.errors]).toEqual([404, [expect.stringContaining('is tainted.')]]);
    }
    expect((await call('PUT', 'sys/leases/renew', { lease_id: lent.leaseId })).body.errors).toEqual(['lease expired']);
    const refusals = [];
    for (const [path, body] of [
      [`sys/mounts/${from}`, { type: 'aws' }],
      [`sys/mounts/${to}`, { type: 'aws' }],
      [`sys/mounts/${to}/below`, { type: 'aws' }],
      ['sys/remount', { from, to: 'elsewhere' }],
      ['sys/remount', { from: 'stays', to }],
    ] as const) {
      refusals.push((await call('POST', path, body)).body.errors[0]);
    }
    expect(refusals).toEqual([
      `path is already in use at ${from}/`,
      `path is already in use at ${to}/`,
      `path is already in use at ${to}/`,
      `the mount at "${from}/" is being moved or taken down; ask again when that is over`,
      `path already in use at "${to}/"`,
    ]);
    held.release();
    await comesTo(id, 'success');
    expect((await get(`${to}/roles/deploy`)).data.credential_type).toBe('iam_user');
  });

  it('of many at once to one path lets one through', async () => {
    const mounts = [await mounted(), await mounted(), await mounted()];
    const answers = await Promise.all(mounts.map(({ from }) => call('POST', 'sys/remount', { from, to: 'wanted' })));
    expect(answers.map((answer) => answer.status).sort()).toEqual([200, 400, 400]);
    const paths = Object.keys((await get('sys/mounts')).data);
    expect(paths.filter((path) => path === 'wanted/' || mounts.some(({ from }) => path === `${from}/`))).toHaveLength(
      3,
    );
    await world.http.must(204, 'DELETE', 'sys/mounts/wanted');
  });

  it('is given up where AWS does not let a lease go: the engine stays, serves, and can be moved later', async () => {
    const { from, to } = await mounted();
    const lent = await lend(from);
    world.simulator.faults.fail({ action: 'DeleteAccessKey', code: 'AccessDenied', status: 403 });
    const id = await move(from, to);
    await comesTo(id, 'failure');
    const { error } = await standing(id);
    expect(error).toContain(`AWS does not let go of "${lent.leaseId}": `);
    expect(error).toContain('AccessDenied');
    world.simulator.faults.clear();
    const another = await lend(from);
    expect(await isThere(lent)).toBe(true);
    const again = await move(from, to);
    await comesTo(again, 'success');
    expect(await standing(id)).toMatchObject({ status: 'failure' });
    expect([await isThere(lent), await isThere(another)]).toEqual([false, false]);
    await comesToRest(world);
  });

  it('is given up when the mount is taken down meanwhile', async () => {
    const { from, to } = await mounted();
    await lend(from);
    const held = world.simulator.faults.hold('DeleteUser', 'before');
    const id = await move(from, to);
    await held.reached;
    const down = call('DELETE', `sys/mounts/${from}`);
    await comesTo(id, 'failure');
    held.release();
    expect((await down).status).toBe(204);
    expect(await standing(id)).toMatchObject({ error: 'the mount was taken down' });
    const paths = Object.keys((await get('sys/mounts')).data);
    expect(paths.filter((path) => path === `${from}/` || path === `${to}/`)).toEqual([]);
  });

  it('is given up when the mount is taken down at the same instant', async () => {
    const { from, to } = await mounted();
    await world.database.query(
      `create function wait_before_moving() returns trigger language plpgsql as $$ begin
         perform pg_advisory_xact_lock(7);
         return null;
       end $$;
       create trigger begins_late before insert on mount_moves for each statement execute function wait_before_moving()`,
    );
    const [moving, down] = await whileLocked(world, 'select pg_advisory_xact_lock(7)', async () => {
      const asked = [call('POST', 'sys/remount', { from, to })];
      await someoneWaits(world);
      asked.push(call('DELETE', `sys/mounts/${from}`));
      await someoneWaits(world, 'update mounts set tainted_at');
      return asked.map((answer) => ({ answer }));
    });
    const answers = [await moving!.answer, await down!.answer];
    await world.database.query('drop function wait_before_moving cascade');
    expect(answers.map((answer) => answer.status)).toEqual([200, 204]);
    expect(await standing(answers[0]!.body.data.migration_id as string)).toMatchObject({ status: 'failure' });
    const paths = Object.keys((await get('sys/mounts')).data);
    expect(paths.filter((path) => path === `${from}/` || path === `${to}/`)).toEqual([]);
  });

  it('hands nothing over that was ordered under the old path', async () => {
    const { from, to } = await mounted();
    // One is ordered and not opened, and one is opened and not made, when the mount moves.
    const identity = world.simulator.faults.hold('GetCallerIdentity', 'before');
    const ordered = call('GET', `${from}/creds/deploy`);
    await identity.reached;
    await move(from, to);
    identity.release();
    expect((await ordered).status).toBe(404);

    const made = world.simulator.faults.hold('CreateUser', 'before');
    const opened = call('GET', `${to}/creds/deploy`);
    await made.reached;
    await move(to, from);
    expect((await get(`sys/mounts/${from}`)).data.type).toBe('aws');
    made.release();
    expect((await opened).status).toBe(503);
    await comesToRest(world);

    // One's user is removed before it has its policy: that AWS refuses the rest is no fault of the role.
    const policy = world.simulator.faults.hold('PutUserPolicy', 'before');
    const removed = call('GET', `${from}/creds/deploy`);
    await policy.reached;
    await comesTo(await move(from, to), 'success');
    await eventually(async () => world.lentUsers().length === 0);
    world.simulator.faults.fail({ action: 'PutUserPolicy', code: 'NoSuchThing', times: 1 });
    policy.release();
    expect((await removed).status).toBe(503);
    await comesToRest(world);
    await comesTo(await move(to, from), 'success');

    // One stands before a lock since before the move, and is opened when that has asked for all leases there were.
    const late = await whileLocked(world, `select 1 from aws_accounts for update`, async () => {
      const waiting = { answer: call('GET', `${from}/creds/deploy`) };
      await someoneWaits(world, 'with asked as');
      await comesTo(await move(from, to), 'success');
      return waiting;
    });
    expect((await late.answer).status).toBe(503);
    await comesToRest(world);
  });

  it('takes nothing back of what is lent once it is over, however late its server asks for the leases', async () => {
    const { from, to } = await mounted();
    // The mount has lent nothing, so that a sweep ends the move before its server has asked for any lease.
    await world.database.query(
      `create function wait_before_asking() returns trigger language plpgsql as $$ begin
         if current_query() like 'with sts as%' then perform pg_advisory_xact_lock(7); end if;
         return null;
       end $$;
       create trigger asks_late before update on leases for each statement execute function wait_before_asking()`,
    );
    const lent = await whileLocked(world, 'select pg_advisory_xact_lock(7)', async () => {
      const moving = move(from, to);
      await someoneWaits(world, asksBack);
      await eventually(async () => (await call('GET', `sys/mounts/${to}`)).status === 200);
      return { ...(await lend(to)), moving };
    });
    await comesTo(await lent.moving, 'success');
    await world.database.query('drop function wait_before_asking cascade');
    expect(await rowOf(world, lent.leaseId)).toMatchObject({ state: 'active', end_reason: null });
    expect([await isThere(lent), await world.whoIs(lent.keys)]).toEqual([true, expect.stringContaining(':user/')]);
    await world.http.must(204, 'PUT', `sys/leases/revoke-prefix/${to}`);
  });

  it('goes on when its server dies before the leases are asked for, and after', async () => {
    const [one, other] = [await mounted(), await mounted()];
    for (const { from } of [one, other]) await lend(from);
    const held = world.simulator.faults.hold('DeleteUser', 'before');
    const ask = (mount: typeof one) => call('POST', 'sys/remount', mount).catch(() => 'cut');
    const second = ask(other);
    await held.reached;
    const first = await whileLocked(world, 'lock table leases in share row exclusive mode', async () => {
      const cut = ask(one);
      // The sweep stands there as well, before the move has begun.
      await someoneWaits(world, asksBack);
      await child.kill();
      return cut;
    });
    expect([first, await second].map((answer) => (answer === 'cut' ? answer : 'answered'))).toContain('cut');
    held.release();
    await world.resume();
    for (const { from, to } of [one, other]) {
      await eventually(async () => (await call('GET', `sys/mounts/${to}`)).status === 200);
      expect((await call('GET', `sys/mounts/${from}`)).status).toBe(400);
      expect((await lend(to)).leaseId).toContain(`${to}/creds/`);
      await world.http.must(204, 'PUT', `sys/leases/revoke-prefix/${to}`);
    }
    const { rows } = await world.database.query(`select 1 from mount_moves where state = 'in-progress'`);
    expect(rows).toEqual([]);
    await comesToRest(world);
  });
});
