import { Tokens } from '#libs/access';
import { databaseOf, migrate, readEnvironment, StartRefused } from '#libs/runtime';
import { migrateEnv } from './migrate.env.js';
import { offline, withAccess } from './offline.js';

/** `npm run migrate`: brings the schema to this build's version, and makes the root token what LEASEHOLD_ROOT_TOKEN says. */
await offline(async () => {
  const env = readEnvironment('migration', migrateEnv, process.env);
  const run = await migrate(databaseOf(env));
  process.stdout.write(
    run.length > 0 ? `Migrated: ${run.join(', ')}.\n` : 'The schema is as new as this build; nothing to do.\n',
  );
  const { LEASEHOLD_ROOT_TOKEN: rootToken, LEASEHOLD_MASTER_KEY: masterKey } = env;
  if (!rootToken) return;
  if (!masterKey) throw new StartRefused('LEASEHOLD_ROOT_TOKEN needs LEASEHOLD_MASTER_KEY beside it.');
  await withAccess({ ...env, LEASEHOLD_MASTER_KEY: masterKey }, (app) => app.get(Tokens).setRootToken(rootToken));
  process.stdout.write('The root token is the one in LEASEHOLD_ROOT_TOKEN.\n');
});
