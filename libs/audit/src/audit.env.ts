import { isAbsolute } from 'node:path';
import { z } from 'zod';

/** A device that is there from the first request on, and that nobody can disable over the API. */
export const auditEnv = z.object({
  LEASEHOLD_AUDIT_FILE: z
    .string()
    .refine((path) => path === 'stdout' || isAbsolute(path), 'must be an absolute path, or stdout')
    .optional(),
});
