import { createHmac, hkdfSync } from 'node:crypto';
import type { DataSource, EntityManager } from 'typeorm';
import { decrypt, encrypt, headOf, labelOf } from './jwe.js';
import {
  insertKey,
  lockKeyring,
  MasterKeyRefused,
  type OpenedKeys,
  openRows,
  readRows,
  sealRows,
} from './keyring-rows.js';

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

/** A generation of the key that secrets are sealed with. */
export interface Term {
  /** 1, 2, … */
  term: number;
  installedAt: Date;
}

/**
 * The keys that what we keep is sealed and hashed with. They live in the table `keyring`, each sealed (JWE, `dir`,
 * A256GCM) under the operator's master key, which is in the environment or a file and never in the database.
 *
 * The sealing key has terms (docs/decisions/0018). Whoever meets a value of a term that it does not know reads the table
 * again, so a new term reaches every process by itself.
 */
export class Keyring {
  private reading: Promise<void> | null = null;

  private constructor(
    private readonly manager: EntityManager,
    private readonly masterKeys: Buffer[],
    private keys: OpenedKeys,
  ) {}

  /**
   * Opens the keyring of this database; a new database gets its keys made here, once, whoever comes first.
   * @param masterKeys 32 bytes each: the one of today, and while it is being changed the one before it as well.
   * @throws MasterKeyRefused when none of them is the one the keyring is sealed under.
   */
  static async open(source: DataSource, ...masterKeys: Buffer[]): Promise<Keyring> {
    const rows = await source.transaction(async (manager) => {
      await lockKeyring(manager);
      const found = await readRows(manager);
      if (found.length > 0) return found;
      for (const purpose of ['seal', 'token_hash'] as const) await insertKey(manager, masterKeys[0]!, purpose, 1);
      return readRows(manager);
    });
    return new Keyring(source.manager, masterKeys, await openRows(rows, masterKeys));
  }

  /**
   * Seals the keyring under another master key, in one transaction; what it seals is not touched.
   * @returns false when it is sealed under `to` already.
   * @throws MasterKeyRefused when neither key opens it, or there is none.
   */
  static async rekey(source: DataSource, from: Buffer, to: Buffer): Promise<boolean> {
    return source.transaction(async (manager) => {
      await lockKeyring(manager);
      const rows = await readRows(manager);
      if (rows.length === 0) throw new MasterKeyRefused('This database has no keyring yet: start with the new key.');
      const { masterKey } = await openRows(rows, [to, from]);
      if (masterKey === to) return false;
      await sealRows(manager, rows, from, to);
      return true;
    });
  }

  /** Whether this is the master key that the keyring is sealed under. */
  async isSealedUnder(masterKey: Buffer): Promise<boolean> {
    return openRows(await readRows(this.manager), [masterKey]).then(
      () => true,
      (error: unknown) => {
        if (error instanceof MasterKeyRefused) return false;
        throw error;
      },
    );
  }

  /**
   * Seals a secret for storage, under the newest term; `purpose` names what it is and must be said again to open it. It is
   * kept in a text column whose name begins with `sealed_`: what those hold is sealed again when there is a newer term.
   * @param manager that of the transaction that stores it, so that its term cannot end in between.
   */
  async seal(secret: string, purpose: string, manager: EntityManager): Promise<string> {
    const id = await this.newest(manager);
    return encrypt(await this.sealKey(id), id, purpose, Buffer.from(secret));
  }

  /** Opens what `seal` made. Throws when the value was changed, or sealed for another purpose or under another keyring. */
  async unseal(sealed: string, purpose: string): Promise<string> {
    return (await decrypt(await this.sealKey(labelOf(sealed).keyId), purpose, sealed)).toString();
  }

  /** The form in which a token is stored and looked up: HMAC-SHA256 under a key of the keyring. */
  hashToken(token: string): Buffer {
    return createHmac('sha256', this.keys.tokenHashKey).update(token).digest();
  }

  /**
   * Key material (HKDF-SHA256) that takes both this keyring and what a caller knows. HKDF's first step is the very HMAC that
   * tokens are stored as: the zero byte, which no token has, keeps what the database holds from being a key of it.
   */
  derive(purpose: string, known: string[], bytes: number): Buffer {
    return Buffer.from(hkdfSync('sha256', `\0${JSON.stringify(known)}`, this.keys.tokenHashKey, purpose, bytes));
  }

  /** The newest term, which secrets are sealed under from its installation on. */
  async term(): Promise<Term> {
    const [newest] = (await this.manager.query(
      `select term, created_at as "installedAt" from keyring where purpose = 'seal' order by term desc limit 1`,
    )) as Term[];
    return newest!;
  }

  /** Begins a new term. Older ones go on opening what they sealed until `sealAgain` has nothing left to do. */
  async rotate(): Promise<void> {
    await this.manager.transaction(async (manager) => {
      await lockKeyring(manager);
      const rows = await readRows(manager);
      // Under the key that the others are sealed under: while the master key is changed, some processes have no other.
      const { masterKey } = await openRows(rows, this.masterKeys);
      const terms = rows.filter((row) => row.purpose === 'seal').map((row) => row.term);
      await insertKey(manager, masterKey, 'seal', Math.max(...terms) + 1);
    });
  }

  /**
   * Seals again, under the newest term, what older ones have sealed, and ends each term of which nothing is left: its key
   * is removed. Any number of processes may do it at once, and none has to finish. What cannot be opened keeps its term.
   * @returns the terms that ended.
   */
  async sealAgain(): Promise<number[]> {
    const older = (await this.manager.query(
      `select id, term from keyring
       where purpose = 'seal' and term < (select max(term) from keyring where purpose = 'seal') order by term`,
    )) as { id: string; term: number }[];
    if (older.length === 0) return [];
    const columns = await this.sealedColumns();
    const ended: number[] = [];
    for (const { id, term } of older) {
      for (const column of columns) await this.sealColumnAgain(column, headOf(id));
      if (await this.endTerm(id, columns)) ended.push(term);
    }
    return ended;
  }

  private async sealColumnAgain({ table, column }: SealedColumn, head: string): Promise<void> {
    const found = (await this.manager.query(
      `select ${column} as sealed from ${table} where starts_with(${column}, $1)`,
      [head],
    )) as { sealed: string }[];
    for (const { sealed } of found) {
      const { purpose } = labelOf(sealed);
      const secret = await this.unseal(sealed, purpose).catch(() => null);
      if (secret === null) continue;
      await this.manager.transaction(async (manager) => {
        const again = await this.seal(secret, purpose, manager);
        // Whoever wrote another secret meanwhile is not written over.
        await manager.query(`update ${table} set ${column} = $2 where ${column} = $1`, [sealed, again]);
      });
    }
  }

  private async endTerm(id: string, columns: SealedColumn[]): Promise<boolean> {
    return this.manager.transaction(async (manager) => {
      // Waits for those who seal under it in transactions of their own; the statements after it see what they stored.
      await manager.query(`select 1 from keyring where id = $1 for update`, [id]);
      for (const { table, column } of columns) {
        const left = (await manager.query(`select 1 from ${table} where starts_with(${column}, $1) limit 1`, [
          headOf(id),
        ])) as unknown[];
        if (left.length > 0) return false;
      }
      const ended = (await manager.query(
        `with ended as (delete from keyring where id = $1 returning 1) select 1 from ended`,
        [id],
      )) as unknown[];
      return ended.length > 0;
    });
  }

  /** Every column that may hold what the keyring has sealed; names are quoted. */
  private async sealedColumns(): Promise<SealedColumn[]> {
    return this.manager.query(
      `select format('%I.%I', table_schema, table_name) as table, format('%I', column_name) as column
       from information_schema.columns join information_schema.tables using (table_schema, table_name)
       where table_schema = current_schema() and table_type = 'BASE TABLE' and table_name <> 'keyring'
         and column_name like 'sealed\\_%' and data_type = 'text'`,
    );
  }

  /** Id of the newest sealing key, locked against its end while the manager's transaction runs. */
  private async newest(manager: EntityManager): Promise<string> {
    for (;;) {
      const [newest] = (await manager.query(
        `select id from keyring where purpose = 'seal' order by term desc limit 1 for key share`,
      )) as { id: string }[];
      // None: what was the newest when the statement began has ended while it waited for the lock.
      if (newest) return newest.id;
    }
  }

  private async sealKey(id: string): Promise<Buffer> {
    if (!this.keys.sealKeys.has(id)) await this.readAgain();
    const key = this.keys.sealKeys.get(id);
    if (!key) throw new Error('A sealed value names a key that is not in the keyring.');
    return key;
  }

  /** What was opened before stays open: a value may have been read just before its term ended. */
  private async readAgain(): Promise<void> {
    this.reading ??= this.readRowsAgain().finally(() => {
      this.reading = null;
    });
    await this.reading;
  }

  private async readRowsAgain(): Promise<void> {
    const read = await openRows(await readRows(this.manager), this.masterKeys);
    this.keys = { ...read, sealKeys: new Map([...this.keys.sealKeys, ...read.sealKeys]) };
  }
}

interface SealedColumn {
  table: string;
  column: string;
}
