import { parsed } from '#libs/runtime';
import { z } from 'zod';
import { parseMasterKey } from './keyring.js';

/** What the keyring of the database is sealed under. */
export const masterKeyEnv = z.object({
  LEASEHOLD_MASTER_KEY: parsed(parseMasterKey, 'must be 32 random bytes in base64, as "npm run keys" prints them'),
});
