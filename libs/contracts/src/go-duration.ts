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
