import { expect, it } from '@jest/globals';
import { type Bounds, bounds, type Costs, guarded } from './bounds.js';
import { findingRows, judged } from './judging.js';

/** Just what may be. */
const just = (): Bounds => structuredClone(bounds.services);
const verdictsOf = (measured: Bounds) =>
  judged(measured, bounds.services).flatMap(({ of, figure, verdict }) =>
    verdict === 'holds' ? [] : [`${of}, ${figure}: ${verdict}`],
  );

it('finds nothing in what costs as much as it may', () => {
  expect(verdictsOf(just())).toEqual([]);
});

it.each(
  guarded.flatMap((of) =>
    (['statements', 'messages', 'redisCommands', 'awsCalls', 'awsSteps'] as const).map(
      (figure) => [of, figure] as const,
    ),
  ),
)('finds one more of %s: %s', (of, figure: keyof Costs) => {
  const measured = just();
  measured.costs[of][figure] += 1;
  expect(verdictsOf(measured)).toEqual([`${of}, ${figure}: MORE`]);
});

it('finds more bytes when they are a twentieth more, and what a ratio is beyond', () => {
  const measured = just();
  measured.costs.creds.databaseBytes = Math.ceil(measured.costs.creds.databaseBytes * 1.02);
  measured.costs.renew.databaseBytes = Math.ceil(measured.costs.renew.databaseBytes * 1.2);
  measured.ratios.cpu += 0.01;
  expect(verdictsOf(measured)).toEqual(['renew, databaseBytes: MORE', 'creds, cpu ÷ bare SDK: MORE']);
});

it('says what costs less than it may, which may then be lowered', () => {
  const measured = just();
  measured.costs['role-read'].statements -= 1;
  expect(verdictsOf(measured)).toEqual(['role-read, statements: less']);
});

it('shows what is measured beside what may be', () => {
  const rows = findingRows(judged(just(), bounds.services));
  expect(rows).toContainEqual(['creds: awsCalls', '3', '3', 'holds']);
  expect(rows.some(([name]) => name === 'renew: awsCalls')).toBe(false);
});
