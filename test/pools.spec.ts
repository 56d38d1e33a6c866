import { randomUUID } from 'node:crypto';
import type { INestApplicationContext } from '@nestjs/common';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { OutOfTime } from '#libs/contracts';
import { Accepting, Issuing, Pooling } from '#libs/leases';
import { IssueLease } from '../apps/issuer/src/issue-lease.js';
import { commandFor, issuerBeside, observingIssuerBeside } from './support/beside.js';
import { keysInAws, lend, lentBy, policyDocument, someoneWaits, whileLocked, writeRole } from './support/lease-life.js';
import { pooled, poolRows, ready, writePooled } from './support/pools.js';
import { eventually, usualWeather, World } from './support/world.js';

/** AWS learns of a key long after it has made it, compared with the other spans of these journeys. */
const weather = { ...usualWeather, propagationMs: 400 };

const otherPolicy = policyDocument.replace('ec2:*', 's3:*');

describe('a pool of users that are made ahead', () => {
  let world: World;
  /** A second issuer, so that there are two in either shape. */
  let issuer: INestApplicationContext;
  /** A role of each journey's own. */
  let deploy = 'deploy';
  let journeys = 0;

  beforeEach(() => {
    deploy = `deploy${(journeys += 1)}`;
  });
  beforeAll(async () => {
    world = await World.start({ weather, timing: { pooledMinMs: 600 } });
    await world.mount();
    issuer = await issuerBeside(world);
  }, 60_000);
  afterAll(async () => {
    await issuer.close();
    await world.close();
  });
  afterEach(async () => {
    world.simulator.faults.clear(weather);
    const { body } = await world.http.call('LIST', 'aws/roles');
    for (const role of (body.data?.keys ?? []) as string[]) await world.http.call('DELETE', `aws/roles/${role}`);
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    await eventually(() => world.lentUsers().length === 0);
  });

  /** AWS refuses everything from now on. */
  const awsIsAway = () => world.simulator.faults.fail({ action: '*', code: 'ServiceUnavailable', status: 503 });
  const awsIsBack = () => world.simulator.faults.clear(weather);
  const byId = async (leaseId: string) => (await poolRows(world, deploy)).find((row) => row.id === leaseId);
  const policyOf = (userName: string) => world.simulator.account().existingUser(userName).inlinePolicies[0]?.document;

  it('gives each caller one of its own at once while AWS refuses everything, and each works from its first use on', async () => {
    await writePooled(world, deploy, 3);
    const made = await ready(world, deploy, 3);
    awsIsAway();
    await world.restart(); // nobody remembers what AWS once said
    const lent = [await lend(world, deploy), await lend(world, deploy), await lend(world, deploy)];
    expect(lent.map((each) => each.leaseId).sort()).toEqual(made.map((row) => row.id).sort());
    const refused = await world.http.call('GET', `aws/creds/${deploy}`);
    expect(refused.status).not.toBe(200);
    awsIsBack();
    for (const { keys } of lent) expect(await world.whoIs(keys)).toContain(`:user/vault-pool-${deploy}-`);

    // And the pool is made full again, of others.
    const again = await ready(world, deploy, 3);
    expect(new Set([...again, ...made].map((row) => row.user_name)).size).toBe(6);
    for (const { leaseId } of lent) await world.http.must(204, 'PUT', `sys/leases/revoke`, { lease_id: leaseId });
    const left = (await pooled(world, deploy)).map((row) => row.access_key_id);
    expect(keysInAws(world)).toEqual(left.sort());
  }, 60_000);

  it('is needed: a key that is made for its caller is refused at first', async () => {
    await writeRole(world, deploy);
    expect(await world.whoIs((await lend(world, deploy)).keys)).toBe('InvalidClientTokenId');
  });

  it('has exactly as many users as its role says, though two issuers fill it', async () => {
    await writePooled(world, deploy, 12);
    await ready(world, deploy, 12);
    expect(await poolRows(world, deploy)).toHaveLength(12);
    expect(world.lentUsers()).toHaveLength(12);
  });

  it('gives 20 callers at once 20 credentials, 5 of them its own', async () => {
    await writePooled(world, deploy, 5);
    const made = (await ready(world, deploy, 5)).map((row) => row.id);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => world.http.must(200, 'GET', `aws/creds/${deploy}`)),
    );
    const lent = answers.map(lentBy);
    expect(new Set(lent.map((each) => each.keys.access_key)).size).toBe(20);
    expect(new Set(lent.map((each) => each.keys.secret_key)).size).toBe(20);
    expect(lent.filter((each) => made.includes(each.leaseId))).toHaveLength(5);
    const active = (await world.leases()).filter((row) => row.state === 'active').map((row) => row.access_key_id);
    expect(active.sort()).toEqual(lent.map((each) => each.keys.access_key).sort());
  });

  it('lends as any role does: TTL, idempotency key, ready, and the limit of its leases', async () => {
    await writePooled(world, deploy, 2, { default_user_ttl: '90s', max_leases: 2 });
    const made = (await ready(world, deploy, 2)).map((row) => row.id);
    const headers = { 'Idempotency-Key': randomUUID() };
    awsIsAway();
    const first = await world.http.must(200, 'GET', `aws/creds/${deploy}?ready=true`, undefined, { headers });
    const again = await world.http.must(200, 'GET', `aws/creds/${deploy}?ready=true`, undefined, { headers });
    expect([first.body.lease_duration, first.body.warnings]).toEqual([90, null]);
    expect(again.body.data).toEqual(first.body.data);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    const other = await lend(world, deploy);
    expect([lentBy(first).leaseId, other.leaseId].sort()).toEqual(made.sort());
    const { body } = await world.http.must(429, 'GET', `aws/creds/${deploy}`);
    expect(body.errors[0]).toMatch(/has as many leases as it may have at once \(max_leases 2\)/);
    awsIsBack();
    await world.http.must(200, 'PUT', 'sys/leases/renew', { lease_id: other.leaseId, increment: 60 });
  });

  it('is nobody’s leases: none is listed, looked up, counted or told of before it is handed out', async () => {
    await writePooled(world, deploy, 2);
    const [one, two] = await ready(world, deploy, 2);
    expect((await world.http.call('LIST', `sys/leases/lookup/aws/creds/${deploy}`)).status).toBe(404);
    await world.http.must(400, 'PUT', 'sys/leases/lookup', { lease_id: one!.id });
    await world.http.must(400, 'PUT', 'sys/leases/renew', { lease_id: one!.id });
    // An operator who meets its key in AWS's records finds out what it is.
    const key = await world.http.must(200, 'PUT', 'sys/leases/lookup-access-key', { access_key: one!.access_key_id! });
    expect(key.body.data).toMatchObject({ state: 'pooled', display_name: 'pool', token_accessor: null, role: deploy });
    const { leaseId } = await lend(world, deploy);
    const list = await world.http.must(200, 'LIST', `sys/leases/lookup/aws/creds/${deploy}`);
    expect(list.body.data.keys).toEqual([leaseId.split('/').at(-1)]);
    expect([one!.id, two!.id]).toContain(leaseId);
    const { rows } = await world.database.query(`select body from outbox where body->>'leaseId' = any($1)`, [
      [one!.id, two!.id].filter((id) => id !== leaseId),
    ]);
    expect(rows).toEqual([]);
    const deletion = await world.http.must(200, 'DELETE', `aws/roles/${deploy}`);
    expect(deletion.body.warnings![0]).toContain('1 lease of it lives');
  });

  it('never gives what an earlier version of the role says, and makes it anew by the one of now', async () => {
    await writePooled(world, deploy, 2);
    const old = (await ready(world, deploy, 2)).map((row) => row.id);
    await writePooled(world, deploy, 2, { policy_document: otherPolicy });
    const { leaseId } = await lend(world, deploy);
    expect(old).not.toContain(leaseId);
    const now = await ready(world, deploy, 2);
    for (const { user_name } of now) expect(policyOf(user_name!)).toContain('s3:*');
    await eventually(async () => (await byId(old[0]!))?.state === 'ended' && (await byId(old[1]!))?.state === 'ended');
    expect((await byId(old[0]!))!.end_reason).toBe('outdated');
    const { rows } = await world.database.query('select lease_id from pooled_keys order by 1');
    expect(rows.map((row) => row.lease_id)).toEqual(now.map((row) => row.id).sort());
  });

  it('never gives what a role said that changes between its look-up and the hand-out', async () => {
    await writePooled(world, deploy, 1);
    const [old] = await ready(world, deploy, 1);
    const answer = await whileLocked(world, 'lock table commands in access exclusive mode', async () => {
      const asked = world.http.call('GET', `aws/creds/${deploy}`);
      await someoneWaits(world, 'with asked as');
      await writePooled(world, deploy, 1, { policy_document: otherPolicy });
      return { asked };
    }).then(({ asked }) => asked);
    expect(answer.body.lease_id).not.toBe(old!.id);
    await eventually(async () => (await byId(old!.id))?.state === 'ended');
    expect((await byId(old!.id))!.accepted_at).toBeNull();
  });

  it.each([
    ['its role is deleted', () => world.http.must(204, 'DELETE', `aws/roles/${deploy}`)],
    ['its pool_size is taken away', () => world.http.must(204, 'PUT', `aws/roles/${deploy}`, { pool_size: 0 })],
    [
      'all below its role is revoked',
      () => world.http.must(204, 'PUT', `sys/leases/revoke-prefix/aws/creds/${deploy}`),
    ],
    ['config/root is written', () => world.http.must(204, 'PUT', 'aws/config/root', { region: 'us-east-1' })],
  ])('goes when %s', async (_, change) => {
    await writePooled(world, deploy, 2);
    const old = (await ready(world, deploy, 2)).map((row) => row.id);
    await change();
    await eventually(async () => (await byId(old[0]!))?.state === 'ended' && (await byId(old[1]!))?.state === 'ended');
    for (const id of old) expect(await byId(id)).toMatchObject({ accepted_at: null, token_id: null });
  });

  it.each([
    [
      'is too young for AWS to know it everywhere',
      `update leases set pooled_at = now() + interval '1 hour' where id = $1`,
    ],
    ['is at its end', `update leases set due_at = now() where id = $1`],
    ['was made when its mount had another path', `update leases set mount_version = -1 where id = $1`],
    [
      'is in an account that is not its root’s any more',
      `update root_configs set account_id = '999999999999'
       where superseded_at is null and mount_id = (select mount_id from leases where id = $1)`,
    ],
  ])('never gives one that %s', async (_, change) => {
    await writePooled(world, deploy, 1);
    const [made] = await ready(world, deploy, 1);
    await world.database.query(change, [made!.id]);
    expect((await lend(world, deploy)).leaseId).not.toBe(made!.id);
    expect((await byId(made!.id))!.token_id).toBeNull();
  });

  it('leaves alone what somebody has by now when the answer to its keeping was lost', async () => {
    await writePooled(world, deploy, 1);
    await ready(world, deploy, 1);
    const { leaseId } = await lend(world, deploy);
    const before = await byId(leaseId);
    await issuer.get(Issuing).abandon(leaseId, 'the answer was lost', true);
    expect(before!.state).toBe('active');
    expect(await byId(leaseId)).toEqual(before);
  });

  it('goes with its mount', async () => {
    await world.mount('team');
    await world.http.must(204, 'PUT', `team/roles/${deploy}`, {
      credential_type: 'iam_user',
      policy_document: policyDocument,
      pool_size: 2,
    });
    await ready(world, deploy, 2);
    await world.http.must(204, 'DELETE', 'sys/mounts/team');
    await eventually(() => world.lentUsers().length === 0);
    expect((await poolRows(world, deploy)).every((row) => row.end_reason === 'unmounted')).toBe(true);
  });

  it('takes back what was handed out and nobody accepted: it never goes back', async () => {
    await writePooled(world, deploy, 1);
    const [only] = await ready(world, deploy, 1);
    const command = commandFor(world, deploy);
    const reply = await issuer.get(IssueLease).execute(command);
    expect(reply.leaseId).toBe(only!.id);
    // Delivered again, as when its issuer died with the answer: another credential, and the first one goes.
    const second = await issuer.get(IssueLease).execute(command);
    expect(second.credential.accessKeyId).not.toBe(reply.credential.accessKeyId);
    await expect(issuer.get(Accepting).accept(reply.leaseId)).rejects.toThrow(OutOfTime);
    await eventually(async () => (await byId(only!.id))?.state === 'ended');
    expect((await byId(only!.id))!.end_reason).toBe('issuer_lost');
    // Nor is the second one accepted: its time lapses.
    await eventually(async () => (await world.leases()).find((row) => row.id === second.leaseId)?.state === 'ended');
    const [next] = await ready(world, deploy, 1);
    expect(keysInAws(world)).toEqual([next!.access_key_id]);
  });

  it('is not handed to a caller who has left', async () => {
    await writePooled(world, deploy, 1);
    const [only] = await ready(world, deploy, 1);
    const command = commandFor(world, deploy);
    await issuer.get(Accepting).withdraw(command.id, (await tokenIds())[0]!);
    await expect(issuer.get(IssueLease).execute(command)).rejects.toThrow(OutOfTime);
    expect(await byId(only!.id)).toMatchObject({ state: 'pooled', token_id: null });
  });

  const tokenIds = async () =>
    (await world.database.query<{ id: string }>(`select id from tokens`)).rows.map((row) => row.id);

  it('is neither handed out nor filled while it is frozen', async () => {
    await writePooled(world, deploy, 2);
    await ready(world, deploy, 2);
    await world.http.must(204, 'PUT', `sys/freeze/role/aws/${deploy}`, { reason: 'a look' });
    await world.http.must(429, 'GET', `aws/creds/${deploy}`);
    const [first] = await pooled(world, deploy);
    await world.database.query(`update leases set due_at = now() where id = $1`, [first!.id]);
    await eventually(async () => (await byId(first!.id))?.state === 'ended');
    expect(await issuer.get(Pooling).short()).toEqual([]);
    expect(await pooled(world, deploy)).toHaveLength(1);
    await world.http.must(204, 'DELETE', `sys/freeze/role/aws/${deploy}`);
    await ready(world, deploy, 2);
    expect((await byId(first!.id))!.end_reason).toBe('retired');
  });

  it('opens with the keys of the keyring, also when they have changed', async () => {
    await writePooled(world, deploy, 1);
    const [only] = await ready(world, deploy, 1);
    await world.http.must(204, 'PUT', 'sys/rotate');
    await eventually(async () => {
      const { rows } = await world.database.query(`select 1 from keyring where purpose = 'seal'`);
      return rows.length === 1;
    });
    awsIsAway();
    const { leaseId, keys } = await lend(world, deploy);
    expect(leaseId).toBe(only!.id);
    awsIsBack();
    expect(await world.whoIs(keys)).toMatch(/:user\//);
  });

  it('gives way to a user made as ever when its secret cannot be opened, and that one goes', async () => {
    await writePooled(world, deploy, 1);
    const [only] = await ready(world, deploy, 1);
    await world.database.query(`update pooled_keys set sealed_secret_key = overlay(sealed_secret_key placing 'AAAA' from
      length(sealed_secret_key) - 8)`);
    const { leaseId } = await lend(world, deploy);
    expect(leaseId).not.toBe(only!.id);
    await eventually(async () => (await byId(only!.id))?.state === 'ended');
  });

  it('is told once that it cannot be filled, is tried ever more rarely, and is filled when its role is mended', async () => {
    world.simulator.faults.clear();
    const missing = `arn:aws:iam::${world.simulator.account().id}:policy/missing`;
    await writePooled(world, deploy, 2, { policy_arns: missing });
    await eventually(() => world.simulator.calls.count({ action: 'AttachUserPolicy' }) > 4);
    const told = world.log.filter((line) => line.includes('a pool cannot be filled') && line.includes(`"${deploy}"`));
    expect(told.length).toBeGreaterThan(0);
    // Once by each issuer.
    expect(told.length).toBeLessThanOrEqual(3);
    await world.http.must(204, 'PUT', `aws/roles/${deploy}`, { policy_arns: '' });
    await ready(world, deploy, 2);
    await eventually(() => world.lentUsers().length === 2);
  });

  it('is emptied when the system is observed, since after a restore it may have been handed out', async () => {
    await writePooled(world, deploy, 2);
    const old = (await ready(world, deploy, 2)).map((row) => row.id);
    const observer = await observingIssuerBeside(world);
    await observer.close();
    const { leaseId } = await lend(world, deploy);
    expect(old).not.toContain(leaseId);
    await eventually(async () => (await byId(old[0]!))?.state === 'ended' && (await byId(old[1]!))?.state === 'ended');
  });
});
