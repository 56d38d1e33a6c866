import type { LeaseRow } from '../support/world.js';
import type { Callers } from './callers.js';
import type { Chronicle } from './chronicle.js';
import type { LentUser } from './lent-users.js';
import { judgeSteps, type Step } from './steps.js';

/** A row with what only the model asks for. */
export type Row = LeaseRow & { forced: boolean; attempts: number; token_id: string | null };

/** The world at one instant at which everything stands still. */
export interface Seen {
  rows: Row[];
  /** Those since the last look. */
  steps: Step[];
  users: LentUser[];
  /** The mount is gone: its path is free. */
  unmounted: boolean;
  /** Users of leases that have not ended, as they are counted against AWS's quota. */
  counted: number;
}

/** A key that nobody may have any more is gone so long after that, and after AWS is well, milliseconds: a minute, and one sweep. */
const keysGoWithinMs = 65_000;

/** What must hold, whatever happens; a breach is told to the chronicle. */
export class Promises {
  /** When a key that is there, and that nobody may have, was first seen, on the clock of `performance.now()`. */
  private readonly over = new Map<string, number>();

  constructor(
    private readonly callers: Callers,
    private readonly chronicle: Chronicle,
  ) {}

  /** After every step. */
  hold({ rows, steps, users, unmounted, counted }: Seen): void {
    for (const wrong of judgeSteps(steps)) this.violated(wrong);
    const rowOf = new Map(rows.map((row) => [row.user_name, row]));
    for (const user of users) {
      if (!rowOf.has(user.name)) this.violated(`user ${user.name} is in AWS and no row explains it`);
      if (user.keys.length > 1) this.violated(`user ${user.name} has ${user.keys.length} keys`);
    }
    this.nobodysIsTaken(rows, users);
    this.oneEach(rows);
    for (const row of rows) {
      const isNobodys = row.token_id === null;
      if (isNobodys && (isLent(row) || row.accepted_at !== null))
        this.violated(`${row.id} is ${row.state}, and nobody's`);
      if (!isNobodys && row.state === 'pooled') this.violated(`${row.id} is in a pool, and somebody was given it`);
    }
    const withdrawn = this.callers.withdrawn();
    for (const row of rows.filter(isLent)) {
      if (withdrawn.has(row.command_id)) this.violated(`${row.id} is ${row.state}, and its caller has left`);
    }
    if (unmounted && rows.some((row) => row.accepted_at !== null && row.state !== 'ended'))
      this.violated('the path of a mount is free, and leases of it have not ended');
    const living = rows.filter((row) => row.state !== 'ended').length;
    if (counted !== living) this.violated(`${living} users of leases are counted as ${counted}`);
  }

  /** No credential that a caller holds is taken away before its time (promise 3). */
  private nobodysIsTaken(rows: Row[], users: LentUser[]): void {
    const keys = new Set(users.flatMap((user) => user.keys));
    const now = performance.now();
    for (const { leaseId, accessKeyId, until, end } of this.callers.holdings) {
      if (end !== 'kept' || now >= until) continue;
      const row = rows.find((each) => each.id === leaseId);
      if (!keys.has(accessKeyId) || row?.state !== 'active')
        this.violated(`${leaseId} was taken from its holder before its time (${row?.state}, ${row?.end_reason})`);
    }
  }

  /** Never two credentials for one request (promise 2). */
  private oneEach(rows: Row[]): void {
    const living = new Set<string>();
    for (const row of rows.filter(isLent)) {
      if (living.has(row.command_id)) this.violated(`command ${row.command_id} has two living credentials`);
      living.add(row.command_id);
    }
    const holders = this.callers.holdings.map((holding) => holding.commandId);
    if (new Set(holders).size < holders.length) this.violated('a command was answered with two credentials');
  }

  /** While what is due is done; `wellSince`: from when on AWS has been well (promises 1 and 5: within a minute). */
  comeInTime({ rows, users }: Seen, wellSince: number): void {
    const now = performance.now();
    const mayLive = this.mayLive(rows, users);
    for (const { name, keys } of users) {
      const row = rows.find((each) => each.user_name === name);
      for (const key of keys.filter((each) => !mayLive.has(each))) {
        const seenAt = this.over.get(key) ?? now;
        this.over.set(key, seenAt);
        // Between two looks much time may pass: where the end is known, it counts.
        const held = this.callers.holdings.find(({ accessKeyId, end }) => accessKeyId === key && end !== 'owed');
        const since = held ? Math.max(wellSince, held.atLatest) : seenAt;
        // What AWS has refused is tried again ever later; of what is forced out that is not counted.
        if (!row || row.attempts > 0 || row.forced || now - since < keysGoWithinMs) continue;
        this.violated(`a minute later key ${key} is still alive, and nobody may have it: its row is ${row.state}`);
      }
    }
  }

  /** Once all that is due was done: nothing is left but what callers hold (promises 1 to 5). */
  areKept({ rows, users }: Seen): void {
    const mayLive = this.mayLive(rows, users);
    for (const { keys } of users)
      for (const key of keys) if (!mayLive.has(key)) this.violated(`at rest, key ${key} is alive and nobody holds it`);
    for (const user of users) {
      const row = rows.find((each) => each.user_name === user.name);
      if (!row || !(['active', 'pooled'].includes(row.state) || isGivenUp(row)))
        this.violated(
          `at rest, user ${user.name} is still in AWS: its row is ${row?.state} (${row?.id}, ${row?.end_reason})`,
        );
    }
    for (const holding of this.callers.holdings.filter(({ end }) => end === 'owed')) {
      const row = rows.find((each) => each.id === holding.leaseId)!;
      if (!['ended', 'irrevocable'].includes(row.state))
        this.violated(`the end of ${row.id} was asked for and forgotten: it is ${row.state}`);
    }
    if (this.callers.mount.ended && rows.some((row) => ['active', 'pooled'].includes(row.state)))
      this.violated('the mount has ended, and some of its leases go on');
  }

  /** When the time of every lease is over. */
  leaveNothing({ rows, users }: Seen): void {
    const left = users.filter((user) => !rows.some((row) => row.user_name === user.name && isDropped(row)));
    if (left.length > 0)
      this.violated(`when all time is over, ${left.map((user) => user.name).join()} are still in AWS`);
  }

  private mayLive(rows: Row[], users: LentUser[]): Set<string> {
    const now = performance.now();
    const held = this.callers.holdings.filter(({ end, atLatest }) => end !== 'owed' && now <= atLatest);
    const mayLive = new Set(held.map((holding) => holding.accessKeyId));
    for (const row of rows) {
      const isKept = row.state === 'pooled' || this.callers.unknown.has(row.id);
      if (isKept && row.access_key_id) mayLive.add(row.access_key_id);
      if (!isGivenUp(row)) continue;
      for (const key of users.find((user) => user.name === row.user_name)?.keys ?? []) mayLive.add(key);
    }
    return mayLive;
  }

  private violated(text: string): void {
    this.chronicle.violated(text);
  }
}

const isLent = (row: Row) => ['offered', 'active'].includes(row.state);

/** A person must look, or has looked. */
const isGivenUp = (row: Row) => row.state === 'irrevocable' || isDropped(row);

/** An operator wanted it gone from our books, and AWS refused to the last look. */
const isDropped = (row: Row) => row.state === 'ended' && row.forced && row.due_at === null && row.last_error !== null;
