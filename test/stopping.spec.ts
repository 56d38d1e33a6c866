import { afterEach, describe, expect, it } from '@jest/globals';
import { lend, writeRole } from './support/lease-life.js';
import { eventually, World } from './support/world.js';

describe('a system that is told to stop', () => {
  let world: World;
  afterEach(() => world.close());

  it('stops while a revocation comes back from AWS that has to be tried again', async () => {
    world = await World.start({ weather: {} });
    await world.mount();
    await writeRole(world, 'deploy');
    const { leaseId } = await lend(world, 'deploy');
    world.simulator.faults.fail({ action: 'DeleteUser', code: 'Throttling' });
    const hold = world.simulator.faults.hold('DeleteAccessKey', 'before');
    await world.http.must(202, 'PUT', `sys/leases/revoke`, { lease_id: leaseId, sync: false });
    await hold.reached;

    const stopped = world.stop();
    // From then on everything is being closed that does not wait for the revocation itself.
    await eventually(() =>
      world.http.call('GET', 'sys/health').then(
        () => false,
        () => true,
      ),
    );
    hold.release();
    await stopped;

    const [row] = await world.leases();
    expect(row).toMatchObject({ state: 'revoking', last_error: expect.stringContaining('Throttling') });
    world.simulator.faults.clear();
    await world.resume();
    await eventually(async () => (await world.leases())[0]!.state === 'ended');
    expect(world.lentUsers()).toEqual([]);
  });
});
