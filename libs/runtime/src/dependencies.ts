import { getQueueToken } from '@nestjs/bullmq';
import type { INestApplicationContext } from '@nestjs/common';
import type { Queue } from 'bullmq';
import { alarmQueue } from '#libs/contracts';
import { DataSource } from 'typeorm';
import type { Health } from './health.js';

/** Makes readiness depend on PostgreSQL and on Redis, as `app` is connected to them. */
export function watchDependencies(app: INestApplicationContext, health: Health): void {
  const database = app.get(DataSource);
  const queue = app.get<Queue>(getQueueToken(alarmQueue));
  health.watch('postgresql', () => database.query('select 1'));
  health.watch('redis', () => queue.getDelayedCount());
}
