import { z } from 'zod';
import { command, text } from './command.js';

/** Ends a lease now; its credential is taken back by itself, and need not be gone from AWS when the answer comes. */
export const revokeLease = {
  pattern: 'lease.revoke',
  request: z.object({ ...command, leaseId: text }),
  reply: z.object({ leaseId: z.string() }),
};
export type RevokeLeaseRequest = z.infer<typeof revokeLease.request>;
export type RevokeLeaseReply = z.infer<typeof revokeLease.reply>;
