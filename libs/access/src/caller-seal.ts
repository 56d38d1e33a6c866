import { createHmac } from 'node:crypto';
import { decrypt, encrypt } from './jwe.js';
import type { Keyring } from './keyring.js';

/**
 * Seals what is kept for one caller alone, under keys that are derived from what only that caller holds, and the keyring, and
 * that are stored nowhere (design.md, promise 6): whoever owns the database, or even the master key, opens nothing.
 */
export class CallerSeal {
  private constructor(
    private readonly purpose: string,
    /** Names what is kept: 32 bytes that say nothing of what the caller holds. */
    readonly id: Buffer,
    private readonly hashKey: Buffer,
    private readonly sealKey: Buffer,
  ) {}

  /** @param known what the caller must say again, in order; at least one of it a secret, such as its token. */
  static of(keyring: Keyring, purpose: string, known: string[]): CallerSeal {
    const material = keyring.derive(purpose, known, 96);
    return new CallerSeal(purpose, material.subarray(0, 32), material.subarray(32, 64), material.subarray(64));
  }

  /** A hash by which a text is known again, and not guessed: 32 bytes. */
  hash(text: string): Buffer {
    return createHmac('sha256', this.hashKey).update(text).digest();
  }

  async seal(secret: string): Promise<string> {
    return encrypt(this.sealKey, 'caller', this.purpose, Buffer.from(secret));
  }

  /** Opens what was sealed for who knows the same. Throws for anything else. */
  async open(sealed: string): Promise<string> {
    return (await decrypt(this.sealKey, this.purpose, sealed)).toString();
  }
}
