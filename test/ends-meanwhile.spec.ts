import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { seedFederationPolicy } from '../apps/simulator/src/index.js';
import { comesToRest, policyDocument, writeRole } from './support/lease-life.js';
import { giveTokens } from './support/tokens.js';
import { World } from './support/world.js';

describe('a token or a mount that ends while a credential is asked for', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    const account = world.simulator.account();
    account.putUserPolicy(account.existingUser('leasehold-root'), 'federate', seedFederationPolicy());
  });
  afterAll(() => world.close());

  /** Somebody with a token of their own, a new mount, and how each of them ends. */
  async function asking() {
    await world.mount();
    await writeRole(world, 'deploy');
    await writeRole(world, 'session', { credential_type: 'federation_token', policy_document: policyDocument });
    const [token] = await giveTokens(world, { policies: ['root'] });
    return {
      ask: (path: string) => world.http.call('GET', path, undefined, { token }),
      end: {
        token: () => world.http.must(204, 'PUT', 'auth/token/revoke', { token }),
        mount: () => world.http.must(204, 'DELETE', 'sys/mounts/aws'),
      },
    };
  }

  it.each([
    ['token', 403],
    ['mount', 404],
  ] as const)('makes no user for it that was not begun: %s', async (which, status) => {
    const { ask, end } = await asking();
    const created = world.simulator.calls.count({ action: 'CreateUser' });
    // Who the root credentials are is asked anew, before there is an intent.
    const hold = world.simulator.faults.hold('GetCallerIdentity', 'before');
    const answer = ask('aws/creds/deploy');
    await hold.reached;
    await end[which]();
    hold.release();
    expect((await answer).status).toBe(status);
    expect(world.simulator.calls.count({ action: 'CreateUser' })).toBe(created);
    if (which === 'token') await end.mount();
  });

  it.each([
    ['token', 403],
    ['mount', 404],
  ] as const)('lends nothing that AWS ends by itself: %s', async (which, status) => {
    const { ask, end } = await asking();
    const hold = world.simulator.faults.hold('GetFederationToken', 'after');
    const answer = ask('aws/sts/session');
    await hold.reached;
    await end[which]();
    hold.release();
    expect((await answer).status).toBe(status);
    if (which === 'token') await end.mount();
    await comesToRest(world);
    expect((await world.leases()).filter(({ id }) => id.startsWith('aws/sts/'))).toEqual([]);
  });
});
