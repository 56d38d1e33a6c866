import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { StartRefused } from './start-refused.js';

/** Text of certificates, or of a key. */
export const pem = z.string().includes('-----BEGIN ', { error: 'must be PEM text' });

/** The pieces of which every service makes the schema of its environment. None has a secret as its default. */
export const databaseEnv = z.object({
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/, error: 'must be a postgres:// URL' }),
  /** Who vouches for the server, and what is shown to it. */
  DATABASE_CA: pem.optional(),
  DATABASE_CERT: pem.optional(),
  DATABASE_KEY: pem.optional(),
  /** Connections to PostgreSQL that one process opens. */
  LEASEHOLD_DATABASE_POOL: z.coerce.number().int().min(2).max(200).default(10),
});
export const redisEnv = z.object({
  REDIS_URL: z.url({ protocol: /^rediss?$/, error: 'must be a redis:// or rediss:// URL' }),
  REDIS_CA: pem.optional(),
  REDIS_CERT: pem.optional(),
  REDIS_KEY: pem.optional(),
});
export const brokerEnv = z.object({
  RABBITMQ_URL: z.url({ protocol: /^amqps?$/, error: 'must be an amqp:// or amqps:// URL' }),
  RABBITMQ_CA: pem.optional(),
  RABBITMQ_CERT: pem.optional(),
  RABBITMQ_KEY: pem.optional(),
});
export const processEnv = z.object({
  /** First word of every queue, exchange and key, so that systems can share a broker and a Redis. */
  LEASEHOLD_NAMESPACE: z
    .string()
    .regex(/^[\w-]{1,40}$/, 'must be 1 to 40 letters, digits, "_" or "-"')
    .default('leasehold'),
  /** Where health and metrics are answered. */
  LEASEHOLD_OPERATIONS_HOST: z.string().min(1).default('127.0.0.1'),
  LEASEHOLD_OPERATIONS_PORT: z.coerce.number().int().min(0).max(65_535).default(9102),
  LEASEHOLD_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
  /** After the database was restored: nothing is issued and nothing is taken back, until it was compared with AWS. */
  LEASEHOLD_OBSERVE: z
    .enum(['true', 'false'], 'must be true or false')
    .default('false')
    .transform((text) => text === 'true'),
});

/** A variable that holds JSON of the form `schema`. */
export function inJson<Schema extends z.ZodObject>(schema: Schema) {
  return parsed((text): unknown => JSON.parse(text), 'must be a JSON object').pipe(schema);
}

/** A variable that holds what `parse` understands, such as a key; the error names what is wrong without repeating it. */
export function parsed<T>(parse: (text: string) => T, wrong: string) {
  return z.string().transform((text, context): T => {
    try {
      return parse(text);
    } catch {
      context.addIssue({ code: 'custom', message: wrong });
      return z.NEVER;
    }
  });
}

/**
 * Reads the environment of a service by its schema. An empty variable counts as absent, and `NAME_FILE` names a file that
 * holds the value of `NAME`.
 * @param warn hears a sentence for each file that every user of the machine may read.
 * @throws StartRefused with one sentence that names every variable that is missing or wrong.
 */
export function readEnvironment<Schema extends z.ZodObject>(
  service: string,
  schema: Schema,
  env: NodeJS.ProcessEnv,
  warn: (sentence: string) => void = (sentence) => process.stderr.write(`${sentence}\n`),
): z.output<Schema> {
  const unreadable: string[] = [];
  const given: Record<string, string> = {};
  for (const name of Object.keys(schema.shape)) {
    const file = env[`${name}_FILE`];
    const value = env[name] || (file && contentOf(file, () => unreadable.push(`${name}_FILE cannot be read`)));
    if (value) given[name] = value;
    if (value && !env[name] && !isPublic.test(name) && isOpenToAll(file!)) {
      warn(`Every user of this machine may read the file in ${name}_FILE: take that right away with "chmod o-r".`);
    }
  }
  const read = schema.safeParse(given);
  const faults = [
    ...unreadable,
    ...(read.error?.issues ?? []).map((issue) => {
      const name = issue.path.map(String).join('.');
      return name in given || issue.path.length > 1 ? `${name} ${issue.message}` : `${name} is missing`;
    }),
  ];
  if (!read.success || faults.length > 0)
    throw new StartRefused(`The ${service} does not start: ${faults.join('; ')}.`);
  return read.data;
}

function contentOf(file: string, unreadable: () => void): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    unreadable();
    return '';
  }
}

/** Keys and certificates that anybody may read. */
const isPublic = /_(PUBLIC_KEY|CA|CERT)$/;

function isOpenToAll(file: string): boolean {
  return process.platform !== 'win32' && (statSync(file).mode & 0o004) !== 0; // Windows keeps rights elsewhere
}
