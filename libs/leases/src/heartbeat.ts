import { hostname } from 'node:os';
import { Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { RootUses } from '#libs/roles';
import type { LeaseTiming } from './lease-timing.js';

/** Says, again and again, that this worker lives and what it is at work with; a worker that stops says goodbye. */
export class Heartbeat implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(Heartbeat.name);
  private timer: NodeJS.Timeout | undefined;
  private beating: Promise<void> = Promise.resolve();
  private stopped = false;
  private failing = false;

  constructor(
    private readonly service: 'issuer' | 'revoker',
    private readonly uses: RootUses,
    private readonly timing: LeaseTiming,
  ) {}

  onApplicationBootstrap(): void {
    this.beat();
  }

  /** Before the database is closed. Who cannot say goodbye is not counted any more after a while. */
  async onModuleDestroy(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    clearTimeout(this.timer);
    await this.beating;
    await this.uses.leave().catch(() => undefined);
  }

  private beat(): void {
    this.beating = this.tell().finally(() => {
      if (!this.stopped) this.timer = setTimeout(() => this.beat(), this.timing.heartbeatEveryMs);
    });
  }

  private async tell(): Promise<void> {
    try {
      await this.uses.tell(`${this.service} ${process.pid} on ${hostname()}`);
      this.failing = false;
    } catch (error) {
      // An outage is one line of the log, however long it is.
      if (!this.failing) this.logger.warn({ msg: 'this worker cannot say that it lives', error: String(error) });
      this.failing = true;
    }
  }
}
