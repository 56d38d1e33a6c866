import { describe, expect, it } from '@jest/globals';
import { isCodeOf, oneTimeCode, toBase32 } from './one-time-code.js';

const seed = Buffer.from('12345678901234567890');

describe('one-time codes', () => {
  it.each([
    [59, '287082'],
    [1_111_111_109, '081804'],
    [20_000_000_000, '353130'],
  ])('are those of RFC 6238 at %d s', (seconds, code) => {
    expect(oneTimeCode(seed, seconds * 1_000)).toBe(code);
  });

  it('hold half a minute to either side, and no longer', () => {
    const at = 1_111_111_109_000;
    expect([-60_000, -30_000, 0, 30_000, 60_000].map((shift) => isCodeOf(seed, '081804', at + shift))).toEqual([
      false,
      true,
      true,
      true,
      false,
    ]);
  });

  it('come of a seed in the letters that RFC 4648 has', () => {
    expect(toBase32(Buffer.from('foobar'))).toBe('MZXW6YTBOI');
  });
});
