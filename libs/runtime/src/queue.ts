import { BullModule } from '@nestjs/bullmq';
import { type DynamicModule, Logger } from '@nestjs/common';
import { createPostgresBackend, Queue, runMigrations, setDefaultBackendFactory, Worker } from 'bullmq';
import pg from 'pg';
import type { Reached } from './connections.js';
import { answers } from './health.js';

/** Creates or updates BullMQ's own tables (schema `bullmq`) in a database. */
export async function migrateQueue({ url, tls }: Reached): Promise<void> {
  const client = new pg.Client({ connectionString: url, ssl: tls });
  await client.connect();
  try {
    await runMigrations(client as never);
  } finally {
    await client.end();
  }
}

const logger = new Logger('Queue');

/** One line a failure; BullMQ prints the whole error of a queue or worker that nobody listens to. */
function tell(name: string, error: Error): void {
  logger.warn({ msg: 'the queue cannot be used', queue: name, error: error.message });
}

/** A queue that tells its failures from its first moment on, also in an application that is never finished. */
class ToldQueue extends Queue {
  constructor(...given: ConstructorParameters<typeof Queue>) {
    super(...given);
    this.on('error', (error) => tell(this.name, error));
  }

  /** A server that is frozen gives no answer to the goodbye, one that is away refuses it: the connection ends with the process. */
  override async close(): Promise<void> {
    await answers(() => super.close());
  }
}

class ToldWorker extends Worker {
  constructor(...given: ConstructorParameters<typeof Worker>) {
    super(...given);
    this.on('error', (error) => tell(this.name, error));
  }
}

function tellFailures(): void {
  BullModule.queueClass = ToldQueue;
  BullModule.workerClass = ToldWorker;
}

/**
 * The Nest module that connects BullMQ on PostgreSQL. That backend may lose events and rarely runs a job twice; jobs are
 * alarms and handlers may run twice, so nothing leans on either (docs/decisions/0004).
 */
export function queueModule({ url, tls }: Reached): DynamicModule {
  tellFailures();
  setDefaultBackendFactory(createPostgresBackend as never);
  return BullModule.forRoot({ connection: { connectionString: url, ssl: tls, max: 4 } as never });
}

/** The same on Redis; keys begin with `namespace`. */
export function redisQueueModule({ url, tls }: Reached, namespace: string): DynamicModule {
  tellFailures();
  return BullModule.forRoot({
    prefix: namespace,
    connection: {
      url,
      tls,
      // Adding an alarm while Redis is away fails at once instead of waiting: the sweep sets it later.
      enableOfflineQueue: false,
      retryStrategy: (tries: number) => Math.min(2_000, 100 * tries),
    } as never,
  });
}
