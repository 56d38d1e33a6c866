import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { type Lease, LEASE_TIMING, type LeaseTiming, Revoking, Sweeping } from '#libs/leases';
import { Mounts, RootConfigs } from '#libs/roles';
import { RevokeLease } from './revoke-lease.js';

/** Leases that one sweep takes back side by side. */
const lanes = 20;

/**
 * The timed pass over every row that is due, whatever became of its alarm. Any number of revokers sweep at once: each
 * row is claimed by one.
 */
@Injectable()
export class Sweep implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger(Sweep.name);
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(
    private readonly revoking: Revoking,
    private readonly sweeping: Sweeping,
    private readonly revokeLease: RevokeLease,
    private readonly mounts: Mounts,
    private readonly rootConfigs: RootConfigs,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  onApplicationBootstrap(): void {
    this.scheduleNext(0);
  }

  async onApplicationShutdown(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private scheduleNext(ms: number): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.running = this.once().finally(() => this.scheduleNext(this.timing.sweepEveryMs));
    }, ms);
  }

  /** One pass. A step that fails is told and leaves the others their turn. */
  async once(): Promise<void> {
    await this.step('end STS leases', () => this.sweeping.endSts());
    await this.step('take back what is due', () => this.takeBackDue());
    await this.step('set alarms', () => this.sweeping.setAlarms());
    await this.step('remove ended mounts', () => this.mounts.removeEnded());
    await this.step('forget root keys', () => this.rootConfigs.forgetUnneeded());
    await this.step('forget old rows', () => this.sweeping.forget());
  }

  private async takeBackDue(): Promise<void> {
    await Promise.all(
      Array.from({ length: lanes }, async () => {
        while (!this.stopped) {
          const lease = await this.revoking.claimNext();
          if (!lease) return;
          await this.takeBack(lease);
        }
      }),
    );
  }

  /** One that fails keeps its claim until it lapses, and holds up no other. */
  private async takeBack(lease: Lease): Promise<void> {
    try {
      await this.revokeLease.execute(lease);
    } catch (error) {
      this.logger.error({ msg: 'a lease could not be taken back', leaseId: lease.id, error: String(error) });
    }
  }

  private async step(name: string, run: () => Promise<unknown>): Promise<void> {
    if (this.stopped) return;
    try {
      await run();
    } catch (error) {
      this.logger.error({ msg: `sweep could not ${name}; the next one will`, error: String(error) });
    }
  }
}
