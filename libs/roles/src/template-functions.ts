import { createHash } from 'node:crypto';
import { formatTime } from './go-time.js';

/** What an expression of a template can come to. */
export type Value = string | number | boolean;

/** What functions take from outside, so that a check can render with known time and known chance. */
export interface Surroundings {
  now: Date;
  /** That many characters of the alphabet, each chosen at random. */
  draw(count: number, alphabet: string): string;
}

/** A template that parses but cannot be worked out. */
export class TemplateFault extends Error {}

interface TemplateFunction {
  least: number;
  most: number;
  call(given: Value[], surroundings: Surroundings): Value;
}

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const hexadecimal = '0123456789abcdef';
const longestRandom = 256;
const longestValue = 10_000;
const hashCharacters = 8;

/** The functions of contract.md 2.6, and no others, with HashiCorp's argument order. */
const functions: Record<string, TemplateFunction> = {
  random: takes(1, ([length], { draw }) => random(int(length), draw)),
  truncate: takes(2, ([length, value]) => truncate(int(length), text(value))),
  truncate_sha256: takes(2, ([length, value]) => truncateSha256(int(length), text(value))),
  uppercase: takes(1, ([value]) => text(value).toUpperCase()),
  lowercase: takes(1, ([value]) => text(value).toLowerCase()),
  replace: takes(3, ([find, by, value]) => text(value).replaceAll(text(find), () => text(by))),
  sha256: takes(1, ([value]) => sha256(text(value))),
  base64: takes(1, ([value]) => Buffer.from(text(value)).toString('base64')),
  unix_time: takes(0, (_, { now }) => String(Math.floor(now.getTime() / 1000))),
  unix_time_millis: takes(0, (_, { now }) => String(now.getTime())),
  timestamp: takes(1, ([layout], { now }) => formatTime(now, text(layout))),
  uuid: takes(0, (_, { draw }) => uuid(draw(32, hexadecimal))),
  printf: takesAtLeast(1, ([format, ...values]) => printf(text(format), values)),
  eq: takesAtLeast(2, ([first, ...others]) => others.some((other) => isEqual(first, other))),
};

/** The names that a template may call. */
export const functionNames: ReadonlySet<string> = new Set(Object.keys(functions));

/** @throws TemplateFault when the arguments do not fit the function, or what it makes is far longer than any name. */
export function callFunction(name: string, given: Value[], surroundings: Surroundings): Value {
  const called = functions[name];
  if (!called || given.length < called.least || given.length > called.most) {
    throw new TemplateFault(`wrong number of args for ${name}: got ${given.length}`);
  }
  try {
    const value = called.call(given, surroundings);
    if (typeof value === 'string' && value.length > longestValue) throw new TemplateFault('the result is too long');
    return value;
  } catch (error) {
    throw error instanceof TemplateFault ? new TemplateFault(`error calling ${name}: ${error.message}`) : error;
  }
}

function takes(count: number, call: TemplateFunction['call']): TemplateFunction {
  return { least: count, most: count, call };
}

function takesAtLeast(least: number, call: TemplateFunction['call']): TemplateFunction {
  return { least, most: Infinity, call };
}

function text(value: Value | undefined): string {
  if (typeof value !== 'string') throw new TemplateFault(`expected string; got ${typeof value}`);
  return value;
}

function int(value: Value | undefined): number {
  if (typeof value !== 'number') throw new TemplateFault(`expected int; got ${typeof value}`);
  return value;
}

function isEqual(first: Value | undefined, other: Value | undefined): boolean {
  if (typeof first !== typeof other) throw new TemplateFault('incompatible types for comparison');
  return first === other;
}

function random(length: number, draw: Surroundings['draw']): string {
  if (length < 1 || length > longestRandom) {
    throw new TemplateFault(`length must be from 1 to ${longestRandom} but was ${length}`);
  }
  return draw(length, base62);
}

function truncate(length: number, value: string): string {
  if (length <= 0) throw new TemplateFault(`max length must be > 0 but was ${length}`);
  return value.slice(0, length);
}

/** Cuts to the length, the last 8 characters of it being a hash of what was cut off and of what they stand for. */
function truncateSha256(length: number, value: string): string {
  if (length <= hashCharacters) throw new TemplateFault(`max length must be > ${hashCharacters} but was ${length}`);
  if (value.length <= length) return value;
  const kept = length - hashCharacters;
  return value.slice(0, kept) + sha256(value.slice(kept)).slice(0, hashCharacters);
}

function sha256(value: string): string {
  return createHash('sha256').update(value).digest('hex');
}

/** HashiCorp's form: all 32 digits are random, none tells a version. */
function uuid(digits: string): string {
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/**
 * Go's `printf` with `%s`, `%d`, `%v` and `%%`, width, precision of strings, `-` and `0`. Where Go would print its
 * complaint into the name (`%!d(string=x)`), this refuses.
 */
function printf(format: string, values: Value[]): string {
  const left = [...values];
  const printed = format.replace(
    /%([-0]*)(\d{0,3})(?:\.(\d{0,3}))?(.?)/gsu,
    (directive, flags, width, precision, verb) => {
      if (directive === '%%') return '%';
      const value = left.shift();
      if (value === undefined) throw new TemplateFault(`missing argument for ${directive}`);
      const isFit =
        verb === 'v' || (verb === 's' && typeof value === 'string') || (verb === 'd' && typeof value === 'number');
      const isStringOnly = precision !== undefined && typeof value !== 'string';
      const isNumberOnly = flags.includes('0') && typeof value !== 'number';
      if (!isFit || isStringOnly || isNumberOnly) {
        throw new TemplateFault(`${directive} does not fit or is not supported for a ${typeof value}`);
      }
      const shown = precision === undefined ? String(value) : String(value).slice(0, Number(precision));
      return pad(shown, Number(width), flags);
    },
  );
  if (left.length > 0) throw new TemplateFault(`${left.length} more arguments than the format uses`);
  return printed;
}

function pad(shown: string, width: number, flags: string): string {
  if (flags.includes('-')) return shown.padEnd(width);
  if (!flags.includes('0')) return shown.padStart(width);
  const sign = shown.startsWith('-') ? '-' : '';
  return sign + shown.slice(sign.length).padStart(width - sign.length, '0');
}
