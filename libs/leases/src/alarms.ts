import { InjectQueue } from '@nestjs/bullmq';
import { Inject, Injectable, Logger } from '@nestjs/common';
import { alarmQueue, type LeaseAlarm } from '#libs/contracts';
import { answers } from '#libs/runtime';
import type { Queue } from 'bullmq';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';

/** Longest wait for the queue, milliseconds: a closing or an absent one may give no answer at all. */
const queueAnswersWithinMs = 2_000;

/** A lease and how long from now it is due, in milliseconds by Postgres's clock; `dueAt` only tells alarms apart. */
export interface Due {
  id: string;
  dueInMs: number;
  dueAt: Date;
}

/**
 * The alarms: BullMQ jobs that say "look at this lease". They are hints. One that is lost costs at most a sweep,
 * one that comes twice finds nothing to do, so nothing waits for one to be added but the sweep, which would otherwise
 * run ahead of the queue, and it only for a while.
 */
@Injectable()
export class Alarms {
  private readonly logger = new Logger(Alarms.name);

  constructor(
    @InjectQueue(alarmQueue) private readonly queue: Queue<LeaseAlarm>,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /** Sets alarms for those that are due within the horizon; the sweep sets the others when their time comes near. */
  async set(leases: Due[]): Promise<void> {
    // The same alarm set twice is one job. Of the lease's id its random part will do: a mount's path may hold characters
    // that BullMQ refuses.
    await this.add(leases, (lease) => `${lease.id.slice(lease.id.lastIndexOf('/') + 1)}@${lease.dueAt.getTime()}`);
  }

  /** Sets alarms and returns at once. */
  setSoon(leases: Due[]): void {
    void this.set(leases);
  }

  /** Sets alarms that rang too early once more, and returns at once: their first jobs are still there, so they get other ids. */
  setAgain(leases: Due[]): void {
    void this.add(leases, () => undefined);
  }

  /** How many alarms are set, ring, and are being answered. */
  async counts(): Promise<Record<string, number>> {
    return this.queue.getJobCounts('delayed', 'waiting', 'active');
  }

  /** Whether the queue answers. */
  reached(): Promise<boolean> {
    return answers(() => this.counts());
  }

  private async add(leases: Due[], jobIdOf: (lease: Due) => string | undefined): Promise<void> {
    const near = leases.filter((lease) => lease.dueInMs <= this.timing.alarmHorizonMs);
    if (near.length === 0) return;
    let silence: NodeJS.Timeout | undefined;
    try {
      const added = this.queue.addBulk(
        near.map((lease) => ({
          name: 'due',
          data: { leaseId: lease.id },
          opts: {
            jobId: jobIdOf(lease),
            delay: Math.max(0, Math.ceil(lease.dueInMs)),
            attempts: 1,
            removeOnComplete: true,
            removeOnFail: true,
          },
        })),
      );
      const unanswered = new Promise<never>((_, reject) => {
        silence = setTimeout(reject, queueAnswersWithinMs, new Error('the queue does not answer')).unref();
      });
      await Promise.race([added, unanswered]);
    } catch (error) {
      this.logger.warn({
        msg: 'alarms not set; the sweep will find what is due',
        leases: near.length,
        error: String(error),
      });
    } finally {
      clearTimeout(silence);
    }
  }
}
