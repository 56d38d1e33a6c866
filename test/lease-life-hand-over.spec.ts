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
