import { randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { PermissionDenied } from '#libs/contracts';
import { EntityManager } from 'typeorm';
import type { Acl } from './acl.js';
import { Acls, type PolicyVersions, policyVersions } from './acls.js';
import { Keyring } from './keyring.js';
import { Token } from './token.entity.js';

const rootPath = 'auth/token/root';

/** Alive: not ended, and not past its expiry by Postgres's clock. For the `where` of a query on `tokens`. */
export const tokenIsAlive = `(ended_at is null and (expires_at is null or expires_at > now()))`;

/** Who is calling, once the token has been checked. */
export class Caller {
  constructor(
    readonly token: Token,
    /** What its policies allow. */
    readonly acl: Acl,
  ) {}

  /** Whether the caller may do on this path what only `sudo` allows. */
  hasSudo(path: string): boolean {
    return this.acl.hasSudo(path);
  }
}

/** The tokens, and the one check that decides every request, over HTTP as over AMQP (design.md, promise 7). */
@Injectable()
export class Tokens {
  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
    private readonly acls: Acls,
  ) {}

  /**
   * The caller that `token` stands for.
   * @throws PermissionDenied without a token, and for one that is unknown, expired or ended (texts: contract.md 1.8,
   * and section 8 row 9: clients react to the words "invalid token").
   */
  async authenticate(token: string | undefined): Promise<Caller> {
    if (!token) throw new PermissionDenied();
    const hash = this.keyring.hashToken(token);
    const { entities, raw } = await this.manager
      .createQueryBuilder(Token, 'tokens')
      .addSelect(policyVersions, 'policy_versions')
      .where(`hash = :hash and ${tokenIsAlive}`, { hash })
      .getRawAndEntities<{ policy_versions: PolicyVersions }>();
    const [row] = entities;
    if (!row || !timingSafeEqual(row.hash, hash)) {
      throw new PermissionDenied('2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n');
    }
    return new Caller(row, await this.acls.of(row.policies, raw[0]!.policy_versions));
  }

  /**
   * Makes `token` the one root token of this system: the first time a new row, later the same row under its new hash,
   * so that leases that root asked for stay root's.
   */
  async setRootToken(token: string): Promise<void> {
    const hash = this.keyring.hashToken(token);
    await this.manager.transaction(async (manager) => {
      await manager.query(`select pg_advisory_xact_lock(hashtext('leasehold root token'))`);
      const [, changed] = (await manager.query(`update tokens set hash = $1 where path = $2 and ended_at is null`, [
        hash,
        rootPath,
      ])) as [unknown, number];
      if (changed > 0) return;
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
    });
  }
}
