import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Longest that anything may move between two steps, milliseconds of the machine. */
const settlesWithinMs = 8_000;
/** Without any progress for so long, PostgreSQL is asked whether the statements under way stand before a lock. */
const looksAtLocksAfterMs = 3;

/** Says who is next: fast-check's, or a story's. */
export interface Scheduler {
  schedule<T>(task: Promise<T>, name: string): Promise<T>;
}

/** One thing that a worker was asked to do. */
interface Task {
  name: string;
  /** Gates it stands at, statements (its own, or one for several tasks) and calls it waits for. */
  waits: number;
  /** It may wait for what another task does: a revoker looks at what is due for all who ring. */
  joins: boolean;
}

/** Where a task stands before its next effect. */
interface Arrival {
  name: string;
  who: string;
  open: () => void;
}

/**
 * Lets one effect happen at a time. Whatever is about to change the world (a statement that writes, a call to AWS) waits at a
 * gate; once nothing moves any more, those that wait are given to fast-check's scheduler, which says who is next.
 */
export class Interleaving {
  /** Nothing waits while this is set. */
  free = false;
  private readonly running = new AsyncLocalStorage<Task>();
  private readonly tasks = new Set<Task>();
  private arrivals: Arrival[] = [];
  private readonly stopped = new Set<string>();
  private statements = 0;
  private calls = 0;
  private callsHeld = 0;
  private strays = 0;
  private movedAt = 0;
  private wake = () => {};

  /** @param blocked how many of the workers' statements stand before a lock, or wait for a connection of their worker */
  constructor(private readonly blocked: () => Promise<number>) {}

  /** Whether the code that asks belongs to a task. */
  isOurs(): boolean {
    return this.running.getStore() !== undefined;
  }

  /** Runs `work` as a task until it ends. */
  async start<T>(name: string, work: () => Promise<T>, options: { joins?: boolean } = {}): Promise<T> {
    const task: Task = { name, waits: 0, joins: options.joins ?? false };
    this.tasks.add(task);
    try {
      return await this.running.run(task, work);
    } finally {
      this.tasks.delete(task);
      this.moved();
    }
  }

  /** Waits for its turn. */
  async gate(name: string, who: string): Promise<void> {
    if (this.free && !this.stopped.has(who)) return;
    await this.waiting(() => new Promise<void>((open) => this.arrivals.push({ name, who, open })));
  }

  /** Nothing of this worker goes on, as of a process that was stopped, until `during` is over. */
  async whileStopped(who: string, during: () => Promise<void>): Promise<void> {
    this.stopped.add(who);
    try {
      await during();
    } finally {
      this.stopped.delete(who);
    }
  }

  /** Everybody who is not stopped goes on at once, until `during` is over; who has been given to the scheduler stays there. */
  async whileFree(during: () => Promise<void>): Promise<void> {
    const wasFree = this.free;
    this.free = true;
    try {
      await during();
    } finally {
      this.free = wasFree;
    }
  }

  /** A statement that is at PostgreSQL. */
  statement<T>(run: () => Promise<T>): Promise<T> {
    return this.waiting(() => this.counted('statements', run));
  }

  /** Asks together with others, whose statement may be the one that is waited for. */
  together<T>(ask: () => Promise<T>): Promise<T> {
    return this.waiting(ask);
  }

  /** A call to AWS, with all of its attempts. */
  call<T>(run: () => Promise<T>): Promise<T> {
    return this.waiting(() => this.counted('calls', run));
  }

  /** A call is held at AWS's door; `release` when it goes on or its caller is cut off. */
  held(): { release: () => void } {
    let isHeld = true;
    this.callsHeld += 1;
    this.moved();
    return {
      release: () => {
        if (isHeld) this.callsHeld -= 1;
        isHeld = false;
        this.moved();
      },
    };
  }

  /** A call whose caller is gone takes effect. */
  stray<T>(run: () => Promise<T>): Promise<T> {
    return this.counted('strays', run);
  }

  /** Resolves once nothing moves but what waits for a lock, and gives those at the gates to `scheduler`, in a fixed order. */
  async settled(scheduler?: Scheduler): Promise<void> {
    const startedAt = process.hrtime.bigint();
    this.moved();
    for (let calmTurns = 0; calmTurns < 2;) {
      await nextTurn();
      calmTurns = (await this.isCalm()) ? calmTurns + 1 : 0;
      if (calmTurns === 0) await this.nextMove();
      if (msSince(startedAt) > settlesWithinMs) throw new Error(`Something never comes to a stand: ${this.tell()}`);
    }
    const isStopped = ({ who }: Arrival) => this.stopped.has(who);
    const arrived = this.arrivals.filter((each) => !isStopped(each));
    this.arrivals = this.arrivals.filter(isStopped);
    for (const { name, open } of arrived.sort((one, other) => (one.name < other.name ? -1 : 1))) {
      if (scheduler) void scheduler.schedule(Promise.resolve(), name).then(open);
      else open();
    }
  }

  /** Lets everything go on at once, from now on, until every task has ended. */
  async finish(): Promise<void> {
    this.free = true;
    do await this.settled();
    while (this.tasks.size > 0 || this.arrivals.length > 0);
  }

  private async isCalm(): Promise<boolean> {
    if (this.calls !== this.callsHeld || this.strays > 0) return false;
    for (const task of this.tasks) if (task.waits === 0 && !task.joins) return false;
    if (this.statements === 0) return true;
    if (performanceNow() - this.movedAt < looksAtLocksAfterMs) return false;
    const seen = this.statements;
    return (await this.blocked()) === seen && this.statements === seen;
  }

  private async counted<T>(what: 'statements' | 'calls' | 'strays', run: () => Promise<T>): Promise<T> {
    this[what] += 1;
    try {
      return await run();
    } finally {
      this[what] -= 1;
      this.moved();
    }
  }

  private async waiting<T>(run: () => Promise<T>): Promise<T> {
    const task = this.running.getStore();
    if (!task) return run();
    task.waits += 1;
    try {
      return await run();
    } finally {
      task.waits -= 1;
    }
  }

  private moved(): void {
    this.movedAt = performanceNow();
    this.wake();
  }

  /** Something moves, or it is time to look for locks. */
  private nextMove(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, looksAtLocksAfterMs);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private tell(): string {
    const tasks = [...this.tasks].map((task) => `${task.name} (${task.waits})`).join(', ');
    return `${tasks}; statements ${this.statements}, calls ${this.calls}, held ${this.callsHeld}, strays ${this.strays}`;
  }
}

// The machine's own time: that of the model stands still and leaps.
const performanceNow = () => Number(process.hrtime.bigint() / 1_000n) / 1_000;
const msSince = (at: bigint) => Number(process.hrtime.bigint() - at) / 1e6;
