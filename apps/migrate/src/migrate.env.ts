import { masterKeyEnv } from '#libs/access';
import { databaseEnv } from '#libs/runtime';
import { z } from 'zod';

/** What the step that prepares the database needs; the root token only the first time, or to replace it. */
export const migrateEnv = z.object({
  ...databaseEnv.omit({ LEASEHOLD_DATABASE_POOL: true }).shape,
  LEASEHOLD_MASTER_KEY: masterKeyEnv.shape.LEASEHOLD_MASTER_KEY.optional(),
  LEASEHOLD_ROOT_TOKEN: z.string().min(16, 'must be 16 characters or more').optional(),
});
