import { Keyring, masterKeyEnv } from '#libs/access';
import { readEnvironment } from '#libs/runtime';
import { DataSource } from 'typeorm';
import { accessEnv, offline, withAccess } from './offline.js';

const rekeyEnv = accessEnv.extend({
  LEASEHOLD_MASTER_KEY_PREVIOUS: masterKeyEnv.shape.LEASEHOLD_MASTER_KEY,
});

/**
 * `npm run rekey`: seals the keyring under LEASEHOLD_MASTER_KEY instead of LEASEHOLD_MASTER_KEY_PREVIOUS. Services that run have it
 * open and go on; those that start need the new key.
 */
await offline(async () => {
  const env = readEnvironment('change of the master key', rekeyEnv, process.env);
  const { LEASEHOLD_MASTER_KEY: to, LEASEHOLD_MASTER_KEY_PREVIOUS: from } = env;
  const changed = await withAccess(env, (app) => Keyring.rekey(app.get(DataSource), from, to));
  process.stdout.write(
    changed
      ? 'The keyring is sealed under LEASEHOLD_MASTER_KEY now. LEASEHOLD_MASTER_KEY_PREVIOUS opens nothing any more.\n'
      : 'The keyring was sealed under LEASEHOLD_MASTER_KEY already; nothing to do.\n',
  );
});
