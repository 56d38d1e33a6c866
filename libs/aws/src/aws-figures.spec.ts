import { expect, it } from '@jest/globals';
import { Metrics } from '#libs/runtime';
import { observeCalls, outcomeOf } from './aws-figures.js';

it.each([
  ['ok', '', 'ok'],
  ['throttled', 'Throttling', 'throttled'],
  ['unanswered', '', 'unanswered'],
  ['unsent', '', 'unsent'],
  ['late', '', 'late'],
  ['young', 'NoSuchEntity', 'lagging'],
  ['concurrent', 'ConcurrentModification', 'lagging'],
  ['skewed', 'SignatureDoesNotMatch', 'lagging'],
  ['refused', 'AccessDenied', 'refused_access'],
  ['refused', 'InvalidClientTokenId', 'refused_access'],
  ['refused', 'NoSuchEntity', 'refused_missing'],
  ['refused', 'DeleteConflict', 'refused_conflict'],
  ['refused', 'LimitExceeded', 'refused_limit'],
  ['refused', 'MalformedPolicyDocument', 'refused_invalid'],
  ['refused', 'InvalidInput', 'refused_invalid'],
  ['refused', 'aWordOfSomebodyElses', 'refused_other'],
] as const)('calls the end %s %s %s', (kind, awsCode, outcome) => {
  expect(outcomeOf({ kind, awsCode })).toBe(outcome);
});

it('counts calls by what was asked and how it ended, with the time they took', async () => {
  const metrics = new Metrics('issuer');
  const onCall = observeCalls(metrics);
  onCall({ service: 'iam', action: 'CreateUser', kind: 'throttled', awsCode: 'Throttling', ms: 20 });
  onCall({ service: 'iam', action: 'CreateUser', kind: 'ok', awsCode: '', ms: 80 });
  const text = await metrics.text();
  for (const outcome of ['throttled', 'ok']) {
    expect(text).toContain(
      `leasehold_aws_calls_total{aws="iam",action="CreateUser",outcome="${outcome}",service="issuer"} 1`,
    );
  }
  expect(text).toContain('leasehold_aws_call_seconds_sum{service="issuer",aws="iam",action="CreateUser"} 0.1');
});
