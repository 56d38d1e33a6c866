import { Injectable } from '@nestjs/common';
import { Sealed } from '#libs/contracts';
import { EntityManager } from 'typeorm';
import { Keyring } from './keyring.js';

/** For the `where` of a statement that serves a caller: false while the system is sealed. */
export const notSealed = `(not exists (select 1 from seal where sealed_at is not null))`;

/** @throws Sealed while the system is sealed. */
export async function refuseWhenSealed(manager: EntityManager): Promise<void> {
  const open = (await manager.query(`select 1 where ${notSealed}`)) as unknown[];
  if (open.length === 0) throw new Sealed();
}

/**
 * Whether the whole system is sealed: one row in PostgreSQL, which every statement that serves a caller looks at
 * (docs/decisions/0018). Revoking what is due goes on, since a seal must never keep a leaked key alive.
 */
@Injectable()
export class Seal {
  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
  ) {}

  async isSealed(): Promise<boolean> {
    const open = (await this.manager.query(`select 1 where ${notSealed}`)) as unknown[];
    return open.length === 0;
  }

  /** @throws Sealed while it is. */
  async refuse(): Promise<void> {
    await refuseWhenSealed(this.manager);
  }

  /** From its commit on no request is begun and no offer is accepted, at whichever process. */
  async seal(): Promise<void> {
    await this.manager.query(`update seal set sealed_at = coalesce(sealed_at, now())`);
  }

  /** Whoever calls it has shown the master key: by `unsealWith`, or by having opened the keyring with it. */
  async unseal(): Promise<void> {
    await this.manager.query(`update seal set sealed_at = null`);
  }

  /** Opens it with the master key that the keyring is sealed under; false for any other key. */
  async unsealWith(masterKey: Buffer): Promise<boolean> {
    if (!(await this.keyring.isSealedUnder(masterKey))) return false;
    await this.unseal();
    return true;
  }
}
