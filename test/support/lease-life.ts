import { expect } from '@jest/globals';
import type { HttpAnswer } from './http-client.js';
import { eventually, type LentKeys, type World } from './world.js';

/** What roles of these journeys allow. */
export const policyDocument = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: 'ec2:*', Resource: '*' },
});

/** Writes a role with one inline policy. */
export async function writeRole(world: World, name: string, body: object = {}): Promise<void> {
  await world.http.must(204, 'PUT', `aws/roles/${name}`, {
    policy_document: policyDocument,
    credential_type: 'iam_user',
    ...body,
  });
}

/** A credential that was handed over. */
export interface Lent {
  leaseId: string;
  keys: LentKeys;
}

export function lentBy(answer: HttpAnswer): Lent {
  return { leaseId: answer.body.lease_id, keys: answer.body.data as unknown as LentKeys };
}

/** Asks for a credential of a role and has it. */
export async function lend(world: World, role: string): Promise<Lent> {
  return lentBy(await world.http.must(200, 'GET', `aws/creds/${role}`));
}

/** The ids of the access keys of all users in AWS that were made for callers. */
export function keysInAws(world: World): string[] {
  return world.simulator
    .account()
    .users()
    .filter((user) => !user.name.startsWith('leasehold-root'))
    .flatMap((user) => user.accessKeys.map((key) => key.id))
    .sort();
}

/**
 * Waits until nothing is under way any more and AWS holds what callers hold and nothing else: no row half way, no look
 * owed, every user explained by a living row, no key but those of `held`.
 */
export async function comesToRest(world: World, held: Lent[] = [], withinMs = 12_000): Promise<void> {
  const expected = {
    underWay: [] as string[],
    users: 'as the living rows say',
    keys: held.map((lent) => lent.keys.access_key).sort(),
    leases: held.map((lent) => lent.leaseId).sort(),
  };
  let found: unknown;
  const isAtRest = async () => {
    const rows = await world.leases();
    const living = rows.filter((row) => row.state === 'active');
    const named = living.map((row) => row.user_name).sort();
    const users = world.lentUsers().sort();
    found = {
      underWay: rows
        .filter(
          (row) => ['issuing', 'offered', 'revoking'].includes(row.state) || (row.state === 'ended' && row.due_at),
        )
        .map((row) => `${row.state} ${row.id} ${row.last_error}`),
      users: users.join() === named.join() ? expected.users : { users, named },
      keys: keysInAws(world),
      leases: living.map((row) => row.id).sort(),
    };
    return JSON.stringify(found) === JSON.stringify(expected);
  };
  await eventually(isAtRest, withinMs).catch(() => undefined);
  expect(found).toEqual(expected);
}

/** The row of one lease. */
export async function rowOf(world: World, leaseId: string) {
  const row = (await world.leases()).find((each) => each.id === leaseId);
  if (!row) throw new Error(`No row of ${leaseId}.`);
  return row;
}

/** Does something while a connection of its own holds the locks that `sql` takes. */
export async function whileLocked<T>(world: World, sql: string, during: () => Promise<T>): Promise<T> {
  const blocker = await world.database.connect();
  try {
    await blocker.query('begin');
    await blocker.query(sql);
    return await during();
  } finally {
    await blocker.query('rollback');
    blocker.release();
  }
}

/** Waits until a statement of the system, one that begins so, stands before a lock. */
export async function someoneWaits(world: World, beginning = ''): Promise<void> {
  await eventually(async () => {
    const { rows } = await world.database.query(
      `select 1 from pg_stat_activity
       where datname = current_database() and application_name = 'leasehold' and wait_event_type = 'Lock'
         and starts_with(query, $1)`,
      [beginning],
    );
    return rows.length > 0;
  });
}
