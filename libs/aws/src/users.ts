import { GetAccountSummaryCommand, ListUsersCommand, type User } from '@aws-sdk/client-iam';
import type { AwsAccount } from './aws-account.js';
import type { CallRules } from './aws-call.js';
import { AwsFailure } from './aws-failure.js';
import { Fence } from './fence.js';
import { accessKey } from './user-attachments.js';

/** A user as IAM's list shows it. */
export interface ListedUser {
  name: string;
  createdAt: Date | undefined;
}

/**
 * Every user of the account. For people to read: nothing is ever destroyed because a list showed it (design.md, promise 1).
 * @throws {CodedError} `AwsRefused` (where `iam:ListUsers` is not allowed), `AwsThrottled`, `AwsUnreachable`
 */
export async function listUsers(account: AwsAccount): Promise<ListedUser[]> {
  const found: User[] = [];
  let Marker: string | undefined;
  do {
    const page = await account.iam(ListUsersCommand, { Marker }).catch(toOurs('Error listing users'));
    found.push(...(page.Users ?? []));
    Marker = page.IsTruncated ? page.Marker : undefined;
  } while (Marker !== undefined);
  return found.flatMap(({ UserName, CreateDate }) => (UserName ? [{ name: UserName, createdAt: CreateDate }] : []));
}

/**
 * Whether there is a user of that name, asked with a right that the documented root policy gives (`iam:ListAccessKeys`).
 * @throws {CodedError} `AwsRefused`, `AwsThrottled`, `AwsUnreachable`
 */
export async function userExists(account: AwsAccount, userName: string): Promise<boolean> {
  try {
    await accessKey.list(account, userName);
    return true;
  } catch (error) {
    if (error instanceof AwsFailure && error.awsCode === 'NoSuchEntity') return false;
    return toOurs(`Error looking for user ${userName}`)(error);
  }
}

/** How long a caller waits for a count, in milliseconds. */
const countWithinMs = 3_000;

/**
 * How many users the account has, and may have where AWS tells that: by `iam:GetAccountSummary`, or where that is not allowed by
 * counting what `iam:ListUsers` shows. The documented root policy gives neither right.
 * @param isAwaited a caller waits for it: both are asked at once, so that refusals take as long as one, and for 3 s at most;
 * else it takes its turn behind all other calls.
 */
export async function countUsers(
  account: AwsAccount,
  isAwaited: boolean,
): Promise<{ users: number; quota: number | null } | 'not allowed' | 'no answer'> {
  const rules: CallRules = isAwaited
    ? { by: 'issue', fence: new Fence(performance.now() + countWithinMs) }
    : { by: 'upkeep' };
  const page = (Marker?: string) => account.iam(ListUsersCommand, { Marker, MaxItems: 1_000 }, rules);
  const firstPage = isAwaited ? page() : undefined;
  firstPage?.catch(() => undefined);
  try {
    const summary = await account.iam(GetAccountSummaryCommand, {}, rules).catch(unlessRefused);
    const { Users: users, UsersQuota: quota } = summary?.SummaryMap ?? {};
    if (users !== undefined) return { users, quota: quota ?? null };
    let listed = 0;
    for (let shown = await (firstPage ?? page()).catch(unlessRefused); ; shown = await page(shown.Marker)) {
      if (!shown) return 'not allowed';
      listed += shown.Users?.length ?? 0;
      if (!shown.IsTruncated) return { users: listed, quota: null };
    }
  } catch (error) {
    if (error instanceof AwsFailure) return 'no answer';
    throw error;
  }
}

function unlessRefused(error: unknown): undefined {
  if (error instanceof AwsFailure && error.kind === 'refused') return undefined;
  throw error;
}

const toOurs = (prefix: string) => (error: unknown) => {
  throw error instanceof AwsFailure ? error.toError(prefix) : error;
};
