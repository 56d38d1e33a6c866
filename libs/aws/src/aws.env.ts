import { z } from 'zod';
import { ambientCredentials, ambientRegion } from './ambient-credentials.js';
import type { AwsSurroundings } from './aws-account.js';

/** How a process reaches AWS; credentials are a mount's, or those that the SDK finds in the surroundings. */
export const awsEnv = z.object({
  /** IAM and STS endpoint of every mount that names none, for a private cloud or the simulator. */
  LEASEHOLD_AWS_ENDPOINT: z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' }).optional(),
  /** Connections per mount and service. */
  LEASEHOLD_AWS_SOCKETS: z.coerce.number().int().min(1).max(1_000).default(64),
  /** Pause before the second try of a call, milliseconds; doubled from try to try. */
  LEASEHOLD_AWS_BACKOFF_MS: z.coerce.number().int().min(1).max(10_000).default(200),
  /** Users that leases may have in one account: AWS's hard quota, less those that are not ours. */
  LEASEHOLD_AWS_USERS: z.coerce.number().int().min(1).max(1_000_000).default(5_000),
});

/** What a mount gets that names nothing itself. */
export function surroundingsOf(env: z.output<typeof awsEnv>): AwsSurroundings {
  return {
    ambientCredentials: () => ambientCredentials(process.env),
    ambientRegion: ambientRegion(process.env),
    defaultEndpoint: env.LEASEHOLD_AWS_ENDPOINT,
    maxSockets: env.LEASEHOLD_AWS_SOCKETS,
    usersPerAccount: env.LEASEHOLD_AWS_USERS,
    backoffMs: env.LEASEHOLD_AWS_BACKOFF_MS,
  };
}
