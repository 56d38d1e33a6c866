import { randomBytes, randomUUID } from 'node:crypto';
import { Keyring, Token } from '#libs/access';
import { DataSource } from 'typeorm';
import type { World } from './world.js';

/** What a token of a journey has. */
export interface TokenWish {
  policies: string[];
  /** Already over. */
  expired?: boolean;
}

/** Puts tokens with these policies into the database, as a token's maker would; their ids come back in the same order. */
export async function giveTokens(world: Pick<World, 'options'>, ...wishes: TokenWish[]): Promise<string[]> {
  const { databaseUrl: url, masterKey } = world.options;
  const source = await new DataSource({ type: 'postgres', url, entities: [Token] }).initialize();
  try {
    const keyring = await Keyring.open(source, masterKey);
    const tokens = wishes.map(() => `hvs.${randomBytes(18).toString('base64url')}`);
    await source.getRepository(Token).insert(
      wishes.map(({ policies, expired }, index) => ({
        id: randomUUID(),
        hash: keyring.hashToken(tokens[index]!),
        accessor: randomUUID(),
        path: 'auth/token/create',
        policies,
        displayName: 'token',
        meta: null,
        expiresAt: new Date(expired ? '2000-01-01T00:00:00Z' : '2999-01-01T00:00:00Z'),
        endedAt: null,
      })),
    );
    return tokens;
  } finally {
    await source.destroy();
  }
}
