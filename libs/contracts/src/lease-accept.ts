import { z } from 'zod';
import { command, text } from './command.js';

/**
 * Records that the asker hands an offered credential on; only after the answer may it do so. Asked again, it says so
 * again. The token must be the one that the lease was asked for with.
 */
export const acceptLease = {
  pattern: 'lease.accept',
  request: z.object({
    ...command,
    leaseId: text,
    /** Id of the `lease.issue` command, where that had an idempotency key: several may be given its credential. */
    commandId: z.uuid().optional(),
  }),
  reply: z.object({ leaseId: z.string() }),
};
export type AcceptLeaseRequest = z.infer<typeof acceptLease.request>;
export type AcceptLeaseReply = z.infer<typeof acceptLease.reply>;
