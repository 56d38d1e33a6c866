import { masterKeyEnv } from '#libs/access';
import { awsEnv } from '#libs/aws';
import { parseIssuerPrivateKeys } from '#libs/contracts';
import { leaseTimingEnv } from '#libs/leases';
import { brokerEnv, databaseEnv, parsed, processEnv, redisEnv } from '#libs/runtime';
import { z } from 'zod';

/** The issuer's environment. */
export const issuerEnv = z.object({
  ...processEnv.shape,
  ...databaseEnv.shape,
  ...redisEnv.shape,
  ...brokerEnv.shape,
  ...masterKeyEnv.shape,
  ...leaseTimingEnv.shape,
  ...awsEnv.shape,
  /** Opens the commands; every issuer of one system has the same. While it is changed, the new one and the old one. */
  LEASEHOLD_ISSUER_KEY: parsed(
    parseIssuerPrivateKeys,
    'must be a private key as "npm run keys" prints one, or several with commas between them',
  ),
  /** Commands at work at once: as many as AWS takes. */
  LEASEHOLD_PREFETCH: z.coerce.number().int().min(1).max(1_000).default(64),
});
