import { masterKeyEnv } from '#libs/access';
import { auditEnv } from '#libs/audit';
import { parseIssuerPublicKey } from '#libs/contracts';
import { leaseTimingEnv } from '#libs/leases';
import { brokerEnv, databaseEnv, parsed, processEnv, redisEnv } from '#libs/runtime';
import { z } from 'zod';
import { httpEnv } from './http.env.js';

/** The gateway's environment. */
export const gatewayEnv = z.object({
  ...processEnv.shape,
  ...databaseEnv.shape,
  ...redisEnv.shape,
  ...brokerEnv.shape,
  ...masterKeyEnv.shape,
  ...auditEnv.shape,
  ...leaseTimingEnv.shape,
  ...httpEnv.shape,
  /** What commands are sealed to. */
  LEASEHOLD_ISSUER_PUBLIC_KEY: parsed(parseIssuerPublicKey, 'must be a public key as "npm run keys" prints one'),
  LEASEHOLD_HOST: z.string().min(1).default('127.0.0.1'),
  PORT: z.coerce.number().int().min(0).max(65_535).default(8200),
  /** How long it goes on serving after it was told to stop, so that a load balancer sees that it is not ready, milliseconds. */
  LEASEHOLD_DRAIN_MS: z.coerce.number().int().min(0).max(120_000).default(5_000),
});
