import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ChildSystem } from './support/child-system.js';
import { comesToRest, lentBy, rowOf, someoneWaits, whileLocked, writeRole } from './support/lease-life.js';
import { eventually, World } from './support/world.js';

describe('the end of a token', () => {
  let world: World;
  const child = new ChildSystem();

  beforeAll(async () => {
    world = await World.start({ weather: {}, run: child.run });
    await world.mount();
    await writeRole(world, 'deploy');
  });
  afterAll(() => world.close());

  const as = (token: string) => ({ token });
  const create = async (body: object, token = world.http.token) => {
    const answer = await world.http.must(200, 'POST', 'auth/token/create', body, as(token));
    return (answer.body.auth as { client_token: string }).client_token;
  };
  const lendTo = async (token: string) =>
    lentBy(await world.http.must(200, 'GET', 'aws/creds/deploy', undefined, as(token)));
  const revoke = (token: string) => world.http.call('PUT', 'auth/token/revoke', { token }).catch(() => 'cut');
  const isKnown = async (token: string) =>
    (await world.http.call('POST', 'auth/token/lookup', { token })).status === 200;
  const limited = { policies: ['root'], ttl: '1h' };
  /** Tokens that live below one that has ended, or whose end was not seen to. */
  const loose = async () => {
    const { rows } = await world.database.query(
      `select t.path from tokens t left join tokens p on p.id = t.parent_id
       where t.ended_at is null and p.ended_at is not null or t.ended_at is not null and t.due_at is not null`,
    );
    return rows;
  };
  /** What waits for a lock goes on in PostgreSQL though its process has died. */
  const cutWaiting = () =>
    world.database.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'leasehold' and wait_event_type = 'Lock'`,
    );

  it('ends all below it at once, and takes back what the lowest were lent first', async () => {
    const parent = await create(limited);
    const middle = await create(limited, parent);
    const lowest = await create(limited, middle);
    const [ofParent, ofLowest] = [await lendTo(parent), await lendTo(lowest)];
    const { answer, seen } = await whileLocked(
      world,
      `select 1 from leases where id = '${ofParent.leaseId}' for update`,
      async () => {
        const asked = revoke(parent);
        await someoneWaits(world);
        await eventually(async () => (await rowOf(world, ofLowest.leaseId)).state === 'ended');
        return {
          answer: asked,
          seen: {
            known: [await isKnown(parent), await isKnown(middle), await isKnown(lowest)],
            lease: (await rowOf(world, ofParent.leaseId)).state,
          },
        };
      },
    );
    expect(seen).toEqual({ known: [false, false, false], lease: 'active' });
    expect(await answer).toMatchObject({ status: 204 });
    await comesToRest(world);
    for (const { leaseId } of [ofParent, ofLowest])
      expect(await rowOf(world, leaseId)).toMatchObject({ end_reason: 'token_ended' });
    expect(await loose()).toEqual([]);
  });

  it('refuses an issue that is under way, and nothing of it stays', async () => {
    const token = await create(limited);
    const made = world.simulator.faults.hold('CreateAccessKey', 'after');
    const answer = world.http.call('GET', 'aws/creds/deploy', undefined, as(token));
    await made.reached;
    await revoke(token);
    made.release();
    expect((await answer).status).toBe(503);
    await comesToRest(world);
  });

  it('finds a child that is being born meanwhile', async () => {
    const parent = await create(limited);
    // The birth stops behind the look at its parent, before its row is there.
    await world.database.query(
      `create function hold_birth() returns trigger language plpgsql as
         $$ begin perform pg_advisory_xact_lock_shared(15); return new; end $$;
       create trigger hold_birth before insert on tokens for each row execute function hold_birth()`,
    );
    const { born, revoked } = await whileLocked(world, `select pg_advisory_xact_lock(15)`, async () => {
      const birth = create({ policies: ['x'], ttl: '1h' }, parent);
      await someoneWaits(world);
      let isRevoked = false;
      const revocation = revoke(parent).then((answer) => {
        isRevoked = true;
        return answer;
      });
      await eventually(async () => {
        const { rows } = await world.database.query(
          `select 1 from pg_stat_activity
           where datname = current_database() and application_name = 'leasehold' and wait_event_type = 'Lock'`,
        );
        return isRevoked || rows.length > 1;
      });
      return { born: birth, revoked: revocation };
    });
    expect(await revoked).toMatchObject({ status: 204 });
    expect([await isKnown(parent), await isKnown(await born)]).toEqual([false, false]);
    expect(await loose()).toEqual([]);
    await world.database.query(`drop function hold_birth() cascade`);
  });

  it('is finished by whoever comes up again, when it was marked and its leases were not moved', async () => {
    const parent = await create(limited);
    const lowest = await create(limited, parent);
    const lent = [await lendTo(parent), await lendTo(lowest)];
    await whileLocked(world, `select 1 from leases where id = '${lent[1]!.leaseId}' for update`, async () => {
      const answer = revoke(parent);
      await someoneWaits(world);
      await child.kill();
      expect(await answer).toBe('cut');
      await cutWaiting();
    });
    expect([await loose(), (await rowOf(world, lent[0]!.leaseId)).state]).toMatchObject([
      [{ path: 'auth/token/create' }, { path: 'auth/token/create' }],
      'active',
    ]);
    await world.resume();
    await comesToRest(world);
    for (const { leaseId } of lent) expect(await rowOf(world, leaseId)).toMatchObject({ end_reason: 'token_ended' });
    expect(await loose()).toEqual([]);
  });

  it('comes after a last use whose process died in the request', async () => {
    const token = await create({ policies: ['root'], num_uses: 2 });
    const lent = await lendTo(token);
    await whileLocked(world, 'lock table mounts in access exclusive mode', async () => {
      const answer = world.http.call('GET', 'sys/mounts', undefined, as(token)).catch(() => 'cut');
      await someoneWaits(world, 'SELECT "Mount"');
      await child.kill();
      await cutWaiting();
      expect(await answer).toBe('cut');
    });
    await world.resume();
    const answer = await world.http.call('GET', 'sys/mounts', undefined, as(token));
    expect(answer.status).toBe(403);
    expect((await rowOf(world, lent.leaseId)).state).toBe('active');
    // The longest time that a request may take is over.
    const { rowCount } = await world.database.query(
      `update tokens set due_at = now() where uses_left = 0 and ended_at is null and due_at > now()`,
    );
    expect(rowCount).toBe(1);
    await comesToRest(world);
  });

  it('comes when it expires while everything is down', async () => {
    const token = await create({ policies: ['root'], ttl: '1s' });
    const lent = await lendTo(token);
    await child.kill();
    await eventually(async () => {
      const { rows } = await world.database.query(`select 1 from tokens where expires_at < now() and ended_at is null`);
      return rows.length > 0;
    });
    await world.resume();
    await comesToRest(world);
    expect(await rowOf(world, lent.leaseId)).toMatchObject({ end_reason: 'token_ended' });
  });

  it('is forgotten when no lease names it any more', async () => {
    const token = await create(limited);
    const lent = await lendTo(token);
    await revoke(token);
    await comesToRest(world);
    const ended = async () => {
      const { rows } = await world.database.query(
        `select 1 from tokens where id = (select token_id from leases where id = $1)`,
        [lent.leaseId],
      );
      return rows.length;
    };
    await world.database.query(`update tokens set forget_at = now() where ended_at is not null`);
    await eventually(async () => {
      const { rows } = await world.database.query(`select 1 from tokens where forget_at <= now()`);
      return rows.length === 0;
    });
    expect(await ended()).toBe(1);
    await world.database.query(`delete from leases where state = 'ended'`);
    await world.database.query(`update tokens set forget_at = now() where ended_at is not null`);
    await eventually(async () => {
      const { rows } = await world.database.query(`select 1 from tokens where ended_at is not null`);
      return rows.length === 0;
    });
  });

  it('of root is undone by whoever starts the system with a root token, the same or another', async () => {
    await world.http.must(204, 'PUT', 'auth/token/revoke-self');
    expect((await world.http.call('GET', 'sys/mounts')).status).toBe(403);
    await world.restart();
    await world.http.must(200, 'GET', 'sys/mounts');
  });
});
