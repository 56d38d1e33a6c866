import { z } from 'zod';
import { accessEnv } from './offline.js';

/** What the step that prepares the database needs; the root token only the first time, or to replace it. */
export const migrateEnv = z.object({
  ...accessEnv.shape,
  LEASEHOLD_MASTER_KEY: accessEnv.shape.LEASEHOLD_MASTER_KEY.optional(),
  LEASEHOLD_ROOT_TOKEN: z.string().min(16, 'must be 16 characters or more').optional(),
});
