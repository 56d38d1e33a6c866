import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type pg from 'pg';
import type { Fleet, Service } from '../../apps/cluster/src/fleet.js';
import type { Simulator } from '../../apps/simulator/src/index.js';
import type { HttpClient } from '../support/http-client.js';
import { writeRole } from '../support/lease-life.js';
import { Callers, figures, LoadBalancer } from '../support/load.js';
import { eventually, type World } from '../support/world.js';
import { worldOfServices } from '../support/world-of-services.js';

const tell = (line: string) => process.stderr.write(`    ${line}\n`);

describe('services that come and go', () => {
  let world: World;
  let simulator: Simulator;
  let database: pg.Pool;
  let fleet: Fleet;
  let http: HttpClient;
  let offers = new Map<number, number>();

  beforeAll(async () => {
    ({ world, fleet } = await worldOfServices(
      {
        weather: { latencyMs: 20 },
        timing: { callerWaitMs: 20_000, marginMs: 5_000, handOverMs: 5_000, claimMs: 5_000 },
      },
      {
        kinds: ['gateway', 'issuer', 'revoker'],
        env: { LEASEHOLD_DRAIN_MS: '500' },
        onLine: (line, { pid }) => {
          if (line.includes('"credential offered"')) offers.set(pid, (offers.get(pid) ?? 0) + 1);
        },
      },
    ));
    ({ simulator, database, http } = world);
    simulator.faults.set({ usersPerAccount: 100_000 });
    await world.mount();
    await writeRole(world, 'deploy');
  }, 60_000);

  afterEach(async () => {
    simulator.faults.clear({ latencyMs: 20, usersPerAccount: 100_000 });
    await http.call('PUT', 'sys/leases/revoke-prefix/aws', { sync: false });
    await eventually(() => lentUsers().length === 0, 60_000);
    offers = new Map();
  }, 60_000);

  afterAll(() => world.close());

  async function start(kind: 'gateway' | 'issuer' | 'revoker'): Promise<Service> {
    const service = await fleet.start(kind).serves();
    await eventually(() => service.isReady());
    return service;
  }

  function lentUsers(): string[] {
    const users = simulator.account().users();
    return users.flatMap((user) => (user.name === 'leasehold-root' ? [] : [user.name]));
  }

  /** Every key in AWS that was made for callers. */
  function keysInAws(): string[] {
    const users = simulator.account().users();
    return users.flatMap((user) => (user.name === 'leasehold-root' ? [] : user.accessKeys.map((key) => key.id))).sort();
  }

  /** Waits until AWS holds just what callers hold. */
  async function comesToWhatCallersHold(callers: Callers): Promise<void> {
    const held = callers.answers.flatMap((answer) => answer.keys?.access_key ?? []).sort();
    await eventually(() => lentUsers().length === held.length, 25_000).catch(() => undefined);
    const found = keysInAws();
    expect({
      users: lentUsers().length,
      keysOfNobody: found.filter((key) => !held.includes(key)),
      keysGone: held.filter((key) => !found.includes(key)),
    }).toEqual({ users: held.length, keysOfNobody: [], keysGone: [] });
  }

  const gateways = () => fleet.running('gateway');

  it('hand the requests that a killed issuer had between CreateUser and the offer to another: every caller gets a key', async () => {
    const [doomed] = fleet.running('issuer');
    const hold = simulator.faults.hold('CreateAccessKey', 'before', { times: 24 });
    const callers = new Callers(gateways, http.token);
    const asked = Array.from({ length: 24 }, () => callers.ask());
    await eventually(() => lentUsers().length === 24);
    await hold.reached;
    const heir = await start('issuer');
    await doomed!.end('SIGKILL');
    hold.release();
    const answers = await Promise.all(asked);
    tell(`an issuer killed with ${answers.length} half made: ${figures(answers)}`);
    expect(answers.map(({ status, error }) => error ?? status)).toEqual(answers.map(() => 200));
    expect(offers.get(heir.pid)).toBe(24);
    await comesToWhatCallersHold(callers);
  });

  it('share the load, and one more issuer takes its share at once', async () => {
    await start('issuer');
    const two = fleet.running('issuer').map(({ pid }) => pid);
    expect(two).toHaveLength(2);
    const callers = new Callers(gateways, http.token).start(12);
    await eventually(() => callers.answers.length > 100, 30_000);
    const shares = two.map((pid) => offers.get(pid) ?? 0);
    const third = await start('issuer');
    offers.clear();
    const before = callers.answers.length;
    await eventually(() => callers.answers.length > before + 150, 30_000);
    const after = fleet.running('issuer').map(({ pid }) => offers.get(pid) ?? 0);
    await callers.stop();
    tell(`two issuers made ${shares.join(' + ')}; with a third one ${after.join(' + ')}`);
    for (const share of shares) expect(share / (shares[0]! + shares[1]!)).toBeGreaterThan(0.3);
    const all = after.reduce((sum, each) => sum + each, 0);
    expect((offers.get(third.pid) ?? 0) / all).toBeGreaterThan(0.2);
    expect(callers.answers.every((answer) => answer.status === 200)).toBe(true);
    await comesToWhatCallersHold(callers);
  });

  it('lose no request and double none when an issuer is told to stop under load', async () => {
    const callers = new Callers(gateways, http.token).start(16);
    await eventually(() => callers.answers.length > 50, 30_000);
    const leaving = fleet.running('issuer').at(-1)!;
    await leaving.end('SIGTERM');
    const before = callers.answers.length;
    await eventually(() => callers.answers.length > before + 100, 30_000);
    await callers.stop();
    tell(`an issuer told to stop: ${figures(callers.answers)}`);
    expect(callers.answers.filter((answer) => answer.status !== 200)).toEqual([]);
    const { rows } = await database.query(`select max(attempt)::int as attempts from leases where state = 'active'`);
    expect(rows).toEqual([{ attempts: 1 }]);
    await comesToWhatCallersHold(callers);
  });

  it('can all be restarted one after the other under load, and no caller sees an error', async () => {
    await start('gateway');
    const balancer = new LoadBalancer(gateways);
    await balancer.look();
    const callers = new Callers(balancer.choose, http.token).start(12);
    try {
      for (const kind of ['gateway', 'issuer', 'revoker'] as const) {
        for (const old of fleet.running(kind)) {
          await start(kind);
          await balancer.look();
          await old.end('SIGTERM');
        }
      }
    } finally {
      await callers.stop();
      balancer.close();
    }
    http.url = fleet.running('gateway')[0]!.url;
    tell(`every service restarted: ${figures(callers.answers)}`);
    expect(callers.answers.filter((answer) => answer.status !== 200)).toEqual([]);
    await comesToWhatCallersHold(callers);
  }, 90_000);
});
