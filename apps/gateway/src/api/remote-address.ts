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

/**
 * What one caller may well have all of: an IPv4 address, or the /64 that an IPv6 address is in, which is the smallest network that
 * is given to anybody. Anything else stays as it is.
 */
export function networkOf(address: string): string {
  const [plain = ''] = address.split('%');
  if (isIP(plain) !== 6) return address;
  const [head = [], tail = []] = plain.split('::').map(groupsOf);
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => 0);
  const network = [...head, ...zeros, ...tail].slice(0, 4);
  return `${network.map((group) => group.toString(16)).join(':')}::/64`;
}

/** Numbers of the groups of an IPv6 address's part; an IPv4 address at its end is two of them. */
function groupsOf(part: string): number[] {
  if (part === '') return [];
  return part.split(':').flatMap((group) => (group.includes('.') ? [0, 0] : [parseInt(group, 16)]));
}
