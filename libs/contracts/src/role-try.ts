import { z } from 'zod';
import { command, credentialType, ttlCut } from './command.js';
import { credentialWish } from './lease-issue.js';

/**
 * Makes a credential of a role as `lease.issue` does, shows it to nobody, and has it taken back at once: does AWS give what the
 * role says? What AWS refuses is the command's error (docs/decisions/0022).
 */
export const tryRole = {
  pattern: 'role.try',
  request: z.object({ ...command, ...credentialWish }),
  reply: z.object({
    leaseId: z.string(),
    credentialType,
    accountId: z.string(),
    /** Seconds, rounded to the nearest, for which a caller would have had it. */
    leaseDuration: z.int(),
    ttlCut: ttlCut.optional(),
  }),
};

export type TryRoleRequest = z.infer<typeof tryRole.request>;
export type TryRoleReply = z.infer<typeof tryRole.reply>;
