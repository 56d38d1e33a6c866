import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Change, Gate } from './chaos/gate.js';
import { ChildSystem } from './support/child-system.js';
import { lentBy } from './support/lease-life.js';
import {
  keysOf,
  mountRooted,
  type Rooted,
  rootKeyOf,
  rotations,
  rotationsRest,
  staticCreds,
} from './support/rotation.js';
import { eventually, World } from './support/world.js';

/** Calls to AWS that a rotation is cut at: on their way, or with their effect done. */
const calls = ['ListAccessKeys', 'CreateAccessKey', 'DeleteAccessKey'].flatMap((action) =>
  (['before', 'after'] as const).map((stage) => ({ action, stage })),
);

/** Commits of a rotation that it is cut at. */
const commits: Pick<Change, 'on' | 'when'>[] = [
  { on: 'insert', when: 'true' },
  { on: 'update', when: 'old.known_key_ids is null and new.known_key_ids is not null' },
  { on: 'update', when: 'old.attempted_at is null and new.attempted_at is not null' },
  { on: 'update', when: `new.state = 'trying' and old.state = 'creating'` },
  { on: 'update', when: `new.state = 'retiring' and old.state = 'trying'` },
  { on: 'delete', when: 'true' },
];

describe('a system killed in the midst of a rotation', () => {
  let world: World;
  const child = new ChildSystem();

  beforeAll(async () => {
    world = await World.start({ run: child.run, timing: { claimMs: 1_000, tombstoneLooksMs: [200, 400, 1_000] } });
  });
  afterAll(() => world.close());

  const ask = (method: string, path: string, body?: object) => world.http.call(method, path, body).catch(() => 'cut');
  const aws = () => world.simulator.account();

  /** One key, which we know and which works; what it is for goes on. */
  async function isWhole({ path, userName }: Rooted): Promise<void> {
    expect(keysOf(world, userName)).toEqual([await rootKeyOf(world, { path })]);
    const { leaseId } = lentBy(await world.http.must(200, 'GET', `${path}/creds/deploy`));
    await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: leaseId, sync: true });
  }

  /** What was asked for has its effect now, which may be undone before anybody sees it. */
  async function arrives(hold: { release(): void }, { userName }: Rooted): Promise<void> {
    const asked = () => world.simulator.calls.list({ action: 'CreateAccessKey', userName }).length;
    const before = asked();
    hold.release();
    await eventually(() => asked() > before);
  }

  it('has one key of every root user, which it knows, wherever a call to AWS was cut', async () => {
    // One mount for every call, so that one kill cuts them all.
    const cuts = await Promise.all(
      calls.map(async (cut, nth) => ({ cut, mount: await mountRooted(world, `call${nth}`) })),
    );
    const held = cuts.map(({ cut, mount }) =>
      world.simulator.faults.hold(cut.action, cut.stage, { userName: mount.userName }),
    );
    const answers = cuts.map(({ mount }) => ask('POST', `${mount.path}/config/rotate-root`));
    await Promise.all(held.map((each) => each.reached));
    await child.kill();
    await Promise.all(answers);
    // What had left the process still arrives: half of it before the restart, half of it after.
    for (const each of held.slice(0, 3)) each.release();
    await world.resume();
    for (const each of held.slice(3)) each.release();
    await rotationsRest(world, 20_000);
    await Promise.all(cuts.map(({ mount }) => isWhole(mount)));
    for (const { mount } of cuts) expect(await rootKeyOf(world, mount)).not.toBe(mount.key.accessKeyId);
  }, 40_000);

  it('has one pair of every static role, which works, wherever a call to AWS was cut', async () => {
    const { path } = await mountRooted(world, 'static');
    const userOf = (nth: number) => `service-${nth}`;
    // The first key of each, and of the others the removal of it.
    for (const [nth, { action }] of calls.entries()) {
      aws().createUser(userOf(nth));
      if (action === 'DeleteAccessKey') {
        await world.http.must(200, 'POST', `${path}/static-roles/r${nth}`, {
          username: userOf(nth),
          rotation_period: 3600,
        });
      }
    }
    const held = calls.map(({ action, stage }, nth) =>
      world.simulator.faults.hold(action, stage, { userName: userOf(nth) }),
    );
    const answers = calls.map(({ action }, nth) =>
      action === 'DeleteAccessKey'
        ? ask('DELETE', `${path}/static-roles/r${nth}`)
        : ask('POST', `${path}/static-roles/r${nth}`, { username: userOf(nth), rotation_period: 3600 }),
    );
    await Promise.all(held.map((each) => each.reached));
    await child.kill();
    await Promise.all(answers);
    await world.resume();
    for (const each of held) each.release();
    await rotationsRest(world, 20_000);
    for (const [nth, { action }] of calls.entries()) {
      if (action === 'DeleteAccessKey') {
        expect(keysOf(world, userOf(nth))).toEqual([]);
        expect((await world.http.call('GET', `${path}/static-roles/r${nth}`)).status).toBe(404);
        continue;
      }
      const pair = await staticCreds(world, path, `r${nth}`);
      expect(keysOf(world, userOf(nth))).toEqual([pair.access_key]);
      expect(await world.whoIs(pair)).toContain(`:user/${userOf(nth)}`);
    }
  }, 40_000);

  it.each(['stand', 'lose'] as const)(
    'goes on after each commit that was cut and is to %s',
    async (fate) => {
      const mounts = await Promise.all(commits.map((_, nth) => mountRooted(world, `${fate}${nth}`)));
      const { rows } = await world.database.query<{ path: string; id: string }>('select path, id from mounts');
      const conditions = commits.map(({ on, when }, nth) => {
        const id = rows.find(({ path }) => path === `${fate}${nth}/`)!.id;
        return { on, when: `(${on === 'delete' ? 'old' : 'new'}.mount_id = '${id}' and ${when})` };
      });
      const changes = (['insert', 'update', 'delete'] as const).map((on): Change => {
        const when = conditions.filter((each) => each.on === on).map((each) => each.when);
        return { table: 'rotations', on, when: when.join(' or ') };
      });
      const gate = await Gate.before(world.options.databaseUrl, ...changes);
      const answers = mounts.map(({ path }) => ask('POST', `${path}/config/rotate-root`));
      await gate.reached(20_000, commits.length);
      await child.kill();
      await Promise.all(answers);
      await gate[fate]();
      await world.resume();
      await rotationsRest(world, 20_000);
      await Promise.all(mounts.map(isWhole));
      for (const [nth, mount] of mounts.entries()) {
        // A wish that was never stored is nobody's.
        const isBegun = nth > 0 || fate === 'stand';
        expect([nth, (await rootKeyOf(world, mount)) !== mount.key.accessKeyId]).toEqual([nth, isBegun]);
      }
    },
    40_000,
  );

  it('makes no third key when what it asked for arrives after the rotation is over', async () => {
    const mount = await mountRooted(world, 'late');
    const hold = world.simulator.faults.hold('CreateAccessKey', 'before', { userName: mount.userName });
    const answer = ask('POST', `${mount.path}/config/rotate-root`);
    await hold.reached;
    await child.kill();
    await answer;
    await world.resume();
    await eventually(async () => (await rotations(world)).every(({ state }) => state === 'watching'), 20_000);
    const known = await rootKeyOf(world, mount);
    expect([keysOf(world, mount.userName), known === mount.key.accessKeyId]).toEqual([[known], false]);
    await arrives(hold, mount);
    await rotationsRest(world, 20_000);
    await isWhole(mount);
  }, 30_000);

  it('leaves no key that arrives after the rotation was given up', async () => {
    const [mount, other] = [await mountRooted(world, 'given-up'), await mountRooted(world, 'other')];
    const hold = world.simulator.faults.hold('CreateAccessKey', 'before', { userName: mount.userName });
    const answer = ask('POST', `${mount.path}/config/rotate-root`);
    await hold.reached;
    await world.http.must(204, 'PUT', `${mount.path}/config/root`, {
      access_key: other.key.accessKeyId,
      secret_key: other.key.secretAccessKey,
    });
    await eventually(async () => (await rotations(world)).every(({ state }) => state === 'watching'), 20_000);
    expect(keysOf(world, mount.userName)).toEqual([mount.key.accessKeyId]);
    await arrives(hold, mount);
    await rotationsRest(world, 20_000);
    expect(keysOf(world, mount.userName)).toEqual([mount.key.accessKeyId]);
    await answer;
  }, 30_000);

  it('leaves no key that arrives after it was disabled while its system was down', async () => {
    const mount = await mountRooted(world, 'disabled');
    const hold = world.simulator.faults.hold('CreateAccessKey', 'before', { userName: mount.userName });
    await world.http.must(204, 'PUT', `${mount.path}/config/root`, { rotation_period: '1h' });
    const now = (change: string) =>
      world.database.query(
        `update root_configs set ${change}
         where superseded_at is null and mount_id = (select id from mounts where path = $1)`,
        [`${mount.path}/`],
      );
    await now('rotates_at = now()');
    await hold.reached;
    await child.kill();
    await now(`rotates_at = null, settings = settings || '{"disableAutomatedRotation": true}'`);
    await world.resume();
    await eventually(async () => (await rotations(world)).every(({ state }) => state === 'watching'), 20_000);
    await arrives(hold, mount);
    await rotationsRest(world, 20_000);
    expect(keysOf(world, mount.userName)).toEqual([mount.key.accessKeyId]);
  }, 30_000);
});
