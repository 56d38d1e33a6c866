import { randomUUID } from 'node:crypto';
import { OverBudget } from '#libs/contracts';
import { beginPace, type BudgetClass, grant, isForgotten, note, type Pace, silenceMs, slowDown } from './pace.js';
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
  slots: { by: BudgetClass; at: number }[];
  now: number;
}

/** This worker's callers of one API. */
class Line {
  private limited = false;
  private readonly waiting: Record<BudgetClass, Waiting[]> = { issue: [], revoke: [], upkeep: [] };
  /** Slots that we have and that are not due yet. */
  private readonly ahead: Record<BudgetClass, number> = { issue: 0, revoke: 0, upkeep: 0 };
  /** When calls were answered, and when calls of a class that had to wait got their slot. */
  private readonly answers: number[] = [];
  private readonly granted: Record<BudgetClass, number[]> = { issue: [], revoke: [], upkeep: [] };
  private unreported = 0;
  /** When the last call left that AWS complained of and nobody was told about. */
  private complaint: number | null = null;
  private complainedAt = -Infinity;
  private pace: Pace | null = null;
  private syncing = false;
  private next: NodeJS.Timeout | null = null;
  private syncedAt = -Infinity;

  constructor(
    private readonly budget: string,
    private readonly worker: string,
    private readonly store: PaceStore,
  ) {}

  async take(turn: Turn): Promise<void> {
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
      this.complainedAt = performance.now();
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
        note(kept, this.worker, at);
        return { pace: kept, told: { pace: kept, slots: this.grants(kept, at), now: at } };
      });
      this.pace = pace;
      this.limited = pace !== null;
      for (const { by, at } of slots) this.await(by, at - now);
      if (!pace) this.releaseAll();
    } finally {
      this.syncing = false;
      this.syncedAt = performance.now();
    }
    if (this.complaint !== null) this.syncSoon(0);
    else if (this.wanting()) this.syncSoon();
  }

  private grants(pace: Pace, now: number): { by: BudgetClass; at: number }[] {
    return classes.flatMap((by) => {
      const wanted = this.waiting[by].length - this.ahead[by];
      return wanted > 0 ? grant(pace, by, wanted, now).map((at) => ({ by, at })) : [];
    });
  }

  private wanting(): boolean {
    return classes.some((by) => this.waiting[by].length > this.ahead[by]);
  }

  /** Lets the first of a class go in `inMs`; later, when AWS complains before that. */
  private await(by: BudgetClass, inMs: number): void {
    const givenAt = performance.now();
    this.ahead[by] += 1;
    const go = () => {
      this.ahead[by] -= 1;
      const first = this.waiting[by].shift();
      if (!first) return; // it has given up
      this.granted[by].push(performance.now());
      clearTimeout(first.timer);
      first.go();
    };
    setTimeout(
      () => {
        if (this.complainedAt > givenAt && this.pace) setTimeout(go, silenceMs(this.pace));
        else go();
      },
      Math.max(0, inMs),
    );
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

const classes: BudgetClass[] = ['revoke', 'issue', 'upkeep'];

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
    'The calls that AWS allows this account are used up for the moment, and more are waiting than can be made within the ' +
      `time the caller waits; try again in ${seconds} s.`,
    seconds,
  );
}
