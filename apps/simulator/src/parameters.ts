import { validationError } from './aws-error.js';
import type { Tag } from './entities.js';

interface TextRule {
  min?: number;
  max: number;
  pattern?: RegExp;
  /** What AWS says of a value that does not fit the pattern, after "The specified value for x is invalid. ". */
  wording?: string;
}

const nameRule = (max: number, min = 1): TextRule => ({
  min,
  max,
  pattern: /^[\w+=,.@-]*$/,
  wording: 'It must contain only alphanumeric characters and/or the following: +=,.@_-',
});

/** The forms of parameters, from the IAM and STS API references. */
export const rules = {
  userName: nameRule(64),
  name: nameRule(128),
  federatedName: nameRule(32, 2),
  sessionName: nameRule(64, 2),
  path: {
    max: 512,
    pattern: /^\/$|^\/[\x21-\x7e]+\/$/,
    wording: 'It must begin and end with / and contain only alphanumeric characters and/or / characters.',
  },
  pathPrefix: { max: 512, pattern: /^\/[\x21-\x7e]*$/, wording: 'It must begin with /.' },
  arn: { min: 20, max: 2_048 },
  document: { max: 131_072 },
  sessionPolicy: { max: 2_048 },
  externalId: { min: 2, max: 1_224, pattern: /^[\w+=,.@:/-]*$/, wording: 'Wrong characters.' },
  key: { min: 16, max: 128, pattern: /^\w+$/, wording: 'It must contain only alphanumeric characters.' },
  text: { max: 16_384 },
} satisfies Record<string, TextRule>;

/** The fields of one call, and the checks that AWS makes before it looks at anything else. */
export class Parameters {
  private readonly fields: URLSearchParams;

  constructor(body: string) {
    this.fields = new URLSearchParams(body);
  }

  raw(name: string): string | undefined {
    return this.fields.get(name) ?? undefined;
  }

  /** @throws AwsError ValidationError. */
  optional(name: string, rule: TextRule): string | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const { min = 1, max, pattern, wording } = rule;
    if (value.length > max) throw constraint(name, value, `length less than or equal to ${max}`);
    if (value.length < min) throw constraint(name, value, `length greater than or equal to ${min}`);
    if (pattern && !pattern.test(value)) {
      throw validationError(`The specified value for ${lowerFirst(name)} is invalid. ${wording ?? ''}`);
    }
    return value;
  }

  /** @throws AwsError ValidationError. */
  required(name: string, rule: TextRule): string {
    const value = this.optional(name, rule);
    if (value !== undefined) return value;
    throw validationError(
      `1 validation error detected: Value null at '${lowerFirst(name)}' failed to satisfy constraint: Member must not be null`,
    );
  }

  /** @throws AwsError ValidationError. */
  integer(name: string, min: number, max: number): number | undefined {
    const text = this.raw(name);
    if (text === undefined) return undefined;
    const value = /^-?\d{1,10}$/.test(text) ? Number(text) : NaN;
    if (Number.isNaN(value)) throw validationError(`The value of ${lowerFirst(name)} is not an integer.`);
    if (value < min) throw constraint(name, text, `value greater than or equal to ${min}`);
    if (value > max) throw constraint(name, text, `value less than or equal to ${max}`);
    return value;
  }

  /** `Name.member.1`, `Name.member.2` …, or one field of each structure in such a list. */
  list(name: string, field?: string): string[] {
    const values: string[] = [];
    for (let index = 1; ; index += 1) {
      const value = this.raw(`${name}.member.${index}${field === undefined ? '' : `.${field}`}`);
      if (value === undefined) return values;
      values.push(value);
    }
  }

  /** @throws AwsError ValidationError, InvalidInput. */
  tags(): Tag[] {
    const keys = this.list('Tags', 'Key');
    const tags = keys.map((key, index) => ({ key, value: this.raw(`Tags.member.${index + 1}.Value`) ?? '' }));
    if (tags.length > 50) throw constraint('Tags', '…', 'length less than or equal to 50');
    for (const { key, value } of tags) {
      if (key.length < 1 || key.length > 128)
        throw constraint('tags.1.member.key', key, 'length less than or equal to 128');
      if (value.length > 256) throw constraint('tags.1.member.value', value, 'length less than or equal to 256');
      if (!/^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u.test(key + value)) {
        throw validationError('The specified value for tags is invalid.');
      }
    }
    if (new Set(keys.map((key) => key.toLowerCase())).size < keys.length) {
      throw validationError('Duplicate tag keys found. Please note that Tag keys are case insensitive.');
    }
    return tags;
  }
}

const lowerFirst = (name: string) => name.charAt(0).toLowerCase() + name.slice(1);

const constraint = (name: string, value: string, must: string) =>
  validationError(
    `1 validation error detected: Value '${value}' at '${lowerFirst(name)}' failed to satisfy constraint: Member must have ${must}`,
  );
