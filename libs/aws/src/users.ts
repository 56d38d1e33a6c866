import { ListUsersCommand, type User } from '@aws-sdk/client-iam';
import type { AwsAccount } from './aws-account.js';
import { AwsFailure } from './aws-failure.js';
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

const toOurs = (prefix: string) => (error: unknown) => {
  throw error instanceof AwsFailure ? error.toError(prefix) : error;
};
