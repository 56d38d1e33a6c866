import { GetSessionTokenCommand } from '@aws-sdk/client-sts';
import type { AwsAccount } from './aws-account.js';
import { AwsFailure } from './aws-failure.js';
import type { Fence } from './fence.js';
import { credentialOf, refuseTooShort, type StsCredential } from './sts-credential.js';

export interface SessionTokenRequest {
  durationSeconds: number;
  /** Of the identity that asks; without it the session reaches IAM never (aws-facts.md). */
  mfa?: { serialNumber: string; code: string };
}

/**
 * A session of the root identity itself, with all that it may do (contract.md 2.5). It takes an IAM user's long-term keys. There
 * is nothing to destroy: it ends by itself.
 * @throws {CodedError} `InvalidRequest`, `AwsRefused`, `AwsThrottled`, `AwsUnreachable`, `OutOfTime`
 */
export async function sessionToken(
  account: AwsAccount,
  { durationSeconds, mfa }: SessionTokenRequest,
  fence: Fence,
): Promise<StsCredential> {
  const prefix = 'Error generating STS keys';
  refuseTooShort(durationSeconds, prefix, 'GetSessionTokenInput');
  const input = {
    DurationSeconds: durationSeconds,
    ...(mfa && { SerialNumber: mfa.serialNumber, TokenCode: mfa.code }),
  };
  try {
    const reply = await account.sts(GetSessionTokenCommand, input, { fence });
    return credentialOf(reply.Credentials);
  } catch (error) {
    throw error instanceof AwsFailure ? error.toError(prefix) : error;
  }
}
