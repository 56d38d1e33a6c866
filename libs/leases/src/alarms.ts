import { InjectQueue } from '@nestjs/bullmq';
import { Inject, Injectable, Logger, Optional } from '@nestjs/common';
import { alarmQueue, type LeaseAlarm } from '#libs/contracts';
import { answers, Batches } from '#libs/runtime';
import type { JobsOptions, Queue } from 'bullmq';
import { Bell, type DueNow } from './bell.js';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';

/** Longest wait for the queue, milliseconds: a closing or an absent one may give no answer at all. */
const queueAnswersWithinMs = 2_000;

/** Alarms that are set together for leases of one mount that are due, and how many leases there are for each. */
const alarmsOfOneMount = { most: 8, leasesEach: 4 };

/**
 * Leases of one mount that are due within this time of each other have one alarm, at the end of it, milliseconds: whoever hears it
 * looks at all that are due there.
 */
const togetherMs = 200;

/** An alarm rings so long after the last instant that it is for, milliseconds: clocks do not run alike to the millisecond. */
const surelyMs = 20;

/** A lease and how long from now it is due, in milliseconds by Postgres's clock; `dueAt` only tells alarms apart. */
export interface Due extends DueNow {
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
  private readonly additions = new Batches<Alarm[], null>((alarms) => this.addAll(alarms), Infinity);

  constructor(
    @InjectQueue(alarmQueue) private readonly queue: Queue<LeaseAlarm>,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
    @Optional() private readonly bell?: Bell,
  ) {}

  /** Sets alarms for those that are due within the horizon; the sweep sets the others when their time comes near. */
  async set(leases: Due[]): Promise<void> {
    // The same alarm set twice is one job.
    await this.add(leases, (mountId, atMs) => `${mountId}@${atMs}`);
  }

  /** Sets alarms and returns at once. */
  setSoon(leases: Due[]): void {
    void this.set(leases);
  }

  /** Sets alarms that rang too early once more, and returns at once: their first jobs are still there, so they get other ids. */
  setAgain(leases: Due[]): void {
    void this.add(leases, () => undefined);
  }

  /** Says that these are due, here or by alarms that ring at once, and returns at once. */
  ring(leases: DueNow[]): void {
    if (leases.length === 0 || this.bell?.ring(leases)) return;
    void this.additions.ask(
      leases.map(({ id: leaseId, mountId }) => ({ data: { leaseId, mountId, isDue: true }, opts: usual })),
    );
  }

  /** How many alarms are set, ring, and are being answered. */
  async counts(): Promise<Record<string, number>> {
    return this.queue.getJobCounts('delayed', 'waiting', 'active');
  }

  /** Whether the queue answers. */
  reached(): Promise<boolean> {
    return answers(() => this.counts());
  }

  private async add(leases: Due[], jobIdOf: (mountId: string, atMs: number) => string | undefined): Promise<void> {
    const near = leases.filter((lease) => lease.dueInMs <= this.timing.alarmHorizonMs);
    if (near.length === 0) return;
    const alarms = near.map(({ id: leaseId, mountId, dueAt, dueInMs }): [key: string, alarm: Alarm] => {
      const atMs = Math.ceil(dueAt.getTime() / togetherMs) * togetherMs;
      const delay = Math.max(0, Math.ceil(dueInMs + atMs - dueAt.getTime() + surelyMs));
      return [
        `${mountId}@${atMs}`,
        { data: { leaseId, mountId }, opts: { ...usual, jobId: jobIdOf(mountId, atMs), delay } },
      ];
    });
    await this.additions.ask([...new Map(alarms).values()]);
  }

  /** What is asked for at the same time goes to the queue together. */
  private async addAll(asked: Alarm[][]): Promise<null[]> {
    const alarms = someOfEachMount(asked.flat());
    let silence: NodeJS.Timeout | undefined;
    try {
      const added = alarms.length > 0 && this.queue.addBulk(alarms.map((alarm) => ({ name: 'due', ...alarm })));
      const unanswered = new Promise<never>((_, reject) => {
        silence = setTimeout(reject, queueAnswersWithinMs, new Error('the queue does not answer')).unref();
      });
      await Promise.race([added, unanswered]);
    } catch (error) {
      this.logger.warn({
        msg: 'alarms not set; the sweep will find what is due',
        alarms: alarms.length,
        error: String(error),
      });
    } finally {
      clearTimeout(silence);
    }
    return asked.map(() => null);
  }
}

interface Alarm {
  data: LeaseAlarm;
  opts: JobsOptions;
}

const usual: JobsOptions = { attempts: 1, removeOnComplete: true, removeOnFail: true };

/** Whoever hears of one lease looks at all that are due in its mount: thousands of alarms would say no more than a few. */
function someOfEachMount(alarms: Alarm[]): Alarm[] {
  const { most, leasesEach } = alarmsOfOneMount;
  const counts = new Map<string, number>();
  for (const { data } of alarms) if (data.isDue) counts.set(data.mountId!, (counts.get(data.mountId!) ?? 0) + 1);
  const taken = new Map<string, number>();
  return alarms.filter(({ data: { mountId, isDue } }) => {
    if (!isDue) return true;
    const nth = taken.get(mountId!) ?? 0;
    taken.set(mountId!, nth + 1);
    return nth < Math.min(most, counts.get(mountId!)! / leasesEach);
  });
}
