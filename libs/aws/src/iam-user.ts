import {
  AddUserToGroupCommand,
  AttachUserPolicyCommand,
  CreateUserCommand,
  DeleteUserCommand,
  GetAccessKeyLastUsedCommand,
  PutUserPolicyCommand,
} from '@aws-sdk/client-iam';
import type { AwsAccount } from './aws-account.js';
import type { AttemptEnd, CallClass, CallRules } from './aws-call.js';
import { AwsRefused, withMade } from './aws-errors.js';
import { AwsFailure } from './aws-failure.js';
import type { Fence } from './fence.js';
import {
  accessKey,
  attachedPolicy,
  type Attachment,
  detachAll,
  group,
  inlinePolicy,
  removeAll,
} from './user-attachments.js';
import { requestAccessKey } from './user-keys.js';

/** What one lease's user is to be. The name must be new: nothing is ever made inside somebody else's user. */
export interface IamUserPlan {
  userName: string;
  path: string;
  permissionsBoundaryArn?: string;
  inlinePolicy?: { name: string; document: string };
  policyArns: string[];
  groups: string[];
  tags: Record<string, string>;
}

/** A user that was made, by its key. */
export interface MadeIamUser {
  accessKeyId: string;
  secretAccessKey: string;
  /** A call that nobody waits for any more may make the user once more when it has been destroyed. */
  late: boolean;
}

/** What the lease's row says there is; no `accessKeyId` when it was never learnt. */
export interface IamUserRecord {
  userName: string;
  accessKeyId?: string;
  /** Names of inline policies. */
  policyNames: string[];
  policyArns: string[];
  groups: string[];
}

/**
 * Makes the user in two steps: CreateUser, with path, boundary and tags in it, then everything else side by side
 * (contract.md 2.5; design.md, promise 10). Returns when nothing is under way any more, also when it fails.
 * @param by who it is for; `spare` is for its beginning: what has begun is finished as upkeep, since half a user costs more calls.
 * @throws {CodedError} which says what it may have left behind (`madeBy`): `AwsRefused`, `AwsThrottled`,
 * `AwsUnreachable`, `OutOfTime`, or `AmbiguousAccessKey`: destroy the user and start over under another name
 */
export async function createIamUser(
  account: AwsAccount,
  plan: IamUserPlan,
  fence: Fence,
  by: CallClass = 'issue',
): Promise<MadeIamUser> {
  const late = await createUser(account, plan, { fence, by });
  const isYoung = youngUser(plan.userName);
  const rules = { fence, by: by === 'spare' ? 'upkeep' : by } as const;
  const key = requestAccessKey(account, plan.userName, { ...rules, isYoung }, 'Error creating access keys');
  const settled = await Promise.allSettled([key, ...equip(account, plan, rules)]);
  const errors = settled.flatMap((step) => (step.status === 'rejected' ? [step.reason as Error] : []));
  // What AWS will never have, a second user under another name would not get either.
  const error = errors.find((each) => each instanceof AwsRefused && !each.retryable) ?? errors[0];
  if (error !== undefined) throw withMade(error, late ? 'late' : 'maybe');
  return { ...(await key), late };
}

/**
 * Removes what the row says there is, then the user; may run any number of times. Keys go first where there is more
 * than one policy or a group: removing a Deny before the key would widen what the key may do (design.md, promise 10).
 * What its holder has added since is found and removed when DeleteUser meets it.
 * @returns `absent` when AWS knows no such user: believable only about a user that is not young (design.md,
 * "NoSuchEntity")
 * @throws {CodedError} `AwsRefused` (`permanent` when rights are missing; the message names them), `AwsThrottled`,
 * `AwsUnreachable`
 */
export async function destroyIamUser(account: AwsAccount, record: IamUserRecord): Promise<'destroyed' | 'absent'> {
  const { userName, accessKeyId } = record;
  const keyIds = accessKeyId !== undefined ? [accessKeyId] : await listKeys(account, userName);
  const keys = keyIds.map((id): Attachment => [accessKey, id]);
  const rest = [
    ...record.policyNames.map((name): Attachment => [inlinePolicy, name]),
    ...record.policyArns.map((arn): Attachment => [attachedPolicy, arn]),
    ...record.groups.map((name): Attachment => [group, name]),
  ];
  const together = rest.length === 1 && record.groups.length === 0;
  let wasThere = false;
  for (const step of together ? [[...keys, ...rest]] : [keys, rest]) {
    wasThere = (await removeAll(account, userName, step)) || wasThere;
  }
  return deleteUser(account, userName, wasThere);
}

/**
 * The user a key belongs to by now: its holder may have renamed it. `unknown` where we may not ask or AWS does not know.
 * @throws {CodedError} `AwsThrottled`, `AwsUnreachable`
 */
export async function followAccessKey(
  account: AwsAccount,
  accessKeyId: string,
): Promise<{ userName: string } | 'unknown'> {
  try {
    const { UserName: userName } = await account.iam(GetAccessKeyLastUsedCommand, { AccessKeyId: accessKeyId });
    return userName ? { userName } : 'unknown';
  } catch (error) {
    if (!(error instanceof AwsFailure)) throw error;
    if (error.kind === 'refused') return 'unknown';
    throw error.toError('Error looking up the owner of an access key');
  }
}

/** @returns whether a try of it may take effect yet */
async function createUser(account: AwsAccount, plan: IamUserPlan, rules: CallRules): Promise<boolean> {
  const tags = Object.entries(plan.tags).map(([Key, Value]) => ({ Key, Value }));
  const input = {
    UserName: plan.userName,
    Path: plan.path || '/',
    // Both ask for rights of their own, which the documented root policy does not give: only where the role wants them.
    ...(plan.permissionsBoundaryArn && { PermissionsBoundary: plan.permissionsBoundaryArn }),
    ...(tags.length > 0 && { Tags: tags }),
  };
  let unanswered = 0;
  const onAttempt = ({ kind }: AttemptEnd) => {
    if (kind === 'unanswered') unanswered += 1;
  };
  try {
    const calls = 2 + plan.policyArns.length + plan.groups.length + (plan.inlinePolicy ? 1 : 0);
    await account.iam(CreateUserCommand, input, { ...rules, calls, isYoung: stillChanging, onAttempt });
    return unanswered > 0;
  } catch (error) {
    if (!(error instanceof AwsFailure)) throw error;
    // Ours only after our own unanswered try of that very name; else it is a stranger's user.
    if (error.awsCode === 'EntityAlreadyExists' && error.unanswered) return unanswered > 1;
    throw withMade(error.toError('Error creating IAM user'), error.unanswered ? 'late' : 'nothing');
  }
}

/** Policies and groups, all under way at once; each may be repeated without harm. */
function equip(account: AwsAccount, plan: IamUserPlan, rules: CallRules): Promise<unknown>[] {
  const UserName = plan.userName;
  const step = (call: Promise<unknown>, prefix: string) =>
    call.catch((error: unknown) => {
      throw error instanceof AwsFailure ? error.toError(prefix) : error;
    });
  return [
    ...plan.policyArns.map((PolicyArn) => {
      const isYoung = youngUser(UserName, PolicyArn);
      const call = account.iam(AttachUserPolicyCommand, { UserName, PolicyArn }, { ...rules, isYoung });
      return step(call, 'Error attaching user policy');
    }),
    ...[plan.inlinePolicy ?? []].flat().map(({ name, document }) => {
      const input = { UserName, PolicyName: name, PolicyDocument: document };
      const call = account.iam(PutUserPolicyCommand, input, { ...rules, isYoung: youngUser(UserName) });
      return step(call, 'Error putting user policy');
    }),
    ...plan.groups.map((GroupName) => {
      const isYoung = youngUser(UserName, GroupName);
      const call = account.iam(AddUserToGroupCommand, { UserName, GroupName }, { ...rules, isYoung });
      return step(call, 'Error adding user to group');
    }),
  ];
}

async function listKeys(account: AwsAccount, userName: string): Promise<string[]> {
  try {
    return await accessKey.list(account, userName);
  } catch (error) {
    if (!(error instanceof AwsFailure)) throw error;
    if (error.awsCode === 'NoSuchEntity') return [];
    throw error.toError();
  }
}

async function deleteUser(account: AwsAccount, userName: string, wasThere: boolean): Promise<'destroyed' | 'absent'> {
  const first = await tryDeleteUser(account, userName, wasThere);
  if (!(first instanceof AwsFailure)) return first;
  const missingRights = await detachAll(account, userName);
  const second = await tryDeleteUser(account, userName, true);
  if (!(second instanceof AwsFailure)) return second;
  const { message } = second.toError();
  if (missingRights.length === 0) throw new AwsRefused(second.awsCode, message, { retryable: true, cause: second });
  // The rights first: of a long error only the beginning is kept (contract.md 4.4), and they are what a person must act on.
  const text = `The root credentials lack ${missingRights.join(', ')}: ${message}`;
  throw new AwsRefused(second.awsCode, text, { permanent: true, cause: second });
}

/** @returns the failure when it is a DeleteConflict */
async function tryDeleteUser(
  account: AwsAccount,
  userName: string,
  wasThere: boolean,
): Promise<'destroyed' | 'absent' | AwsFailure> {
  try {
    // Just now something of this user was there: that the user is not can only be lag.
    const isYoung = (refusal: AwsFailure) =>
      stillChanging(refusal) || (wasThere && refusal.awsCode === 'NoSuchEntity' && !refusal.unanswered);
    await account.iam(DeleteUserCommand, { UserName: userName }, { isYoung });
    return 'destroyed';
  } catch (error) {
    if (!(error instanceof AwsFailure)) throw error;
    if (error.awsCode === 'DeleteConflict') return error;
    if (error.awsCode !== 'NoSuchEntity') throw error.toError();
    return wasThere && error.unanswered ? 'destroyed' : 'absent';
  }
}

function stillChanging(refusal: AwsFailure): boolean {
  return refusal.awsCode === 'EntityTemporarilyUnmodifiable';
}

/** The user was made a moment ago: that AWS does not find it is lag, unless it says that it misses the other thing. */
function youngUser(userName: string, other?: string) {
  return (refusal: AwsFailure): boolean =>
    stillChanging(refusal) ||
    (refusal.awsCode === 'NoSuchEntity' &&
      (refusal.detail.includes(userName) || other === undefined || !refusal.detail.includes(other)));
}
