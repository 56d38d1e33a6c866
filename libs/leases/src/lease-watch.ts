import { Inject, Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { type FailedLease, Finding } from './finding.js';

/** How often the rows are looked at while nothing is notified, in milliseconds. */
const pollMs = 250;

/** What became of leases within a wait. */
export interface Settled {
  total: number;
  /** Neither ended nor refused yet; it continues by itself. */
  pending: number;
  failed: FailedLease[];
}

/**
 * Waits for revocations by looking at the rows. A NOTIFY only says when a look is worth it; one that is lost costs
 * a quarter of a second.
 */
@Injectable()
export class LeaseWatch implements OnApplicationShutdown {
  private readonly logger = new Logger(LeaseWatch.name);
  private readonly wakers = new Set<() => void>();
  private listener: Promise<pg.Client> | null = null;

  constructor(
    private readonly source: DataSource,
    @Inject(Finding) private readonly finding: Finding,
  ) {}

  /** Waits until each of these has ended or was refused, at most `waitMs` milliseconds. */
  async settled(asked: { id: string; attempts: number }[], waitMs: number): Promise<Settled> {
    if (asked.length === 0) return { total: 0, pending: 0, failed: [] };
    this.listen();
    const closesAt = performance.now() + waitMs;
    for (;;) {
      const woken = this.nextHint(Math.min(pollMs, Math.max(0, closesAt - performance.now())));
      const { pending, failed } = await this.finding.progress(asked);
      if (pending === 0 || performance.now() >= closesAt) return { total: asked.length, pending, failed };
      await woken;
    }
  }

  private nextHint(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.wakers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.wakers.add(wake);
    });
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
    const options = this.source.options as { url?: string };
    const client = new pg.Client({ connectionString: options.url, application_name: 'leasehold watch' });
    client.on('error', () => {
      this.listener = null;
    });
    client.on('notification', () => {
      for (const wake of this.wakers) wake();
    });
    await client.connect();
    await client.query('listen lease_settled');
    return client;
  }

  async onApplicationShutdown(): Promise<void> {
    for (const wake of this.wakers) wake();
    const client = await this.listener?.catch(() => null);
    await client?.end();
  }
}
