import { setTimeout as after } from 'node:timers/promises';
import { AwsError, noSuchEntity } from './aws-error.js';
import type { AccessKey, User } from './entities.js';
import { matches } from './policy-evaluation.js';

/** Everything that can be set before or while it runs; times in milliseconds. */
export interface FaultSettings {
  /** Time that a call takes, half before it takes effect and half after; a record sets it per action, `*` for the rest. */
  latencyMs: number | Record<string, number>;
  /**
   * A new access key is refused with InvalidClientTokenId for so long. Several: as many replicas learn of it, each after so long,
   * and the calls that are signed with it are answered by them in turn.
   */
  propagationMs: number | number[];
  /** A deleted access key goes on working for so long. */
  deletedKeyLingersMs: number;
  /** ListAccessKeys and ListUsers leave out what is younger. */
  listingLagMs: number;
  /**
   * Calls that name a user younger than `ms` (unset: of any age) answer NoSuchEntity, each with `probability` (unset: 1),
   * at most `count` times per user (unset: without end), for the named actions (unset: all but CreateUser).
   */
  youngNoSuchEntity: { ms?: number; probability?: number; count?: number; actions?: string[] } | null;
  /** Writes to a user answer ConcurrentModification: each with probability `rate`, or every n-th write to that user. */
  concurrentModification: { rate: number } | { everyNth: number } | null;
  /** A token bucket per account and service; `service` limits one of the two only. */
  throttle: { ratePerSecond: number; burst: number; service?: 'iam' | 'sts' } | null;
  /** AWS's hard quota. */
  usersPerAccount: number;
  /** How far this clock is ahead of the machine's. */
  clockOffsetMs: number;
}

/** Which calls a rule is about: `*` and `?` in both; a rule with a user name fits no call without one. */
export interface CallPattern {
  action: string;
  /** UserName, or the name of the session that an STS call makes. */
  userName?: string;
}

export interface ErrorRule extends CallPattern {
  code: string;
  /** Default 400. */
  status?: number;
  message?: string;
  /** How many calls it answers; unset: all. */
  times?: number;
  /** `after`: the call takes effect and answers the error all the same. Default `before`. */
  when?: 'before' | 'after';
}

/** A call held back by `Faults.hold`. */
export interface Hold {
  /** Resolves when the first call has arrived there. */
  reached: Promise<void>;
  /** Lets every held call go on, and later ones pass. */
  release(): void;
}

interface Armed<Effect> {
  pattern: CallPattern;
  left: number;
  effect: Effect;
}
type Stage = 'before' | 'after';
interface ArmedHold {
  stage: Stage;
  reach: () => void;
  released: Promise<void>;
}

export const defaultFaults: FaultSettings = {
  latencyMs: 0,
  propagationMs: 0,
  deletedKeyLingersMs: 0,
  listingLagMs: 0,
  youngNoSuchEntity: null,
  concurrentModification: null,
  throttle: null,
  usersPerAccount: 5_000,
  clockOffsetMs: 0,
};

/**
 * The knobs: assign `settings` at any time; arm errors, lost replies and holds by method. The first rule armed that
 * fits a call is the one used up by it.
 */
export class Faults {
  readonly settings: FaultSettings;
  private readonly errors: Armed<ErrorRule>[] = [];
  private readonly losses: Armed<null>[] = [];
  private readonly holds: Armed<ArmedHold>[] = [];
  private readonly releases = new Set<() => void>();
  private readonly buckets = new Map<string, { tokens: number; at: number }>();
  private readonly writes = new WeakMap<User, number>();
  private readonly absences = new WeakMap<User, number>();
  private readonly uses = new WeakMap<AccessKey, number>();

  constructor(initial: Partial<FaultSettings> = {}) {
    this.settings = { ...defaultFaults, ...initial };
  }

  /** The simulated clock, in milliseconds. */
  now(): number {
    return Date.now() + this.settings.clockOffsetMs;
  }

  set(settings: Partial<FaultSettings>): void {
    Object.assign(this.settings, settings);
  }

  /** Answers calls with an error of AWS's. With `when: 'after'` only calls that took effect use the rule up. */
  fail(rule: ErrorRule): void {
    this.errors.push({ pattern: rule, left: rule.times ?? Infinity, effect: rule });
  }

  /** Calls take effect and the connection breaks instead of an answer; a call that is refused is answered. */
  loseReply(pattern: CallPattern & { times?: number }): void {
    this.losses.push({ pattern, left: pattern.times ?? Infinity, effect: null });
  }

  /**
   * Holds the next `times` calls (default 1): `before` as if still on their way, not even their date looked at; `after`
   * with their effect done and the answer kept back.
   */
  hold(action: string, stage: Stage, options: { userName?: string; times?: number } = {}): Hold {
    let reach = () => {};
    let open = () => {};
    const reached = new Promise<void>((resolve) => (reach = resolve));
    const released = new Promise<void>((resolve) => (open = resolve));
    const pattern = { action, ...(options.userName === undefined ? {} : { userName: options.userName }) };
    const armed = { pattern, left: options.times ?? 1, effect: { stage, reach, released } };
    this.holds.push(armed);
    const release = () => {
      this.releases.delete(release);
      armed.left = 0;
      open();
    };
    this.releases.add(release);
    return { reached, release };
  }

  /** Back to the settings given (default: none), no rule armed, every held call let go. */
  clear(settings: Partial<FaultSettings> = {}): void {
    this.set({ ...defaultFaults, ...settings });
    for (const release of this.releases) release();
    this.errors.length = this.losses.length = this.holds.length = 0;
    this.buckets.clear();
  }

  /**
   * Latency and holds of one stage of a call; undefined when it need not wait.
   * @param lateMs of the stage before: timers are late by up to some milliseconds, and a call is to take what was set.
   * @returns by how many milliseconds it was longer than set.
   */
  pause(stage: Stage, call: CallPattern, lateMs = 0): Promise<number> | undefined {
    const halfMs = this.latencyOf(call.action) / 2;
    const hold = this.holds.length > 0 ? take(this.holds, call, ({ stage: at }) => at === stage) : undefined;
    if (!hold) return halfMs > 0 ? waitFor(halfMs - lateMs) : undefined;
    hold.reach();
    return hold.released.then(() => (halfMs > 0 ? waitFor(halfMs) : 0));
  }

  /** The armed error for this stage of a call, if there is one. */
  takeError(stage: Stage, call: CallPattern): AwsError | undefined {
    const rule = take(this.errors, call, ({ when }) => (when ?? 'before') === stage);
    return rule && new AwsError(rule.code, rule.message ?? `${rule.code} as the test asked`, rule.status ?? 400);
  }

  /** Whether this call's answer is to be lost. */
  takeLoss(call: CallPattern): boolean {
    return take(this.losses, call) !== undefined;
  }

  /** @throws AwsError Throttling (400) when the bucket of this account and service is empty. */
  throttle(account: string, service: 'iam' | 'sts'): void {
    const limit = this.settings.throttle;
    if (!limit || (limit.service && limit.service !== service)) return;
    const at = performance.now();
    const bucket = this.buckets.get(`${account}/${service}`) ?? { tokens: limit.burst, at };
    const refilled = bucket.tokens + ((at - bucket.at) / 1000) * limit.ratePerSecond;
    const tokens = Math.min(limit.burst, refilled);
    this.buckets.set(`${account}/${service}`, { tokens: tokens >= 1 ? tokens - 1 : tokens, at });
    if (tokens < 1) throw new AwsError('Throttling', 'Rate exceeded', 400);
  }

  /**
   * What eventual consistency and other writers do to a call on an existing user.
   * @throws AwsError NoSuchEntity or ConcurrentModification.
   */
  disturb(action: string, user: User): void {
    const { youngNoSuchEntity: young, concurrentModification: rivals } = this.settings;
    if (young && !user.settled && (young.actions?.includes(action) ?? true)) {
      const absences = this.absences.get(user) ?? 0;
      const isYoung = this.now() < user.createdAt + (young.ms ?? Infinity);
      if (isYoung && absences < (young.count ?? Infinity) && Math.random() < (young.probability ?? 1)) {
        this.absences.set(user, absences + 1);
        throw noSuchEntity(`The user with name ${user.name} cannot be found.`);
      }
    }
    if (!rivals || /^(Get|List)/.test(action)) return;
    const writes = (this.writes.get(user) ?? 0) + 1;
    this.writes.set(user, writes);
    if ('rate' in rivals ? Math.random() < rivals.rate : writes % rivals.everyNth === 0) {
      throw new AwsError(
        'ConcurrentModification',
        'The request was rejected because multiple requests to change this object were submitted simultaneously. Wait a few minutes and submit your request again.',
        409,
      );
    }
  }

  /** Whether the replica whose turn it is knows this key. */
  knows(key: AccessKey): boolean {
    if (key.settled) return true;
    const delays = [this.settings.propagationMs].flat();
    const uses = this.uses.get(key) ?? 0;
    this.uses.set(key, uses + 1);
    return this.now() >= key.createdAt + (delays[uses % delays.length] ?? 0);
  }

  /** Whether lists have what was made then. Without a lag they do, also when the clock was put back since. */
  isListed({ settled, createdAt }: { settled: boolean; createdAt: number }): boolean {
    const { listingLagMs } = this.settings;
    return settled || listingLagMs === 0 || createdAt <= this.now() - listingLagMs;
  }

  private latencyOf(action: string): number {
    const { latencyMs } = this.settings;
    return typeof latencyMs === 'number' ? latencyMs : (latencyMs[action] ?? latencyMs['*'] ?? 0);
  }
}

function take<Effect>(
  rules: Armed<Effect>[],
  call: CallPattern,
  suits: (effect: Effect) => boolean = () => true,
): Effect | undefined {
  const index = rules.findIndex(
    ({ pattern, left, effect }) =>
      left > 0 &&
      suits(effect) &&
      matches(pattern.action, call.action) &&
      (pattern.userName === undefined || (call.userName !== undefined && matches(pattern.userName, call.userName))),
  );
  const rule = rules[index];
  if (!rule) return undefined;
  rule.left -= 1;
  if (rule.left === 0) rules.splice(index, 1);
  return rule.effect;
}

/** @returns how many milliseconds too long it was; timers know whole ones only. */
async function waitFor(ms: number): Promise<number> {
  const until = performance.now() + ms;
  await after(Math.max(0, Math.floor(ms)));
  return performance.now() - until;
}
