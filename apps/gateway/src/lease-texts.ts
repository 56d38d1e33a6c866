import { formatDurationShort } from './wire/go-duration.js';

/** The warning of a TTL that was cut (contract.md 4.2). */
export function ttlCutWarning({ wantedMs, limitMs }: { wantedMs: number; limitMs: number }): string {
  const [wanted, limit] = [wantedMs, limitMs].map((ms) => formatDurationShort(Math.round(ms / 1000) * 1000));
  return `TTL of "${wanted}" exceeded the effective max_ttl of "${limit}"; TTL value is capped accordingly`;
}
