import { parsed } from '#libs/runtime';
import { z } from 'zod';
import { parseMasterKey } from './keyring.js';

const masterKey = parsed(parseMasterKey, 'must be 32 random bytes in base64, as "npm run keys" prints them');

/** What the keyring of the database is sealed under. */
export const masterKeyEnv = z.object({
  LEASEHOLD_MASTER_KEY: masterKey,
  /** While the master key is changed: the old one. */
  LEASEHOLD_MASTER_KEY_PREVIOUS: masterKey.optional(),
});

/** The master keys of an environment, today's first. */
export function masterKeysOf(env: z.output<typeof masterKeyEnv>): Buffer[] {
  const { LEASEHOLD_MASTER_KEY: current, LEASEHOLD_MASTER_KEY_PREVIOUS: previous } = env;
  return previous ? [current, previous] : [current];
}
