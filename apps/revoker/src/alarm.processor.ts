import { Processor, WorkerHost } from '@nestjs/bullmq';
import { type OnApplicationBootstrap, type OnModuleDestroy, Optional } from '@nestjs/common';
import { alarmQueue, type LeaseAlarm } from '#libs/contracts';
import { Alarms, Bell } from '#libs/leases';
import type { Job } from 'bullmq';
import { Dispatch } from './dispatch.js';

/** An alarm rang: the row is read again and decides. */
@Processor(alarmQueue, { concurrency: 50 })
export class AlarmProcessor extends WorkerHost implements OnApplicationBootstrap, OnModuleDestroy {
  constructor(
    private readonly dispatch: Dispatch,
    private readonly alarms: Alarms,
    @Optional() private readonly bell?: Bell,
  ) {
    super();
  }

  onApplicationBootstrap(): void {
    this.bell?.heardBy((leases) => {
      for (const { id: leaseId, mountId } of leases) void this.dispatch.ring({ leaseId, mountId, isDue: true });
    });
  }

  process(job: Job<LeaseAlarm>): Promise<void> {
    return this.dispatch.ring(job.data);
  }

  /**
   * Before database and queue are closed. A queue that is away is not waited for: a job that it is not told the end of rings
   * once more, and finds nothing to do.
   */
  async onModuleDestroy(): Promise<void> {
    this.bell?.heardBy(null);
    await this.worker.pause(true);
    await this.worker.close(!(await this.alarms.reached()));
  }
}
