import { InvalidRequest } from '#libs/contracts';
import { z } from 'zod';
import { parseDuration } from './go-duration.js';

/** The type words of help (contract.md 2.9). */
export type FieldType = 'string' | 'int' | 'bool' | 'slice' | 'keypair' | 'map' | 'duration (sec)';

/** A field of a schema, as help and documents show it. */
export interface FieldDescription {
  name: string;
  type: FieldType;
  description: string;
  deprecated: boolean;
}

const field = <T>(type: FieldType, convert: (value: unknown) => T) =>
  z
    .unknown()
    .transform((value, context): T | undefined => {
      if (value === undefined) return undefined;
      try {
        return convert(value);
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message });
        return z.NEVER;
      }
    })
    .optional()
    .meta({ fieldType: type });

const typeOf = (value: unknown) => (Array.isArray(value) ? 'array' : typeof value);

const expected = (wanted: string, value: unknown) => new Error(`expected type '${wanted}', got ${typeOf(value)}`);

function toString(value: unknown): string {
  if (value === null) return '';
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (typeof value === 'string' || typeof value === 'number') return withoutNul(String(value));
  throw expected('string', value);
}

/** PostgreSQL stores every text but those with NUL or half a surrogate pair. */
function withoutNul(text: string): string {
  if (text.includes('\u0000') || /\p{Surrogate}/u.test(text)) throw new Error('text with a NUL or broken Unicode');
  return text;
}

function toInt(value: unknown): number {
  if (value === null || value === '') return 0;
  if (typeof value === 'boolean') return Number(value);
  const number = typeof value === 'string' && /^[+-]?\d+$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) throw expected('int', value);
  return number;
}

const trueWords = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const falseWords = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False', '']);

function toBool(value: unknown): boolean {
  if (value === null) return false;
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number') return value !== 0;
  if (typeof value === 'string' && trueWords.has(value)) return true;
  if (typeof value === 'string' && falseWords.has(value)) return false;
  throw expected('bool', value);
}

function toList(value: unknown): string[] {
  if (value === null || value === '') return [];
  if (Array.isArray(value)) return value.map(toString);
  return toString(value)
    .split(',')
    .map((entry) => entry.trim());
}

function toPlainList(value: unknown): string[] {
  if (value === null) return [];
  if (Array.isArray(value)) return value.map(toString);
  const only = toString(value);
  return only === '' ? [] : [only];
}

function toKeyValue(value: unknown): Record<string, string> {
  if (value === null) return {};
  if (typeof value === 'object' && !Array.isArray(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [withoutNul(key), toString(entry)]));
  }
  const pairs = Array.isArray(value) ? value : [value];
  return Object.fromEntries(
    pairs.map((pair) => {
      const text = toString(pair);
      const mark = text.indexOf('=');
      if (mark < 0) throw new Error(`invalid key pair "${text}"`);
      return [text.slice(0, mark), text.slice(mark + 1)];
    }),
  );
}

function toMap(value: unknown): Record<string, unknown> {
  if (value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) throw expected('map', value);
  return value as Record<string, unknown>;
}

/** Text; numbers and booleans become text, null is empty (contract.md 1.5, as all that follow). */
export const stringField = () => field('string', toString);
/** A whole number. */
export const intField = () => field('int', toInt);
/** Yes or no, in Go's words too. */
export const boolField = () => field('bool', toBool);
/** Whole seconds, of any spelling of a duration; null counts as not given. */
export const durationField = () =>
  field('duration (sec)', (value) => (value === null ? undefined : Math.trunc(parseDuration(value) / 1000)));
/** An array, or one text split at its commas. */
export const commaListField = () => field('slice', toList);
/** An array; one text is one entry, commas and all. */
export const plainListField = () => field('slice', toPlainList);
/** An object, `k=v` texts, or one of them. */
export const keyValueField = () => field('keypair', toKeyValue);
/** An object. */
export const mapField = () => field('map', toMap);

/**
 * Converts what came by the schema; `unknown` are the names it does not know, sorted.
 * @throws InvalidRequest about the first field that cannot be converted. Its value is left out: it may be a secret.
 */
export function parseFields<Schema extends z.ZodObject>(
  schema: Schema,
  raw: Record<string, unknown>,
): { fields: z.output<Schema>; unknown: string[] } {
  const result = schema.safeParse(raw);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw new InvalidRequest(
      `Field validation failed: error converting input for field "${String(issue!.path[0])}": ${issue!.message}`,
    );
  }
  const unknown = Object.keys(raw)
    .filter((name) => !Object.hasOwn(schema.shape, name))
    .sort();
  return { fields: result.data, unknown };
}

/** The fields of a schema, in its order. */
export function describeFields(schema: z.ZodObject): FieldDescription[] {
  return Object.entries(schema.shape).map(([name, type]) => {
    const meta = (type as z.ZodType).meta() ?? {};
    return {
      name,
      type: meta.fieldType as FieldType,
      description: meta.description ?? '',
      deprecated: meta.deprecated === true,
    };
  });
}
