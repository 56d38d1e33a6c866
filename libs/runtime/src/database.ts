import { TypeOrmModule } from '@nestjs/typeorm';
import type { DynamicModule } from '@nestjs/common';
import { DataSource, type DataSourceOptions, type EntityTarget, type ObjectLiteral } from 'typeorm';
import { migrations } from './migrations/index.js';
import { StartRefused } from './start-refused.js';

function options(url: string, entities: EntityTarget<ObjectLiteral>[], poolSize: number): DataSourceOptions {
  return {
    type: 'postgres',
    url,
    entities: entities as Function[],
    migrations,
    poolSize,
    synchronize: false,
    migrationsRun: false,
    logging: false,
    applicationName: 'leasehold',
  };
}

/**
 * Brings the schema at `url` to the newest version. A step of its own, never run by a service at its start.
 * Two at once are safe: an advisory lock lets one through, the other finds nothing left to do.
 */
export async function migrate(url: string): Promise<void> {
  const source = new DataSource(options(url, [], 2));
  try {
    await source.initialize();
  } catch (error) {
    throw new StartRefused(`The database at DATABASE_URL cannot be reached: ${(error as Error).message}.`);
  }
  const lock = source.createQueryRunner();
  try {
    await lock.query(`select pg_advisory_lock(hashtext('leasehold migrations'))`);
    await source.runMigrations({ transaction: 'all' });
  } finally {
    await lock.query(`select pg_advisory_unlock(hashtext('leasehold migrations'))`);
    await lock.release();
    await source.destroy();
  }
}

/** The Nest module that gives a service its connections to PostgreSQL; `poolSize` is a number of connections. */
export function databaseModule(url: string, entities: EntityTarget<ObjectLiteral>[], poolSize = 10): DynamicModule {
  return TypeOrmModule.forRoot({ ...options(url, entities, poolSize), retryAttempts: 3, retryDelay: 500 });
}
