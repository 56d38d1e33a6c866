import type { IncomingHttpHeaders } from 'node:http';
import { CodedError, InvalidRequest } from '#libs/contracts';
import { parseDuration } from '../wire/go-duration.js';

/** The caller's token: `X-Vault-Token` wins, and an empty one counts as absent (contract.md 1.2). */
export function tokenOf(headers: IncomingHttpHeaders): string | undefined {
  const own = headers['x-vault-token'];
  if (typeof own === 'string' && own !== '') return own;
  return /^Bearer +(.+)$/.exec(headers.authorization ?? '')?.[1];
}

/**
 * Refuses what would be answered wrongly if it were passed over: there is no namespace but the root (contract.md 1.2).
 * @throws CodedError `no_route`
 */
export function refuseUnserved(headers: IncomingHttpHeaders): void {
  const namespace = String(headers['x-vault-namespace'] ?? '').replace(/^\/+|\/+$/g, '');
  if (namespace !== '' && namespace !== 'root') throw new CodedError('no_route', 'namespace not found');
}

/**
 * For how long the answer is to be wrapped, in milliseconds; undefined where it is not.
 * @throws InvalidRequest (text: contract.md 1.2)
 */
export function wrapTtlOf(headers: IncomingHttpHeaders): number | undefined {
  try {
    return parseDuration(headers['x-vault-wrap-ttl'] ?? '') || undefined;
  } catch (error) {
    throw new InvalidRequest(`error parsing X-Vault-Wrap-TTL header: ${(error as Error).message}`);
  }
}
