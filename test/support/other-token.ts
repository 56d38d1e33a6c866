import { randomBytes, randomUUID } from 'node:crypto';
import { Keyring, Token } from '#libs/access';
import { DataSource } from 'typeorm';
import type { SystemOptions } from '../../apps/standalone/src/system.js';

/** A second token that may do everything. */
export async function otherToken({ databaseUrl: url, masterKey }: SystemOptions): Promise<string> {
  const token = `hvs.${randomBytes(12).toString('hex')}`;
  const source = await new DataSource({ type: 'postgres', url, entities: [Token] }).initialize();
  await source.getRepository(Token).insert({
    id: randomUUID(),
    hash: (await Keyring.open(source, masterKey)).hashToken(token),
    accessor: randomUUID(),
    path: 'auth/token/create',
    policies: ['root'],
    displayName: 'other',
    meta: null,
    expiresAt: null,
    endedAt: null,
  });
  await source.destroy();
  return token;
}
