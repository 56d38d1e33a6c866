import { Processor, WorkerHost } from '@nestjs/bullmq';
import type { OnModuleDestroy } from '@nestjs/common';
import { alarmQueue, type LeaseAlarm } from '#libs/contracts';
import { Alarms, Revoking } from '#libs/leases';
import type { Job } from 'bullmq';
import { RevokeLease } from './revoke-lease.js';

/** An alarm rang: the row is read again and decides. */
@Processor(alarmQueue, { concurrency: 50 })
export class AlarmProcessor extends WorkerHost implements OnModuleDestroy {
  constructor(
    private readonly revoking: Revoking,
    private readonly alarms: Alarms,
    private readonly revokeLease: RevokeLease,
  ) {
    super();
  }

  async process(job: Job<LeaseAlarm>): Promise<void> {
    const lease = await this.revoking.claim(job.data.leaseId);
    if (lease) return this.revokeLease.execute(lease);
    // Rang early, or the lease was renewed: a new alarm, by Postgres's clock.
    const due = await this.revoking.dueIn(job.data.leaseId);
    if (due) this.alarms.setAgain(due);
  }

  /** Before database and queue are closed: what was begun finishes with both. */
  async onModuleDestroy(): Promise<void> {
    await this.worker.close();
  }
}
