import { expect, it } from '@jest/globals';
import { memoryOf, steadyMemoryOf } from './memory.js';

const own = { name: 'own', pid: process.pid };

it('is what the process itself says that it has, and of two of a name both together', () => {
  const [one, two] = [memoryOf([own]).own!, memoryOf([own, own]).own!];
  const said = process.memoryUsage.rss() / 1e6;
  expect(one / said).toBeGreaterThan(0.8);
  expect(one / said).toBeLessThan(1.25);
  expect(two / one).toBeGreaterThan(1.8);
});

it('is steady after one look too', async () => {
  expect(Object.keys(await steadyMemoryOf([own], 1))).toEqual(['own']);
});
