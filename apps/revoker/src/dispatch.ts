import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import type { LeaseAlarm } from '#libs/contracts';
import { Alarms, type Lease, Revoking } from '#libs/leases';
import { Lanes } from './lanes.js';
import { RevokeLease } from './revoke-lease.js';

/** Alarms that are looked up in one statement. */
const rungAtOnce = 500;

/**
 * Gives leases that are due to the lanes of this process. Alarms and sweep only say where to look: what is claimed is what
 * has a lane, so a mount with thousands of due leases holds up no other, and its next ones are claimed as lanes come free.
 * One look at a time; what is rung meanwhile is looked at together.
 */
@Injectable()
export class Dispatch implements OnModuleDestroy {
  private readonly logger = new Logger(Dispatch.name);
  /** Leases whose alarm rang since the last look. */
  private readonly rung = new Set<string>();
  /** Mounts that may have more due leases than were claimed. */
  private readonly waiting = new Set<string>();
  private readonly working = new Set<Promise<void>>();
  private sweepAsked = false;
  private looking: Promise<void> | null = null;
  private stopped = false;

  constructor(
    private readonly revoking: Revoking,
    private readonly alarms: Alarms,
    private readonly revokeLease: RevokeLease,
    private readonly lanes: Lanes,
  ) {}

  /** An alarm rang: resolves when the row was looked at, and began to be taken back if it is due and a lane is free. */
  ring({ leaseId, mountId, isDue }: LeaseAlarm): Promise<void> {
    if (mountId !== undefined) this.waiting.add(mountId);
    if (!isDue) this.rung.add(leaseId);
    return this.look();
  }

  /** Looks at every row that is due, whatever became of its alarm. */
  sweep(): Promise<void> {
    this.sweepAsked = true;
    return this.look();
  }

  /** Before database and queue are closed: what was begun finishes with both. */
  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    await this.looking;
    await Promise.all(this.working);
  }

  private look(): Promise<void> {
    this.looking ??= this.lookAround().finally(() => {
      this.looking = null;
      if (this.isMoreToDo()) void this.look();
    });
    return this.looking;
  }

  private isMoreToDo(): boolean {
    if (this.stopped) return false;
    return this.sweepAsked || this.rung.size > 0 || [...this.waiting].some((mountId) => this.lanes.room(mountId) > 0);
  }

  /** Until there is no more to do now. It fails as a whole; the next sweep finds everything. */
  private async lookAround(): Promise<void> {
    try {
      // Whoever asks in the same turn is asked for together.
      await Promise.resolve();
      while (this.isMoreToDo()) {
        await this.findWaiting();
        for (const mountId of [...this.waiting]) await this.claim(mountId);
      }
    } catch (error) {
      this.sweepAsked = false;
      this.rung.clear();
      this.waiting.clear();
      this.logger.error({ msg: 'what is due could not be looked at; the next sweep will', error: String(error) });
    }
  }

  private async findWaiting(): Promise<void> {
    if (this.sweepAsked) {
      this.sweepAsked = false;
      for (const mountId of await this.revoking.mountsWithDue()) this.waiting.add(mountId);
    }
    const rung = [...this.rung].slice(0, rungAtOnce);
    if (rung.length === 0) return;
    for (const leaseId of rung) this.rung.delete(leaseId);
    const { dueMounts, early } = await this.revoking.standingOf(rung);
    for (const mountId of dueMounts) this.waiting.add(mountId);
    // Rang early, or the lease was renewed: a new alarm, by Postgres's clock.
    if (early.length > 0) this.alarms.setAgain(early);
  }

  private async claim(mountId: string): Promise<void> {
    const room = this.lanes.room(mountId);
    if (room === 0) return;
    // Before it is looked at: what is rung meanwhile may be due since the look began, and is another look.
    this.waiting.delete(mountId);
    const claimed = await this.revoking.claimDue(mountId, room);
    if (claimed.length === room) this.waiting.add(mountId);
    for (const lease of claimed) {
      this.lanes.take(mountId);
      const work = this.takeBack(lease).finally(() => {
        this.working.delete(work);
        if (this.isMoreToDo()) void this.look();
      });
      this.working.add(work);
    }
  }

  /** One that fails keeps its claim until it lapses, and holds up no other. */
  private async takeBack(lease: Lease): Promise<void> {
    let answered = false;
    try {
      answered = await this.revokeLease.execute(lease);
    } catch (error) {
      const { id: leaseId, requestId } = lease;
      this.logger.error({ msg: 'a lease could not be taken back', leaseId, requestId, error: String(error) });
    } finally {
      this.lanes.free(lease.mountId, answered);
    }
  }
}
