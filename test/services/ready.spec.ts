import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { LeaseholdClient, type LentCredential } from '#libs/client';
import { newIssuerKeys } from '#libs/contracts';
import type { Fleet } from '../../apps/cluster/src/fleet.js';
import { comesToRest, type Lent, lentBy, writeRole } from '../support/lease-life.js';
import { testServers } from '../support/services.js';
import { eventually, type World } from '../support/world.js';
import { worldOfServices } from '../support/world-of-services.js';

const never = 3_600_000;
const keys = newIssuerKeys();
const namespace = `test-${randomBytes(6).toString('hex')}`;

describe('a key that services wait for', () => {
  let world: World;
  let fleet: Fleet;
  let client: LeaseholdClient;

  beforeAll(async () => {
    Logger.overrideLogger(false);
    const env = {
      LEASEHOLD_NAMESPACE: namespace,
      LEASEHOLD_ISSUER_KEY: keys.privateKey,
      LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
    };
    const timing = { callerWaitMs: 10_000, readyEveryMs: 40 };
    ({ world, fleet } = await worldOfServices(
      { weather: {}, timing },
      { env, kinds: ['gateway', 'issuer', 'revoker'] },
    ));
    await world.mount();
    await writeRole(world, 'deploy');
    await writeRole(world, 'steady', { ready: true });
    client = new LeaseholdClient({
      rabbitmqUrl: testServers().rabbitmqUrl,
      namespace,
      issuerPublicKey: keys.publicKey,
      token: world.http.token,
      waitMs: 6_000,
    });
  }, 60_000);
  afterAll(async () => {
    await client?.close();
    await world?.close();
  });
  afterEach(async () => {
    world.simulator.faults.clear();
    await world.http.must(204, 'PUT', 'sys/revoke-prefix/aws');
    await comesToRest(world);
  });

  const heldBy = ({ leaseId, credential }: LentCredential): Lent => ({
    leaseId,
    keys: { access_key: credential.accessKeyId, secret_key: credential.secretAccessKey },
  });
  const isAskedFor = () =>
    eventually(() => world.simulator.calls.count({ action: 'GetCallerIdentity', outcome: 'InvalidClientTokenId' }) > 0);

  it('works at once for an internal service, at every server of AWS', async () => {
    world.simulator.faults.set({ propagationMs: [0, 300, 600] });
    const lent = await client.issue({ mount: 'aws', role: 'deploy', ready: true });
    expect(lent).toMatchObject({ ready: true });
    for (let turn = 0; turn < 6; turn++) expect(await world.whoIs(heldBy(lent).keys)).toContain(':user/vault-');
  });

  it('is given with the instant from when on it should work, before its wait is over', async () => {
    world.simulator.faults.set({ propagationMs: never });
    const lent = await client.issue({ mount: 'aws', role: 'steady' });
    expect(lent.ready).toBeUndefined();
    expect(new Date(lent.usableFrom!).getTime()).toBeGreaterThan(Date.now());
    await comesToRest(world, [heldBy(lent)]);
  });

  it('is made anew by another issuer when the one that waits is killed, and the first one is gone', async () => {
    world.simulator.calls.clear();
    world.simulator.faults.set({ propagationMs: never });
    const [waiting] = fleet.running('issuer');
    const asked = world.http.must(200, 'GET', 'aws/creds/steady');
    await isAskedFor();
    world.simulator.faults.set({ propagationMs: 0 });
    await waiting!.end('SIGKILL');
    await fleet.start('issuer').serves();
    const lent = lentBy(await asked);
    await comesToRest(world, [lent]);
    const [first, second] = (await world.leases()).slice(-2);
    expect([first!.command_id, first!.state, first!.attempt]).toEqual([second!.command_id, 'ended', 1]);
  }, 60_000);

  it('is gone when the gateway is killed that waits for it', async () => {
    world.simulator.calls.clear();
    world.simulator.faults.set({ propagationMs: never });
    const gateway = await fleet.start('gateway').serves();
    const headers = { 'X-Vault-Token': world.http.token };
    const asked = fetch(`${gateway.url}/v1/aws/creds/steady`, { headers }).then(
      () => 'answered',
      () => 'cut',
    );
    await isAskedFor();
    await gateway.end('SIGKILL');
    expect(await asked).toBe('cut');
    // Whoever was killed leaves no mark: the offer lapses.
    await comesToRest(world, [], 20_000);
    expect((await world.leases()).at(-1)).toMatchObject({ state: 'ended', accepted_at: null });
  }, 60_000);
});
