import { isIP } from 'node:net';
import type { FastifyRequest } from 'fastify';

/**
 * Who asked, as far as it can be believed: the end of the connection, or what trusted proxies say in `X-Forwarded-For`, up
 * to the first address that is no trusted proxy. A hop that is no address ends what is believed. An IPv4 address is
 * written as such, wherever it came in IPv6's form.
 */
export function remoteAddressOf({ ips, raw }: Pick<FastifyRequest, 'ips' | 'raw'>): string {
  let believed = raw.socket.remoteAddress ?? '';
  for (const hop of ips ?? []) {
    if (!isIP(hop)) break;
    believed = hop;
  }
  return believed.replace(/^::ffff:(?=\d+\.)/i, '');
}
