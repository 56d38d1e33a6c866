import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { comesToRest, lend, lentBy, policyDocument, rowOf, writeRole } from './support/lease-life.js';
import { eventually, World } from './support/world.js';

describe('revocations that are not finished', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {}, timing: { maxAttempts: 2 } });
    await world.mount();
    await writeRole(world, 'deploy');
  });
  afterAll(() => world.close());
  afterEach(async () => {
    world.simulator.faults.clear();
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
  });

  const list = async (type: string, more = '') =>
    (await world.http.must(200, 'GET', `sys/leases?type=${type}${more}`)).body.data as {
      lease_count: number;
      leases: Record<string, unknown>[];
    };
  const count = async (type: string) => (await world.http.must(200, 'GET', `sys/leases/count?type=${type}`)).body.data;
  const accessorOf = async (mount: string) => {
    const { body } = await world.http.must(200, 'GET', `sys/mounts/${mount}`);
    return body.data.accessor as string;
  };

  it('are counted and listed while AWS refuses, and no more once it agrees', async () => {
    expect(await count('irrevocable')).toEqual({ lease_count: 0, counts: {} });
    const lent = [await lend(world, 'deploy'), await lend(world, 'deploy')];
    world.simulator.faults.fail({ action: 'DeleteUser', code: 'AccessDenied', status: 403 });
    expect((await world.http.call('PUT', 'sys/leases/revoke-prefix/aws')).status).toBe(400);
    await eventually(async () => (await count('irrevocable')).lease_count === 2);
    expect(await count('revoking')).toEqual({ lease_count: 0, counts: {} });
    const accessor = await accessorOf('aws');
    expect(await count('irrevocable')).toEqual({ lease_count: 2, counts: { [accessor]: 2 } });
    const { leases } = await list('irrevocable');
    expect(leases.map((lease) => lease.lease_id)).toEqual(lent.map(({ leaseId }) => leaseId).sort());
    expect(leases[0]).toMatchObject({ mount_id: accessor, error: expect.stringContaining('AccessDenied') });
    const inADay = Date.now() + 86_400_000;
    expect(Math.abs(Date.parse(leases[0]!.next_look as string) - inADay)).toBeLessThan(3_600_000);
    expect(await list('irrevocable', '&limit=1')).toEqual({ lease_count: 2, leases: [leases[0]] });
    expect((await list('irrevocable', '&limit=none')).leases).toEqual(leases);
    world.simulator.faults.clear();
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    expect(await list('irrevocable')).toEqual({ lease_count: 0, leases: [] });
    await comesToRest(world);
  });

  it('go on for as long as AWS is busy with another change to the user, and are no refusal', async () => {
    const { leaseId } = await lend(world, 'deploy');
    world.simulator.faults.fail({ action: 'DeleteUser', code: 'ConcurrentModification', status: 409 });
    await world.http.must(202, 'PUT', 'sys/leases/revoke', { lease_id: leaseId, sync: false });
    // More than the tries that a refusal has, whatever each does within itself.
    const tries = () => world.log.filter((line) => line.includes('revocation not finished') && line.includes(leaseId));
    await eventually(async () => tries().length > 3 || (await rowOf(world, leaseId)).state === 'irrevocable');
    expect(await rowOf(world, leaseId)).toMatchObject({
      state: 'revoking',
      attempts: 0,
      last_error: expect.stringContaining('ConcurrentModification'),
    });
    world.simulator.faults.clear();
    await comesToRest(world);
  });

  it('let an unmount that is forced complete, with a list of what may still be in AWS', async () => {
    await world.mount('team');
    await world.http.must(204, 'PUT', 'team/roles/deploy', {
      credential_type: 'iam_user',
      policy_document: policyDocument,
    });
    const stuck = lentBy(await world.http.must(200, 'GET', 'team/creds/deploy'));
    const { user_name: userName, account_id } = await rowOf(world, stuck.leaseId);
    await world.http.must(200, 'GET', 'team/creds/deploy');
    const accessor = await accessorOf('team');
    world.simulator.faults.fail({ action: 'Delete*', userName: userName!, code: 'AccessDenied', status: 403 });

    expect((await world.http.call('DELETE', 'sys/mounts/team')).status).toBe(400);
    expect(world.lentUsers()).toEqual([userName]);
    await world.http.must(204, 'PUT', 'sys/leases/revoke-force/team');
    await world.http.must(204, 'DELETE', 'sys/mounts/team');
    expect((await world.http.call('GET', 'sys/mounts/team')).status).toBe(400);
    const { lease_count, leases } = await list('left-behind');
    expect([lease_count, leases]).toEqual([
      1,
      [
        {
          lease_id: stuck.leaseId,
          mount_id: accessor,
          error: expect.stringContaining('AccessDenied'),
          account_id,
          user_name: userName,
          access_key_tail: stuck.keys.access_key.slice(-4),
          next_look: expect.any(String),
        },
      ],
    ]);
    // The path is free, and AWS may let go later.
    await world.mount('team');
    world.simulator.faults.clear();
    await eventually(async () => (await count('left-behind')).lease_count === 0);
    expect(world.lentUsers()).toEqual([]);
    await world.http.must(204, 'DELETE', 'sys/mounts/team');
  });

  it.each([
    ['sys/leases', 404, undefined],
    ['sys/leases?type=active', 404, undefined],
    ['sys/leases/count', 404, undefined],
    ['sys/leases/count?type=other', 404, undefined],
    ['sys/leases?type=irrevocable&limit=some', 400, /^invalid 'limit' provided: /],
    ['sys/leases?type=irrevocable&limit=0', 400, /^limit must be 'none' or a positive integer$/],
  ])('are not asked for by %s', async (path, status, text) => {
    const answer = await world.http.call('GET', path);
    expect(answer.status).toBe(status);
    if (text) expect(answer.body.errors[0]).toMatch(text);
  });
});
