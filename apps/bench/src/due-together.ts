import { setTimeout as sleep } from 'node:timers/promises';
import type { Mounted } from './mounted.js';
import type { Lent } from './operations.js';
import type { Rig } from './rig.js';

/** Milliseconds that a renewal is given, beside what it waits for: enough on a busy machine. */
const perRenewalMs = 2.5;

/** How late each lease was gone from AWS. */
export interface Lateness {
  /** Seconds from a lease's end until AWS had deleted its user, ascending. */
  late: Float64Array;
  /** The time in which the leases were due, seconds. */
  dueWithin: number;
  /** Users gone, by second since the first was due. */
  goneBySecond: number[];
}

/**
 * Renews leases of a mount so that all are due in the same second, or spread evenly over `withinMs`, and watches AWS until their
 * users are gone. AWS answers at once meanwhile.
 * @throws Error when some are there two minutes later.
 */
export async function dueTogether(
  rig: Rig,
  mounts: Mounted[],
  leases: readonly Lent[],
  withinMs: number,
): Promise<Lateness> {
  const { aws, client } = rig;
  await aws.setLatency(0);
  const before = await usersOf(rig, mounts);
  const from = Date.now() + 5_000 + leases.length * perRenewalMs;
  const dueAt = new Map<string, number>();
  const { bench } = rig.bench(...mounts);
  let next = 0;
  const operation = async () => {
    const index = next++;
    const lease = leases[index];
    if (!lease) return false;
    const wanted = from + (index / leases.length) * withinMs;
    const askedAt = Date.now();
    const increment = Math.max(1, Math.round((wanted - askedAt) / 1_000));
    await client.call('PUT', 'sys/leases/renew', { lease_id: lease.leaseId, increment });
    // Renewed a little later, so it is due a little later: never made to look less late than it is.
    dueAt.set(lease.accessKeyId, askedAt + increment * 1_000);
    return true;
  };
  await bench.measure({ operation, callers: 16, warmUpMs: 0, measureMs: 120_000 });
  const instants = [...dueAt.values()].toSorted((a, b) => a - b);
  const [first, last] = [instants[0] ?? Date.now(), instants.at(-1) ?? Date.now()];
  await sleep(Math.max(0, last - Date.now()), undefined, { signal: rig.run.signal });
  const deadline = Date.now() + 120_000;
  while ((await usersOf(rig, mounts)) > before - dueAt.size) {
    if (Date.now() > deadline) throw new Error('Leases that are due are in AWS two minutes later.');
    await sleep(1_000, undefined, { signal: rig.run.signal });
  }
  const gone = await goneAt(rig, mounts);
  const ends = [...dueAt].flatMap(([key, due]) => (gone.has(key) ? [{ due, gone: gone.get(key)! }] : []));
  const goneBySecond = Array.from({ length: Math.ceil((Math.max(...gone.values()) - first) / 1_000) }, () => 0);
  for (const end of ends) goneBySecond[Math.max(0, Math.floor((end.gone - first) / 1_000))]! += 1;
  return {
    late: Float64Array.from(ends, (end) => (end.gone - end.due) / 1_000).sort(),
    dueWithin: (last - first) / 1_000,
    goneBySecond,
  };
}

async function usersOf({ aws }: Rig, mounts: Mounted[]): Promise<number> {
  const counts = await Promise.all(mounts.map(({ account }) => aws.lentUsers(account.id)));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** When AWS had deleted the user of each access key. */
async function goneAt({ aws }: Rig, mounts: Mounted[]): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const { account } of mounts) {
    const asked = { account: account.id, outcome: 'Success' };
    const users = new Map(
      (await aws.calls({ ...asked, action: 'DeleteUser' })).map(({ userName, endedAtMs }) => [userName, endedAtMs]),
    );
    for (const { userName, parameters } of await aws.calls({ ...asked, action: 'DeleteAccessKey' })) {
      const gone = users.get(userName);
      if (gone !== undefined && parameters.AccessKeyId) found.set(parameters.AccessKeyId, gone);
    }
  }
  return found;
}
