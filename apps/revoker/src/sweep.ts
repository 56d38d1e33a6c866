import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { type Lease, LEASE_TIMING, type LeaseTiming, Revoking, Sweeping } from '#libs/leases';
import { Mounts, RootConfigs } from '#libs/roles';
import { Lanes } from './lanes.js';
import { RevokeLease } from './revoke-lease.js';

/** Leases that sweeps take back side by side; many of them may be waiting for a lane of their mount. */
const width = 100;

/**
 * The timed pass over every row that is due, whatever became of its alarm. Any number of revokers sweep at once: each
 * row is claimed by one. What asks AWS runs beside what does not, so that a slow AWS holds up nothing else.
 */
@Injectable()
export class Sweep implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(Sweep.name);
  private readonly timers = new Map<() => Promise<void>, NodeJS.Timeout>();
  private readonly running = new Set<Promise<void>>();
  private readonly working = new Set<Promise<void>>();
  private stopped = false;

  constructor(
    private readonly revoking: Revoking,
    private readonly sweeping: Sweeping,
    private readonly revokeLease: RevokeLease,
    private readonly lanes: Lanes,
    private readonly mounts: Mounts,
    private readonly rootConfigs: RootConfigs,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  onApplicationBootstrap(): void {
    this.keepDoing(() => this.takeBackDue());
    this.keepDoing(() => this.keepHouse());
  }

  /** Before database and queue are closed: what was begun finishes with both. */
  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    for (const timer of this.timers.values()) clearTimeout(timer);
    await Promise.all(this.running);
    await Promise.all(this.working);
  }

  private keepDoing(pass: () => Promise<void>, afterMs = 0): void {
    if (this.stopped) return;
    const timer = setTimeout(() => {
      const run = pass().finally(() => {
        this.running.delete(run);
        this.keepDoing(pass, this.timing.sweepEveryMs);
      });
      this.running.add(run);
    }, afterMs);
    this.timers.set(pass, timer);
  }

  /** What needs no call to AWS. A step that fails is told and leaves the others their turn. */
  private async keepHouse(): Promise<void> {
    await this.step('end STS leases', () => this.sweeping.endSts());
    await this.step('take back the leases of ended mounts', () => this.sweeping.endUnmounted());
    await this.step('set alarms', () => this.sweeping.setAlarms());
    await this.step('remove ended mounts', () => this.mounts.removeEnded());
    await this.step('forget root keys', () => this.rootConfigs.forgetUnneeded());
    await this.step('forget old rows', () => this.sweeping.forget());
  }

  /** Claims what is due as workers are free; a slow one is not waited for, be it here or before the next pass. */
  private async takeBackDue(): Promise<void> {
    await this.step('take back what is due', async () => {
      while (!this.stopped) {
        if (this.working.size >= width) await Promise.race(this.working);
        const lease = await this.revoking.claimNext(this.lanes.full());
        if (!lease) return;
        const work: Promise<void> = this.takeBack(lease).finally(() => this.working.delete(work));
        this.working.add(work);
      }
    });
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
