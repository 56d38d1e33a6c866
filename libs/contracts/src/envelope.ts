import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
} from 'node:crypto';
import { CompactEncrypt, compactDecrypt, type CryptoKey, decodeProtectedHeader } from 'jose';
import { InvalidRequest } from './errors.js';
import { type CodedErrorWire, fromWire } from './coded-error-wire.js';

/**
 * How a command crosses the broker (design.md, Messages): a JWE under a key that its sender has sealed to the issuers' public key,
 * and in it a fresh key that the answer comes back under. Whoever owns the broker can neither read a command or an answer nor make
 * one up: the name of the command is inside the seal, and an answer is bound to the id of the command it answers.
 */

const keySeal = { alg: 'ECDH-ES', enc: 'A256GCM' } as const;
const directSeal = { alg: 'dir', enc: 'A256GCM' } as const;

/** A sender changes its key after so long, milliseconds: far fewer commands than the 2^32 that GCM bears with nonces drawn by chance. */
const senderKeyLastsMs = 600_000;

/** Keys of senders that an issuer remembers; one that it has forgotten is in every command that is sealed under it. */
const mostSenderKeys = 1_000;

/** What an issuer says: what was asked for, or an error with a code. */
export type Answer = { reply: unknown } | { error: CodedErrorWire };

/** A command on its way, and the key that its answer is sealed under. */
export interface SealedCommand {
  sealed: string;
  answerKey: Uint8Array;
}

/** A command as its issuer reads it. */
export interface OpenedCommand {
  pattern: string;
  body: unknown;
  /** Seals what is said back; the asker alone can open it. */
  seal(answer: Answer): Promise<string>;
}

/** A new pair of keys for the issuers of one system, each as one line of base64 (PKCS #8 and SPKI, P-256). */
export function newIssuerKeys(): { privateKey: string; publicKey: string } {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    privateKey: pair.privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
    publicKey: pair.publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
  };
}

/**
 * Reads the issuers' private keys: one, or several with commas between them while the key is changed, the newest first.
 * Throws when one of them is none; the error does not repeat it.
 */
export function parseIssuerPrivateKeys(text: string): KeyObject[] {
  return text
    .split(',')
    .map((key) => ofCurve(createPrivateKey({ key: Buffer.from(key, 'base64'), format: 'der', type: 'pkcs8' })));
}

/** Reads the issuers' public key. Throws when the text is none. */
export function parseIssuerPublicKey(text: string): KeyObject {
  return ofCurve(createPublicKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'spki' }));
}

function ofCurve(key: KeyObject): KeyObject {
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new Error('not a key on the curve P-256');
  return key;
}

/** A key of a sender, which agrees with the issuers on it once for many commands. */
interface SenderKey {
  key: CryptoKey;
  /** Itself, sealed to the issuers: the header "key" of what is sealed under it. */
  sealed: string;
  /** On the clock of `performance.now()`. */
  until: number;
}

const senderKeys = new WeakMap<KeyObject, Promise<SenderKey>>();
const keysOfSenders = new WeakMap<KeyObject[], Map<string, CryptoKey>>();

/** Seals a command to the issuers. */
export async function sealCommand(publicKey: KeyObject, pattern: string, body: unknown): Promise<SealedCommand> {
  const { key, sealed: sealedKey } = await senderKeyFor(publicKey);
  const answerKey = randomBytes(32);
  const content = JSON.stringify({ pattern, body, answerKey: answerKey.toString('base64url') });
  const sealed = await new CompactEncrypt(Buffer.from(content))
    .setProtectedHeader({ ...directSeal, key: sealedKey })
    .encrypt(key);
  return { sealed, answerKey };
}

async function senderKeyFor(publicKey: KeyObject): Promise<SenderKey> {
  const known = await senderKeys.get(publicKey);
  if (known && performance.now() < known.until) return known;
  const made = newSenderKey(publicKey);
  senderKeys.set(publicKey, made);
  made.catch(() => senderKeys.delete(publicKey));
  return made;
}

async function newSenderKey(publicKey: KeyObject): Promise<SenderKey> {
  const raw = randomBytes(32);
  const sealed = await new CompactEncrypt(raw).setProtectedHeader(keySeal).encrypt(publicKey);
  return { key: await asKey(raw), sealed, until: performance.now() + senderKeyLastsMs };
}

function asKey(raw: Uint8Array): Promise<CryptoKey> {
  return webcrypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt']);
}

/** @throws InvalidRequest when it was sealed to none of these keys, or was changed on its way. */
export async function openCommand(privateKeys: KeyObject[], sealed: unknown): Promise<OpenedCommand> {
  try {
    const { key: sealedKey } = decodeProtectedHeader(sealed as string) as { key?: unknown };
    const { plaintext } = await compactDecrypt(
      sealed as string,
      await senderKeyIn(privateKeys, sealedKey),
      methodsOf(directSeal),
    );
    const { pattern, body, answerKey } = JSON.parse(Buffer.from(plaintext).toString()) as Record<string, unknown>;
    const key = Buffer.from(answerKey as string, 'base64url');
    if (typeof pattern !== 'string' || key.length !== 32) throw new Error('incomplete');
    const answers = fingerprint(sealed as string);
    return {
      pattern,
      body,
      seal: (answer) =>
        new CompactEncrypt(Buffer.from(JSON.stringify(answer)))
          .setProtectedHeader({ ...directSeal, answers })
          .encrypt(key),
    };
  } catch (cause) {
    throw new InvalidRequest("The command cannot be opened: seal it to the issuers' public key.", { cause });
  }
}

async function senderKeyIn(privateKeys: KeyObject[], sealed: unknown): Promise<CryptoKey> {
  if (typeof sealed !== 'string') throw new Error('no key');
  const keys = keysOfSenders.get(privateKeys) ?? new Map<string, CryptoKey>();
  keysOfSenders.set(privateKeys, keys);
  const key = keys.get(sealed) ?? (await asKey(await openedByAny(privateKeys, sealed)));
  // The one used longest ago is forgotten first.
  keys.delete(sealed);
  keys.set(sealed, key);
  if (keys.size > mostSenderKeys) keys.delete(keys.keys().next().value!);
  return key;
}

/** Nothing outside of the seal says which of the keys it was sealed to: the newest is tried first. */
async function openedByAny([newest, ...older]: KeyObject[], sealed: string): Promise<Uint8Array> {
  try {
    const { plaintext } = await compactDecrypt(sealed, newest!, methodsOf(keySeal));
    return plaintext;
  } catch (error) {
    if (older.length === 0) throw error;
    return openedByAny(older, sealed);
  }
}

function methodsOf({ alg, enc }: { alg: string; enc: string }) {
  return { keyManagementAlgorithms: [alg], contentEncryptionAlgorithms: [enc] };
}

/**
 * Opens the answer to a command.
 * @throws CodedError that the issuer answered with; Error when the answer was made by somebody else.
 */
export async function openAnswer(command: SealedCommand, sealed: string): Promise<unknown> {
  const { plaintext, protectedHeader } = await compactDecrypt(sealed, command.answerKey, methodsOf(directSeal));
  if (protectedHeader.answers !== fingerprint(command.sealed)) throw new Error('The answer is to another command.');
  const answer = JSON.parse(Buffer.from(plaintext).toString()) as Answer;
  if ('error' in answer) throw fromWire(answer.error) ?? new Error('The error in the answer cannot be read.');
  return answer.reply;
}

/** Ties an answer to the very message it answers. */
function fingerprint(sealed: string): string {
  return createHash('sha256').update(sealed).digest('base64url');
}
