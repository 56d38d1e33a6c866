import { expect, it } from '@jest/globals';
import { percentile } from './percentile.js';

it('gives a value that was measured', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
  expect([0, 1, 50, 99, 100].map((percent) => percentile(hundred, percent))).toEqual([1, 1, 50, 99, 100]);
  expect(percentile([1, 2, 3, 10], 50)).toBe(2);
  expect(percentile([7], 99)).toBe(7);
  expect(percentile([], 50)).toBeNaN();
});
