import { TypeOrmModule } from '@nestjs/typeorm';
import type { DynamicModule } from '@nestjs/common';
import { Unavailable } from '#libs/contracts';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { type Reached, refuseUntrusted } from './connections.js';
import { DatabaseClient } from './database-client.js';
import { migrations } from './migrations/index.js';
import { StartRefused } from './start-refused.js';

/** Longest wait for a connection and for an answer, milliseconds: a caller hears of a lost database, it never hangs. */
const connectsWithinMs = 3_000;
const answersWithinMs = 15_000;

function options({ url, tls }: Reached, poolSize: number): DataSourceOptions {
  return {
    type: 'postgres',
    url,
    ssl: tls,
    migrations,
    poolSize,
    synchronize: false,
    migrationsRun: false,
    logging: false,
    applicationName: 'leasehold',
    connectTimeoutMS: connectsWithinMs,
  };
}

async function connected(database: Reached): Promise<DataSource> {
  try {
    return await new DataSource(options(database, 2)).initialize();
  } catch (error) {
    refuseUntrusted('DATABASE', error);
    throw new StartRefused(`The database at DATABASE_URL cannot be reached: ${(error as Error).message}.`);
  }
}

/**
 * A connection to the database for as long as `use` takes.
 * @throws StartRefused when it cannot be reached, or its schema is older than this build.
 */
export async function withDatabase<T>(database: Reached, use: (source: DataSource) => Promise<T>): Promise<T> {
  const source = await connected(database);
  try {
    await refuseOlderSchema(source);
    return await use(source);
  } finally {
    await source.destroy();
  }
}

/**
 * Brings the schema of the database to the newest version. A step of its own, never run by a service at its start.
 * Two at once are safe: an advisory lock lets one through, the other finds nothing left to do.
 * @returns the names of the migrations that were run.
 */
export async function migrate(database: Reached): Promise<string[]> {
  const source = await connected(database);
  const lock = source.createQueryRunner();
  try {
    await lock.query(`select pg_advisory_lock(hashtext('leasehold migrations'))`);
    const run = await source.runMigrations({ transaction: 'all' });
    return run.map((migration) => migration.name);
  } finally {
    await lock.query(`select pg_advisory_unlock(hashtext('leasehold migrations'))`);
    await lock.release();
    await source.destroy();
  }
}

/**
 * The Nest module that gives a service its connections to PostgreSQL. It waits until the database answers, and refuses
 * (StartRefused) a schema that is older than this build; a newer one is fine.
 * So it does with a server whose certificate is not trusted.
 */
export function databaseModule(database: Reached, poolSize = 10): DynamicModule {
  return TypeOrmModule.forRootAsync({
    useFactory: () => ({
      ...options(database, poolSize),
      autoLoadEntities: true,
      extra: { query_timeout: answersWithinMs, Client: DatabaseClient },
      retryAttempts: Number.MAX_SAFE_INTEGER,
      retryDelay: 1_000,
      verboseRetryLog: true,
      toRetry: (error: unknown) => !(error instanceof StartRefused),
    }),
    dataSourceFactory: async (found) => {
      const source = new DataSource(found!);
      await source.initialize().catch((error: unknown) => {
        refuseUntrusted('DATABASE', error);
        throw error;
      });
      try {
        await refuseOlderSchema(source);
        return source;
      } catch (error) {
        await source.destroy();
        throw error;
      }
    },
  });
}

async function refuseOlderSchema(source: DataSource): Promise<void> {
  const newest = new (migrations.at(-1)!)().name;
  const [table] = (await source.query(`select to_regclass('migrations') as name`)) as { name: string | null }[];
  const found = table!.name ? await source.query(`select 1 from migrations where name = $1`, [newest]) : [];
  if ((found as unknown[]).length > 0) return;
  throw new StartRefused(`The schema of the database at DATABASE_URL is older than this build: run "npm run migrate".`);
}

const awayCodes = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|08|57P0|53300)/;
const awayTexts =
  /^(Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered)/;

/** `Unavailable` for an error that says that PostgreSQL is away, shutting down or silent; any other error as it is. */
export function databaseIsAway(error: unknown): unknown {
  const { code, message, driverError } = error as { code?: string; message?: string; driverError?: unknown };
  const away = awayCodes.test(code ?? '') || awayTexts.test(message ?? '');
  if (away) return new Unavailable('The database cannot be reached; try again in a moment.', { cause: error });
  return driverError && driverError !== error && databaseIsAway(driverError) instanceof Unavailable
    ? new Unavailable('The database cannot be reached; try again in a moment.', { cause: error })
    : error;
}
