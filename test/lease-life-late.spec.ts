import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { comesToRest, lend, writeRole } from './support/lease-life.js';
import { eventually, World } from './support/world.js';

describe('an AWS that does late what nobody waits for any more', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {}, surroundings: { requestTimeoutMs: 500, backoffMs: 10 } });
    await world.mount();
    await writeRole(world, 'deploy');
  });
  afterEach(() => world.simulator.faults.clear());
  afterAll(() => world.close());

  it('leaves no user that comes after its lease has ended', async () => {
    const { faults } = world.simulator;
    const first = faults.hold('CreateUser', 'before');
    const lent = await lend(world, 'deploy');
    await world.http.must(204, 'PUT', `sys/revoke/${lent.leaseId}`);
    expect(world.lentUsers()).toEqual([]);
    first.release();
    await eventually(() => world.lentUsers().length > 0);
    await comesToRest(world);
  });

  it('leaves no user that comes after its issue was undone', async () => {
    const { faults } = world.simulator;
    const first = faults.hold('CreateUser', 'before');
    faults.fail({ action: 'PutUserPolicy', code: 'LimitExceeded', status: 409, times: 1 });
    await world.http.must(400, 'GET', 'aws/creds/deploy');
    await eventually(() => world.lentUsers().length === 0);
    first.release();
    await eventually(() => world.lentUsers().length > 0);
    await comesToRest(world);
  });

  it('leaves no user that comes after its issue has started over', async () => {
    const { faults } = world.simulator;
    const first = faults.hold('CreateUser', 'before');
    faults.loseReply({ action: 'CreateAccessKey', times: 1 });
    const lent = await lend(world, 'deploy');
    await eventually(() => world.lentUsers().length === 1);
    first.release();
    await eventually(() => world.lentUsers().length > 1);
    await comesToRest(world, [lent]);
  });
});
