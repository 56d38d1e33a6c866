import { BullModule } from '@nestjs/bullmq';
import type { DynamicModule } from '@nestjs/common';
import { createPostgresBackend, runMigrations, setDefaultBackendFactory } from 'bullmq';
import pg from 'pg';

/** Creates or updates BullMQ's own tables (schema `bullmq`) in the database at `url`. */
export async function migrateQueue(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await runMigrations(client as never);
  } finally {
    await client.end();
  }
}

/**
 * The Nest module that connects BullMQ on PostgreSQL. That backend may lose events and rarely runs a job twice; jobs are
 * alarms and handlers may run twice, so nothing leans on either (docs/decisions/0004).
 */
export function queueModule(url: string): DynamicModule {
  setDefaultBackendFactory(createPostgresBackend as never);
  return BullModule.forRoot({ connection: { connectionString: url, max: 4 } as never });
}

/** The same on Redis; keys begin with `namespace`. */
export function redisQueueModule(url: string, namespace: string): DynamicModule {
  return BullModule.forRoot({
    prefix: namespace,
    connection: {
      url,
      // Adding an alarm while Redis is away fails at once instead of waiting: the sweep sets it later.
      enableOfflineQueue: false,
      retryStrategy: (tries: number) => Math.min(2_000, 100 * tries),
    } as never,
  });
}
