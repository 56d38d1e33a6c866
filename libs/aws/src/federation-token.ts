import { GetFederationTokenCommand } from '@aws-sdk/client-sts';
import { InvalidRequest } from '#libs/contracts';
import type { AwsAccount } from './aws-account.js';
import { AwsFailure } from './aws-failure.js';
import type { Fence } from './fence.js';
import { sessionPolicy, type SessionPolicyRequest } from './session-policy.js';
import { credentialOf, refuseTooShort, type StsCredential } from './sts-credential.js';

export interface FederationTokenRequest extends SessionPolicyRequest {
  /** 2 to 32 characters (aws-facts.md, "Limits"). */
  name: string;
  durationSeconds: number;
}

/**
 * A federated session of the root user with what the request's policies allow; without any it could do nothing, so that
 * is refused before STS is asked (contract.md 2.5). There is nothing to destroy: it ends by itself.
 * @throws {CodedError} `InvalidRequest`, `AwsRefused`, `AwsThrottled`, `AwsUnreachable`, `OutOfTime`
 */
export async function federationToken(
  account: AwsAccount,
  request: FederationTokenRequest,
  fence: Fence,
): Promise<StsCredential> {
  const prefix = 'Error generating STS keys';
  refuseTooShort(request.durationSeconds, prefix, 'GetFederationTokenInput');
  const policy = await sessionPolicy(account, request, fence);
  if (policy.Policy === undefined && policy.PolicyArns === undefined) {
    throw new InvalidRequest(
      'must specify at least one of policy_arns or policy_document with federation_token credential_type',
    );
  }
  const input = { Name: request.name, DurationSeconds: request.durationSeconds, ...policy };
  try {
    const reply = await account.sts(GetFederationTokenCommand, input, { fence });
    return credentialOf(reply.Credentials);
  } catch (error) {
    throw error instanceof AwsFailure ? error.toError(prefix) : error;
  }
}
