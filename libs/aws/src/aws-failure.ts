import { type CodedError, OutOfTime, OverBudget } from '#libs/contracts';
import { AwsRefused, AwsThrottled, AwsUnreachable } from './aws-errors.js';

/**
 * How one attempt failed, as far as it decides what to do next:
 * - `refused`: AWS said no, nothing was done.
 * - `throttled`, `concurrent`, `young`: AWS said no for the moment, nothing was done.
 * - `skewed`: AWS disliked our clock; the SDK has corrected its own by AWS's since.
 * - `unsent`: the request never left this process.
 * - `unanswered`: it left and no readable answer came, or a 5xx: AWS may have done the work.
 * - `over_budget`: it was not let out, because AWS's budget is used up (`Budget`).
 * - `late`: the fence closed; whether the request had left is `unanswered` on the failure.
 */
export type FailureKind =
  'refused' | 'throttled' | 'concurrent' | 'young' | 'skewed' | 'unsent' | 'unanswered' | 'over_budget' | 'late';

const throttleCodes = new Set([
  'Throttling',
  'ThrottlingException',
  'ThrottledException',
  'RequestThrottled',
  'RequestThrottledException',
  'TooManyRequestsException',
  'ProvisionedThroughputExceededException',
  'TransactionInProgressException',
  'RequestLimitExceeded',
  'PriorRequestNotComplete',
  'EC2ThrottledException',
  'BandwidthLimitExceeded',
  'LimitExceededException',
  'SlowDown',
]);

/** Thrown in place of sending, or of waiting on, when the attempt's time is over. */
export class TimeIsOver extends Error {
  /** @param byFence true when it was the fence that closed, false when AWS merely took too long */
  constructor(readonly byFence: boolean) {
    super(byFence ? 'the fence is closed' : 'no answer in time');
  }
}

/**
 * One failed AWS call, made of our own strings only: the SDK's error objects carry the reply (`$response`, the text
 * of an unreadable body), in which there may be a secret key, so they are read here and dropped, never kept as a cause.
 */
export class AwsFailure extends Error {
  /** Whether this attempt, or an earlier one of the same call, may have taken effect at AWS. */
  unanswered: boolean;

  private constructor(
    public kind: FailureKind,
    /** AWS's code as it stands in the reply; '' where AWS gave none. */
    readonly awsCode: string,
    /** AWS's own sentence, or what went wrong on the way to AWS. */
    readonly detail: string,
    message: string,
    unanswered: boolean,
  ) {
    super(message);
    this.name = 'AwsFailure';
    this.unanswered = unanswered;
  }

  static of(error: unknown, wire: Wire): AwsFailure {
    if (error instanceof TimeIsOver) {
      const kind = error.byFence ? 'late' : wire.sent ? 'unanswered' : 'unsent';
      return AwsFailure.onTheWay(kind, error.message, wire.sent);
    }
    if (!wire.sent) return AwsFailure.beforeSending(error as SdkError);
    if (wire.error !== undefined) {
      const unsent = neverConnected(wire.error);
      return AwsFailure.onTheWay(unsent ? 'unsent' : 'unanswered', wire.error.message || `${wire.error.code}`, !unsent);
    }
    const { Code: code, $metadata: metadata = {}, message = '' } = error as SdkError;
    if (typeof code === 'string' && code !== '') return AwsFailure.byAws(code, message, metadata);
    return AwsFailure.unreadable(metadata.httpStatusCode);
  }

  static overBudget(refusal: OverBudget): AwsFailure {
    const failure = AwsFailure.onTheWay('over_budget', refusal.message, false);
    failure.cause = refusal;
    return failure;
  }

  /** A reply that lacks what it must hold; AWS did the work all the same. */
  static unreadable(status?: number): AwsFailure {
    const detail = 'the reply could not be read' + (status === undefined ? '' : ` (status code ${status})`);
    return AwsFailure.onTheWay('unanswered', detail, true);
  }

  /** No endpoint of STS said who we are (contract.md 2.1); worth another try where that is true of one of them. */
  static noStsClient(failures: { at: string; failure: AwsFailure }[]): AwsFailure {
    const { failure } = failures.find(({ failure: { kind } }) => kind !== 'refused') ?? failures[0]!;
    const texts = failures.map(
      ({ at, failure: { awsCode, detail } }) => `${at}: ${awsCode && `${awsCode}: `}${detail}`,
    );
    const message = `could not obtain sts client: ${texts.join('; ')}`;
    return new AwsFailure(failure.kind, failure.awsCode, message, message, failure.unanswered);
  }

  private static byAws(code: string, awsMessage: string, metadata: NonNullable<SdkError['$metadata']>): AwsFailure {
    // SignatureDoesNotMatch quotes the whole canonical request, session token included.
    const detail = (awsMessage.split('\n\nThe Canonical String')[0] ?? '').trimEnd();
    const status = metadata.httpStatusCode ?? 0;
    const kind = throttleCodes.has(code)
      ? 'throttled'
      : status >= 500
        ? 'unanswered'
        : metadata.clockSkewCorrected
          ? 'skewed'
          : code === 'ConcurrentModification'
            ? 'concurrent'
            : 'refused';
    const tail = `\n\tstatus code: ${status}, request id: ${metadata.requestId ?? ''}`;
    return new AwsFailure(kind, code, detail, `${code}: ${detail}${tail}`, kind === 'unanswered');
  }

  /** No credentials, a bad endpoint, or an input the SDK would not serialise: trying again would not help. */
  private static beforeSending(error: SdkError): AwsFailure {
    const [code, detail] =
      error.name === 'CredentialsProviderError' || error.name === 'TokenProviderError'
        ? [
            'NoCredentialProviders',
            // The words of AWS's Go SDK, which clients know (contract.md 2.5).
            'no valid providers in chain. Deprecated.\n\tFor verbose messaging see aws.Config.CredentialsChainVerboseErrors',
          ]
        : ['InvalidParameter', 'the AWS SDK could not build the request from the configuration and the role'];
    return new AwsFailure('refused', code, detail, `${code}: ${detail}`, false);
  }

  private static onTheWay(kind: FailureKind, detail: string, unanswered: boolean): AwsFailure {
    return new AwsFailure(kind, '', detail, `RequestError: send request failed\ncaused by: ${detail}`, unanswered);
  }

  /** The error for the caller, with the text of contract.md 2.5: `<prefix>: <Code>: <message>…`. */
  toError(prefix?: string): CodedError {
    const text = prefix === undefined ? this.message : `${prefix}: ${this.message}`;
    switch (this.kind) {
      case 'late':
        return new OutOfTime();
      case 'over_budget': {
        const { limit, retryAfterSeconds = 1 } = this.cause as OverBudget;
        return new OverBudget(
          limit,
          prefix === undefined ? this.detail : `${prefix}: ${this.detail}`,
          retryAfterSeconds,
        );
      }
      case 'throttled':
        return new AwsThrottled(this.awsCode, text, { cause: this });
      case 'unsent':
      case 'unanswered':
        return new AwsUnreachable(text, { cause: this });
      default:
        return new AwsRefused(this.awsCode, text, { retryable: this.kind !== 'refused', cause: this });
    }
  }
}

/** How far one attempt came. */
export interface Wire {
  /** Signed and handed to the socket, or to the queue for one. */
  sent: boolean;
  /** What went wrong between us and AWS, before any reply. */
  error?: NetworkError;
}

/** What Node's network errors hold, as far as it is read here; their messages name hosts and ports, nothing more. */
export interface NetworkError {
  name?: string;
  message?: string;
  code?: string;
  syscall?: string;
  /** One per address tried. */
  errors?: NetworkError[];
}

/** What the SDK's errors hold, as far as it is read here. */
interface SdkError {
  name?: string;
  message?: string;
  Code?: unknown;
  $metadata?: { httpStatusCode?: number; requestId?: string; clockSkewCorrected?: boolean };
}

/** True when the connection was never made, so that no byte of the request can have arrived. */
function neverConnected(error: NetworkError): boolean {
  if (error.errors !== undefined && error.errors.length > 0) return error.errors.every(neverConnected);
  if (error.syscall === 'connect' || error.syscall === 'getaddrinfo') return true;
  return error.name === 'TimeoutError' && /did not establish a connection/.test(error.message ?? '');
}
