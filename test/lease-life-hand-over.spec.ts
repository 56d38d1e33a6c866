import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startSystem } from '../apps/standalone/src/system.js';
import { cuttingProxy, type CuttingProxy } from './support/cutting-proxy.js';
import { comesToRest, lend, writeRole } from './support/lease-life.js';
import { eventually, World } from './support/world.js';

/** What only the statement of the acceptance says. */
const acceptance = `set state = 'active', accepted_at`;
/** And only that of its undoing. */
const undoing = `end_reason = 'not_received'`;

describe('a hand-over whose acceptance PostgreSQL took and could not confirm', () => {
  let world: World;
  let proxy: CuttingProxy;

  beforeAll(async () => {
    world = await World.start({
      weather: {},
      run: async (options) => {
        proxy ??= await cuttingProxy(options.databaseUrl);
        return startSystem({ ...options, databaseUrl: proxy.url });
      },
    });
    await world.mount();
    await writeRole(world, 'deploy');
  });
  afterAll(async () => {
    await world.close();
    await proxy.close();
  });

  it('is asked about again, and the caller gets the credential', async () => {
    proxy.cut(acceptance, 1);
    const lent = await lend(world, 'deploy');
    expect(proxy.left(acceptance)).toBe(0);
    await comesToRest(world, [lent]);
    await world.http.must(204, 'PUT', `sys/revoke/${lent.leaseId}`);
  });

  it('is undone when it stays unconfirmed: nobody has it, so nothing of it stays', async () => {
    proxy.cut(acceptance, 1_000);
    const refused = await world.http.call('GET', 'aws/creds/deploy');
    proxy.cut(acceptance, 0);
    expect(refused.status).toBe(503);
    await comesToRest(world);
    expect((await world.leases()).at(-1)).toMatchObject({ state: 'ended', end_reason: 'not_received' });
  });

  it('is undone also when the undoing has to be asked for again', async () => {
    proxy.cut(acceptance, 1_000);
    proxy.cut(undoing, 2);
    expect((await world.http.call('GET', 'aws/creds/deploy')).status).toBe(503);
    proxy.cut(acceptance, 0);
    await eventually(() => proxy.left(undoing) === 0);
    await comesToRest(world);
    expect(world.lentUsers()).toEqual([]);
  });
});

describe('a hand-over whose acceptance PostgreSQL is slow to confirm', () => {
  let world: World;
  const callerWaitMs = 1_000;

  beforeAll(async () => {
    world = await World.start({ weather: {}, timing: { callerWaitMs } });
    await world.mount();
    await writeRole(world, 'deploy');
    await world.database.query(
      `create table acceptance_takes (ms integer);
       create function take_long() returns trigger language plpgsql as
         'begin perform pg_sleep(ms / 1000.0) from acceptance_takes; return new; end';
       create trigger take_long before update on leases for each row
         when (old.state = 'offered' and new.state = 'active') execute function take_long()`,
    );
  });
  afterAll(() => world.close());

  const acceptanceTakes = (ms: number) =>
    world.database.query(`with none as (delete from acceptance_takes) insert into acceptance_takes values (${ms})`);

  it('still happens when the credential came at the last moment of the wait', async () => {
    await acceptanceTakes(callerWaitMs);
    const lent = await lend(world, 'deploy');
    await acceptanceTakes(0);
    await world.http.must(204, 'PUT', `sys/revoke/${lent.leaseId}`);
  });

  it('is given up when it takes too long, and what was accepted after all is undone', async () => {
    await acceptanceTakes(5 * callerWaitMs);
    const { status } = await world.http.call('GET', 'aws/creds/deploy');
    expect(status).toBe(503);
    await comesToRest(world);
    expect((await world.leases()).at(-1)).toMatchObject({ state: 'ended', end_reason: 'not_received' });
  });
});
