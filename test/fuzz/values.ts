import fc from 'fast-check';

/** As much of JSON Schema as our documents use. */
export interface Schema {
  type?: string;
  enum?: unknown[];
  const?: unknown;
  format?: string;
  pattern?: string;
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  oneOf?: Schema[];
  anyOf?: Schema[];
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
}

/** Texts that programs have stumbled over. */
const nastyTexts = [
  '',
  ' ',
  '0',
  '-1',
  '9223372036854775808',
  'NaN',
  'null',
  'true',
  '1h',
  '1d12h',
  '-5s',
  '1e400',
  '../../sys/mounts',
  '..%2f',
  "'; drop table leases; --",
  '{{identity.entity.id}}',
  '{{.DisplayName | random 1000000}}',
  '${jndi:ldap://x}',
  '__proto__',
  'constructor',
  'a=b',
  '\u0000',
  '\ud800',
  '\u202e',
  'ﷺ',
  '{"Version":"2012-10-17","Statement":[]}',
  '{"Statement":',
  'arn:aws:iam::123456789012:role/x',
  'arn:aws:iam::aws:policy/ReadOnlyAccess',
  'arn:::::',
  'iam_user',
  'assumed_role',
  'federation_token',
  'session_token',
  '{{ .DisplayName }}',
  '{"Statement":{"Effect":"Allow","Action":"*","Resource":["{{ .Metadata.a }}",null,{}]}}',
  'A'.repeat(5_000),
];

export const nastyText = fc.oneof(fc.constantFrom(...nastyTexts), fc.string({ unit: 'binary', maxLength: 60 }));

const nastyNumber = fc.oneof(
  fc.constantFrom(0, -0, -1, 1, 1.5, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

/** Anything that JSON can say. */
const nasty = fc.oneof(
  nastyText,
  nastyNumber,
  fc.constantFrom(null, true, false, [], {}),
  fc.array(nastyText, { maxLength: 4 }),
  fc.dictionary(nastyText, fc.oneof(nastyText, nastyNumber, fc.constant(null)), { maxKeys: 4 }),
  fc.jsonValue({ maxDepth: 4 }),
);

/** What fits a schema, and now and then what does not: one part of it in `most`. */
export function valueOf(schema: Schema, known: Record<string, string[]>, name = '', most = 30): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: most - 1, arbitrary: fitting(schema, known, name) }, { weight: 1, arbitrary: nasty });
}

function fitting(schema: Schema, known: Record<string, string[]>, name: string): fc.Arbitrary<unknown> {
  if (known[name]) return fc.constantFrom(...known[name]);
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return fc.oneof(...choices.map((choice) => fitting(choice, known, name)));
  switch (schema.type) {
    case 'integer':
      return fc.integer({ min: leastOf(schema), max: Math.min(schema.maximum ?? 5_000, 5_000) });
    case 'number':
      return nastyNumber;
    case 'boolean':
      return fc.boolean();
    case 'array':
      return fc.array(valueOf(schema.items ?? {}, known), { maxLength: 4 });
    case 'object':
      return schema.properties
        ? record(schema, known)
        : fc.dictionary(fc.string({ maxLength: 8 }), valueOf({ type: 'string' }, known), { maxKeys: 4 });
    case 'string':
      if (schema.format === 'uuid') return fc.uuid({ version: 4 });
      if (schema.pattern) return fc.stringMatching(new RegExp(schema.pattern));
      if (schema.format?.startsWith('duration')) return fc.constantFrom('30m', '1h', '900', '15m', '0');
      return fc.oneof(fc.string({ maxLength: 20 }), nastyText);
    default:
      return nasty;
  }
}

function leastOf({ minimum = -10, exclusiveMinimum = -11 }: Schema): number {
  return Math.max(minimum, exclusiveMinimum + 1, -10);
}

function record({ properties = {}, required = [] }: Schema, known: Record<string, string[]>): fc.Arbitrary<object> {
  const members = Object.entries(properties).map(([name, schema]) =>
    fc
      .option(valueOf(schema, known, name, 8 * Object.keys(properties).length), {
        nil: undefined,
        freq: required.includes(name) ? 200 : 2,
      })
      .map((value) => (value === undefined ? [] : [[name, value]])),
  );
  const strange = fc.option(fc.tuple(nastyText, nasty), { nil: undefined, freq: 1 });
  return fc
    .tuple(fc.tuple(...members), fc.oneof({ weight: 9, arbitrary: fc.constant(undefined) }, strange))
    .map(([named, extra]) => Object.fromEntries([...named.flat(), ...(extra ? [extra] : [])] as [string, unknown][]));
}
