import { GetGroupPolicyCommand, ListAttachedGroupPoliciesCommand, ListGroupPoliciesCommand } from '@aws-sdk/client-iam';
import { InvalidRequest } from '#libs/contracts';
import type { AwsAccount } from './aws-account.js';
import { AwsRefused } from './aws-errors.js';
import { AwsFailure } from './aws-failure.js';
import type { Fence } from './fence.js';
import { everyPage } from './pages.js';

/** What narrows a session down: the role's own policies and those of IAM groups it names. */
export interface SessionPolicyRequest {
  policyDocument?: string;
  policyArns: string[];
  groups: string[];
}

/** As AssumeRole and GetFederationToken take it; a key is missing where there is nothing to say. */
export interface SessionPolicy {
  Policy?: string;
  PolicyArns?: { arn: string }[];
}

/**
 * Groups cannot be joined by a session, so their policies are read and put into it (contract.md 2.5, "Policy merging").
 * Where the groups bring no document, the role's own is passed on as it is written.
 * @throws {CodedError} `AwsRefused` with AWS's bare text when a group cannot be read, a throttle included;
 * `AwsUnreachable`, `OutOfTime`, `InvalidRequest`
 */
export async function sessionPolicy(
  account: AwsAccount,
  request: SessionPolicyRequest,
  fence: Fence,
): Promise<SessionPolicy> {
  const groups = await Promise.all(request.groups.map((name) => readGroup(account, name, fence)));
  const fromGroups = groups.flatMap((group) => group.documents);
  const arns = [...request.policyArns, ...groups.flatMap((group) => group.arns)];
  const own = request.policyDocument || undefined;
  const document = fromGroups.length === 0 ? own : merged([...fromGroups, ...(own === undefined ? [] : [own])]);
  return {
    ...(document !== undefined && { Policy: document }),
    ...(arns.length > 0 && { PolicyArns: arns.map((arn) => ({ arn })) }),
  };
}

async function readGroup(account: AwsAccount, GroupName: string, fence: Fence) {
  const rules = { fence };
  try {
    const [arns, names] = await Promise.all([
      everyPage(
        (Marker) => account.iam(ListAttachedGroupPoliciesCommand, { GroupName, Marker }, rules),
        (page) => page.AttachedPolicies?.map((policy) => policy.PolicyArn),
      ),
      everyPage(
        (Marker) => account.iam(ListGroupPoliciesCommand, { GroupName, Marker }, rules),
        (page) => page.PolicyNames,
      ),
    ]);
    const documents = await Promise.all(
      names.map(async (PolicyName) => {
        const reply = await account.iam(GetGroupPolicyCommand, { GroupName, PolicyName }, rules);
        if (!reply.PolicyDocument) throw AwsFailure.unreadable();
        return decodeURIComponent(reply.PolicyDocument);
      }),
    );
    return { arns, documents };
  } catch (error) {
    if (!(error instanceof AwsFailure)) throw error;
    if (error.kind !== 'throttled') throw error.toError();
    throw new AwsRefused(error.awsCode, error.message, { retryable: true, cause: error });
  }
}

function merged(documents: string[]): string {
  const statements = documents.flatMap((document) => statementsOf(document));
  return JSON.stringify({ Version: '2012-10-17', Statement: statements });
}

function statementsOf(document: string): unknown[] {
  let policy: unknown;
  try {
    policy = JSON.parse(document);
  } catch {
    policy = undefined;
  }
  if (typeof policy !== 'object' || policy === null || !('Statement' in policy)) {
    throw new InvalidRequest('a policy document to be merged with those of iam_groups has no Statement');
  }
  return [policy.Statement].flat();
}
