import { describe, expect, it } from '@jest/globals';
import { InvalidRequest } from '#libs/contracts';
import { z } from 'zod';
import {
  boolField,
  commaListField,
  describeFields,
  durationField,
  intField,
  keyValueField,
  mapField,
  parseFields,
  stringField,
} from './fields.js';

const schema = z.object({
  text: stringField().describe('A text.'),
  count: intField(),
  flag: boolField(),
  ttl: durationField(),
  list: commaListField(),
  pairs: keyValueField(),
  tree: mapField(),
  old: stringField().meta({ deprecated: true }).describe('An old text.'),
});
const read = (raw: Record<string, unknown>) => parseFields(schema, raw).fields;

describe('a field is converted as contract.md 1.5 says', () => {
  it.each<[Record<string, unknown>, Record<string, unknown>]>([
    [{ text: 5 }, { text: '5' }],
    [{ text: true }, { text: '1' }],
    [{ text: false }, { text: '0' }],
    [{ text: null }, { text: '' }],
    [{ count: '7' }, { count: 7 }],
    [{ count: '' }, { count: 0 }],
    [{ count: true }, { count: 1 }],
    [{ flag: 'T' }, { flag: true }],
    [{ flag: 0 }, { flag: false }],
    [{ ttl: '1h30m' }, { ttl: 5400 }],
    [{ ttl: 900 }, { ttl: 900 }],
    [{ ttl: '' }, { ttl: 0 }],
    [{ ttl: '1500ms' }, { ttl: 1 }],
    [{ list: 'a, b' }, { list: ['a', 'b'] }],
    [{ list: ['a', 'b'] }, { list: ['a', 'b'] }],
    [{ list: '' }, { list: [] }],
    [{ list: 5 }, { list: ['5'] }],
    [{ pairs: { a: 1 } }, { pairs: { a: '1' } }],
    [{ pairs: ['a=1', 'b=c=d'] }, { pairs: { a: '1', b: 'c=d' } }],
    [{ pairs: 'a=1' }, { pairs: { a: '1' } }],
    [{ tree: { a: [1] } }, { tree: { a: [1] } }],
  ])('%j becomes %j', (raw, expected) => {
    expect(read(raw)).toMatchObject(expected);
  });

  it('stays absent when it is not given; null is no duration either', () => {
    const fields = read({ ttl: null });
    expect([fields.ttl, fields.text, fields.list]).toEqual([undefined, undefined, undefined]);
  });

  it.each<[string, unknown]>([
    ['text', ['a']],
    ['text', { a: 1 }],
    ['text', 'a\u0000b'],
    ['count', 1.5],
    ['count', 'many'],
    ['flag', 'perhaps'],
    ['ttl', '5x'],
    ['ttl', 1.5],
    ['ttl', -5],
    ['list', { a: 1 }],
    ['pairs', 'novalue'],
    ['tree', 'text'],
  ])('%s is refused as %j', (name, value) => {
    expect(() => read({ [name]: value })).toThrow(InvalidRequest);
    expect(() => read({ [name]: value })).toThrow(
      `Field validation failed: error converting input for field "${name}": `,
    );
  });

  it('does not show the value that it refuses', () => {
    let message = '';
    try {
      read({ text: { secret: 'hunter2' }, count: 'hunter2' });
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toContain('field "text"');
    expect(message).not.toContain('hunter2');
  });
});

it('names what it does not know, sorted, keys of every object included', () => {
  const { unknown } = parseFields(schema, { zeta: 1, text: 'a', constructor: 1, alpha: 2 });
  expect(unknown).toEqual(['alpha', 'constructor', 'zeta']);
});

it('describes the fields of a schema', () => {
  const described = describeFields(schema);
  expect(described.map((field) => field.type)).toEqual([
    'string',
    'int',
    'bool',
    'duration (sec)',
    'slice',
    'keypair',
    'map',
    'string',
  ]);
  expect(described[0]).toEqual({ name: 'text', type: 'string', description: 'A text.', deprecated: false });
  expect(described[7]).toMatchObject({ description: 'An old text.', deprecated: true });
});
