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
 * Refuses what would be answered wrongly if it were passed over: there is no namespace but the root, and a credential
 * that was to be wrapped must not be handed out in the clear (contract.md 1.2).
 * @throws CodedError `no_route` for a namespace; InvalidRequest for a wish to wrap.
 */
export function refuseUnserved(headers: IncomingHttpHeaders): void {
  const namespace = String(headers['x-vault-namespace'] ?? '').replace(/^\/+|\/+$/g, '');
  if (namespace !== '' && namespace !== 'root') throw new CodedError('no_route', 'namespace not found');
  if (wrapMs(headers['x-vault-wrap-ttl']) > 0) throw new InvalidRequest('response wrapping is not supported');
}

function wrapMs(header: string | string[] | undefined): number {
  try {
    return parseDuration(header ?? '');
  } catch (error) {
    throw new InvalidRequest(`error parsing X-Vault-Wrap-TTL header: ${(error as Error).message}`);
  }
}
