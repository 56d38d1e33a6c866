import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { seedTrustPolicy } from '../../apps/simulator/src/index.js';
import type { Fleet, Kind } from '../../apps/cluster/src/fleet.js';
import { comesToRest, type Lent, lend, lentBy, policyDocument, rowOf, writeRole } from '../support/lease-life.js';
import { startFleet } from '../support/services.js';
import { eventually, World } from '../support/world.js';

const tell = (line: string) => process.stderr.write(`    ${line}\n`);

const everythingAllowed = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: '*', Resource: '*' },
});
const minute = 60_000;
/** Of the mount `brief/`. */
const briefMs = 2_000;
const sweepEveryMs = 1_000;
const grace = 2_000;
const preload = new URL('../support/clock-offset.mjs', import.meta.url).href;

describe('services whose clocks differ from PostgreSQL’s and from each other', () => {
  let world: World;
  let fleet: Fleet;

  beforeAll(async () => {
    world = await World.start({
      weather: {},
      timing: { sweepEveryMs },
      rootPolicy: () => everythingAllowed,
      run: async (system) => {
        fleet = await startFleet(system, { kinds: ['gateway', 'issuer', 'revoker'] });
        return { url: fleet.running('gateway')[0]!.url, close: () => fleet.close() };
      },
    });
    await world.mount();
    await writeRole(world, 'deploy');
    const account = world.simulator.account();
    account.createRole('deploy', seedTrustPolicy(account.id), {});
    await writeRole(world, 'assumed', {
      credential_type: 'assumed_role',
      policy_document: undefined,
      role_arns: account.arn('role', '/', 'deploy'),
    });
    await world.mount('brief');
    await world.http.must(204, 'PUT', 'brief/config/lease', { lease: `${briefMs / 1000}s`, lease_max: '1h' });
    await world.http.must(204, 'PUT', 'brief/roles/deploy', {
      credential_type: 'iam_user',
      policy_document: policyDocument,
    });
  }, 60_000);
  afterAll(() => world.close());

  /** The running ones make room for one of each kind, off by so many minutes. */
  async function shift(minutes: Partial<Record<Kind, number>>): Promise<void> {
    const before = fleet.running();
    const started = (['gateway', 'issuer', 'revoker'] as const).map((kind) =>
      fleet.start(kind, {
        NODE_OPTIONS: `--import=${preload}`,
        CLOCK_OFFSET_MS: String((minutes[kind] ?? 0) * minute),
      }),
    );
    await Promise.all(started.map((service) => service.serves()));
    await Promise.all(before.map((service) => service.end()));
    world.http.url = fleet.running('gateway')[0]!.url;
    await eventually(async () => (await Promise.all(started.map((each) => each.isReady()))).every(Boolean));
  }

  const lookUp = async ({ leaseId }: Lent) =>
    (await world.http.must(200, 'PUT', 'sys/leases/lookup', { lease_id: leaseId })).body.data;
  const seconds = async (sql: string, leaseId: string) => {
    const { rows } = await world.database.query<{ s: number }>(
      `select (${sql})::float8 as s from leases where id = $1`,
      [leaseId],
    );
    return rows[0]!.s;
  };

  it.each([
    { gateway: 10, issuer: -10, revoker: 10 },
    { gateway: -10, issuer: 10, revoker: -10 },
    // AWS takes no signature that is older than 15 minutes, or newer.
    { gateway: 25, issuer: -25, revoker: 25 },
  ])(
    'lend, renew, revoke and end on PostgreSQL’s time, off by $gateway, $issuer and $revoker minutes',
    async (off) => {
      await shift(off);
      const brief = await Promise.all(
        Array.from({ length: 5 }, async () => lentBy(await world.http.must(200, 'GET', 'brief/creds/deploy'))),
      );
      const [kept, given] = [await lend(world, 'deploy'), await lend(world, 'deploy')];
      for (const lent of [...brief, kept]) expect(await world.whoIs(lent.keys)).toMatch(/^arn:/);
      expect((await lookUp(kept)).ttl).toBeGreaterThan(3_590);
      expect((await lookUp(kept)).ttl).toBeLessThanOrEqual(3_600);

      const renewed = await world.http.must(200, 'PUT', 'sys/leases/renew', {
        lease_id: kept.leaseId,
        increment: 7_200,
      });
      expect(renewed.body.lease_duration).toBe(7_200);
      expect(await seconds(`extract(epoch from expires_at - now())`, kept.leaseId)).toBeGreaterThan(7_190);
      const sts = await world.http.must(200, 'GET', 'aws/creds/assumed');
      expect(Math.abs(sts.body.lease_duration - 3_600)).toBeLessThan(10);
      expect(await world.whoIs(lentBy(sts).keys)).toContain('assumed-role/deploy/');
      await world.http.must(204, 'PUT', `sys/revoke/${lentBy(sts).leaseId}`);
      await world.http.must(204, 'PUT', `sys/revoke/${given.leaseId}`);
      expect(await world.whoIs(given.keys)).toBe('InvalidClientTokenId');

      await comesToRest(world, [kept]);
      const late: number[] = [];
      for (const { leaseId } of brief) {
        expect(await rowOf(world, leaseId)).toMatchObject({ state: 'ended', end_reason: 'expired' });
        late.push(Math.round((await seconds(`extract(epoch from ended_at - expires_at)`, leaseId)) * 1000));
      }
      tell(
        `gateway ${off.gateway}, issuer ${off.issuer}, revoker ${off.revoker} min off: ` +
          `5 leases of ${briefMs / 1000} s ended ${late.join(', ')} ms after their time`,
      );
      expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...late)).toBeLessThan(sweepEveryMs + grace);
      await world.http.must(204, 'PUT', `sys/revoke/${kept.leaseId}`);
      await comesToRest(world);
    },
    60_000,
  );
});
