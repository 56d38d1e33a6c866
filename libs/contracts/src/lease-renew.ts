import { z } from 'zod';
import { command, text, ttlCut } from './command.js';

/** Sets a lease to end `incrementSeconds` from now, as far as its longest life allows (contract.md 4.3). */
export const renewLease = {
  pattern: 'lease.renew',
  request: z.object({
    ...command,
    leaseId: text,
    /** 0: what the engine gives. */
    incrementSeconds: z.int().nonnegative().default(0),
  }),
  reply: z.object({
    leaseId: z.string(),
    /** Seconds, rounded to the nearest. */
    leaseDuration: z.int(),
    ttlCut: ttlCut.optional(),
  }),
};
export type RenewLeaseRequest = z.infer<typeof renewLease.request>;
export type RenewLeaseReply = z.infer<typeof renewLease.reply>;
