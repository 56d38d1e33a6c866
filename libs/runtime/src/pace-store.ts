import { Logger } from '@nestjs/common';
import type { Redis } from 'ioredis';
import type { Reached } from './connections.js';
import type { Pace } from './pace.js';
import { openRedis } from './redis.js';

/** Where the paces of budgets are kept. */
export interface PaceStore {
  /**
   * Changes one pace atomically and tells what `change` gave; it may run more than once, and each time may alter the pace it
   * is given. `now` is on the store's clock, in milliseconds; a pace of null is none.
   */
  change<T>(budget: string, change: Change<T>): Promise<T>;
  close(): void;
}

/** Gives the pace that is to be kept, and whatever its caller wants to know. */
export type Change<T> = (pace: Pace | null, now: number) => { pace: Pace | null; told: T };

/** Paces of one process, where there is no other. */
export class MemoryPaces implements PaceStore {
  private readonly paces = new Map<string, Pace>();

  change<T>(budget: string, change: Change<T>): Promise<T> {
    return Promise.resolve(this.changeNow(budget, change, performance.now()));
  }

  /** What is kept under this name. */
  of(budget: string): Pace | null {
    return this.paces.get(budget) ?? null;
  }

  changeNow<T>(budget: string, change: Change<T>, now: number): T {
    const { pace, told } = change(this.paces.get(budget) ?? null, now);
    if (pace) this.paces.set(budget, pace);
    else this.paces.delete(budget);
    return told;
  }

  close(): void {
    this.paces.clear();
  }
}

const read = `local at = redis.call('TIME')
return { redis.call('GET', KEYS[1]) or '', at[1], at[2] }`;

/** Keeps ARGV[2] if ARGV[1] is still what is there. */
const swap = `if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1`;

interface PaceRedis extends Redis {
  readPace(key: string): Promise<[text: string, seconds: string, microseconds: string]>;
  swapPace(key: string, is: string, shall: string, forMs: number): Promise<0 | 1>;
}

/** How long a pace is kept that nobody changes, milliseconds. */
const keptForMs = 900_000;
/** How long we do without Redis once it has failed us, milliseconds. */
const aloneForMs = 1_000;
/** How often a change is tried again because another worker was faster. */
const mostTries = 20;

/**
 * Paces on Redis, shared by all workers and on Redis's clock. While it is away each worker goes at its share: the last pace
 * it saw, divided by the workers it last saw; and what Redis has lost it gets back from whoever remembers.
 */
export class RedisPaces implements PaceStore {
  private readonly logger = new Logger('Budget');
  private readonly redis: PaceRedis;
  private readonly seen = new Map<string, Pace>();
  private alone: MemoryPaces | null = null;
  private aloneUntil = 0;
  /** Redis's clock, ahead of `performance.now()`; until it was heard, as this machine's. */
  private aheadMs = performance.timeOrigin;

  /** @param namespace first word of its keys */
  constructor(
    redis: Reached,
    private readonly namespace: string,
  ) {
    this.redis = openRedis(redis, {
      commandTimeout: 500,
      scripts: { readPace: { lua: read, numberOfKeys: 1 }, swapPace: { lua: swap, numberOfKeys: 1 } },
    }) as PaceRedis;
  }

  async change<T>(budget: string, change: Change<T>): Promise<T> {
    if (!this.alone || performance.now() >= this.aloneUntil) {
      try {
        const told = await this.changeShared(budget, change);
        if (this.alone) this.logger.log({ msg: "AWS's budget is shared again" });
        this.alone = null;
        return told;
      } catch (error) {
        if (!this.alone)
          this.logger.warn({ msg: "AWS's budget cannot be shared; going at our part", error: String(error) });
        this.alone ??= new MemoryPaces();
        this.aloneUntil = performance.now() + aloneForMs;
      }
    }
    const share = (pace: Pace | null, now: number) => change(pace ?? this.ownShare(budget), now);
    return this.alone.changeNow(budget, share, performance.now() + this.aheadMs);
  }

  close(): void {
    // Who still comes goes alone.
    this.alone ??= new MemoryPaces();
    this.aloneUntil = Infinity;
    this.redis.disconnect();
  }

  private async changeShared<T>(budget: string, change: Change<T>): Promise<T> {
    const key = `${this.namespace}:budget:${budget}`;
    for (let tries = 1; ; tries += 1) {
      const [text, seconds, microseconds] = await this.redis.readPace(key);
      const now = Number(seconds) * 1000 + Number(microseconds) / 1000;
      this.aheadMs = now - performance.now();
      const found = text === '' ? this.remembered(budget) : (JSON.parse(text) as Pace);
      const { pace, told } = change(found, now);
      const shall = pace ? JSON.stringify(pace) : '';
      const kept = shall === text || (await this.redis.swapPace(key, text, shall, keptForMs)) === 1;
      if (!kept && tries < mostTries) continue;
      if (!kept) throw new Error('others were always faster');
      if (pace) this.seen.set(budget, pace);
      else this.seen.delete(budget);
      return told;
    }
  }

  /** What Redis has lost, or was never told. */
  private remembered(budget: string): Pace | null {
    return structuredClone(this.seen.get(budget) ?? this.alone?.of(budget) ?? null);
  }

  private ownShare(budget: string): Pace | null {
    const last = this.seen.get(budget);
    if (!last) return null;
    const workers = Math.max(1, Object.keys(last.workers).length);
    return {
      ...structuredClone(last),
      rate: last.rate / workers,
      ceiling: last.ceiling && last.ceiling / workers,
      answered: 0,
      workers: {},
    };
  }
}
