import { z } from 'zod';
import { command } from './command.js';

/** Says that nobody waits for an issue any more: it is refused where it has not begun, and taken back where it has. */
export const withdrawLease = {
  pattern: 'lease.withdraw',
  request: z.object({
    ...command,
    /** Id of the `lease.issue` command. */
    commandId: z.uuid(),
  }),
  reply: z.object({ commandId: z.uuid() }),
};
export type WithdrawLeaseRequest = z.infer<typeof withdrawLease.request>;
export type WithdrawLeaseReply = z.infer<typeof withdrawLease.reply>;
