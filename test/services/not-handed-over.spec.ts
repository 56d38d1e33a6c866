import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { get } from 'node:http';
import { fileURLToPath } from 'node:url';
import { newIssuerKeys } from '#libs/contracts';
import type { Fleet, Service } from '../../apps/cluster/src/fleet.js';
import { comesToRest, type Lent, lend, rowOf, writeRole } from '../support/lease-life.js';
import { seededRandom } from '../support/seeded-random.js';
import { startFleet, testServers } from '../support/services.js';
import { eventually, type LentKeys, usualWeather, World } from '../support/world.js';

const tell = (line: string) => process.stderr.write(`    ${line}\n`);

const timing = { callerWaitMs: 4_000, marginMs: 500, handOverMs: 1_500, sweepEveryMs: 500 };
/** What a minute is in these stories: everything that nobody received has gone. */
const goneWithinMs = timing.callerWaitMs + timing.marginMs + timing.handOverMs + timing.sweepEveryMs + 5_000;
const weather = { ...usualWeather, latencyMs: 20 };
const caller = fileURLToPath(new URL('../support/amqp-caller.mjs', import.meta.url));

describe('a credential that nobody received', () => {
  const keys = newIssuerKeys();
  const namespace = `test-${randomBytes(6).toString('hex')}`;
  /** Lease ids of which a gateway said that it handed them over. */
  const handedOver = new Set<string>();
  let world: World;
  let fleet: Fleet;
  let kept: Lent;

  beforeAll(async () => {
    world = await World.start({
      weather,
      timing,
      run: async (system) => {
        fleet = await startFleet(system, {
          env: {
            LEASEHOLD_NAMESPACE: namespace,
            LEASEHOLD_ISSUER_KEY: keys.privateKey,
            LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
          },
          onLine: (line) => {
            if (!line.includes('"credential handed over"')) return;
            handedOver.add((JSON.parse(line) as { leaseId: string }).leaseId);
          },
        });
        return { url: fleet.running('gateway')[0]!.url, close: () => fleet.close() };
      },
    });
    await world.mount();
    for (const role of ['deploy', 'kept']) await writeRole(world, role);
    kept = await lend(world, 'kept');
  }, 60_000);
  afterEach(() => world.simulator.faults.clear(weather));
  afterAll(() => world.close());

  const underWay = async (state: string) =>
    (await world.leases()).filter((row) => row.state === state && row.user_name!.includes('-deploy-'));

  /** Waits until AWS holds nothing but what is held; tells how long that took since it was lost. */
  async function goes(what: string, lostAt: number, held: Lent[] = [kept]): Promise<void> {
    await comesToRest(world, held, goneWithinMs);
    const ms = Math.round(performance.now() - lostAt);
    tell(`${what}: gone ${ms} ms later, of ${goneWithinMs} that a hand-over and its undoing may take here`);
  }

  /** Asks over a connection of its own, and hangs up after `ms` unless it was answered before. */
  function askAndHangUp(ms: number): Promise<Lent | null> {
    return new Promise((resolve) => {
      const headers = { 'X-Vault-Token': world.http.token };
      const request = get(`${world.http.url}/v1/aws/creds/deploy`, { headers, agent: false }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('end', () => {
          clearTimeout(timer);
          const body = JSON.parse(Buffer.concat(chunks).toString()) as { lease_id?: string; data: LentKeys };
          resolve(body.lease_id ? { leaseId: body.lease_id, keys: body.data } : null);
        });
      });
      const timer = setTimeout(() => request.destroy(), ms);
      request.on('error', () => undefined);
      request.on('close', () => resolve(null));
    });
  }

  it('is taken back when HTTP callers hang up at random moments under load', async () => {
    const seed = Date.now() % 100_000;
    const random = seededRandom(seed);
    const typical = performance.now();
    const probe = await lend(world, 'deploy');
    const lentInMs = performance.now() - typical;
    const held: Lent[] = [kept, probe];
    const asked = 120;
    let hungUp = 0;
    const asker = async () => {
      while (hungUp < asked) {
        hungUp += 1;
        const lent = await askAndHangUp(random() * lentInMs * 5);
        if (lent) held.push(lent);
      }
    };
    await Promise.all(Array.from({ length: 6 }, asker));
    const lostAt = performance.now();
    // The last byte had gone to a caller who hung up at that instant: nobody can know, and the lease stays until it ends.
    await eventually(
      async () => (await underWay('issuing')).length + (await underWay('offered')).length === 0,
      goneWithinMs,
    );
    const heldIds = new Set(held.map((lent) => lent.leaseId));
    const unknown = (await underWay('active')).filter((row) => !heldIds.has(row.id));
    expect(unknown.filter((row) => !handedOver.has(row.id))).toEqual([]);
    expect(unknown.length).toBeLessThan(asked / 3);
    for (const { id } of unknown) await world.http.must(204, 'PUT', `sys/revoke/${id}`);
    await goes(`${asked - held.length + 2} of ${asked} callers hung up at random (seed ${seed})`, lostAt, held);
    const rows = (await world.leases()).filter((row) => row.user_name!.includes('-deploy-'));
    const reasons = new Map<string, number>();
    for (const row of rows) {
      const reason = row.state === 'active' ? 'held' : String(row.end_reason);
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
    tell(
      `… ${[...reasons].map(([reason, count]) => `${count} ${reason}`).join(', ')}; ${unknown.length} left with the last byte`,
    );
    await Promise.all(held.slice(1).map(({ leaseId }) => world.http.call('PUT', `sys/revoke/${leaseId}`)));
    await comesToRest(world, [kept]);
  }, 60_000);

  /** A second gateway, for the one that is killed; the story goes on at the new one. */
  async function killed(gateway: Service): Promise<void> {
    await gateway.end('SIGKILL');
    const next = await fleet.start('gateway').serves();
    world.http.url = next.url;
  }

  it('is taken back when the gateway was killed while it was being made', async () => {
    const gateway = fleet.running('gateway')[0]!;
    const hold = world.simulator.faults.hold('PutUserPolicy', 'after', { userName: '*-deploy-*', times: 100 });
    const asked = Array.from({ length: 6 }, () => lend(world, 'deploy').catch(() => 'cut'));
    await eventually(async () => (await underWay('issuing')).length === 6);
    const lostAt = performance.now();
    const next = killed(gateway);
    expect(await Promise.all(asked)).toEqual(asked.map(() => 'cut'));
    hold.release();
    await next;
    await goes('a gateway killed with 6 callers whose keys were being made', lostAt);
  }, 30_000);

  it('is taken back when the gateway was killed after the offer and before it accepted', async () => {
    const gateway = fleet.running('gateway')[0]!;
    const hold = world.simulator.faults.hold('CreateAccessKey', 'before', { userName: '*-deploy-*', times: 100 });
    const asked = Array.from({ length: 6 }, () => lend(world, 'deploy').catch(() => 'cut'));
    await eventually(async () => (await underWay('issuing')).length === 6);
    gateway.signal('SIGSTOP');
    hold.release();
    // It hears of none of them.
    await eventually(async () => (await underWay('offered')).length > 0);
    const lostAt = performance.now();
    await killed(gateway);
    expect(await Promise.all(asked)).toEqual(asked.map(() => 'cut'));
    await goes('a gateway killed with offers that it had not accepted', lostAt);
    const reasons = (await world.leases()).slice(-6).map((row) => row.end_reason);
    expect(reasons).toContain('not_accepted');
  }, 30_000);

  /** An internal service as a process of its own that has asked for `count` credentials. */
  async function startCaller(count: number): Promise<{ child: ChildProcess; leaseIds: string[] }> {
    const child = fork(caller, { execArgv: [], stdio: 'ignore' });
    await once(child, 'message');
    const leaseIds: string[] = [];
    child.on('message', ({ leaseId }: { leaseId: string }) => leaseIds.push(leaseId));
    child.send({
      role: 'deploy',
      count,
      rabbitmqUrl: testServers().rabbitmqUrl,
      namespace,
      issuerPublicKey: keys.publicKey,
      token: world.http.token,
      waitMs: timing.callerWaitMs,
    });
    return { child, leaseIds };
  }

  async function kill(child: ChildProcess): Promise<void> {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  it('is kept for an AMQP caller that had it before it was killed', async () => {
    const { child, leaseIds } = await startCaller(1);
    const leaseId = await eventually(() => leaseIds[0]);
    await kill(child);
    expect((await rowOf(world, leaseId)).state).toBe('active');
    await world.http.must(204, 'PUT', `sys/revoke/${leaseId}`);
  }, 30_000);

  it.each(['while it was being made', 'after the offer'])(
    'is taken back when the AMQP caller was killed %s',
    async (when) => {
      const hold = world.simulator.faults.hold('CreateAccessKey', 'before', { userName: '*-deploy-*', times: 100 });
      const { child } = await startCaller(3);
      await eventually(async () => (await underWay('issuing')).length === 3);
      if (when === 'after the offer') {
        child.kill('SIGSTOP');
        hold.release();
        await eventually(async () => (await underWay('offered')).length > 0);
      }
      const lostAt = performance.now();
      await kill(child);
      hold.release();
      await goes(`an AMQP caller of 3 killed ${when}`, lostAt);
      for (const row of (await world.leases()).slice(-3)) {
        expect(row).toMatchObject({ state: 'ended', accepted_at: null });
      }
    },
    30_000,
  );
});
