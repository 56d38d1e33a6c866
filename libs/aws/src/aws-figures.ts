import type { Metrics } from '#libs/runtime';
import type { AwsCall } from './aws-account.js';

/** AWS's refusals in a few classes: an endpoint may answer with any code, and labels must be few. */
const refusalClasses: [RegExp, string][] = [
  [
    /^(AccessDenied|UnauthorizedOperation|NotAuthorized|InvalidClientTokenId|UnrecognizedClient|SignatureDoesNotMatch|IncompleteSignature|ExpiredToken|InvalidAccessKeyId|OptInRequired|RegionDisabled|NoCredentialProviders)/,
    'access',
  ],
  [/^NoSuchEntity/, 'missing'],
  [/^(EntityAlreadyExists|DeleteConflict|EntityTemporarilyUnmodifiable)/, 'conflict'],
  [/^(LimitExceeded|PackedPolicyTooLarge)/, 'limit'],
  [/^(Malformed|Invalid|Validation|Unmodifiable|Missing)/, 'invalid'],
];

/**
 * How a call ended, as a label: `ok`; `throttled`; `unanswered` (AWS may have done it), `unsent` (no connection), `late`
 * (the caller's time was over); `lagging` (AWS catching up with itself, asked again); `refused_access`,
 * `refused_missing`, `refused_conflict`, `refused_limit`, `refused_invalid`, `refused_other`.
 */
export function outcomeOf({ kind, awsCode }: Pick<AwsCall, 'kind' | 'awsCode'>): string {
  switch (kind) {
    case 'young':
    case 'concurrent':
    case 'skewed':
      return 'lagging';
    case 'refused':
      return `refused_${refusalClasses.find(([codes]) => codes.test(awsCode))?.[1] ?? 'other'}`;
    default:
      return kind;
  }
}

/** For `AwsSurroundings.onCall`: counts every call to AWS and how long it took. */
export function observeCalls(metrics: Metrics): (call: AwsCall) => void {
  const calls = metrics.counter('leasehold_aws_calls_total', 'Calls to AWS, every attempt counted.', [
    'aws',
    'action',
    'outcome',
  ]);
  const seconds = metrics.histogram(
    'leasehold_aws_call_seconds',
    'How long one attempt of a call to AWS took.',
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    ['aws', 'action'],
  );
  return (call) => {
    const { service: aws, action } = call;
    calls.inc({ aws, action, outcome: outcomeOf(call) });
    seconds.observe({ aws, action }, call.ms / 1000);
  };
}
