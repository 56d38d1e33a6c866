import { expect, it } from '@jest/globals';
import { cpuOf, spentBetween } from './cpu.js';

it('is what a process says that it has used, and of two of a name both together', () => {
  const own = { name: 'own', pid: process.pid };
  const { user, system } = process.cpuUsage();
  const said = (user + system) / 1_000;
  const seen = cpuOf([own, { name: 'both', pid: process.pid }, { name: 'both', pid: process.ppid }]);
  // What it is made of is counted in steps, and threads and children have their share.
  expect(seen.own![process.pid]! / said).toBeGreaterThan(0.8);
  expect(Object.keys(seen.both!).map(Number).sort()).toEqual([process.pid, process.ppid].sort());
});

it('is never less than nothing when one of several has ended meanwhile, and counts one that has begun', () => {
  const spent = spentBetween({ database: { 11: 500, 12: 40 }, gone: { 13: 5 } }, { database: { 12: 70, 14: 8 } });
  expect(spent).toEqual({ database: 38 });
});
