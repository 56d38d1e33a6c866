import { describe, expect, it } from '@jest/globals';
import { formatDuration, formatDurationShort, parseDuration } from './go-duration.js';

const hour = 3_600_000;

describe('a duration is read as Vault reads it', () => {
  it.each<[unknown, number]>([
    [3600, hour],
    ['3600', hour],
    ['', 0],
    ['0', 0],
    ['1d', 24 * hour],
    ['768h', 768 * hour],
    ['1h30m', 1.5 * hour],
    ['1.5h', 1.5 * hour],
    ['300ms', 300],
    ['36h1m1.5s', 36 * hour + 61_500],
    ['.5s', 500],
    ['1us', 0.001],
  ])('%j is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBeCloseTo(ms, 6);
  });

  it.each<[unknown, string]>([
    ['5x', 'time: unknown unit "x" in duration "5x"'],
    ['x', 'time: invalid duration "x"'],
    ['1.5', 'time: missing unit in duration "1.5"'],
    [1.5, 'time: missing unit in duration "1.5"'],
    ['1d12h', 'time: unknown unit "d" in duration "1d12h"'],
    ['1.5d', 'time: unknown unit "d" in duration "1.5d"'],
    ['-5', "cannot provide negative value '-5'"],
    [-5, "cannot provide negative value '-5'"],
    ['-1h', "cannot provide negative value '-1h'"],
  ])('%j is refused: %s', (text, message) => {
    expect(() => parseDuration(text)).toThrow(message);
  });
});

describe('a duration is printed as Go prints it', () => {
  it.each([
    [0, '0s', '0s'],
    [300, '300ms', '300ms'],
    [45_000, '45s', '45s'],
    [30 * 60_000, '30m0s', '30m'],
    [12 * hour, '12h0m0s', '12h'],
    [36 * hour + 61_500, '36h1m1.5s', '36h1m1.5s'],
    [25 * hour, '25h0m0s', '25h'],
    [hour + 30_000, '1h0m30s', '1h30s'],
    [99_999_000, '27h46m39s', '27h46m39s'],
  ])('%d ms is %s, in short %s', (ms, text, short) => {
    expect([formatDuration(ms), formatDurationShort(ms)]).toEqual([text, short]);
  });
});
