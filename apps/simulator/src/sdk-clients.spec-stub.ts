import { IAMClient } from '@aws-sdk/client-iam';
import { STSClient } from '@aws-sdk/client-sts';
import type { AccessKeyPair, Simulator } from './simulator.js';

export interface SdkClients {
  iam: IAMClient;
  sts: STSClient;
}

/**
 * The unmodified SDK, pointed at a simulator, with one attempt per call. `clockOffsetMs` moves its clock, which should
 * follow the simulator's when that is moved further than a signature's 15 minutes.
 */
export function sdkClients(
  { url }: Pick<Simulator, 'url'>,
  credentials: AccessKeyPair & { sessionToken?: string },
  clockOffsetMs = 0,
): SdkClients {
  const config = {
    endpoint: url,
    region: 'us-east-1',
    // A copy: the SDK adds a note of its own to what it is given.
    credentials: { ...credentials },
    maxAttempts: 1,
    systemClockOffset: clockOffsetMs,
  };
  return { iam: new IAMClient(config), sts: new STSClient(config) };
}

/** Session credentials as an STS answer has them, in the form a client takes. */
export function sessionCredentials(answer: {
  Credentials?: { AccessKeyId?: string; SecretAccessKey?: string; SessionToken?: string };
}): AccessKeyPair & { sessionToken: string } {
  const { AccessKeyId = '', SecretAccessKey = '', SessionToken = '' } = answer.Credentials ?? {};
  return { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: SessionToken };
}

/** Everything on everything. */
export const allowAll = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: '*', Resource: '*' },
});

/** An identity policy of one statement. */
export const allow = (action: string | string[], resource: string | string[] = '*') =>
  JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: action, Resource: resource }] });
