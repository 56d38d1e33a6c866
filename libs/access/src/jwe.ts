import { CompactEncrypt, compactDecrypt } from 'jose';

/** In this order: `headOf` tells by its first bytes what a text was sealed under. */
const headerOf = (keyId: string, purpose: string) => ({ alg: 'dir', enc: 'A256GCM', kid: keyId, purpose });

/** Seals bytes under a 32-byte key; `keyId` and `purpose` can be read from outside, and not changed. */
export async function encrypt(key: Uint8Array, keyId: string, purpose: string, plain: Uint8Array): Promise<string> {
  return new CompactEncrypt(plain).setProtectedHeader(headerOf(keyId, purpose)).encrypt(key);
}

/** Opens what `encrypt` sealed. Throws when it was changed, or sealed under another key or for another purpose. */
export async function decrypt(key: Uint8Array, purpose: string, sealed: string): Promise<Buffer> {
  const { plaintext, protectedHeader } = await compactDecrypt(sealed, key, {
    keyManagementAlgorithms: ['dir'],
    contentEncryptionAlgorithms: ['A256GCM'],
  });
  if (protectedHeader.purpose !== purpose)
    throw new Error(`A sealed value was made for another purpose than "${purpose}".`);
  return Buffer.from(plaintext);
}

/** What stands outside of the seal, not yet checked: whoever decrypts with it finds out whether it is true. */
export function labelOf(sealed: string): { keyId: string; purpose: string } {
  const header = JSON.parse(Buffer.from(sealed.split('.')[0] ?? '', 'base64url').toString()) as Record<string, unknown>;
  const { kid, purpose } = header;
  return { keyId: typeof kid === 'string' ? kid : '', purpose: typeof purpose === 'string' ? purpose : '' };
}

/** What every text begins with that was sealed under this key, and no other text. */
export function headOf(keyId: string): string {
  const json = JSON.stringify(headerOf(keyId, ''));
  const upToKeyId = Buffer.from(json.slice(0, json.lastIndexOf(keyId) + keyId.length));
  // Three bytes are four characters; of a part of three, the characters depend on what follows.
  return upToKeyId.subarray(0, upToKeyId.length - (upToKeyId.length % 3)).toString('base64url');
}
