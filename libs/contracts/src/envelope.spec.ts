import { describe, expect, it } from '@jest/globals';
import { decodeProtectedHeader } from 'jose';
import {
  newIssuerKeys,
  openAnswer,
  openCommand,
  parseIssuerPrivateKeys,
  parseIssuerPublicKey,
  sealCommand,
} from './envelope.js';

function issuers() {
  const { privateKey, publicKey } = newIssuerKeys();
  return { privateKeys: parseIssuerPrivateKeys(privateKey), publicKey: parseIssuerPublicKey(publicKey), privateKey };
}

const keyOf = (sealed: string) => decodeProtectedHeader(sealed).key;

describe('commands of one sender', () => {
  it('are sealed under one key, and any of them opens alone at any issuer', async () => {
    const { privateKey, publicKey } = issuers();
    const commands = [await sealCommand(publicKey, 'first', 1), await sealCommand(publicKey, 'second', 2)];
    expect(keyOf(commands[0]!.sealed)).toBe(keyOf(commands[1]!.sealed));
    for (const command of commands.toReversed()) {
      const { pattern, seal } = await openCommand(parseIssuerPrivateKeys(privateKey), command.sealed);
      expect(await openAnswer(command, await seal({ reply: pattern }))).toBe(pattern);
    }
  });

  it('are opened by none who has only seen another one: each answer has a key of its own', async () => {
    const { privateKeys, publicKey } = issuers();
    const [one, other] = [await sealCommand(publicKey, 'one', 1), await sealCommand(publicKey, 'other', 2)];
    expect(Buffer.from(one.answerKey).equals(other.answerKey)).toBe(false);
    const { seal } = await openCommand(privateKeys, one.sealed);
    await expect(openAnswer(other, await seal({ reply: 1 }))).rejects.toThrow();
    await expect(
      openAnswer({ sealed: other.sealed, answerKey: one.answerKey }, await seal({ reply: 1 })),
    ).rejects.toThrow('another command');
  });

  it('are refused under a key that was sealed to somebody else, or is none', async () => {
    const [ours, theirs] = [issuers(), issuers()];
    const { sealed } = await sealCommand(theirs.publicKey, 'any', {});
    await expect(openCommand(ours.privateKeys, sealed)).rejects.toThrow('cannot be opened');
    const mixed = await sealCommand(ours.publicKey, 'any', {});
    const header = Buffer.from(JSON.stringify({ ...decodeProtectedHeader(mixed.sealed), key: keyOf(sealed) }));
    const swapped = [header.toString('base64url'), ...mixed.sealed.split('.').slice(1)].join('.');
    await expect(openCommand(ours.privateKeys, swapped)).rejects.toThrow('cannot be opened');
    await expect(openCommand(ours.privateKeys, 'none')).rejects.toThrow('cannot be opened');
  });

  it('are opened with the older of two keys while the key is changed', async () => {
    const [old, fresh] = [issuers(), issuers()];
    const { sealed } = await sealCommand(old.publicKey, 'any', { a: 1 });
    const both = parseIssuerPrivateKeys(`${fresh.privateKey},${old.privateKey}`);
    expect(await openCommand(both, sealed)).toMatchObject({ pattern: 'any', body: { a: 1 } });
  });

  it('are under another key ten minutes later', async () => {
    const { publicKey } = issuers();
    const first = keyOf((await sealCommand(publicKey, 'any', null)).sealed);
    const now = performance.now.bind(performance);
    try {
      performance.now = () => now() + 600_001;
      expect(keyOf((await sealCommand(publicKey, 'any', null)).sealed)).not.toBe(first);
    } finally {
      performance.now = now;
    }
  });
});
