import { resolve } from 'node:path';
import { z } from 'zod';
import { StartRefused } from '#libs/runtime';

const environment = z.object({
  PORT: z.coerce.number().int().min(0).max(65_535).default(8200),
  LEASEHOLD_ROOT_TOKEN: z.string().min(1).optional(),
  LEASEHOLD_DATA_DIR: z.string().min(1).default('.leasehold'),
  LEASEHOLD_MASTER_KEY: z.string().min(1).optional(),
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
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
  databaseUrl: string | undefined;
  tour: boolean;
  /** Real AWS instead of the simulator. */
  aws: boolean;
}

/**
 * Reads arguments and environment; an empty variable counts as absent.
 * @throws StartRefused that names everything that is wrong at once.
 */
export function readSettings(argv: string[], env: NodeJS.ProcessEnv): Settings {
  const unknown = argv.filter((argument) => !options.includes(argument));
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const read = environment.safeParse(given);
  const faults = [
    ...unknown.map((argument) => `${argument} is no option (there are --no-tour and --aws)`),
    ...(read.success ? [] : read.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)),
  ];
  if (!read.success || faults.length > 0) throw new StartRefused(`Not started: ${faults.join('; ')}.`);
  const aws = argv.includes('--aws');
  return {
    port: read.data.PORT,
    rootToken: read.data.LEASEHOLD_ROOT_TOKEN,
    masterKey: read.data.LEASEHOLD_MASTER_KEY,
    dataDir: resolve(read.data.LEASEHOLD_DATA_DIR),
    databaseUrl: read.data.DATABASE_URL,
    tour: !aws && !argv.includes('--no-tour'),
    aws,
  };
}
