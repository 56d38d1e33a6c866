import {
  type AccessKeyMetadata,
  CreateAccessKeyCommand,
  DeleteAccessKeyCommand,
  GetUserCommand,
  ListAccessKeysCommand,
} from '@aws-sdk/client-iam';
import type { AwsAccount } from './aws-account.js';
import type { CallRules } from './aws-call.js';
import { AmbiguousAccessKey, withMade } from './aws-errors.js';
import { AwsFailure } from './aws-failure.js';

/** A key of an IAM user. */
export interface AccessKeyPair {
  accessKeyId: string;
  secretAccessKey: string;
}

/** Whose keys are rotated. */
export interface KeyOwner {
  userName: string;
  /** IAM's own id, which another user of the same name does not have. */
  userId: string;
  arn: string;
}

/** What rotates keys waits behind issues and revocations. */
const rules: CallRules = { by: 'upkeep' };

/**
 * The user of that name; without a name the one whose key is used.
 * @throws {CodedError} `AwsRefused`, `AwsThrottled`, `AwsUnreachable`; its text begins with `prefix`
 */
export async function keyOwner(account: AwsAccount, userName: string | undefined, prefix: string): Promise<KeyOwner> {
  const { User: user } = await account.iam(GetUserCommand, { UserName: userName }, rules).catch(toOurs(prefix));
  const { UserName, UserId, Arn } = user ?? {};
  if (!UserName || !UserId || !Arn) throw AwsFailure.unreadable().toError(prefix);
  return { userName: UserName, userId: UserId, arn: Arn };
}

/**
 * Ids of a user's keys, the oldest first. What was made a moment ago may be missing.
 * @throws {CodedError} as `keyOwner`
 */
export async function listAccessKeys(account: AwsAccount, userName: string, prefix: string): Promise<string[]> {
  const found: AccessKeyMetadata[] = [];
  let Marker: string | undefined;
  do {
    const page = await account.iam(ListAccessKeysCommand, { UserName: userName, Marker }, rules).catch(toOurs(prefix));
    found.push(...(page.AccessKeyMetadata ?? []));
    Marker = page.IsTruncated ? page.Marker : undefined;
  } while (Marker !== undefined);
  const age = ({ CreateDate }: AccessKeyMetadata) => CreateDate?.getTime() ?? 0;
  return found.toSorted((a, b) => age(a) - age(b)).flatMap(({ AccessKeyId }) => AccessKeyId ?? []);
}

/**
 * Makes a key, with one request and never a second one.
 * @throws {CodedError} whose text begins with `prefix`; unless `madeBy` it is `nothing`, there may be a key that nobody knows
 */
export async function requestAccessKey(
  account: AwsAccount,
  userName: string,
  creating: Required<Pick<CallRules, 'fence'>> & Pick<CallRules, 'by' | 'isYoung'>,
  prefix: string,
): Promise<AccessKeyPair> {
  try {
    const input = { UserName: userName };
    const { AccessKey: key } = await account.iam(CreateAccessKeyCommand, input, { ...creating, onceOnly: true });
    if (!key?.AccessKeyId || !key.SecretAccessKey) throw AwsFailure.unreadable();
    return { accessKeyId: key.AccessKeyId, secretAccessKey: key.SecretAccessKey };
  } catch (error) {
    if (!(error instanceof AwsFailure)) throw error;
    if (error.kind === 'unanswered') throw new AmbiguousAccessKey(`${prefix}: ${error.message}`, { cause: error });
    throw withMade(error.toError(prefix), error.unanswered ? 'maybe' : 'nothing');
  }
}

/**
 * Removes a key; one that is not there any more is removed.
 * @throws {CodedError} as `keyOwner`
 */
export async function removeAccessKey(
  account: AwsAccount,
  userName: string,
  accessKeyId: string,
  prefix: string,
): Promise<void> {
  try {
    await account.iam(DeleteAccessKeyCommand, { UserName: userName, AccessKeyId: accessKeyId }, rules);
  } catch (error) {
    if (error instanceof AwsFailure && error.awsCode === 'NoSuchEntity') return;
    toOurs(prefix)(error);
  }
}

function toOurs(prefix: string) {
  return (error: unknown): never => {
    throw error instanceof AwsFailure ? error.toError(prefix) : error;
  };
}
