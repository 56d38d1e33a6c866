import { Processor, WorkerHost } from '@nestjs/bullmq';
import type { OnModuleDestroy } from '@nestjs/common';
import { alarmQueue, type LeaseAlarm } from '#libs/contracts';
import { Alarms, Revoking } from '#libs/leases';
import type { Job } from 'bullmq';
import { RevokeLease } from './revoke-lease.js';

/** An alarm rang: the row is read again and decides. Most of these wait in line for a lane of their mount. */
@Processor(alarmQueue, { concurrency: 500 })
export class AlarmProcessor extends WorkerHost implements OnModuleDestroy {
  private readonly ringing = new Set<Promise<void>>();

  constructor(
    private readonly revoking: Revoking,
    private readonly alarms: Alarms,
    private readonly revokeLease: RevokeLease,
  ) {
    super();
  }

  async process(job: Job<LeaseAlarm>): Promise<void> {
    const look = this.look(job.data.leaseId).finally(() => this.ringing.delete(look));
    this.ringing.add(look);
    return look;
  }

  private async look(leaseId: string): Promise<void> {
    const lease = await this.revoking.claim(leaseId);
    if (lease) return this.revokeLease.execute(lease);
    // Rang early, or the lease was renewed: a new alarm, by Postgres's clock.
    const due = await this.revoking.dueIn(leaseId);
    if (due) this.alarms.setAgain(due);
  }

  /**
   * Before database and queue are closed: what was begun finishes with both. A queue that is away is not waited for: a job
   * that it is not told the end of rings once more, and finds nothing to do.
   */
  async onModuleDestroy(): Promise<void> {
    await this.worker.pause(true);
    await Promise.allSettled(this.ringing);
    await this.worker.close(!(await this.alarms.reached()));
  }
}
