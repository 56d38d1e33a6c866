import { CodedError } from '#libs/contracts';

/**
 * What an unsuccessful creation may have left behind: `nothing` needs no destroying call, `maybe` needs one; after `late` a
 * call that nobody waits for any more may make the user yet, also when it was destroyed.
 */
export type Made = 'nothing' | 'maybe' | 'late';

/** AWS refused the call and will refuse it again; the message is AWS's own (contract.md 5.2). */
export class AwsRefused extends CodedError {
  /** AWS's code as it stands in the reply, such as `AccessDenied`. */
  readonly awsCode: string;
  /** True when trying again is pointless until a person has changed something: the lease becomes irrevocable. */
  readonly permanent: boolean;

  constructor(
    awsCode: string,
    message: string,
    options: { retryable?: boolean; permanent?: boolean; cause?: unknown } = {},
  ) {
    super('aws_refused', message, options);
    this.awsCode = awsCode;
    this.permanent = options.permanent ?? false;
  }
}

/** AWS asked to slow down, and went on asking while we slowed down (codes: contract.md 5.2). */
export class AwsThrottled extends CodedError {
  constructor(
    readonly awsCode: string,
    message: string,
    options: { cause?: unknown } = {},
  ) {
    super('aws_throttled', message, { retryable: true, ...options });
  }
}

/** AWS could not be reached, did not answer in time, or answered with a fault of its own. */
export class AwsUnreachable extends CodedError {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super('aws_unreachable', message, { retryable: true, ...options });
  }
}

/**
 * CreateAccessKey went unanswered: a live key whose secret nobody knows may exist. The user must be destroyed as a
 * whole, since an empty listing of its keys proves nothing, and the issue starts over under another name.
 */
export class AmbiguousAccessKey extends CodedError {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super('aws_unreachable', message, { retryable: true, ...options });
  }
}

/** Says on an error what the failed creation may have left in AWS. */
export function withMade<E extends Error>(error: E, made: Made): E & { made: Made } {
  return Object.assign(error, { made });
}

/** What a failed `createIamUser` may have left in AWS; `maybe` for every error that does not say. */
export function madeBy(error: unknown): Made {
  return error instanceof Error && 'made' in error ? (error.made as Made) : 'maybe';
}

/** Whether AWS refused a user because the account may have no more. */
export function isUserQuotaMet(error: unknown): boolean {
  return error instanceof AwsRefused && error.awsCode === 'LimitExceeded' && madeBy(error) === 'nothing';
}
