import { createHmac } from 'node:crypto';

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const stepMs = 30_000;

/** The seed of a virtual MFA device as AWS shows it, and as its owner types it into an app. */
export function toBase32(bytes: Buffer): string {
  let bits = '';
  for (const byte of bytes) bits += byte.toString(2).padStart(8, '0');
  return (bits.match(/.{1,5}/g) ?? []).map((five) => alphabet[parseInt(five.padEnd(5, '0'), 2)]).join('');
}

/** The six digits that a device with this seed shows at an instant, milliseconds (RFC 6238, SHA-1, 30 s). */
export function oneTimeCode(seed: Buffer, atMs: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(atMs / stepMs)));
  const digest = createHmac('sha1', seed).update(counter).digest();
  const offset = digest[digest.length - 1]! & 0xf;
  return String((digest.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

/** Whether a code is the one of an instant, or of the step before or after it: clocks differ. */
export function isCodeOf(seed: Buffer, code: string, atMs: number): boolean {
  return [-stepMs, 0, stepMs].some((shift) => oneTimeCode(seed, atMs + shift) === code);
}
