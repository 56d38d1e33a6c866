import { randomBytes, randomUUID } from 'node:crypto';
import { StartRefused } from '#libs/runtime';
import type { EntityManager } from 'typeorm';
import { decrypt, encrypt } from './jwe.js';

/** No master key that was given opens this database's keyring, or one is no key. The message is the sentence for the operator. */
export class MasterKeyRefused extends StartRefused {}

/** What a key of the keyring is for: sealing what we keep, in terms; hashing tokens, for good. */
type Purpose = 'seal' | 'token_hash';

interface KeyringRow {
  id: string;
  purpose: Purpose;
  term: number;
  sealed_key: string;
}

/** The keys of the keyring in the clear: in memory only. */
export interface OpenedKeys {
  /** By id; several while values of an older term are left. */
  sealKeys: Map<string, Buffer>;
  tokenHashKey: Buffer;
  /** The one of the master keys given that they are sealed under. */
  masterKey: Buffer;
}

/** Lets one after the other change the keyring, until the transaction ends. */
export async function lockKeyring(manager: EntityManager): Promise<void> {
  await manager.query(`select pg_advisory_xact_lock(hashtext('leasehold keyring'))`);
}

export function readRows(manager: EntityManager): Promise<KeyringRow[]> {
  return manager.query(`select id, purpose, term, sealed_key from keyring order by purpose, term`);
}

/** Stores a new key, sealed under the master key. */
export async function insertKey(
  manager: EntityManager,
  masterKey: Buffer,
  purpose: Purpose,
  term: number,
): Promise<void> {
  const id = randomUUID();
  const sealed = await encrypt(masterKey, 'master', purposeOf({ purpose, id }), randomBytes(32));
  await manager.query(`insert into keyring (id, purpose, term, sealed_key) values ($1, $2, $3, $4)`, [
    id,
    purpose,
    term,
    sealed,
  ]);
}

/**
 * Opens every row with the one of the master keys that opens them.
 * @throws MasterKeyRefused when none does, or keys are missing.
 */
export async function openRows(rows: KeyringRow[], masterKeys: Buffer[]): Promise<OpenedKeys> {
  for (const masterKey of masterKeys) {
    const opened = await Promise.all(rows.map((row) => openRow(row, masterKey)));
    if (opened.some((key) => key === null)) continue;
    const sealKeys = new Map(rows.flatMap((row, nth) => (row.purpose === 'seal' ? [[row.id, opened[nth]!]] : [])));
    const tokenHashKey = opened[rows.findIndex((row) => row.purpose === 'token_hash')];
    if (sealKeys.size === 0 || !tokenHashKey)
      throw new MasterKeyRefused('The keyring of this database is incomplete: restore it.');
    return { sealKeys, tokenHashKey, masterKey };
  }
  throw new MasterKeyRefused(
    'The master key does not open the keyring of this database: give the LEASEHOLD_MASTER_KEY that it is sealed under, ' +
      'the one of the first start or of the last "npm run rekey".',
  );
}

/** Seals every key under another master key. */
export async function sealRows(manager: EntityManager, rows: KeyringRow[], from: Buffer, to: Buffer): Promise<void> {
  for (const row of rows) {
    const key = await decrypt(from, purposeOf(row), row.sealed_key);
    const sealed = await encrypt(to, 'master', purposeOf(row), key);
    await manager.query(`update keyring set sealed_key = $2 where id = $1`, [row.id, sealed]);
  }
}

async function openRow(row: KeyringRow, masterKey: Buffer): Promise<Buffer | null> {
  return decrypt(masterKey, purposeOf(row), row.sealed_key).catch(() => null);
}

const purposeOf = ({ purpose, id }: Pick<KeyringRow, 'purpose' | 'id'>) => `keyring ${purpose} ${id}`;
