import { expect, it } from '@jest/globals';
import { RequestFailed } from './client.js';
import { apply, Failures, often } from './load.js';

const idle = () => ({});
const never = new AbortController().signal;

it('discards the warm-up, and counts what was answered in the time that was measured', async () => {
  let calls = 0;
  const operation = async () => {
    calls += 1;
    await new Promise((resolve) => setTimeout(resolve, 5));
    return true;
  };
  const load = { operation, callers: 4, warmUpMs: 100, measureMs: 200 };
  const measured = await apply(load, idle, new Failures(), never);
  expect(measured.samples.length).toBeGreaterThan(0);
  expect(measured.samples.length).toBeLessThan(calls);
  expect(measured.samples.toSorted()).toEqual(measured.samples);
  expect(measured.seconds).toBeGreaterThanOrEqual(0.19);
});

it('ends with what there was to do', async () => {
  let left = 20;
  const operation = async () => (left -= 1) >= 0;
  await apply({ operation, callers: 3, warmUpMs: 0, measureMs: 60_000 }, idle, new Failures(), never);
  expect(left).toBeLessThan(0);
});

it('does something just as often as it is told', async () => {
  let calls = 0;
  const operation = async () => (calls += 1) > 0;
  await apply(often(operation, 50, 7), idle, new Failures(), never);
  expect(calls).toBe(50);
});

it('counts failures by what came of them and keeps the first text', async () => {
  const failures = new Failures();
  let calls = 0;
  const operation = async (): Promise<boolean> => {
    calls += 1;
    if (calls > 3) return false;
    throw new RequestFailed(calls < 3 ? '503' : 'timeout', `call ${calls}`);
  };
  await apply({ operation, callers: 1, warmUpMs: 0, measureMs: 60_000 }, idle, failures, never);
  expect(failures).toEqual({ byOutcome: { '503': 2, timeout: 1 }, first: 'call 1' });
});
