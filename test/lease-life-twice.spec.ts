import { randomUUID } from 'node:crypto';
import type { INestApplicationContext } from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CodedError, type IssueLeaseRequest, OutOfTime, PermissionDenied } from '#libs/contracts';
import { Accepting, Alarms, Issuing, Renewing } from '#libs/leases';
import { seedFederationPolicy } from '../apps/simulator/src/index.js';
import { HeldLease } from '../apps/issuer/src/held-lease.js';
import { IssueLease } from '../apps/issuer/src/issue-lease.js';
import { commandFor, issuerBeside, revokerBeside } from './support/beside.js';
import { comesToRest, keysInAws, lend, rowOf, writeRole } from './support/lease-life.js';
import { otherToken } from './support/other-token.js';
import { eventually, World } from './support/world.js';

describe('doing everything twice', () => {
  let world: World;
  let issuer: INestApplicationContext;
  const issue = (command = commandFor(world, 'deploy')) => issuer.get(IssueLease).execute(command);
  const withdraw = (command: IssueLeaseRequest) =>
    issuer.get(HeldLease).withdraw({ ...command, commandId: command.id });
  const accept = (leaseId: string) => issuer.get(Accepting).accept(leaseId);
  const rowsOf = async (commandId: string) => (await world.leases()).filter((row) => row.command_id === commandId);

  beforeAll(async () => {
    world = await World.start();
    await world.mount();
    await writeRole(world, 'deploy');
    issuer = await issuerBeside(world);
  });
  afterAll(async () => {
    await issuer.close();
    await world.close();
  });

  const lentOf = (reply: Awaited<ReturnType<typeof issue>>) => ({
    leaseId: reply.leaseId,
    keys: { access_key: reply.credential.accessKeyId, secret_key: reply.credential.secretAccessKey },
  });
  const giveBack = (leaseId: string) => world.http.must(204, 'PUT', `sys/revoke/${leaseId}`);

  it('makes nothing for a command that is delivered again after its credential was handed over', async () => {
    const command = commandFor(world, 'deploy');
    const reply = await issue(command);
    await accept(reply.leaseId);
    await expect(issue(command)).rejects.toThrow(OutOfTime);
    await comesToRest(world, [lentOf(reply)]);
    await giveBack(reply.leaseId);
    await expect(issue(command)).rejects.toThrow(OutOfTime);
    await comesToRest(world);
    expect(await rowsOf(command.id)).toHaveLength(1);
  });

  it('takes the first credential back when the command comes again before it was handed over', async () => {
    const command = commandFor(world, 'deploy');
    const first = await issue(command);
    const second = await issue(command);
    await expect(accept(first.leaseId)).rejects.toThrow(OutOfTime);
    await accept(second.leaseId);
    await comesToRest(world, [lentOf(second)]);
    expect(await rowsOf(command.id)).toMatchObject([{ end_reason: 'issuer_lost' }, { state: 'active', attempt: 2 }]);
    // The end of the first is not the command's.
    const { rows } = await world.database.query(`select forget_at from commands where id = $1`, [command.id]);
    expect(rows).toEqual([{ forget_at: null }]);
    await giveBack(second.leaseId);
  });

  it('never lets two of a command delivered at the same time be handed over', async () => {
    const command = commandFor(world, 'deploy');
    const replies = await Promise.allSettled([issue(command), issue(command), issue(command)]);
    const offered = replies.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const accepted = await Promise.allSettled(offered.map(({ leaseId }) => accept(leaseId)));
    const held = offered.filter((_, index) => accepted[index]!.status === 'fulfilled').map(lentOf);
    expect(held.length).toBeLessThanOrEqual(1);
    await comesToRest(world, held);
    for (const { leaseId } of held) await giveBack(leaseId);
  });

  it('lends what AWS ends by itself once for a command, delivered again at the same time or later', async () => {
    const account = world.simulator.account();
    account.putUserPolicy(account.existingUser('leasehold-root'), 'federate', seedFederationPolicy());
    await writeRole(world, 'session', { credential_type: 'federation_token' });
    const command = commandFor(world, 'session');
    const replies = await Promise.allSettled([issue(command), issue(command)]);
    expect(replies.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    await expect(issue(command)).rejects.toThrow(OutOfTime);
    const rows = await rowsOf(command.id);
    expect(rows).toMatchObject([{ state: 'active', credential_type: 'federation_token' }]);
    await giveBack(rows[0]!.id);
  });

  it('tries a command three times and no more', async () => {
    const command = commandFor(world, 'deploy');
    for (let delivery = 1; delivery <= 3; delivery += 1) await issue(command);
    await expect(issue(command)).rejects.toThrow(OutOfTime);
    await expect(issue(command)).rejects.toThrow(OutOfTime);
    expect((await rowsOf(command.id)).map((row) => row.attempt)).toEqual([1, 2, 3]);
    await comesToRest(world);
  });

  it('goes on with another worker when the first hangs, and undoes what the first still makes', async () => {
    const command = commandFor(world, 'deploy');
    const hold = world.simulator.faults.hold('CreateUser', 'before');
    const paused = issue(command).catch((error: unknown) => error);
    await hold.reached;
    const reply = await issue(command);
    await accept(reply.leaseId);
    hold.release();
    // Out of time at its offer, or refused by AWS because its user is being destroyed already.
    expect(await paused).toBeInstanceOf(CodedError);
    await comesToRest(world, [lentOf(reply)]);
    await giveBack(reply.leaseId);
  });

  it('sees an acceptance that was still under way when it was asked for again', async () => {
    const reply = await issue(commandFor(world, 'deploy'));
    const first = await world.database.connect();
    await first.query('begin');
    await first.query(
      `update leases set state = 'active', accepted_at = now(), due_at = expires_at where id = $1 and state = 'offered'`,
      [reply.leaseId],
    );
    const again = accept(reply.leaseId);
    // The second waits for the row that the first has changed.
    await eventually(async () => {
      const { rows } = await world.database.query(
        `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%accepted_at = now()%'`,
      );
      return rows.length > 0;
    });
    await first.query('commit');
    first.release();
    await again;
    await giveBack(reply.leaseId);
  });

  it('changes nothing when a renewal is delivered again, after another one', async () => {
    const reply = await issue(commandFor(world, 'deploy'));
    await accept(reply.leaseId);
    const renewing = issuer.get(Renewing);
    const id = randomUUID();
    expect((await renewing.renew(reply.leaseId, 60_000, id)).ttlMs).toBe(60_000);
    await renewing.renew(reply.leaseId, 3_000_000, randomUUID());
    expect((await renewing.renew(reply.leaseId, 60_000, id)).ttlMs).toBeGreaterThan(2_900_000);
    await giveBack(reply.leaseId);
  });

  it('looks again at what a worker made after its lease had ended, once it can say so', async () => {
    const reply = await issue(commandFor(world, 'deploy'));
    await accept(reply.leaseId);
    const { user_name: userName } = (await world.leases()).find((row) => row.id === reply.leaseId)!;
    await giveBack(reply.leaseId);
    // Its machine was suspended for longer than anybody looked.
    const account = world.simulator.account();
    account.createAccessKey(account.createUser(userName!));
    await issuer.get(Issuing).abandon(reply.leaseId, 'too late', false);
    await comesToRest(world);
    expect(world.lentUsers()).toEqual([]);
  });

  it('makes nothing for a caller who left before its command came', async () => {
    const command = commandFor(world, 'deploy');
    const before = world.simulator.calls.count({ action: 'CreateUser' });
    await withdraw(command);
    await expect(issue(command)).rejects.toThrow(OutOfTime);
    expect(world.simulator.calls.count({ action: 'CreateUser' })).toBe(before);
    expect(await rowsOf(command.id)).toEqual([]);
  });

  it('refuses the offer of a caller who left while it was made', async () => {
    const command = commandFor(world, 'deploy');
    const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
    const late = issue(command).catch((error: unknown) => error);
    await hold.reached;
    await withdraw(command);
    await withdraw(command);
    hold.release();
    expect(await late).toBeInstanceOf(OutOfTime);
    await comesToRest(world);
  });

  it('is open to the token of the command alone, also before there is a lease', async () => {
    const token = await otherToken(world.options);
    const command = commandFor(world, 'deploy');
    await withdraw({ ...command, token });
    const reply = await issue(command);
    await expect(withdraw({ ...command, token })).rejects.toThrow(PermissionDenied);
    await expect(issue({ ...command, token })).rejects.toThrow(OutOfTime);
    await accept(reply.leaseId);
    expect(await rowsOf(command.id)).toMatchObject([{ state: 'active', attempt: 1 }]);
    await giveBack(reply.leaseId);
    await comesToRest(world);
  });

  it('answers everyone who accepts a lease, and changes nothing the second time', async () => {
    const reply = await issue();
    await Promise.all([accept(reply.leaseId), accept(reply.leaseId)]);
    const row = await rowOf(world, reply.leaseId);
    await accept(reply.leaseId).catch(() => undefined);
    expect(await rowOf(world, reply.leaseId)).toEqual(row);
    await giveBack(reply.leaseId);
  });

  it('destroys once what is revoked twice and rung for many times', async () => {
    const { leaseId } = await lend(world, 'deploy');
    const { user_name: userName, mount_id: mountId } = await rowOf(world, leaseId);
    const hold = world.simulator.faults.hold('DeleteUser', 'before', { userName: userName! });
    const revocations = [1, 2, 3].map(() => world.http.call('PUT', `sys/revoke/${leaseId}`));
    await hold.reached;
    await issuer
      .get(Alarms)
      .set([1, 2, 3].map((second) => ({ id: leaseId, mountId, dueInMs: 0, dueAt: new Date(second * 1_000) })));
    await eventually(async () => {
      const { rows } = await world.database
        .query('select 1 from bullmq.bullmq_jobs limit 1')
        .catch(() => ({ rows: [] }));
      return rows.length === 0;
    });
    hold.release();
    expect((await Promise.all(revocations)).map(({ status, text }) => [status, text])).toEqual(
      [1, 2, 3].map(() => [204, '']),
    );
    expect((await world.http.call('PUT', `sys/revoke/${leaseId}`)).status).toBe(204);
    expect(world.simulator.calls.count({ action: 'DeleteUser', userName: userName!, outcome: 'Success' })).toBe(1);
    await comesToRest(world);
  });

  it('shares what is due between revokers, each lease to one of them', async () => {
    world.simulator.faults.clear();
    const others = await Promise.all([revokerBeside(world), revokerBeside(world)]);
    const lent = await Promise.all(Array.from({ length: 12 }, () => lend(world, 'deploy')));
    const users = await Promise.all(lent.map(async ({ leaseId }) => (await rowOf(world, leaseId)).user_name!));
    await world.database.query(`update leases set expires_at = now(), due_at = now() where state = 'active'`);
    await comesToRest(world);
    const deleted = users.map((userName) => world.simulator.calls.count({ action: 'DeleteUser', userName }));
    expect(deleted).toEqual(users.map(() => 1));
    await Promise.all(others.map((other) => other.close()));
  });

  it('lets a lease be finished by another worker when the claim of the first has lapsed', async () => {
    const { leaseId } = await lend(world, 'deploy');
    const hold = world.simulator.faults.hold('DeleteUser', 'before');
    await world.http.must(202, 'PUT', 'sys/leases/revoke', { lease_id: leaseId, sync: false });
    await hold.reached;
    await world.database.query(`update leases set due_at = now() where id = $1`, [leaseId]);
    await eventually(async () => (await rowOf(world, leaseId)).state === 'ended');
    hold.release();
    await comesToRest(world);
    expect(await rowOf(world, leaseId)).toMatchObject({ end_reason: 'revoked', attempts: 0 });
    expect(keysInAws(world)).toEqual([]);
  });
});
