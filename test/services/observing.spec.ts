import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type pg from 'pg';
import type { Fleet, Kind, Service } from '../../apps/cluster/src/fleet.js';
import type { Simulator } from '../../apps/simulator/src/index.js';
import { HttpClient } from '../support/http-client.js';
import { writeRole } from '../support/lease-life.js';
import { eventually, type World } from '../support/world.js';
import { worldOfServices } from '../support/world-of-services.js';

const kinds: Kind[] = ['gateway', 'issuer', 'revoker'];

describe('a system that was restored', () => {
  let world: World;
  let simulator: Simulator;
  let database: pg.Pool;
  let fleet: Fleet;
  let http: HttpClient;
  let reportEnv: Record<string, string>;

  beforeAll(async () => {
    ({ world, fleet } = await worldOfServices({ weather: {}, timing: { sweepEveryMs: 50 } }, { kinds }));
    ({ simulator, database, http } = world);
    reportEnv = {
      DATABASE_URL: world.options.databaseUrl,
      LEASEHOLD_MASTER_KEY: world.options.masterKey.toString('base64'),
      LEASEHOLD_AWS_ENDPOINT: simulator.url,
      AWS_REGION: 'us-east-1',
    };
    await world.mount();
    await writeRole(world, 'deploy');
  }, 60_000);

  afterAll(() => world.close());

  async function start(env: Record<string, string>): Promise<Service[]> {
    const services = await Promise.all(kinds.map((kind) => fleet.start(kind, env).serves()));
    for (const service of services) await eventually(() => service.isReady());
    http.url = services[0]!.url;
    return services;
  }

  async function report(): Promise<string> {
    const { stdout } = await promisify(execFile)(process.execPath, ['dist/apps/revoker/src/report.js'], {
      env: { PATH: process.env.PATH, ...reportEnv },
    });
    return stdout;
  }

  const lend = async () => {
    const { body } = await http.must(200, 'GET', 'aws/creds/deploy');
    const { rows } = await database.query<{ user_name: string }>('select user_name from leases where id = $1', [
      body.lease_id,
    ]);
    return { id: body.lease_id, user: rows[0]!.user_name };
  };
  const rows = async () => (await database.query('select * from leases order by id')).rows as object[];
  const users = () => simulator.account().users();

  it('is observed: nothing is issued or taken back until an operator has compared it with AWS', async () => {
    const [kept, missing, overdue, ended] = [await lend(), await lend(), await lend(), await lend()];
    await fleet.close();
    const account = simulator.account();
    const lost = account.existingUser(missing.user);
    account.deleteAccessKey(lost, lost.accessKeys[0]!.id);
    lost.inlinePolicies = [];
    account.deleteUser(lost);
    account.createUser('vault-root-deploy-1764000000-aaaaaaaaaaaaaaaaaaaa');
    account.createUser('somebody');
    await database.query(
      `update leases set due_at = now(), expires_at = now(), created_at = now() - interval '1 h' where id = $1`,
      [overdue.id],
    );
    await database.query(`update leases set state = 'ended', due_at = null, ended_at = now() where id = $1`, [
      ended.id,
    ]);
    const [before, usersBefore] = [await rows(), users().length];

    const services = await start({ LEASEHOLD_OBSERVE: 'true' });
    for (const service of services) {
      expect(service.said).toContain(`${service.kind} observes: nothing is issued, expired or revoked`);
      const ready = await fetch(`${service.operations}/health/ready`);
      expect(await ready.json()).toEqual({ ready: true, waiting_for: [], observing: true });
    }
    // Each refuses by itself: a gateway that was forgotten, and whoever asks over AMQP, meet the issuer.
    const forgotten = await fleet.start('gateway').serves();
    for (const { url } of [services[0]!, forgotten]) {
      const refused = await new HttpClient(url, http.token).call('GET', 'aws/creds/deploy');
      expect([refused.status, refused.body.errors]).toEqual([
        503,
        ['Credentials are not issued now: the system was restored, and an operator compares it with AWS first.'],
      ]);
    }

    for (const path of ['sys/leases/tidy', 'auth/token/tidy']) {
      expect((await new HttpClient(services[0]!.url, http.token).call('PUT', path)).status).toBe(503);
    }

    // With the documented rights alone, each row's user is looked for by itself.
    const bySeedPolicy = await report();
    expect(bySeedPolicy).toContain(`aws/ in account ${account.id}\n  living leases: 3\n`);
    expect(bySeedPolicy).toContain('users that exist: 2; due, so taken back as soon as a revoker runs: 1');
    expect(bySeedPolicy).toContain('The root credentials lack iam:ListUsers: users that no row names were not looked');
    expect(bySeedPolicy).toMatch(new RegExp(`^ {2}missing +${missing.user} +${missing.id} +active`, 'm'));
    expect(bySeedPolicy).toMatch(new RegExp(`^ {2}due +${overdue.user} `, 'm'));

    account.putUserPolicy(
      account.existingUser('leasehold-root'),
      'list',
      '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*"}}',
    );
    const byList = await report();
    expect(byList).toContain('users that are missing, whose leases end by themselves: 1');
    expect(byList).toMatch(/^ {2}unexplained +vault-root-deploy-1764000000-aaaaaaaaaaaaaaaaaaaa +made/m);
    expect(byList).toMatch(new RegExp(`^ {2}ended +${ended.user} `, 'm'));
    expect(byList).not.toContain('somebody');
    expect(byList).not.toContain('lack');

    // Two reports long, many sweeps would have passed.
    expect(await rows()).toEqual(before);
    expect(users()).toHaveLength(usersBefore);

    await fleet.close();
    await start({});
    await eventually(() => account.user(overdue.user) === undefined);
    expect(account.user(kept.user)).toBeDefined();
    await http.must(200, 'GET', 'aws/creds/deploy');
  }, 90_000);
});
