import { describe, expect, it } from '@jest/globals';
import { refuseComplexForm, refuseComplexJson } from './body-complexity.js';

const limits = { strings: 6, depth: 3, parsedBytes: 500 };
const tooMany = 'exceeded maximum number of strings';
const tooDeep = 'exceeded maximum depth';
const tooMuch = 'exceeded maximum estimated memory limits';

describe('the complexity of a body', () => {
  it.each([
    ['', undefined],
    ['{}', undefined],
    ['{"a":"b","c":{"d":["e","f"]}}', undefined],
    ['{"a":"b","c":"d","e":"f","g":1}', tooMany],
    [String.raw`["\"","\\","\\\"","a\\\\","{[","}]"]`, undefined],
    [String.raw`["\"","\\","\\\"","a\\\\","{[","}]","one more"]`, tooMany],
    ['[[[]]]', undefined],
    ['[[[[', tooDeep],
    ['{"a":{"a":{"a":{', tooDeep],
    ['[[]],[[]],[[]]', undefined],
    [`["${'x'.repeat(400)}"]`, undefined],
    [`["${'x'.repeat(500)}"]`, tooMuch],
    [`"${'x'.repeat(500)}`, tooMuch],
    [`[${'1,'.repeat(15)}1]`, undefined],
    [`[${'-1.5e+300,'.repeat(20)}1]`, tooMuch],
    [`[${'9'.repeat(100_000)}]`, undefined],
    [`[${'null,'.repeat(30)}null]`, tooMuch],
    [`[${'{},'.repeat(10)}{}]`, tooMuch],
  ])('of %.40j is refused or not: %s', (text, fault) => {
    const look = () => refuseComplexJson(Buffer.from(text), limits);
    if (fault) expect(look).toThrow(`refused JSON input due to high complexity: ${fault}`);
    else expect(look).not.toThrow();
  });

  it('of a form counts names and values', () => {
    expect(() => refuseComplexForm(Buffer.from('a=b&c=d&e=f'), limits)).not.toThrow();
    expect(() => refuseComplexForm(Buffer.from('a=b&c=d&e=f&g=h'), limits)).toThrow(tooMany);
  });

  it('is found in a text of 8 MiB, of any shape, in linear time', () => {
    const wide = { strings: 1e9, depth: 1e9, parsedBytes: 1e12 };
    for (const piece of ['[', '"', '\\', '"a",', '1', '{"a":', ' ', '\\"']) {
      const text = Buffer.alloc(8 * 1024 * 1024, piece);
      refuseComplexJson(text, wide);
    }
  });
});
