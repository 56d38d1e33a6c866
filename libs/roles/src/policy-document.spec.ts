import { describe, expect, it } from '@jest/globals';
import { compactJson } from './policy-document.js';

describe('compactJson', () => {
  it.each([
    ['drops blanks between tokens', ' {\r\n\t"a" : [ 1 , 2 ] } ', '{"a":[1,2]}'],
    ['keeps blanks inside strings', '{"a b": " c\u2028 "}', '{"a b":" c\u2028 "}'],
    ['keeps escapes as written', '{"a" : "\\u0041 \\" \\\\" }', '{"a":"\\u0041 \\" \\\\"}'],
    ['keeps key order and duplicate keys', '{"b": 1, "a": 2, "b": 3}', '{"b":1,"a":2,"b":3}'],
    ['keeps the text of numbers', '[12345678901234567890.10, 1E5]', '[12345678901234567890.10,1E5]'],
    ['takes any JSON value', '"s"', '"s"'],
  ])('%s', (_, text, compacted) => {
    expect(compactJson(text)).toBe(compacted);
  });

  it.each(['', '{', '{"a":1,}', 'arn:aws:iam::1:role/x', '01', "{'a': 1}", '{} {}', '\ufeff{}'])(
    'refuses %j',
    (text) => {
      expect(compactJson(text)).toBeNull();
    },
  );
});
