import { eventually } from '../support/world.js';
import type { Callers, Held } from './callers.js';
import type { Rig } from './rig.js';

/** Longest wait until nothing is under way any more; the minute of promise 1, with the spans of a lease's life. */
const restsWithinMs = 25_000;

/** Users in AWS that no row explains, whatever else is under way: the intent comes before the user (promise 1). */
export async function unexplained(rig: Rig): Promise<string[]> {
  // First AWS, then the rows: a row that is there by now may have been written after its user.
  const users = rig.users().map((user) => user.name);
  const rows = await rig.rows();
  const explained = new Set(rows.filter((row) => row.state !== 'ended' || row.due_at).map((row) => row.user_name));
  // One that was taken back while the rows were read is gone from AWS.
  const still = new Set(rig.users().map((user) => user.name));
  return users.filter((name) => !explained.has(name) && still.has(name)).map((name) => `no row explains user ${name}`);
}

/** Waits until nothing is under way, then says what is left that must not be: the promises, one line for each breach. */
export async function leftOver(rig: Rig, callers: Callers): Promise<string[]> {
  const { ledger } = callers;
  let underWay: string[] = [];
  await eventually(async () => {
    underWay = await findUnderWay(rig, ledger.held);
    return underWay.length === 0;
  }, restsWithinMs).catch(() => undefined);
  if (underWay.length > 0) return [...ledger.wrong, ...underWay];

  const held = ledger.held.filter((each) => each.must === 'kept');
  // That a key is there is seen of all of them; that it works, of some.
  await Promise.all(held.slice(0, 10).map((each) => callers.use(each)));
  return [
    ...ledger.wrong,
    ...(await unexplained(rig)),
    ...(await aliveAndNotAccepted(rig)),
    ...(await notAsTold(rig, ledger.held)),
    ...(await undone(rig, ledger.stored)),
    ...(await acceptedTwice(rig)),
    ...doubledFor(ledger.held),
    ...(await nobodyHolds(rig, ledger.held, ledger.cut)),
    ...(await untold(rig)),
  ];
}

async function findUnderWay(rig: Rig, held: Held[]): Promise<string[]> {
  const rows = await rig.rows();
  const soon = Date.now() + 30_000;
  const awaited = new Set(held.filter((each) => each.must === 'gone').map((each) => each.leaseId));
  const leases = rows
    .filter(
      (row) =>
        ['issuing', 'pooled', 'offered', 'revoking', 'irrevocable'].includes(row.state) ||
        (row.state === 'ended' && row.due_at) ||
        (row.state === 'active' && (row.expires_at!.getTime() < soon || awaited.has(row.id))),
    )
    .map((row) => `still ${row.state} (${row.end_reason ?? 'no reason'}): ${row.id} ${row.last_error ?? ''}`);
  const { rows: outbox } = await rig.database.query<{ name: string }>('select name from outbox');
  return [...leases, ...outbox.map(({ name }) => `not told: ${name}`)];
}

/** No credential alive that was not accepted; none missing that its row says is active, and due when it expires. */
async function aliveAndNotAccepted(rig: Rig): Promise<string[]> {
  const rows = (await rig.rows()).filter((row) => row.state === 'active');
  const accepted = new Set(rows.filter((row) => row.accepted_at).map((row) => row.access_key_id));
  const alive = rig.users().flatMap((user) => user.accessKeys.map((key) => ({ id: key.id, user: user.name })));
  const ids = new Set(alive.map((key) => key.id));
  return [
    ...alive.filter((key) => !accepted.has(key.id)).map((key) => `alive and not accepted: a key of ${key.user}`),
    ...rows.filter((row) => +row.due_at! !== +row.expires_at!).map((row) => `renewed by half: ${row.id}`),
    ...rows.filter((row) => !ids.has(row.access_key_id!)).map((row) => `active, and its key is gone: ${row.id}`),
  ];
}

/** What callers were told stands: none revoked that one holds, no revocation undone, no renewal forgotten. */
async function notAsTold(rig: Rig, held: Held[]): Promise<string[]> {
  const rows = new Map((await rig.rows()).map((row) => [row.id, row]));
  return held.flatMap((each) => {
    const { state, expires_at: expiresAt, end_reason: reason } = rows.get(each.leaseId) ?? { state: 'no row' };
    if (each.must === 'gone') return state === 'ended' ? [] : [`revoked, and ${state}: ${each.leaseId}`];
    if (each.must === 'either') return state === 'ended' || state === 'active' ? [] : [`${state}: ${each.leaseId}`];
    if (state !== 'active') return [`a caller holds it, and it is ${state} (${reason}): ${each.leaseId}`];
    return expiresAt!.getTime() < each.until ? [`renewed, and not any more: ${each.leaseId}`] : [];
  });
}

/** No revocation that was stored is undone. */
async function undone(rig: Rig, stored: Set<string>): Promise<string[]> {
  const undoneRows = (await rig.rows()).filter((row) => row.state !== 'ended' && stored.has(row.id));
  return undoneRows.map((row) => `its revocation was stored, and it is ${row.state}: ${row.id}`);
}

/** No request with two credentials: a command is accepted once. */
async function acceptedTwice(rig: Rig): Promise<string[]> {
  const { rows } = await rig.database.query<{ command_id: string }>(
    'select command_id from leases where accepted_at is not null group by command_id having count(*) > 1',
  );
  return rows.map((row) => `two credentials for command ${row.command_id}`);
}

/** What was asked for under one name is held once at most. */
function doubledFor(held: Held[]): string[] {
  const kept = held.filter((each) => each.must === 'kept').map((each) => each.request);
  return kept.filter((request, index) => kept.indexOf(request) < index).map((request) => `held twice: ${request}`);
}

/** Accepted, and no caller has it: only where an answer broke off on its way, since then nobody can know (promise 3). */
async function nobodyHolds(rig: Rig, held: Held[], cut: number): Promise<string[]> {
  const known = new Set(held.map((each) => each.leaseId));
  const nobodys = (await rig.rows()).filter((row) => row.state === 'active' && !known.has(row.id));
  return nobodys.slice(cut).map((row) => `nobody holds it: ${row.id}`);
}

/** Every lease that was handed over was told of, and its end (at least once). */
async function untold(rig: Rig): Promise<string[]> {
  const wanted = (await rig.rows()).flatMap((row) => {
    if (!row.accepted_at) return [];
    const end = row.end_reason === 'expired' ? 'lease.expired' : 'lease.revoked';
    return [`lease.issued ${row.id}`, ...(row.state === 'ended' ? [`${end} ${row.id}`] : [])];
  });
  const missing = () => wanted.filter((event) => !rig.told.has(event));
  // What the broker has confirmed may still be on its way to us.
  await eventually(() => missing().length === 0, 2_000).catch(() => undefined);
  return missing().map((event) => `never told: ${event}`);
}
