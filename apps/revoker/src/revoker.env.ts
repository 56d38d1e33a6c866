import { masterKeyEnv } from '#libs/access';
import { awsEnv } from '#libs/aws';
import { leaseTimingEnv } from '#libs/leases';
import { brokerEnv, databaseEnv, processEnv, redisEnv } from '#libs/runtime';
import { z } from 'zod';

/** The revoker's environment. */
export const revokerEnv = z.object({
  ...processEnv.shape,
  ...databaseEnv.shape,
  ...redisEnv.shape,
  ...brokerEnv.shape,
  ...masterKeyEnv.shape,
  ...leaseTimingEnv.shape,
  ...awsEnv.shape,
});
