import { expect, it } from '@jest/globals';
import { formatNumber, formatTable } from './table.js';

it('aligns names to the left and numbers to the right', () => {
  expect(
    formatTable(
      ['', 'p50'],
      [
        ['creds', '10.9'],
        ['role-read', '0.50'],
      ],
    ),
  ).toBe(['            p50', 'creds      10.9', 'role-read  0.50'].join('\n'));
});

it('keeps three digits', () => {
  expect([0.123, 5, 12.34, 123.4, -0.4, Number.NaN, undefined].map(formatNumber)).toEqual([
    '0.12',
    '5.00',
    '12.3',
    '123',
    '-0.40',
    '–',
    '–',
  ]);
});
