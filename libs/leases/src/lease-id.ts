import { randomInt } from 'node:crypto';

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Random text of letters and digits from the system's secure source. */
export function randomBase62(length: number): string {
  return Array.from({ length }, () => base62[randomInt(base62.length)]).join('');
}

/** A new lease id: the path that was asked, and 24 characters (contract.md 4.1). */
export function newLeaseId(requestPath: string): string {
  return `${requestPath}/${randomBase62(24)}`;
}
