import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ChildSystem } from './support/child-system.js';
import { comesToRest, type Lent, lend, rowOf, someoneWaits, whileLocked, writeRole } from './support/lease-life.js';
import { eventually, World } from './support/world.js';

const stages = ['before', 'after'] as const;

describe('a system killed at any instant', () => {
  let world: World;
  let kept: Lent;
  const child = new ChildSystem();

  beforeAll(async () => {
    world = await World.start({ run: child.run, timing: { callerWaitMs: 3_000 } });
    await world.mount();
    await writeRole(world, 'kept');
    kept = await lend(world, 'kept');
  });
  afterAll(() => world.close());

  /** A call to AWS of each action, made for a user of a role of its own, kept from its end until the kill. */
  const holdEach = (actions: string[]) =>
    actions.flatMap((action) =>
      stages.map((stage) => {
        const role = `${action.replace(/[a-z]/g, '').toLowerCase()}-${stage}`;
        const hold = () => world.simulator.faults.hold(action, stage, { userName: `*-${role}-*` });
        return { role, hold };
      }),
    );

  const ask = (role: string) => world.http.call('GET', `aws/creds/${role}`).catch(() => 'cut');

  it('leaves no key of an issue that was cut before or after any of its calls', async () => {
    const cuts = holdEach(['CreateUser', 'PutUserPolicy', 'CreateAccessKey']);
    for (const { role } of cuts) await writeRole(world, role);
    const held = cuts.map(({ hold }) => hold());
    const answers = cuts.map(({ role }) => ask(role));
    await Promise.all(held.map((each) => each.reached));
    await child.kill();
    expect(await Promise.all(answers)).toEqual(cuts.map(() => 'cut'));

    // What had left the process still arrives; half of it before the restart, half of it after.
    for (const each of held.slice(0, 3)) each.release();
    await world.resume();
    for (const each of held.slice(3)) each.release();
    await comesToRest(world, [kept]);
    expect((await world.leases()).filter((row) => row.end_reason === 'issuer_lost')).toHaveLength(cuts.length);
  });

  it('leaves no key that was offered and not accepted when it died', async () => {
    const made = world.simulator.faults.hold('CreateAccessKey', 'after');
    const answer = ask('kept');
    await made.reached;
    await whileLocked(world, 'lock table tokens in access exclusive mode', async () => {
      made.release();
      await eventually(async () => (await world.leases()).some((row) => row.state === 'offered'));
      await child.kill();
      await world.database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'leasehold' and wait_event_type = 'Lock'`,
      );
    });
    expect(await answer).toBe('cut');
    await world.resume();
    await comesToRest(world, [kept]);
    expect((await world.leases()).at(-1)).toMatchObject({ end_reason: 'not_accepted' });
  });

  it('finishes every revocation that was cut before or after any of its calls', async () => {
    const cuts = holdEach(['DeleteAccessKey', 'DeleteUserPolicy', 'DeleteUser']);
    const lent: Lent[] = [];
    for (const { role } of cuts) {
      await writeRole(world, role);
      lent.push(await lend(world, role));
    }
    const held = cuts.map(({ hold }) => hold());
    for (const { leaseId } of lent)
      await world.http.must(202, 'PUT', 'sys/leases/revoke', { lease_id: leaseId, sync: false });
    await Promise.all(held.map((each) => each.reached));
    await child.kill();
    for (const each of held.slice(0, 3)) each.release();
    await world.resume();
    for (const each of held.slice(3)) each.release();
    await comesToRest(world, [kept]);
    for (const { leaseId } of lent) expect(await rowOf(world, leaseId)).toMatchObject({ end_reason: 'revoked' });
  });

  it('has renewed a lease wholly or not at all', async () => {
    const before = await rowOf(world, kept.leaseId);
    const answer = await whileLocked(
      world,
      `select 1 from leases where id = '${kept.leaseId}' for update`,
      async () => {
        const renewal = world.http
          .call('PUT', 'sys/renew', { lease_id: kept.leaseId, increment: 7200 })
          .catch(() => 'cut');
        await someoneWaits(world);
        await child.kill();
        return renewal;
      },
    );
    expect(answer).toBe('cut');
    await world.resume();
    const after = await rowOf(world, kept.leaseId);
    expect(after).toMatchObject({ state: 'active', due_at: after.expires_at });
    expect([before.expires_at!.getTime(), before.expires_at!.getTime() + 3_600_000]).toContainEqual(
      expect.closeTo(after.expires_at!.getTime(), -5),
    );
    expect(await world.whoIs(kept.keys)).toMatch(/:user\/vault-root-kept-/);
  });

  it('takes back, once it is up again, what ran out meanwhile', async () => {
    await world.http.must(204, 'PUT', 'aws/config/lease', { lease: '1s', lease_max: '1h' });
    await writeRole(world, 'brief');
    await lend(world, 'brief');
    await lend(world, 'brief');
    await child.kill();
    await eventually(async () => (await world.leases()).filter((row) => row.expires_at! < new Date()).length > 1);
    expect(world.lentUsers()).toHaveLength(3);
    await world.resume();
    await comesToRest(world, [kept]);
  });
});
