import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AccessModule, Keyring, masterKeyEnv, masterKeysOf } from '#libs/access';
import { databaseEnv, databaseModule, databaseOf, StartRefused, withDatabase } from '#libs/runtime';
import { z } from 'zod';

/** What a command needs that works on the keyring: the database and what opens it. */
export const accessEnv = z.object({
  ...databaseEnv.omit({ LEASEHOLD_DATABASE_POOL: true }).shape,
  ...masterKeyEnv.shape,
});

/** Runs a command of the terminal: what it was refused is one sentence, and any failure is the status 1. */
export async function offline(command: () => Promise<void>): Promise<void> {
  try {
    await command();
  } catch (error) {
    const told = error instanceof StartRefused;
    process.stderr.write(`${told ? error.message : ((error as Error).stack ?? String(error))}\n`);
    process.exitCode = 1;
  }
}

/**
 * Tokens, keyring and seal of the database, for as long as `use` takes.
 * @throws StartRefused when the database cannot be reached, is older than this build, or its keyring stays closed.
 */
export async function withAccess<T>(
  env: z.output<typeof accessEnv>,
  use: (app: INestApplicationContext) => Promise<T>,
): Promise<T> {
  const database = databaseOf(env);
  const masterKeys = masterKeysOf(env);
  // Tried before: of an application that breaks off half-built, nobody can close the connections, and the process would
  // stay for as long as they do.
  await withDatabase(database, (source) => Keyring.open(source, ...masterKeys));
  const app = await NestFactory.createApplicationContext(
    { module: class {}, imports: [databaseModule(database, 2), AccessModule.open(...masterKeys)] },
    { logger: false, abortOnError: false },
  );
  try {
    return await use(app);
  } finally {
    await app.close();
  }
}
