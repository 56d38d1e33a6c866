import { randomUUID } from 'node:crypto';
import { OverBudget } from '#libs/contracts';
import { beginPace, type BudgetClass, grant, isForgotten, join, type Pace, silenceMs, slowDown } from './pace.js';
import { MemoryPaces, type PaceStore } from './pace-store.js';

/** Who wants to call. */
export interface Turn {
  /** Account and API, such as `123456789012:iam`. */
  budget: string;
  by: BudgetClass;
  /** How long it may wait, milliseconds. */
  withinMs: number;
  /** How many calls will follow this one within the same time, this one counted. */
  calls: number;
}

interface Waiting {
  turn: Turn;
  /** On the clock of `performance.now()`. */
  until: number;
  timer: NodeJS.Timeout;
  go: () => void;
}

/** Workers ask for slots in turns of this length, milliseconds, plus as much again by chance, so that none is always last. */
const turnMs = 15;
/** An unlimited worker that calls more often than this in a second looks once a second whether others are limited. */
const busyCalls = 10;
/** The least pause between two calls, in parts of what is between their slots. */
const catchUp = 0.8;
/** Over how long calls are counted, milliseconds. */
const countMs = 1_000;

/**
 * The budget of calls to AWS that all workers share. Until AWS first complains there is none, and it costs nothing; from then
 * on a call waits for its slot, in the order of deadlines within its class (see Pace). Nothing waits in vain: what would not
 * come to its turn in time is refused at once.
 */
export class RateBudget {
  private readonly worker = randomUUID();
  private readonly lines = new Map<string, Line>();

  constructor(private readonly store: PaceStore = new MemoryPaces()) {}

  /** Waits for the turn of one call. @throws OverBudget when it would not come, or did not come, in time. */
  take(turn: Turn): Promise<void> {
    return this.line(turn.budget).take(turn);
  }

  /** AWS answered a call that left at `sentAt` (`performance.now()`): it did it or refused it, or it asked to slow down. */
  answered(budget: string, sentAt: number, throttled: boolean): void {
    this.line(budget).answered(sentAt, throttled);
  }

  close(): void {
    this.store.close();
  }

  private line(budget: string): Line {
    let line = this.lines.get(budget);
    if (!line) this.lines.set(budget, (line = new Line(budget, this.worker, this.store)));
    return line;
  }
}

/** What came of telling and asking; `now` is on the store's clock, as the slots are. */
interface Synced {
  pace: Pace | null;
  slots: Slot[];
  now: number;
}

/** When one call of a class may leave. */
interface Slot {
  by: BudgetClass;
  at: number;
}

/** This worker's callers of one API. */
class Line {
  private limited = false;
  private readonly waiting: Record<BudgetClass, Waiting[]> = { issue: [], revoke: [], upkeep: [], spare: [] };
  /** Slots that we have and that are not due yet, the earliest first; on the clock of `performance.now()`. */
  private slots: Slot[] = [];
  private release: NodeJS.Timeout | null = null;
  /** When calls were answered, and when calls of a class that had to wait got their slot. */
  private readonly answers: number[] = [];
  private readonly granted: Record<BudgetClass, number[]> = { issue: [], revoke: [], upkeep: [], spare: [] };
  private unreported = 0;
  /** When the last call left that AWS complained of and nobody was told about. */
  private complaint: number | null = null;
  private silencedAt = -Infinity;
  private pace: Pace | null = null;
  private syncing = false;
  private next: NodeJS.Timeout | null = null;
  private syncedAt = -Infinity;
  private firstSync: Promise<void> | null = null;

  constructor(
    private readonly budget: string,
    private readonly worker: string,
    private readonly store: PaceStore,
  ) {}

  async take(turn: Turn): Promise<void> {
    // Who comes late asks whether the others are limited already, and waits for the answer.
    if (this.syncedAt === -Infinity) await (this.firstSync ??= this.sync());
    if (!this.limited) {
      const isDue = performance.now() - this.syncedAt > countMs;
      if (isDue && this.answers.length > busyCalls && recent(this.answers) > busyCalls) void this.sync();
      return;
    }
    const waitMs = this.expectedWaitMs(turn);
    if (waitMs > turn.withinMs) throw overBudget(waitMs);
    await new Promise<void>((go, refuse) => {
      const line = this.waiting[turn.by];
      const one: Waiting = {
        turn,
        until: performance.now() + turn.withinMs,
        go,
        timer: setTimeout(() => {
          line.splice(line.indexOf(one), 1);
          refuse(overBudget(this.expectedWaitMs(turn)));
        }, turn.withinMs),
      };
      const place = line.findIndex((other) => other.until > one.until);
      line.splice(place === -1 ? line.length : place, 0, one);
      this.syncSoon();
    });
  }

  answered(sentAt: number, throttled: boolean): void {
    if (throttled) {
      this.complaint = Math.max(this.complaint ?? 0, sentAt);
      this.beSilent(sentAt);
      this.syncSoon(0);
    } else {
      this.unreported += 1;
      this.answers.push(performance.now());
      if (this.answers.length > 4_096 || !this.limited) recent(this.answers);
    }
  }

  /** Until the calls before this one, and its own, have had their turns: as fast as of late, or by our part of the pace. */
  private expectedWaitMs({ by, withinMs, calls }: Turn): number {
    const until = performance.now() + withinMs;
    let before = calls;
    for (const other of this.waiting[by]) if (other.until <= until) before += other.turn.calls;
    const { rate = Infinity, workers = {} } = this.pace ?? {};
    const perSecond = Math.max(recent(this.granted[by]), rate / Math.max(1, Object.keys(workers).length));
    return (before / perSecond) * 1000;
  }

  private syncSoon(afterMs = turnMs * (1 + Math.random())): void {
    if (this.syncing || (this.next && afterMs > 0)) return;
    if (this.next) clearTimeout(this.next);
    this.next = setTimeout(() => void this.sync(), Math.max(0, this.syncedAt + afterMs - performance.now()));
  }

  /** Tells the others what we have seen, and gets slots for those who wait. */
  private async sync(): Promise<void> {
    if (this.next) clearTimeout(this.next);
    this.next = null;
    if (this.syncing) return;
    this.syncing = true;
    const { unreported, complaint } = this;
    this.unreported = 0;
    this.complaint = null;
    const measured = recent(this.answers);
    try {
      const { pace, slots, now } = await this.store.change<Synced>(this.budget, (found, at) => {
        let kept = found && !isForgotten(found, at) ? found : null;
        const sentAt = complaint === null ? null : at - (performance.now() - complaint);
        if (kept) {
          kept.answered += unreported;
          if (sentAt !== null) slowDown(kept, at, sentAt);
        } else if (sentAt !== null) kept = beginPace(at, measured);
        if (!kept) return { pace: null, told: { pace: null, slots: [], now: at } };
        join(kept, this.worker, measured, at);
        return { pace: kept, told: { pace: kept, slots: this.grants(kept, at), now: at } };
      });
      this.pace = pace;
      this.limited = pace !== null;
      this.addSlots(slots, performance.now() - now);
      if (!pace) this.releaseAll();
    } finally {
      this.syncing = false;
      this.syncedAt = performance.now();
    }
    if (this.complaint !== null) this.syncSoon(0);
    else if (this.wanting()) this.syncSoon();
  }

  private grants(pace: Pace, now: number): Slot[] {
    return classes.flatMap((by) => {
      const wanted = this.unserved(by);
      return wanted > 0 ? grant(pace, by, wanted, now).map((at) => ({ by, at })) : [];
    });
  }

  private wanting(): boolean {
    return classes.some((by) => this.unserved(by) > 0);
  }

  private unserved(by: BudgetClass): number {
    return this.waiting[by].length - this.slots.filter((slot) => slot.by === by).length;
  }

  private addSlots(slots: Slot[], aheadMs: number): void {
    for (const { by, at } of slots) this.slots.push({ by, at: at + aheadMs });
    this.slots.sort((one, other) => one.at - other.at);
    if (!this.release && this.slots[0]) this.releaseIn(this.slots[0].at - performance.now());
  }

  private releaseIn(inMs: number): void {
    this.release = setTimeout(() => this.releaseNext(), Math.max(0, inMs));
  }

  private releaseNext(): void {
    this.release = null;
    const slot = this.slots.shift();
    if (!slot) return;
    const first = this.waiting[slot.by].shift();
    if (first) {
      this.granted[slot.by].push(performance.now());
      clearTimeout(first.timer);
      first.go();
    } // else it has given up
    const next = this.slots[0];
    // A worker that comes late makes up for it little by little: AWS must not see a moment's calls at once.
    if (next) this.releaseIn(Math.max(next.at - performance.now(), catchUp * (next.at - slot.at)));
  }

  /** Who has a slot waits a moment when AWS complains, once for all that had left by then. */
  private beSilent(sentAt: number): void {
    if (!this.pace || sentAt < this.silencedAt) return;
    this.silencedAt = performance.now();
    for (const slot of this.slots) slot.at += silenceMs(this.pace);
    if (!this.release || !this.slots[0]) return;
    clearTimeout(this.release);
    this.releaseIn(this.slots[0].at - this.silencedAt);
  }

  private releaseAll(): void {
    for (const by of classes) {
      for (const { timer, go } of this.waiting[by].splice(0)) {
        clearTimeout(timer);
        go();
      }
    }
  }
}

const classes: BudgetClass[] = ['revoke', 'issue', 'upkeep', 'spare'];

/** How many of these instants are of the last second; forgets the others. */
function recent(instants: number[]): number {
  const since = performance.now() - countMs;
  let old = 0;
  while (old < instants.length && instants[old]! < since) old += 1;
  if (old > 0) instants.splice(0, old);
  return instants.length;
}

function overBudget(waitMs: number): OverBudget {
  const seconds = Math.min(60, Math.max(1, Math.ceil(waitMs / 1000)));
  return new OverBudget(
    'rate',
    'The calls that AWS allows this account are used up for the moment, and more are waiting than can be made within the ' +
      `time the caller waits; try again in ${seconds} s.`,
    seconds,
  );
}
