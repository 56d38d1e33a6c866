import { resolve } from 'node:path';
import { z } from 'zod';
import { auditEnv } from '#libs/audit';
import { databaseEnv, databaseOf, parsed, type Reached, readEnvironment, StartRefused } from '#libs/runtime';

const environment = z.object({
  PORT: parsed(parsePort, 'must be a number from 0 to 65535').default(8200),
  LEASEHOLD_ROOT_TOKEN: z.string().optional(),
  LEASEHOLD_DATA_DIR: z.string().default('.leasehold'),
  LEASEHOLD_MASTER_KEY: z.string().optional(),
  ...databaseEnv.omit({ LEASEHOLD_DATABASE_POOL: true }).partial().shape,
  ...auditEnv.shape,
});

const options = ['--no-tour', '--aws'];

/** How `npm start` was asked to run. */
export interface Settings {
  port: number;
  /** Given, or kept in the data folder. */
  rootToken: string | undefined;
  masterKey: string | undefined;
  /** Absolute. */
  dataDir: string;
  /** Unset: the embedded PostgreSQL. */
  database: Reached | undefined;
  auditFile: string | undefined;
  tour: boolean;
  /** Real AWS instead of the simulator. */
  aws: boolean;
}

/**
 * Reads arguments and environment; an empty variable counts as absent, and `NAME_FILE` names a file that holds `NAME`.
 * @throws StartRefused that names everything that is wrong at once.
 */
export function readSettings(argv: string[], env: NodeJS.ProcessEnv): Settings {
  const unknown = argv.filter((argument) => !options.includes(argument));
  const refusals = unknown.map((argument) => `Not started: ${argument} is no option (there are --no-tour and --aws).`);
  const read = orRefusal(() => readEnvironment('system', environment, env), refusals);
  if (!read || refusals.length > 0) throw new StartRefused(refusals.join('\n'));
  const aws = argv.includes('--aws');
  return {
    port: read.PORT,
    rootToken: read.LEASEHOLD_ROOT_TOKEN,
    masterKey: read.LEASEHOLD_MASTER_KEY,
    dataDir: resolve(read.LEASEHOLD_DATA_DIR),
    database: read.DATABASE_URL ? databaseOf({ ...read, DATABASE_URL: read.DATABASE_URL }) : undefined,
    auditFile: read.LEASEHOLD_AUDIT_FILE,
    tour: !aws && !argv.includes('--no-tour'),
    aws,
  };
}

function orRefusal<T>(read: () => T, refusals: string[]): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error;
    refusals.push(error.message);
    return undefined;
  }
}

function parsePort(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) > 65_535) throw new Error('no port');
  return Number(text);
}
