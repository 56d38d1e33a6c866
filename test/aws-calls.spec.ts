import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { eventually, shape, World } from './support/world.js';

const policy = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: 'ec2:*', Resource: '*' },
});
const managed = 'arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess';

describe('the fewest calls to AWS', () => {
  let world: World;

  beforeAll(async () => {
    // Slow enough that calls in one step are seen to overlap, and calm, so that nothing is said twice.
    world = await World.start({ weather: { latencyMs: 80 } });
    await world.mount();
    await world.http.must(204, 'PUT', 'aws/roles/deploy', { policy });
    await world.http.must(204, 'PUT', 'aws/roles/both', {
      credential_type: 'iam_user',
      policy_document: policy,
      policy_arns: managed,
    });
    // Who the root credentials are is asked once for each issuer and revoker, and configuration.
    await eventually(async () => {
      const { body } = await world.http.must(200, 'GET', 'aws/creds/deploy');
      await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: body.lease_id });
      const asked = world.simulator.calls.list({ action: 'GetCallerIdentity' }).length;
      return asked === (shape() === 'services' ? 3 : 2);
    });
  });
  afterAll(() => world.close());
  beforeEach(() => world.simulator.calls.clear());

  /** The calls so far, in steps: a call belongs to a new step when it began after everything before it had ended. */
  const steps = () => {
    const calls = world.simulator.calls.list().sort((a, b) => a.startedAtMs - b.startedAtMs);
    const found: { actions: string[]; endsAt: number }[] = [];
    for (const { action, startedAtMs, endedAtMs } of calls) {
      const last = found.at(-1);
      if (last && startedAtMs < last.endsAt) {
        last.actions.push(action);
        last.endsAt = Math.max(last.endsAt, endedAtMs);
      } else found.push({ actions: [action], endsAt: endedAtMs });
    }
    world.simulator.calls.clear();
    return found.map(({ actions }) => actions.toSorted());
  };

  it('is 3 to issue and 3 to revoke a role with one inline policy, each in two steps', async () => {
    const { body } = await world.http.must(200, 'GET', 'aws/creds/deploy');
    expect(steps()).toEqual([['CreateUser'], ['CreateAccessKey', 'PutUserPolicy']]);
    await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: body.lease_id });
    expect(steps()).toEqual([['DeleteAccessKey', 'DeleteUserPolicy'], ['DeleteUser']]);
  });

  it('is one more of each for a managed policy beside it, and then the key goes first', async () => {
    const { body } = await world.http.must(200, 'GET', 'aws/creds/both');
    expect(steps()).toEqual([['CreateUser'], ['AttachUserPolicy', 'CreateAccessKey', 'PutUserPolicy']]);
    await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: body.lease_id });
    expect(steps()).toEqual([['DeleteAccessKey'], ['DeleteUserPolicy', 'DetachUserPolicy'], ['DeleteUser']]);
  });

  it('is none to renew, to look up or to write a role', async () => {
    const { body } = await world.http.must(200, 'GET', 'aws/creds/deploy');
    world.simulator.calls.clear();
    await world.http.must(200, 'PUT', 'sys/leases/renew', { lease_id: body.lease_id, increment: 60 });
    await world.http.must(200, 'PUT', 'sys/leases/lookup', { lease_id: body.lease_id });
    await world.http.must(204, 'PUT', 'aws/roles/other', { policy });
    expect(world.simulator.calls.count()).toBe(0);
  });
});
