export { parseDuration } from '#libs/contracts';

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
