import { masterKeyEnv } from '#libs/access';
import { awsEnv } from '#libs/aws';
import { databaseEnv } from '#libs/runtime';
import { z } from 'zod';

/** What the comparison with AWS needs: a part of a revoker's environment. */
export const reportEnv = z.object({ ...databaseEnv.shape, ...masterKeyEnv.shape, ...awsEnv.shape });
