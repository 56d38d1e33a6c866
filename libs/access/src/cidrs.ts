import { BlockList, isIP } from 'node:net';

interface Block {
  address: string;
  prefix: number;
  family: 'ipv4' | 'ipv6';
}

/** A block of addresses: `10.0.0.0/8`, `fd00::/8`, or one address alone. Null for anything else. */
function blockOf(cidr: string): Block | null {
  const [address = '', length, ...rest] = cidr.trim().split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return null;
  const bits = version === 4 ? 32 : 128;
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return null;
  const prefix = length === undefined ? bits : Number(length);
  return prefix > bits ? null : { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' };
}

function listOf(blocks: Block[]): BlockList {
  const list = new BlockList();
  for (const { address, prefix, family } of blocks) list.addSubnet(address, prefix, family);
  return list;
}

/** The first of these that is no block of addresses; undefined when all are. */
export function badCidr(cidrs: string[]): string | undefined {
  return cidrs.find((cidr) => blockOf(cidr) === null);
}

/** Whether an address is in one of these blocks; an IPv4 address in IPv6's spelling counts as IPv4. */
export function addressIsIn(address: string, cidrs: string[]): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
  const version = isIP(plain);
  if (version === 0) return false;
  const blocks = cidrs.map(blockOf).filter((block) => block !== null);
  return listOf(blocks).check(plain, version === 4 ? 'ipv4' : 'ipv6');
}

/** Whether every one of `inner` lies within one of `outer`. */
export function cidrsAreWithin(inner: string[], outer: string[]): boolean {
  const around = outer.map(blockOf).filter((block) => block !== null);
  return inner.map(blockOf).every((block) => {
    if (!block) return false;
    return around.some(
      (each) =>
        each.family === block.family &&
        each.prefix <= block.prefix &&
        listOf([each]).check(block.address, block.family),
    );
  });
}
