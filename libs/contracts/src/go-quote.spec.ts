import { describe, expect, it } from '@jest/globals';
import { goQuote } from './go-quote.js';

describe('goQuote', () => {
  it.each([
    ['plain', 'plain', '"plain"'],
    ['quotes and backslashes', 'a"b\\c', '"a\\"b\\\\c"'],
    ['short escapes', '\x07\b\f\n\r\t\v', '"\\a\\b\\f\\n\\r\\t\\v"'],
    ['other control characters', '\x00\x1f\x7f', '"\\x00\\x1f\\x7f"'],
    ['letters and symbols of any script', 'é日😀', '"é日😀"'],
    ['blanks that do not show', '\u00a0\u2028\ufeff', '"\\u00a0\\u2028\\ufeff"'],
    ['unassigned and far characters', '\u{e0001}', '"\\U000e0001"'],
  ])('prints %s as Go does', (_, text, quoted) => {
    expect(goQuote(text)).toBe(quoted);
  });
});
