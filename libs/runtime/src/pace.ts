/** Who a call to AWS is for; while several wait, each class has its share of the budget, and `spare` has nothing. */
export type BudgetClass = 'issue' | 'revoke' | 'upkeep' | 'spare';

/** Shares while several wait. What is taken back costs as many calls as what is made, and must not wait behind it. */
const shares: Record<BudgetClass, number> = { revoke: 5, issue: 4, upkeep: 1, spare: 0 };

/** Slots are given out for at most so long ahead, milliseconds: what is given out goes on at the old rate. */
const leadMs = 40;
/** What nobody used of the last moment may be used now: workers ask in turns, and a turn may come late. */
const catchUpMs = 150;
/** A class that got less than it wanted has its share kept for so long, milliseconds. */
const hungerMs = 400;
/** A budget is settled when AWS has not complained for so long, milliseconds. */
const calmMs = 1_500;
/** Probing becomes the faster the longer AWS has been content; twice as fast after so long, milliseconds. */
const longCalmMs = 8_000;
/** A worker counts for so long after it was last heard, milliseconds. */
const presentMs = 30_000;
/** After so long without a complaint, and without anybody waiting, nothing is limited any more, milliseconds. */
const forgottenMs = 300_000;

/** Over how long use is counted, milliseconds. */
const usedOverMs = 1_000;

/** We go no slower, calls per second: what AWS still will not take is tried again later. */
const slowest = 5;
/** Where we begin however little was under way when AWS first complained, calls per second. */
const slowestBegin = 20;
/** How much faster a pace becomes in a second at least while it is far from what AWS gave last, calls per second. */
const leastLeap = 10;

/**
 * The pace of all calls to one API of one account, of all workers together, from AWS's first complaint on. Instants are
 * milliseconds on the clock of the store that keeps it. It is plain data, so that it can be kept anywhere.
 */
export interface Pace {
  /** Calls per second. */
  rate: number;
  /** What AWS gave last, in calls per second; null while we do not know. */
  ceiling: number | null;
  /** What was made of it of late, calls per second. */
  used: number;
  /** The first slot that is free. */
  nextAt: number;
  /** When AWS last complained, and how often in a row. */
  throttledAt: number;
  streak: number;
  /** Calls that AWS has answered since then. */
  answered: number;
  /** When somebody last had to wait. */
  pressedAt: number;
  grantedAt: number;
  classes: Partial<Record<BudgetClass, { nextAt: number; hungryUntil: number }>>;
  /** When each worker was last heard. */
  workers: Record<string, number>;
}

/** The pace after AWS's first complaint; `measured`: calls per second that AWS answered this worker of late. */
export function beginPace(now: number, measured: number): Pace {
  const rate = Math.max(slowestBegin, measured);
  return {
    rate,
    ceiling: null,
    used: rate,
    nextAt: now,
    throttledAt: now,
    streak: 0,
    answered: 0,
    pressedAt: now,
    grantedAt: now,
    classes: {},
    workers: {},
  };
}

/** Whether a pace is over: AWS has long not complained, and nobody had to wait of late. */
export function isForgotten(pace: Pace, now: number): boolean {
  return now - pace.throttledAt > forgottenMs && now - pace.pressedAt > forgottenMs / 5;
}

/**
 * Notes that this worker is there. Until AWS complains a second time all go on as fast together as each did before (`measured`,
 * as for `beginPace`): who first heard the complaint knows its own part alone, and a begin far too slow ends in a leap too far.
 */
export function join(pace: Pace, worker: string, measured: number, now: number): void {
  const isNew = !(worker in pace.workers) && Object.keys(pace.workers).length > 0;
  if (isNew && pace.ceiling === null) {
    pace.rate += measured;
    pace.used += measured;
  }
  pace.workers[worker] = now;
  for (const [each, seenAt] of Object.entries(pace.workers)) {
    if (now - seenAt > presentMs) delete pace.workers[each];
  }
}

/**
 * AWS complained about a call that left at `sentAt`: all slow down. Between two complaints AWS's own bucket goes from
 * empty to empty, so that what it answered meanwhile tells its rate; one complaint takes 5 % at least and, until they come in
 * a row, not much more.
 */
export function slowDown(pace: Pace, now: number, sentAt: number): void {
  // What was on its way, or had its slot, before the last complaint says nothing of the pace since.
  if (sentAt < pace.throttledAt + leadMs) return;
  const sinceMs = Math.max(1, now - pace.throttledAt);
  // AWS complained of what was made of the pace, which may be less.
  const rate = Math.min(pace.rate, 1.1 * pace.used);
  const given = (pace.answered / sinceMs) * 1000;
  const isCalm = sinceMs > calmMs;
  if (isCalm) pace.streak = 0;
  const least = Math.max(0.8, 1 - 0.05 * 2 ** pace.streak);
  const next = within(0.97 * given, least * rate, 0.95 * rate);
  pace.rate = Math.max(slowest, next);
  // In a row they mean that AWS gives less than it did: what it gave before must not be leapt to again.
  if (isCalm) pace.ceiling = within(given, 0.8 * rate, rate);
  else if (pace.ceiling !== null) pace.ceiling = Math.min(pace.ceiling, next / 0.95);
  pace.streak += 1;
  pace.throttledAt = now;
  pace.answered = 0;
  pace.nextAt = Math.max(pace.nextAt, now) + silenceMs(pace);
}

/** After a complaint nobody calls for a moment: whoever comes a little early must not meet AWS's bucket empty again. */
export function silenceMs(pace: Pace): number {
  return Math.min(250, 5_000 / pace.rate);
}

/**
 * Gives up to `wanted` slots, each one call's instant, and probes upward while somebody waits: slowly about what AWS gave
 * last, and fast where that is far away.
 */
export function grant(pace: Pace, by: BudgetClass, wanted: number, now: number): number[] {
  const pressed = pace.nextAt > now - leadMs;
  if (pressed) pace.pressedAt = now;
  const everyMs = 1000 / pace.rate;
  const own = (pace.classes[by] ??= { nextAt: 0, hungryUntil: 0 });
  let others = 0;
  for (const [each, { hungryUntil }] of Object.entries(pace.classes)) {
    if (each !== by && hungryUntil > now) others += shares[each as BudgetClass];
  }
  if (by === 'spare' && others > 0) return [];
  const isAlone = others === 0;
  const ownEveryMs = isAlone ? everyMs : (everyMs * (shares[by] + others)) / shares[by];
  const first = Math.max(pace.nextAt, now - catchUpMs);
  const ownFirst = Math.max(own.nextAt, now - catchUpMs);
  const free = Math.min(slotsUntil(now + leadMs, first, everyMs), slotsUntil(now + leadMs, ownFirst, ownEveryMs));
  const count = Math.min(wanted, free);
  own.hungryUntil = count < wanted ? now + hungerMs : 0;
  if (count === 0) return [];
  pace.nextAt = first + count * everyMs;
  const quietMs = now - pace.grantedAt;
  pace.used = pace.used * Math.exp(-quietMs / usedOverMs) + (count / usedOverMs) * 1000;
  own.nextAt = isAlone ? 0 : ownFirst + count * ownEveryMs;
  if (pressed) speedUp(pace, count, now);
  pace.grantedAt = now;
  return Array.from({ length: count }, (_, index) => first + index * everyMs);
}

function speedUp(pace: Pace, count: number, now: number): void {
  const calmSince = pace.throttledAt + calmMs;
  if (now < calmSince) return;
  const seconds = Math.min(1_000, now - pace.grantedAt) / 1000;
  const { ceiling } = pace;
  // Faster the longer AWS has been content: what it gives is either near, or far away.
  const leap = Math.max(leastLeap, pace.rate * Math.min(1, ((now - calmSince) / 1000) * 0.25)) * seconds;
  let rate: number;
  if (ceiling === null) rate = pace.rate + leap;
  else if (pace.rate < 0.95 * ceiling) rate = Math.min(0.95 * ceiling, pace.rate + leap);
  else {
    const longCalm = ((now - calmSince) / longCalmMs) ** 2;
    const step = ceiling * (count * 5e-5 + seconds * 2e-4) * (1 + longCalm);
    rate = pace.rate + (pace.rate > 1.1 * ceiling ? 10 * step : step);
    // Far beyond what AWS gave last: that is no measure any more.
    if (rate > 1.5 * ceiling) pace.ceiling = null;
  }
  // A pace that is not made use of is no probe.
  pace.rate = Math.max(pace.rate, Math.min(rate, 1.4 * pace.used + leastLeap));
}

function slotsUntil(end: number, first: number, everyMs: number): number {
  return end < first ? 0 : Math.floor((end - first) / everyMs) + 1;
}

function within(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}
