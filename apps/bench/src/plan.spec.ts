import { expect, it } from '@jest/globals';
import { figuresOf } from './figures.js';
import { operationNames } from './operations.js';
import { peerFigures } from './peer.js';
import { planOf } from './plan.js';

const plan = planOf(false, operationNames);

it('measures every figure of the peer, but those that are of no phase', () => {
  const outcomes = plan.map((phase) => {
    return {
      phase,
      samples: Float64Array.from([60]),
      seconds: 1,
      completed: 1,
      cpu: { gateway: 3, issuer: 4, redis: 5 },
    };
  });
  const figures = figuresOf(outcomes);
  expect(Object.keys(peerFigures).filter((name) => !(name in figures))).toEqual([
    'lateP50Seconds',
    'lateP99Seconds',
    'idleMb',
    'loadedMb',
    'prefixSeconds',
  ]);
  expect(figures).toMatchObject({ cpuPerCredentialMs: 7, credsAddedP50: -40, assumedAddedP99: 10 });
  expect(figuresOf([])).toEqual({});
});

it('revokes what creds has lent under the same conditions', () => {
  for (const [index, { operation, awsMs, callers, table }] of plan.entries()) {
    if (operation !== 'revoke') continue;
    const before = plan.slice(Math.max(0, index - 2), index);
    expect(before).toContainEqual(expect.objectContaining({ operation: 'creds', awsMs, callers, table }));
  }
});

it('takes three minutes at most, and half a minute in a hurry', () => {
  const seconds = (phases: typeof plan) =>
    phases.reduce((sum, { warmUpMs, measureMs }) => sum + warmUpMs + measureMs, 0) / 1_000;
  expect(seconds(plan)).toBeLessThan(180);
  expect(seconds(planOf(true, operationNames))).toBeLessThan(45);
});

it('leaves out what was not asked for', () => {
  expect(new Set(planOf(false, ['renew']).map(({ operation }) => operation))).toEqual(new Set(['renew']));
});
