import { setTimeout as after } from 'node:timers/promises';
import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { LEASE_TIMING, type LeaseTiming, Pooling, type ShortPool } from '#libs/leases';
import { MakePooled } from './make-pooled.js';
import { PoolFigures } from './pool-figures.js';

/** Users that one issuer makes for pools at once. */
const lanes = 8;

/** Between the beginnings of two users, milliseconds: all at once their work would come between callers and what they are handed. */
const betweenMs = 15;

/** The shortest time between two looks, milliseconds: those who are handed out meanwhile are looked for together. */
const soonMs = 100;

/** After a failure a pool rests so long, milliseconds; twice as long after each further one, half of it by chance. */
const restMs = { first: 1_000, longest: 300_000 };

/** A pool whose users could not be made of late. */
interface Failing {
  roleVersion: string;
  failures: number;
  /** On the clock of `performance.now()`. */
  restsUntil: number;
  error: string;
}

/**
 * The timed pass over pools, and the one after each hand-out: gives back what is not current any more and makes what is
 * missing. Any number of issuers do it at once; the statement that opens an intent counts.
 */
@Injectable()
export class FillPools implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(FillPools.name);
  private readonly failing = new Map<string, Failing>();
  private readonly underWay = new Set<Promise<void>>();
  private timer: NodeJS.Timeout | undefined;
  private looking: Promise<void> | null = null;
  private isAskedFor = false;
  private stopped = false;

  constructor(
    private readonly pooling: Pooling,
    private readonly makePooled: MakePooled,
    private readonly figures: PoolFigures,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  onApplicationBootstrap(): void {
    this.look();
  }

  /** What was begun comes to its end, which its fence sets, while the database is still there. */
  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.looking;
    await Promise.all(this.underWay);
  }

  /** A pool has lost a user: looks in a moment. */
  soon(): void {
    if (this.stopped || this.isAskedFor) return;
    this.isAskedFor = true;
    if (!this.looking) this.lookIn(soonMs);
  }

  private lookIn(ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), ms);
  }

  private look(): void {
    this.isAskedFor = false;
    this.looking = this.once().finally(() => {
      this.looking = null;
      if (!this.stopped) this.lookIn(this.isAskedFor ? soonMs : this.timing.sweepEveryMs);
    });
  }

  private async once(): Promise<void> {
    try {
      const drained = await this.pooling.drain();
      if (drained > 0) this.logger.log({ msg: 'users of pools are out of date and go', users: drained });
      await this.begin(await this.pooling.short());
    } catch (error) {
      this.logger.error({ msg: 'pools could not be looked at; the next pass will', error: String(error) });
    }
  }

  /** One of each pool in turn, so that a large one holds up no other. */
  private async begin(short: ShortPool[]): Promise<void> {
    const named = new Set(short.map(nameOf));
    for (const name of this.failing.keys()) if (!named.has(name)) this.failing.delete(name);
    const wanting = short.map((pool) => ({ pool, left: pool.missing }));
    // What is missing is looked at again after so many, however fast they are made, or fail.
    for (let room = lanes - this.underWay.size; room > 0 && !this.stopped; room -= 1) {
      const next = wanting.find(({ pool }) => !this.rests(pool));
      if (!next) return;
      wanting.splice(wanting.indexOf(next), 1);
      const work = this.make(next.pool).finally(() => this.underWay.delete(work));
      this.underWay.add(work);
      if (next.left > 1) wanting.push({ pool: next.pool, left: next.left - 1 });
      if (room > 1 && wanting.length > 0) await after(betweenMs);
    }
  }

  private rests(pool: ShortPool): boolean {
    const failing = this.failing.get(nameOf(pool));
    return failing?.roleVersion === pool.roleVersion && performance.now() < failing.restsUntil;
  }

  private async make(pool: ShortPool): Promise<void> {
    try {
      if (!(await this.makePooled.execute(pool))) return;
      this.figures.filled('made');
      if (this.failing.delete(nameOf(pool))) this.logger.log({ msg: 'a pool is filled again', ...fieldsOf(pool) });
      // There may be more to make than there were lanes.
      this.soon();
    } catch (error) {
      this.figures.filled('failed');
      this.rest(pool, error);
    }
  }

  private rest(pool: ShortPool, error: unknown): void {
    const known = this.failing.get(nameOf(pool));
    // Of several that were begun together the first failure counts.
    if (this.rests(pool)) return;
    const before = known?.roleVersion === pool.roleVersion ? known : undefined;
    const failures = (before?.failures ?? 0) + 1;
    const ms = Math.min(restMs.longest, restMs.first * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
    const text = (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
    this.failing.set(nameOf(pool), {
      roleVersion: pool.roleVersion,
      failures,
      restsUntil: performance.now() + ms,
      error: text,
    });
    // Told once, however often it is tried.
    if (before?.error !== text)
      this.logger.warn({ msg: 'a pool cannot be filled', ...fieldsOf(pool), missing: pool.missing, error: text });
  }
}

const nameOf = ({ mountId, roleName }: ShortPool) => `${mountId} ${roleName}`;

const fieldsOf = ({ mountPath, roleName }: ShortPool) => ({ mount: mountPath, role: roleName });
