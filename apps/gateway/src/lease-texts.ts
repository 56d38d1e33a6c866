import type { TtlCut } from '#libs/contracts';
import { formatDurationShort } from './wire/go-duration.js';

/** What else than mount and engine has cut a TTL. */
const causes: Record<NonNullable<TtlCut['by']>, string> = {
  max_sts_ttl: ', since the role has that max_sts_ttl',
  token: ', since the token ends then',
};

/** The warning of a TTL that was cut (contract.md 4.2), and why where it is not the max of mount or engine. */
export function ttlCutWarning({ wantedMs, limitMs, by }: TtlCut): string {
  const [wanted, limit] = [wantedMs, limitMs].map((ms) => formatDurationShort(Math.round(ms / 1000) * 1000));
  return `TTL of "${wanted}" exceeded the effective max_ttl of "${limit}"; TTL value is capped accordingly${by ? causes[by] : ''}`;
}

/** The warning beside a key that AWS did not accept in time. */
export function notReadyWarning(usableFrom: string): string {
  return (
    `AWS does not accept this key everywhere yet: expect it to work from ${usableFrom} on. Until then a request that is signed ` +
    'with it may be refused with InvalidClientTokenId, or its equal of another AWS service.'
  );
}
