import { AssumeRoleCommand } from '@aws-sdk/client-sts';
import type { AwsAccount } from './aws-account.js';
import { AwsFailure } from './aws-failure.js';
import type { Fence } from './fence.js';
import { sessionPolicy, type SessionPolicyRequest } from './session-policy.js';
import { credentialOf, refuseTooShort, type StsCredential } from './sts-credential.js';

export interface AssumeRoleRequest extends SessionPolicyRequest {
  roleArn: string;
  sessionName: string;
  durationSeconds: number;
  sessionTags: Record<string, string>;
  externalId?: string;
}

/**
 * A session of the role, narrowed down by the request's policies (contract.md 2.5). There is nothing to destroy: it
 * ends by itself.
 * @throws {CodedError} `InvalidRequest`, `AwsRefused`, `AwsThrottled`, `AwsUnreachable`, `OutOfTime`
 */
export async function assumeRole(
  account: AwsAccount,
  request: AssumeRoleRequest,
  fence: Fence,
): Promise<StsCredential & { arn: string }> {
  const prefix = 'Error assuming role';
  refuseTooShort(request.durationSeconds, prefix, 'AssumeRoleInput');
  const policy = await sessionPolicy(account, request, fence);
  const tags = Object.entries(request.sessionTags).map(([Key, Value]) => ({ Key, Value }));
  const input = {
    RoleArn: request.roleArn,
    RoleSessionName: request.sessionName,
    DurationSeconds: request.durationSeconds,
    ...policy,
    ...(tags.length > 0 && { Tags: tags }),
    ...(request.externalId && { ExternalId: request.externalId }),
  };
  try {
    const reply = await account.sts(AssumeRoleCommand, input, { fence });
    return { ...credentialOf(reply.Credentials), arn: reply.AssumedRoleUser?.Arn ?? '' };
  } catch (error) {
    throw error instanceof AwsFailure ? error.toError(prefix) : error;
  }
}
