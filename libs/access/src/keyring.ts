import { createHmac, hkdfSync, randomBytes, randomUUID } from 'node:crypto';
import { StartRefused } from '#libs/runtime';
import type { DataSource } from 'typeorm';
import { decrypt, encrypt } from './jwe.js';

/** The master key does not open this database's keyring, or is not a key. The message is the sentence for the operator. */
export class MasterKeyRefused extends StartRefused {}

/**
 * Reads a master key: 32 bytes as base64, base64url or hexadecimal text.
 * @throws MasterKeyRefused when the text is anything else.
 */
export function parseMasterKey(text: string): Buffer {
  const trimmed = text.trim();
  const key = /^[0-9a-f]{64}$/i.test(trimmed) ? Buffer.from(trimmed, 'hex') : Buffer.from(trimmed, 'base64');
  if (key.length !== 32) {
    throw new MasterKeyRefused(
      'LEASEHOLD_MASTER_KEY must be 32 random bytes in base64 or hexadecimal, such as `openssl rand -base64 32` prints.',
    );
  }
  return key;
}

type Purpose = 'seal' | 'token_hash';

/**
 * The keys that what we keep is sealed and hashed with. They live in the table `keyring`, each sealed (JWE, `dir`,
 * A256GCM) under the operator's master key, which is in the environment or a file and never in the database.
 */
export class Keyring {
  private constructor(
    private readonly sealKeys: Map<string, Buffer>,
    private readonly currentSealKey: string,
    private readonly tokenHashKey: Buffer,
  ) {}

  /**
   * Opens the keyring of this database; a new database gets its keys made here, once, whoever comes first.
   * @throws MasterKeyRefused when the master key is not the one the keyring was sealed with.
   */
  static async open(source: DataSource, masterKey: Buffer): Promise<Keyring> {
    const rows = await source.transaction(async (manager) => {
      await manager.query(`select pg_advisory_xact_lock(hashtext('leasehold keyring'))`);
      const select = `select id, purpose, sealed_key from keyring order by created_at, id`;
      const found: { id: string; purpose: Purpose; sealed_key: string }[] = await manager.query(select);
      if (found.length > 0) return found;
      for (const purpose of ['seal', 'token_hash'] satisfies Purpose[]) {
        const id = randomUUID();
        const sealed = await encrypt(masterKey, 'master', `keyring ${purpose} ${id}`, randomBytes(32));
        await manager.query(`insert into keyring (id, purpose, sealed_key) values ($1, $2, $3)`, [id, purpose, sealed]);
      }
      return (await manager.query(select)) as typeof found;
    });
    const sealKeys = new Map<string, Buffer>();
    let current: string | undefined;
    let tokenHashKey: Buffer | undefined;
    for (const row of rows) {
      const key = await decrypt(masterKey, `keyring ${row.purpose} ${row.id}`, row.sealed_key).catch(
        (cause: unknown) => {
          throw new MasterKeyRefused(
            'The master key does not open the keyring of this database: give the LEASEHOLD_MASTER_KEY that the database was first started with.',
            { cause },
          );
        },
      );
      if (row.purpose === 'token_hash') tokenHashKey = key;
      else {
        sealKeys.set(row.id, key);
        current = row.id;
      }
    }
    if (!current || !tokenHashKey)
      throw new MasterKeyRefused('The keyring of this database is incomplete: restore it.');
    return new Keyring(sealKeys, current, tokenHashKey);
  }

  /** Seals a secret for storage; `purpose` names what it is and must be said again to open it. */
  async seal(secret: string, purpose: string): Promise<string> {
    return encrypt(this.sealKeys.get(this.currentSealKey)!, this.currentSealKey, purpose, Buffer.from(secret));
  }

  /** Opens what `seal` made. Throws when the value was changed, or sealed for another purpose or under another keyring. */
  async unseal(sealed: string, purpose: string): Promise<string> {
    const header = JSON.parse(Buffer.from(sealed.split('.')[0] ?? '', 'base64url').toString()) as { kid?: string };
    const key = this.sealKeys.get(header.kid ?? '');
    if (!key) throw new Error('A sealed value names a key that is not in the keyring.');
    return (await decrypt(key, purpose, sealed)).toString();
  }

  /** The form in which a token is stored and looked up: HMAC-SHA256 under a key of the keyring. */
  hashToken(token: string): Buffer {
    return createHmac('sha256', this.tokenHashKey).update(token).digest();
  }

  /**
   * Key material (HKDF-SHA256) that takes both this keyring and what a caller knows. HKDF's first step is the very HMAC that
   * tokens are stored as: the zero byte, which no token has, keeps what the database holds from being a key of it.
   */
  derive(purpose: string, known: string[], bytes: number): Buffer {
    return Buffer.from(hkdfSync('sha256', `\0${JSON.stringify(known)}`, this.tokenHashKey, purpose, bytes));
  }
}
