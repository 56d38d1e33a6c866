import { expect, it } from '@jest/globals';
import { stepsAmong } from './lives.js';

const call = (startedAtMs: number, endedAtMs: number) => ({ startedAtMs, endedAtMs });

it('counts calls that overlap as one step, in whatever order they were logged', () => {
  expect(stepsAmong([])).toBe(0);
  expect(stepsAmong([call(41, 80), call(0, 40), call(42, 81)])).toBe(2);
  expect(stepsAmong([call(0, 100), call(10, 20), call(30, 40), call(100, 120)])).toBe(2);
});
