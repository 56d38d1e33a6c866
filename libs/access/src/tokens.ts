import { randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { PermissionDenied } from '#libs/contracts';
import { StartRefused } from '#libs/runtime';
import { EntityManager, IsNull } from 'typeorm';
import { Keyring } from './keyring.js';
import { notSealed, refuseWhenSealed } from './seal.js';
import { Token } from './token.entity.js';

const rootPath = 'auth/token/root';

/** Alive: not ended, and not past its expiry by Postgres's clock. For the `where` of a query on `tokens`. */
export const tokenIsAlive = `(ended_at is null and (expires_at is null or expires_at > now()))`;

/** Who is calling, once the token has been checked. */
export class Caller {
  constructor(readonly token: Token) {}

  /** Whether the caller's policies allow the request; a root token may do everything. */
  mayDoAnything(): boolean {
    return this.token.policies.includes('root');
  }
}

/** The tokens, and the one check that decides every request, over HTTP as over AMQP (design.md, promise 7). */
@Injectable()
export class Tokens {
  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
  ) {}

  /**
   * The caller that `token` stands for.
   * @throws Sealed while the system is sealed, whatever the token.
   * @throws PermissionDenied without a token, and for one that is unknown, expired or ended (texts: contract.md 1.8,
   * and section 8 row 9: clients react to the words "invalid token").
   */
  async authenticate(token: string | undefined): Promise<Caller> {
    if (!token) {
      await refuseWhenSealed(this.manager);
      throw new PermissionDenied();
    }
    const hash = this.keyring.hashToken(token);
    const row = await this.manager
      .createQueryBuilder(Token, 'tokens')
      .where(`hash = :hash and ${tokenIsAlive} and ${notSealed}`, { hash })
      .getOne();
    if (!row || !timingSafeEqual(row.hash, hash)) {
      await refuseWhenSealed(this.manager);
      throw new PermissionDenied('2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n');
    }
    return new Caller(row);
  }

  /**
   * Makes `token` the root token that the system was set up with: the first time a new row, later the same row under its new
   * hash, so that leases that root asked for stay root's. Root tokens that were added stay.
   * @throws StartRefused when it is a root token that was ended.
   */
  async setRootToken(token: string): Promise<void> {
    await this.changingRoot(async (manager) => {
      const hash = this.keyring.hashToken(token);
      const [same] = await manager.findBy(Token, { hash });
      if (same?.endedAt) throw new StartRefused('LEASEHOLD_ROOT_TOKEN is a token that was ended: give another one.');
      if (same) return;
      const [first] = await this.rootTokens(manager);
      if (first) await manager.update(Token, first.id, { hash });
      else await this.insertRoot(manager, hash);
    });
  }

  /** Makes `token`, which nobody has yet, a root token beside those there are. */
  async addRootToken(token: string): Promise<void> {
    await this.changingRoot((manager) => this.insertRoot(manager, this.keyring.hashToken(token)));
  }

  /** Makes `token`, which nobody has yet, the only root token, in the place of the first one; the others end. */
  async replaceRootTokens(token: string): Promise<void> {
    await this.changingRoot(async (manager) => {
      const hash = this.keyring.hashToken(token);
      const [first, ...others] = await this.rootTokens(manager);
      if (!first) return this.insertRoot(manager, hash);
      await manager.update(Token, first.id, { hash });
      for (const { id } of others) await manager.update(Token, id, { endedAt: () => 'now()' });
    });
  }

  private async changingRoot(change: (manager: EntityManager) => Promise<void>): Promise<void> {
    await this.manager.transaction(async (manager) => {
      await manager.query(`select pg_advisory_xact_lock(hashtext('leasehold root token'))`);
      await change(manager);
    });
  }

  private rootTokens(manager: EntityManager): Promise<Token[]> {
    return manager.find(Token, {
      where: { path: rootPath, endedAt: IsNull() },
      order: { createdAt: 'ASC', id: 'ASC' },
    });
  }

  private async insertRoot(manager: EntityManager, hash: Buffer): Promise<void> {
    await manager.insert(Token, {
      id: randomUUID(),
      hash,
      accessor: randomBytes(18).toString('base64url'),
      path: rootPath,
      policies: ['root'],
      displayName: 'root',
      meta: null,
      maxLeases: null,
      expiresAt: null,
      endedAt: null,
    });
  }
}
