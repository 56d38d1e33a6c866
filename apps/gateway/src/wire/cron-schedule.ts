import { parseDuration } from './go-duration.js';

/** A field of a schedule: what it is called, its bounds, and the words that stand for values from the lower bound on. */
interface Field {
  name: string;
  from: number;
  to: number;
  words: string[];
}

const fields: Field[] = [
  { name: 'minute', from: 0, to: 59, words: [] },
  { name: 'hour', from: 0, to: 23, words: [] },
  { name: 'day of month', from: 1, to: 31, words: [] },
  { name: 'month', from: 1, to: 12, words: 'jan feb mar apr may jun jul aug sep oct nov dec'.split(' ') },
  { name: 'day of week', from: 0, to: 6, words: 'sun mon tue wed thu fri sat'.split(' ') },
];

const descriptors = new Set(['@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly']);

/**
 * What is wrong with a schedule in the notation of Vault's `rotation_schedule`: five fields, a descriptor such as
 * `@daily`, or `@every` and a duration, with or without a time zone before it. Undefined for a good one. The schedule
 * itself is not repeated.
 */
export function faultOfSchedule(text: string): string | undefined {
  const [, zone, schedule = ''] = /^(?:(?:CRON_)?TZ=(\S+)\s+)?(.*)$/s.exec(text.trim()) ?? [];
  if (zone !== undefined && !isTimeZone(zone)) return 'the time zone is not known';
  if (schedule.startsWith('@every '))
    return isDuration(schedule.slice('@every '.length)) ? undefined : 'no duration after @every';
  if (schedule.startsWith('@')) return descriptors.has(schedule) ? undefined : 'the descriptor is not known';
  const parts = schedule.split(/\s+/).filter((part) => part !== '');
  if (parts.length !== fields.length) return `expected exactly ${fields.length} fields, found ${parts.length}`;
  const wrong = fields.find((field, at) => !parts[at]!.split(',').every((entry) => isEntryOf(field, entry)));
  return wrong && `the ${wrong.name} field must hold values from ${wrong.from} to ${wrong.to}`;
}

/** `*`, `?`, a value or a range of values, each with a step or without. */
function isEntryOf(field: Field, entry: string): boolean {
  const [, range, step] = /^([^/]+)(?:\/(\d+))?$/.exec(entry) ?? [];
  if (range === undefined || (step !== undefined && Number(step) === 0)) return false;
  if (range === '*' || range === '?') return true;
  const [low, high = low, ...more] = range.split('-').map((text) => valueOf(field, text));
  return more.length === 0 && low! >= field.from && high! <= field.to && low! <= high!;
}

/** NaN, which is within no bounds, for what is no value. */
function valueOf({ from, words }: Field, text: string): number {
  const word = words.indexOf(text.toLowerCase());
  if (word >= 0) return from + word;
  return /^\d+$/.test(text) ? Number(text) : NaN;
}

function isTimeZone(name: string): boolean {
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: name }));
  } catch {
    return false;
  }
}

function isDuration(text: string): boolean {
  try {
    return parseDuration(text) > 0;
  } catch {
    return false;
  }
}
