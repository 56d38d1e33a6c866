import { NestFactory } from '@nestjs/core';
import { AccessModule, Tokens } from '#libs/access';
import { databaseModule, databaseOf, migrate, readEnvironment, StartRefused } from '#libs/runtime';
import { migrateEnv } from './migrate.env.js';

/** `npm run migrate`: brings the schema to this build's version, and makes the root token what LEASEHOLD_ROOT_TOKEN says. */
try {
  const env = readEnvironment('migration', migrateEnv, process.env);
  const database = databaseOf(env);
  const run = await migrate(database);
  process.stdout.write(
    run.length > 0 ? `Migrated: ${run.join(', ')}.\n` : 'The schema is as new as this build; nothing to do.\n',
  );
  if (env.LEASEHOLD_ROOT_TOKEN) {
    if (!env.LEASEHOLD_MASTER_KEY) throw new StartRefused('LEASEHOLD_ROOT_TOKEN needs LEASEHOLD_MASTER_KEY beside it.');
    const app = await NestFactory.createApplicationContext(
      { module: class {}, imports: [databaseModule(database, 2), AccessModule.open(env.LEASEHOLD_MASTER_KEY)] },
      { logger: false, abortOnError: false },
    );
    await app.get(Tokens).setRootToken(env.LEASEHOLD_ROOT_TOKEN);
    await app.close();
    process.stdout.write('The root token is the one in LEASEHOLD_ROOT_TOKEN.\n');
  }
} catch (error) {
  const told = error instanceof StartRefused;
  process.stderr.write(`${told ? error.message : ((error as Error).stack ?? String(error))}\n`);
  process.exitCode = 1;
}
