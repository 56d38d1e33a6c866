import { z } from 'zod';
import { command, text } from './command.js';

/**
 * Says that nobody waits for an issue any more: it is refused where it has not begun, and taken back where it has. Of an
 * issue with an idempotency key, which a second try may be waiting for, it says so of an offered lease alone: `leaseId`.
 * The token must be the one that asked.
 */
export const withdrawLease = {
  pattern: 'lease.withdraw',
  request: z.object({
    ...command,
    /** Id of the `lease.issue` command. */
    commandId: z.uuid(),
    /** That lease is taken back, offered or accepted, unless another command with the same key was given it too. */
    leaseId: text.optional(),
  }),
  reply: z.object({ commandId: z.uuid() }),
};
export type WithdrawLeaseRequest = z.infer<typeof withdrawLease.request>;
export type WithdrawLeaseReply = z.infer<typeof withdrawLease.reply>;
