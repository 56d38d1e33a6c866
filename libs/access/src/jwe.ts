import { CompactEncrypt, compactDecrypt } from 'jose';

/** Seals bytes under a 32-byte key; `keyId` and `purpose` can be read from outside, and not changed. */
export async function encrypt(key: Uint8Array, keyId: string, purpose: string, plain: Uint8Array): Promise<string> {
  return new CompactEncrypt(plain).setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: keyId, purpose }).encrypt(key);
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
