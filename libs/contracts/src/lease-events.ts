import { z } from 'zod';
import { credentialType } from './command.js';

/** Why a lease ended. */
const endReason = z.enum([
  'expired',
  'revoked',
  'not_accepted',
  'not_received',
  'issue_failed',
  'issuer_lost',
  'token_ended',
  'unmounted',
  'user_missing',
  'retired',
  'outdated',
]);

/** What every event of a lease carries. No secret, no token, no access key. */
const lease = {
  /** The message's id too. An event may come more than once, always under the same id, and in any order. */
  id: z.uuid(),
  /** When it happened, by Postgres's clock. */
  at: z.iso.datetime(),
  leaseId: z.string(),
  /** Path of the mount with its slash, such as `aws/`. */
  mount: z.string(),
  role: z.string(),
  credentialType,
  /** The AWS account that the credential is in. */
  accountId: z.string(),
  /** Of the request that the lease was issued by. */
  requestId: z.string(),
};

/**
 * The events of leases, told of those that were handed over; `lease.irrevocable` of any, since a person must look.
 * `lease.expired` and `lease.revoked` come when an IAM user is gone from AWS; a credential of STS is ended by AWS alone, at
 * its own time.
 */
export const leaseEvent = z.discriminatedUnion('name', [
  z.object({ name: z.literal('lease.issued'), ...lease, expiresAt: z.iso.datetime() }),
  /** `expiresAt` is the new one. */
  z.object({ name: z.literal('lease.renewed'), ...lease, expiresAt: z.iso.datetime() }),
  z.object({ name: z.literal('lease.expired'), ...lease, expiresAt: z.iso.datetime(), reason: z.literal('expired') }),
  z.object({ name: z.literal('lease.revoked'), ...lease, expiresAt: z.iso.datetime(), reason: endReason }),
  /** AWS refused to the last try; what was never offered has no `expiresAt`. */
  z.object({
    name: z.literal('lease.irrevocable'),
    ...lease,
    expiresAt: z.iso.datetime().optional(),
    reason: endReason,
  }),
]);
export type LeaseEvent = z.infer<typeof leaseEvent>;

/** The topic exchange of events; the routing key is the event's name. */
export function eventExchange(namespace: string): string {
  return `${namespace}.events`;
}
