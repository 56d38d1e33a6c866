import { Inject, Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { type FailedLease, Finding } from './finding.js';
import { newsChannel } from './lease-news.js';

/** How often the rows are looked at while nothing is heard, in milliseconds: when news can be lost, and otherwise. */
const pollMs = 250;
const pollWhileListeningMs = 1_000;

/** What became of leases within a wait. */
export interface Settled {
  total: number;
  /** Neither ended nor refused yet; it continues by itself. */
  pending: number;
  failed: FailedLease[];
}

/** Somebody who waits for leases: woken when there was news of all of them. */
interface Waiter {
  unheard: Set<string>;
  wake: () => void;
}

/**
 * Waits for revocations by looking at the rows. News only says when a look is worth it, and only to who waits for that
 * lease; what is lost costs a second at most.
 */
@Injectable()
export class LeaseWatch implements OnApplicationShutdown {
  private readonly logger = new Logger(LeaseWatch.name);
  private readonly waiters = new Map<string, Set<Waiter>>();
  private listener: Promise<pg.Client> | null = null;
  private isListening = false;

  constructor(
    private readonly source: DataSource,
    @Inject(Finding) private readonly finding: Finding,
  ) {}

  /**
   * Waits until each of these has ended or was refused, at most `waitMs` milliseconds; `mayHaveEnded`: they were asked for a while
   * ago, so that there may be no more news.
   */
  async settled(
    asked: { id: string; attempts: number }[],
    waitMs: number,
    { mayHaveEnded = false } = {},
  ): Promise<Settled> {
    if (asked.length === 0) return { total: 0, pending: 0, failed: [] };
    this.listen();
    const closesAt = performance.now() + waitMs;
    let open = asked.map((lease) => lease.id);
    // Of what is just asked for nothing can have ended: the first look is worth it when there is news.
    let isLookWorthIt = mayHaveEnded || !this.isListening;
    for (;;) {
      const poll = this.isListening ? pollWhileListeningMs : pollMs;
      const news = this.newsOf(open, Math.min(poll, Math.max(0, closesAt - performance.now())));
      if (isLookWorthIt) {
        const { pending, failed } = await this.finding.progress(asked);
        if (pending.length === 0 || performance.now() >= closesAt) {
          news.stop();
          return { total: asked.length, pending: pending.length, failed };
        }
        open = pending;
      }
      await news.heard;
      isLookWorthIt = true;
    }
  }

  /** Resolves when there was news of each of these, or after `ms`. */
  private newsOf(leaseIds: string[], ms: number): { heard: Promise<void>; stop: () => void } {
    let stop = () => {};
    const heard = new Promise<void>((resolve) => {
      const waiter: Waiter = { unheard: new Set(leaseIds), wake: () => stop() };
      const timer = setTimeout(waiter.wake, ms);
      for (const id of leaseIds) this.waiters.set(id, (this.waiters.get(id) ?? new Set()).add(waiter));
      stop = () => {
        clearTimeout(timer);
        for (const id of waiter.unheard) this.leave(id, waiter);
        resolve();
      };
    });
    return { heard, stop };
  }

  private leave(leaseId: string, waiter: Waiter): void {
    const others = this.waiters.get(leaseId);
    others?.delete(waiter);
    if (others?.size === 0) this.waiters.delete(leaseId);
  }

  private hear(leaseId: string): void {
    for (const waiter of this.waiters.get(leaseId) ?? []) {
      this.leave(leaseId, waiter);
      waiter.unheard.delete(leaseId);
      if (waiter.unheard.size === 0) waiter.wake();
    }
  }

  private wakeAll(): void {
    for (const waiter of new Set([...this.waiters.values()].flatMap((waiting) => [...waiting]))) waiter.wake();
  }

  private listen(): void {
    this.listener ??= this.connect().catch((error: unknown) => {
      this.listener = null;
      this.logger.warn({ msg: 'cannot listen for ended leases; looking every 250 ms instead', error: String(error) });
      throw error;
    });
    this.listener.catch(() => undefined);
  }

  private async connect(): Promise<pg.Client> {
    const { url, ssl } = this.source.options as { url?: string; ssl?: object };
    const client = new pg.Client({ connectionString: url, ssl, application_name: 'leasehold watch' });
    const lost = () => {
      this.isListening = false;
      this.listener = null;
      this.wakeAll();
    };
    client.on('error', lost);
    client.on('notification', ({ payload }) => {
      for (const leaseId of payload?.split('\n') ?? []) this.hear(leaseId);
    });
    await client.connect();
    await client.query(`listen ${newsChannel}`);
    this.isListening = true;
    return client;
  }

  async onApplicationShutdown(): Promise<void> {
    this.wakeAll();
    const client = await this.listener?.catch(() => null);
    await client?.end();
  }
}
