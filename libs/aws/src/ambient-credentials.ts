import { defaultProvider } from '@aws-sdk/credential-provider-node';

export type AwsCredentials = Awaited<ReturnType<ReturnType<typeof defaultProvider>>>;
export type CredentialProvider = () => Promise<AwsCredentials>;

/**
 * The credentials of the surroundings, for mounts that name none (contract.md 2.1): the environment in both spellings,
 * else the SDK's chain, which is the shared file, the ECS container and the EC2 instance. The chain reads the process's
 * own environment when asked and keeps an answer until it is about to expire.
 */
export function ambientCredentials(env: NodeJS.ProcessEnv): CredentialProvider {
  const accessKeyId = env.AWS_ACCESS_KEY_ID || env.AWS_ACCESS_KEY;
  const secretAccessKey = env.AWS_SECRET_ACCESS_KEY || env.AWS_SECRET_KEY;
  if (!accessKeyId || !secretAccessKey) return defaultProvider();
  const sessionToken = env.AWS_SESSION_TOKEN || undefined;
  return () => Promise.resolve({ accessKeyId, secretAccessKey, sessionToken });
}

/** The region for mounts that name none (contract.md 2.1). */
export function ambientRegion(env: NodeJS.ProcessEnv): string {
  return env.AWS_REGION || env.AWS_DEFAULT_REGION || 'us-east-1';
}
