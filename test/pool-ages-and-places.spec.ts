import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { lend, writeRole } from './support/lease-life.js';
import { pooled, poolRows, writePooled } from './support/pools.js';
import { eventually, World } from './support/world.js';

describe('a pool in an account with few places', () => {
  let world: World;
  beforeAll(async () => {
    world = await World.start({
      weather: {},
      timing: { pooledMinMs: 1, pooledMaxMs: 3_600_000 },
      surroundings: { usersPerAccount: 10 },
    });
    await world.mount();
  }, 60_000);
  afterAll(() => world.close());

  it('counts against it, and leaves the last of them to callers', async () => {
    await writePooled(world, 'deploy', 50);
    await writeRole(world, 'other');
    await eventually(async () => (await pooled(world, 'deploy')).length === 9);
    const other = await lend(world, 'other');
    await world.http.must(429, 'GET', 'aws/creds/other');
    expect(await pooled(world, 'deploy')).toHaveLength(9);
    // What is handed out had its place before.
    const lent = await lend(world, 'deploy');
    expect(world.lentUsers()).toHaveLength(10);
    await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: lent.leaseId });
    await eventually(async () => (await pooled(world, 'deploy')).length === 8);
    await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: other.leaseId });
    await eventually(async () => (await pooled(world, 'deploy')).length === 9);
  });
});

describe('a pool whose users get old', () => {
  let world: World;
  beforeAll(async () => {
    world = await World.start({ weather: {}, timing: { pooledMinMs: 1, pooledMaxMs: 2_000 } });
    await world.mount();
  }, 60_000);
  afterAll(() => world.close());

  it('is renewed, little by little, and has its size again', async () => {
    await writePooled(world, 'deploy', 4);
    const first = await eventually(async () => {
      const found = await pooled(world, 'deploy');
      return found.length === 4 && found;
    });
    const ages = first.map((row) => row.due_at!.getTime() - row.pooled_at!.getTime());
    expect(new Set(ages).size).toBe(4);
    expect(Math.min(...ages)).toBeGreaterThanOrEqual(1_600);
    expect(Math.max(...ages)).toBeLessThanOrEqual(2_000);
    await eventually(async () => {
      const found = await pooled(world, 'deploy');
      return found.length === 4 && found.every((row) => !first.some((old) => old.id === row.id));
    });
    await eventually(async () => {
      const gone = (await poolRows(world, 'deploy')).filter((row) => first.some((old) => old.id === row.id));
      return gone.every((row) => row.state === 'ended' && row.end_reason === 'retired');
    });
  });
});

describe('a large pool that AWS refuses', () => {
  let world: World;
  beforeAll(async () => {
    world = await World.start({ weather: {} });
    await world.mount();
  }, 60_000);
  afterAll(() => world.close());

  it('asks it for a handful of users, and then rests', async () => {
    world.simulator.faults.fail({ action: 'CreateUser', code: 'AccessDenied', status: 403 });
    await writePooled(world, 'deploy', 300);
    const asked = await eventually(() => {
      const calls = world.simulator.calls.list({ action: 'CreateUser' });
      const isRested = calls.length > 1 && calls.at(-1)!.startedAtMs - calls[0]!.startedAtMs > 450;
      return isRested && calls.length;
    });
    // Eight at most before the rest, and as many after it.
    expect(asked).toBeLessThanOrEqual(16);
  });
});
