import { expect, it } from '@jest/globals';
import { leaseTimingSchema } from '#libs/leases';
import { longestAnswerMs } from './longest-answer.js';

it.each(['callerWaitMs', 'syncOneMs', 'syncManyMs'] as const)('is longer than any wait that was set: %s', (span) => {
  expect(longestAnswerMs()).toBeLessThan(70_000);
  expect(longestAnswerMs(leaseTimingSchema.parse({ [span]: 300_000 }))).toBeGreaterThan(300_000);
});
