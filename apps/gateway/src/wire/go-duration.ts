/** Units of Go's durations in milliseconds, the longest first: the order in which they are printed. */
const unitMs = new Map([
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
  ['ms', 1],
  ['us', 1e-3],
  ['µs', 1e-3],
  ['μs', 1e-3],
  ['ns', 1e-6],
]);

/** Go counts nanoseconds in 63 bits, some 292 years: what is longer is no duration there, nor in PostgreSQL's. */
const longestMs = 2 ** 63 / 1e6;

/**
 * Milliseconds of a duration as Vault takes it (contract.md 1.5): a number or digits are seconds, `<n>d` is days, all
 * else is Go's own notation.
 * @throws Error whose message is the text of Go's parser.
 */
export function parseDuration(value: unknown): number {
  if (typeof value === 'number') return seconds(String(value));
  if (typeof value !== 'string') throw new Error('could not parse duration from input');
  if (value === '') return 0;
  const days = /^([+-]?\d+)d$/.exec(value);
  if (days) return notNegative(Number(days[1]) * 86_400_000, value);
  return /^[+-]?\d+$/.test(value) ? seconds(value) : notNegative(goDuration(value), value);
}

function seconds(text: string): number {
  if (!/^[+-]?\d+$/.test(text)) throw new Error(`time: missing unit in duration "${text}"`);
  return notNegative(Number(text) * 1000, text);
}

function notNegative(ms: number, text: string): number {
  if (ms > longestMs) throw new Error(`time: invalid duration "${text}"`);
  if (ms < 0) throw new Error(`cannot provide negative value '${text}'`);
  return ms;
}

function goDuration(text: string): number {
  const invalid = () => new Error(`time: invalid duration "${text}"`);
  const sign = /^[+-]/.test(text) ? text[0] : '';
  let rest = text.slice(sign!.length);
  if (rest === '0') return 0;
  if (rest === '') throw invalid();
  let ms = 0;
  while (rest !== '') {
    const [whole, figure, unit] = /^(\d+\.?\d*|\.\d+)([^\d.]*)/.exec(rest) ?? [];
    if (whole === undefined) throw invalid();
    if (unit === '') throw new Error(`time: missing unit in duration "${text}"`);
    const factor = unitMs.get(unit!);
    if (factor === undefined) throw new Error(`time: unknown unit "${unit}" in duration "${text}"`);
    ms += Number(figure) * factor;
    rest = rest.slice(whole.length);
  }
  return sign === '-' ? -ms : ms;
}

/** Go's text of a duration: `1h0m0s`, `30m0s`, `36h1m1.5s`, `300ms`, `0s`. */
export function formatDuration(ms: number): string {
  if (ms < 0) return `-${formatDuration(-ms)}`;
  if (ms === 0) return '0s';
  if (ms < 1_000) return belowOneSecond(ms);
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const rest = `${trimmed((ms % 60_000) / 1_000)}s`;
  if (hours > 0) return `${hours}h${minutes}m${rest}`;
  return minutes > 0 ? `${minutes}m${rest}` : rest;
}

/** The same without its parts that are zero: `25h`, `1h30s` (contract.md 4.2). */
export function formatDurationShort(ms: number): string {
  const parts = formatDuration(ms).match(/[\d.]+[a-zµ]+/g) ?? [];
  const kept = parts.filter((part) => !/^0[a-z]/.test(part));
  return kept.length > 0 ? kept.join('') : '0s';
}

function belowOneSecond(ms: number): string {
  if (ms >= 1) return `${trimmed(ms)}ms`;
  return ms >= 1e-3 ? `${trimmed(ms * 1e3)}µs` : `${Math.round(ms * 1e6)}ns`;
}

/** Without the dust of binary fractions: a nanosecond is the smallest that is meant. */
function trimmed(value: number): string {
  return String(Number(value.toFixed(6)));
}
