import { randomUUID } from 'node:crypto';
import type { INestApplicationContext } from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { OutOfTime } from '#libs/contracts';
import { Accepting, Issuing, Lease, Revoking } from '#libs/leases';
import { IssueTerms, Mounts, RootConfigs } from '#libs/roles';
import { DataSource } from 'typeorm';
import { Dispatch } from '../apps/revoker/src/dispatch.js';
import { IssueLease } from '../apps/issuer/src/issue-lease.js';
import { commandFor, issuerBeside, revokerBeside } from './support/beside.js';
import { lend, rowOf, someoneWaits, whileLocked, writeRole } from './support/lease-life.js';
import { eventually, World } from './support/world.js';

/** Longer than any story here: nobody else looks at such a lease. */
const inAnHour = `now() + interval '1 hour'`;

describe('those who ask PostgreSQL together', () => {
  let world: World;
  let issuer: INestApplicationContext;

  beforeAll(async () => {
    world = await World.start({ weather: {}, timing: { handOverMs: 60_000 } });
    await world.mount();
    await writeRole(world, 'deploy');
    issuer = await issuerBeside(world);
  });
  afterAll(async () => {
    await issuer.close();
    await world.close();
  });

  /** Leases that are offered, by their ids. */
  async function offered(count: number): Promise<string[]> {
    const commands = Array.from({ length: count }, () => commandFor(world, 'deploy'));
    const replies = await Promise.all(commands.map((command) => issuer.get(IssueLease).execute(command)));
    return replies.map(({ leaseId }) => leaseId).toSorted();
  }

  /** A lease as whoever has claimed it sees it. */
  async function claimed(leaseId: string): Promise<Lease> {
    await world.database.query(
      `update leases set state = 'revoking', claim_id = $2, due_at = ${inAnHour} where id = $1`,
      [leaseId, randomUUID()],
    );
    return issuer.get(DataSource).manager.findOneByOrFail(Lease, { id: leaseId });
  }

  const locked = <T>(leaseId: string, during: () => Promise<T>) =>
    whileLocked(world, `select 1 from leases where id = '${leaseId}' for update`, during);

  it('do not fail with a mount whose root credentials cannot be opened', async () => {
    await world.mount('damaged');
    await world.database.query(
      `update root_configs set sealed_secret_key = 'damaged' where mount_id = (select id from mounts where path = 'damaged/')`,
    );
    const asked = (mountPath: string) => issuer.get(IssueTerms).of({ mountPath, roleName: 'deploy', token: 'nobody' });
    const [damaged, whole] = await Promise.all([asked('damaged/'), asked('aws/')]);
    await expect(damaged!.openRoot()).rejects.toThrow();
    expect(await whole!.openRoot()).toMatchObject({ secretKey: world.root.secretAccessKey });

    const { rows } = await world.database.query(`select id from mounts order by path = 'aws/'`);
    const [openedDamaged, openedWhole] = await Promise.allSettled(
      rows.map(({ id }: { id: string }) => issuer.get(RootConfigs).openAll(id)),
    );
    expect(openedDamaged!.status).toBe('rejected');
    expect(openedWhole).toMatchObject({ status: 'fulfilled', value: [{ secretKey: world.root.secretAccessKey }, {}] });
  });

  it('are told of what they named, however that is spelt', async () => {
    const asked = (mountPath: string, roleName: string) =>
      issuer.get(IssueTerms).of({ mountPath, roleName, token: 'nobody' });
    const [named, spelt] = await Promise.all([asked('aws/', 'b/ deploy'), asked('aws/ b/', 'deploy')]);
    expect(named).toMatchObject({ mount: { path: 'aws/' }, role: null });
    expect(spelt).toBeNull();
  });

  it('are told of the mount that is at a path, and of none that was', async () => {
    for (let mounts = 0; mounts < 2; mounts += 1) {
      await world.mount('again');
      await world.http.must(204, 'DELETE', 'sys/mounts/again');
    }
    const asked = { mountPath: 'again/', roleName: 'deploy', token: 'nobody' };
    expect(await issuer.get(IssueTerms).of(asked)).toBeNull();
    expect(await issuer.get(Mounts).route('again/creds/deploy')).toBeNull();
    await world.mount('again');
    const living = await issuer.get(Mounts).find('again/');
    await world.database.query(`update mounts set removed_at = removed_at where removed_at is not null`);
    expect((await issuer.get(IssueTerms).of(asked))!.mount.id).toBe(living!.id);
    expect((await issuer.get(Mounts).route('again/creds/deploy'))!.id).toBe(living!.id);
  });

  it('are not held up by a path longer than any mount’s, each of whose parts might be one', async () => {
    const { manager } = issuer.get(DataSource);
    const asked = jest.spyOn(manager, 'query');
    const route = (path: string) => issuer.get(Mounts).route(path);
    const longest = 'm'.repeat(1_023);
    await world.mount(longest);
    const paths = ['a/'.repeat(6_500), 'aws/creds/deploy', `${longest}/creds/deploy`];
    const found = await Promise.all(paths.map(route));
    expect(found.map((mount) => mount && mount.path)).toEqual([null, 'aws/', `${longest}/`]);
    expect(JSON.stringify(asked.mock.calls).length).toBeLessThan(1e6);
    asked.mockRestore();
  });

  it('leave a lease irrevocable whose refusal is cut within a character, or has one that PostgreSQL cannot store', async () => {
    for (const error of [`${'x'.repeat(239)}\u{1f511}`, 'refused\0']) {
      const lease = await claimed((await offered(1))[0]!);
      await issuer.get(Revoking).settle(lease, { kind: 'refused', error, permanent: true, mayBeLag: false });
      expect(await rowOf(world, lease.id)).toMatchObject({
        state: 'irrevocable',
        last_error: expect.stringMatching(/\ufffd$/),
      });
    }
  });

  it('are not told of an end that another one of them has written, who had taken the claim over', async () => {
    const [leaseId] = await offered(1);
    const lost = await claimed(leaseId!);
    const held = await claimed(leaseId!);
    const settle = (lease: Lease) => issuer.get(Revoking).settle(lease, { kind: 'gone' });
    expect(await Promise.all([settle(lost), settle(held)])).toEqual([
      null,
      expect.objectContaining({ state: 'ended' }),
    ]);
  });

  it('are taken back each for a reason of its own', async () => {
    const [one, other] = (await offered(2)) as [string, string];
    const revoking = issuer.get(Revoking);
    await Promise.all([revoking.ask({ leaseId: one }, 'token_ended'), revoking.ask({ leaseId: other }, 'revoked')]);
    expect(await rowOf(world, one)).toMatchObject({ end_reason: 'token_ended' });
    expect(await rowOf(world, other)).toMatchObject({ end_reason: 'revoked' });
  });

  it('are held up by nobody who holds the lease of one of them', async () => {
    const revoking = issuer.get(Revoking);
    const issuing = issuer.get(Issuing);
    const accept = (leaseId: string) => issuer.get(Accepting).accept(leaseId);
    const revoke = (leaseId: string) => revoking.ask({ leaseId }, 'revoked');
    const offer = (leaseId: string) => issuing.offer(leaseId, `AKIA${leaseId.slice(-12)}`, 60_000, false);

    /** What is asked of the second one is done while the first one is held. */
    const pass = async (ids: string[], ask: (leaseId: string) => Promise<unknown>) => {
      const asked = await locked(ids[0]!, async () => {
        const both = ids.map(ask);
        await both[1];
        return both;
      });
      await Promise.all(asked);
    };

    const [one, other] = (await offered(2)) as [string, string];
    await pass([one, other], accept);
    for (const leaseId of [one, other]) expect(await rowOf(world, leaseId)).toMatchObject({ state: 'active' });

    await pass([one, other], revoke);
    for (const leaseId of [one, other]) expect(await rowOf(world, leaseId)).toMatchObject({ end_reason: 'revoked' });

    const leases = new Map([
      [one, await claimed(one)],
      [other, await claimed(other)],
    ]);
    await pass([one, other], (leaseId) => revoking.settle(leases.get(leaseId)!, { kind: 'gone' }));
    for (const leaseId of [one, other]) expect(await rowOf(world, leaseId)).toMatchObject({ state: 'ended' });

    const intents = await offered(2);
    await world.database.query(
      `update leases set state = 'issuing', access_key_id = null, due_at = ${inAnHour} where id = any($1)`,
      [intents],
    );
    await pass(intents, offer);
    for (const leaseId of intents) expect(await rowOf(world, leaseId)).toMatchObject({ state: 'offered' });
  });

  it('never wait in a circle with a request for all leases of a mount', async () => {
    const deadlocks = async () =>
      (await world.database.query(`select deadlocks::integer from pg_stat_database where datname = current_database()`))
        .rows[0].deadlocks as number;
    const beside = await issuerBeside(world);
    const revoking = beside.get(Revoking);
    const leases: Lease[] = [];
    // The last one first: so they lie in the table, and so their ends are written.
    for (const leaseId of (await offered(2)).toReversed()) leases.push(await claimed(leaseId));
    const before = await deadlocks();
    const { work, pids } = await locked(leases[1]!.id, async () => {
      const asked = revoking.ask({ prefix: 'aws/creds/deploy' }, 'revoked');
      await someoneWaits(world, 'with sts as');
      const ends = leases.map((lease) => revoking.settle(lease, { kind: 'gone' }));
      await someoneWaits(world, 'with next as');
      const { rows } = await world.database.query<{ pid: number }>(
        `select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return { work: [asked, ...ends], pids: rows.map(({ pid }) => pid) };
    });
    await Promise.all(work);
    await beside.close();
    // What a connection has counted is told at its end.
    await eventually(async () => {
      const left = await world.database.query(`select 1 from pg_stat_activity where pid = any($1)`, [pids]);
      return left.rows.length === 0;
    });
    expect(await deadlocks()).toBe(before);
  });
});

describe('between two sweeps', () => {
  let world: World;
  let revoker: INestApplicationContext;

  beforeAll(async () => {
    world = await World.start({ weather: {}, timing: { sweepEveryMs: 600_000 } });
    await world.mount();
    await writeRole(world, 'deploy');
    revoker = await revokerBeside(world);
    await world.database.query(
      `create function wait_before_claiming() returns trigger language plpgsql as $$ begin
         perform pg_advisory_xact_lock_shared(7);
         return new;
       end $$;
       create trigger claims_late before update on leases for each row when (new.claim_id is not null)
         execute function wait_before_claiming()`,
    );
  });
  afterAll(async () => {
    await revoker.close();
    await world.close();
  });

  it('a revoker that is rung while it looks at a mount looks once more', async () => {
    const leases = [await lend(world, 'deploy'), await lend(world, 'deploy')];
    const due = async ({ leaseId }: { leaseId: string }) => {
      const { rows } = await world.database.query<{ mountId: string }>(
        `with due as (
           update leases set state = 'revoking', end_reason = 'revoked', due_at = now() where id = $1 returning mount_id
         ) select mount_id as "mountId" from due`,
        [leaseId],
      );
      void revoker.get(Dispatch).ring({ leaseId, mountId: rows[0]!.mountId, isDue: true });
    };
    await whileLocked(world, `select pg_advisory_xact_lock(7)`, async () => {
      await due(leases[0]!);
      await someoneWaits(world, 'with due as');
      await due(leases[1]!);
    });
    await eventually(async () => (await world.leases()).every(({ state }) => state === 'ended'));
  });

  it('nothing is offered or accepted after its time, though nobody has taken it back yet', async () => {
    const issuer = await issuerBeside(world);
    const { leaseId } = await issuer.get(IssueLease).execute(commandFor(world, 'deploy'));
    await world.database.query(
      `update leases set state = 'issuing', access_key_id = null, due_at = now() where id = $1`,
      [leaseId],
    );
    await expect(issuer.get(Issuing).offer(leaseId, 'AKIALATE', 60_000, false)).rejects.toThrow(OutOfTime);
    expect(await rowOf(world, leaseId)).toMatchObject({ state: 'issuing' });
    await world.database.query(`update leases set state = 'offered' where id = $1`, [leaseId]);
    await expect(issuer.get(Accepting).accept(leaseId)).rejects.toThrow(OutOfTime);
    expect(await rowOf(world, leaseId)).toMatchObject({ state: 'offered' });
    await issuer.close();
  });
});

describe('two issuers with one place left in an account', () => {
  let world: World;
  let issuers: INestApplicationContext[];
  const issueByEach = () =>
    Promise.allSettled(issuers.map((issuer) => issuer.get(IssueLease).execute(commandFor(world, 'deploy'))));

  beforeAll(async () => {
    world = await World.start({ weather: {}, surroundings: { usersPerAccount: 1 } });
    await world.mount();
    await writeRole(world, 'deploy');
    issuers = [await issuerBeside(world), await issuerBeside(world)];
    const { leaseId } = await lend(world, 'deploy');
    await world.http.must(204, 'PUT', `sys/revoke/${leaseId}`);
  });
  afterAll(async () => {
    for (const issuer of issuers) await issuer.close();
    await world.close();
  });

  it('give it to one caller, whose intent the other one waits for', async () => {
    const { both } = await whileLocked(world, `select 1 from aws_accounts for update`, async () => {
      const asked = issueByEach();
      await eventually(async () => {
        const { rows } = await world.database.query(
          `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
             and starts_with(query, 'with asked as')`,
        );
        return rows.length === 2;
      });
      return { both: asked };
    });
    expect((await both).map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(world.lentUsers()).toHaveLength(1);
    await eventually(() => world.lentUsers().length === 0);
  });

  it('open nothing before AWS was asked who else has users there', async () => {
    await world.database.query(`update aws_accounts set count_due_at = null`);
    const hold = world.simulator.faults.hold('GetAccountSummary', 'before');
    const both = issueByEach();
    await hold.reached;
    expect((await world.leases()).filter(({ state }) => state !== 'ended')).toEqual([]);
    hold.release();
    expect((await both).map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });
});
