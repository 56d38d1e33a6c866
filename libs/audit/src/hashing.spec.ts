import { expect, it } from '@jest/globals';
import { Hashing } from './hashing.js';

const hashing = new Hashing(Buffer.alloc(32, 7));

it('hashes every text, and nothing else', () => {
  expect(hashing.body({ text: 'a', number: 1, flag: false, none: null, list: ['a', 2], deep: { text: 'a' } })).toEqual({
    text: hashing.text('a'),
    number: 1,
    flag: false,
    none: null,
    list: [hashing.text('a'), 2],
    deep: { text: hashing.text('a') },
  });
  expect(new Hashing(Buffer.alloc(32, 8)).text('a')).not.toBe(hashing.text('a'));
});

it('leaves what stays clear as it is, with all that is in it, by its name in the body itself alone', () => {
  const body = { policy: { Action: ['ec2:*'] }, other: { policy: 'x' } };
  expect(hashing.body(body, ['policy'])).toEqual({ policy: body.policy, other: { policy: hashing.text('x') } });
});

it('says no more of a long or deep body than fits, and that there was more', () => {
  const { list } = hashing.body({ list: Array.from({ length: 100_000 }, (_, n) => `${n}`) }) as { list: string[] };
  expect([list.length, list.at(-2), list.at(-1)]).toEqual([1_000, hashing.text('998'), '(left out)']);
  const wide = Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`key ${n}`, 'x']));
  expect(Object.keys(hashing.body(wide))).toHaveLength(1_001);
  let deep: unknown = 'x';
  for (let n = 0; n < 100_000; n += 1) deep = [deep];
  expect(JSON.stringify(hashing.body({ deep }))).toBe(`{"deep":${'['.repeat(32)}"(left out)"${']'.repeat(32)}}`);
});

it('keeps a key that objects have of themselves', () => {
  const body = JSON.parse('{"__proto__": "x", "constructor": "y"}') as Record<string, unknown>;
  expect(JSON.stringify(hashing.body(body))).toBe(
    `{"__proto__":"${hashing.text('x')}","constructor":"${hashing.text('y')}"}`,
  );
});

it('hashes the name of a key that is longer than names are', () => {
  const long = 'k'.repeat(1_000_000);
  const body = hashing.body({ [long]: 'x', deep: [{ [`${long}2`]: 1 }], ['n'.repeat(256)]: true });
  expect(body).toEqual({
    [hashing.text(long)]: hashing.text('x'),
    deep: [{ [hashing.text(`${long}2`)]: 1 }],
    ['n'.repeat(256)]: true,
  });
});
