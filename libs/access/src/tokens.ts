import { randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { InvalidRequest, PermissionDenied } from '#libs/contracts';
import { Batches, Rows } from '#libs/runtime';
import { EntityManager, IsNull, QueryFailedError } from 'typeorm';
import type { Acl } from './acl.js';
import { Acls, type PolicyVersions, policyVersions } from './acls.js';
import { Caller } from './caller.js';
import { addressIsIn } from './cidrs.js';
import { Keyring } from './keyring.js';
import { notSealed, refuseWhenSealed } from './seal.js';
import { Token } from './token.entity.js';
import { type TokenPlan, tokenTtl, type TtlCut } from './token-rules.js';

const rootPath = 'auth/token/root';

/** Alive: not ended, and not past its expiry by Postgres's clock. For the `where` of a query on `tokens`. */
export const tokenIsAlive = `(ended_at is null and (expires_at is null or expires_at > now()))`;

/** A token that has no use left opens no door, though what its last request asked for may still be under way. */
export const tokenHasUses = `(uses_left is null or uses_left > 0)`;

/** Longest life of a request, milliseconds: whoever took the last use and died in it ends the token no more. */
const longestRequestMs = 120_000;

/** How long it is remembered that a command spent its use, milliseconds: far beyond any second delivery. */
const usesRememberedMs = 86_400_000;

/** How a request comes in: over HTTP, from an address; or as a command, which may come again. */
export type Entrance =
  | { remoteAddress: string }
  | {
      commandId: string;
      /** What the command asks for. The same of the same token under the same id is the same use. */
      wanted: object;
      /** The gateway's word that it let this command in. */
      admission?: string;
    }
  /** It goes on with what an earlier command spent a use for. */
  | 'continues';

/** A living token; `leftMs` is what is left of it, null = it never expires. */
export interface FoundToken {
  token: Token;
  leftMs: number | null;
}

/** As it was found, with the versions of its policies. */
interface LivingToken extends FoundToken {
  versions: PolicyVersions;
}

/** As PostgreSQL tells of it. */
interface TokenRow extends Record<string, unknown> {
  tokens_hash: Buffer;
  left_ms: number | null;
  policy_versions: PolicyVersions;
}

/** A token that was made; only here its id exists in the clear. */
export interface MadeToken extends FoundToken {
  id: string;
}

/** The tokens, and the one check that decides every request, over HTTP as over AMQP (design.md, promise 7). */
@Injectable()
export class Tokens {
  private readonly rows: Rows<Token>;
  /** Looks up by their hashes those who ask to be let in; nobody is found while the system is sealed. */
  private readonly doors = new Batches<Buffer, TokenRow | null>((hashes) => this.livingByHash(hashes));

  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
    private readonly acls: Acls,
  ) {
    this.rows = new Rows(manager, Token, 'tokens');
  }

  /**
   * The caller that `token` stands for. One statement; a counted token takes another one, which spends its use: of n requests
   * at once on k uses exactly k come in.
   * @throws Sealed while the system is sealed, whatever the token.
   * @throws PermissionDenied without a token, and for one that is unknown, expired, ended or used up, or comes from an
   * address that it is not bound to (texts: contract.md 1.8, and section 8 row 9: clients react to the words "invalid token").
   */
  async authenticate(token: string | undefined, entrance: Entrance): Promise<Caller> {
    if (!token) {
      await refuseWhenSealed(this.manager);
      throw new PermissionDenied();
    }
    const lookedAt = performance.now();
    const hash = this.keyring.hashToken(token);
    const found = this.foundIn(await this.doors.ask(hash));
    if (!found || !timingSafeEqual(found.token.hash, hash)) {
      await refuseWhenSealed(this.manager);
      throw invalidToken();
    }
    const { token: row, leftMs } = found;
    const acl = await this.acls.of(row.policies, found.versions);
    const caller = new Caller(row, acl, leftMs, lookedAt);
    if (!caller.isRestricted() || this.isAdmitted(caller, entrance)) return caller;
    // Who knows no address lets nobody in that is bound to one.
    const address = entrance !== 'continues' && 'remoteAddress' in entrance ? entrance.remoteAddress : '';
    if (row.boundCidrs.length > 0 && !addressIsIn(address, row.boundCidrs)) throw new PermissionDenied();
    if (row.usesLeft === null || entrance === 'continues') return caller;
    row.usesLeft = await this.spend(row.id, 'commandId' in entrance ? this.useOf(row.id, entrance) : null);
    return new Caller(row, acl, leftMs, lookedAt, row.usesLeft === 0);
  }

  /**
   * This door's word to the next one that it let the caller in with this command: a keyed hash, which nobody without the keyring
   * can make. Undefined where none is needed.
   */
  admissionOf(caller: Caller, commandId: string): string | undefined {
    return caller.isRestricted() ? this.admission(caller.token.id, commandId).toString('base64url') : undefined;
  }

  /** A living token, by itself or by its accessor; nobody is let in by it. One without a use left counts as gone. */
  async find(by: { token: string } | { accessor: string }): Promise<FoundToken | null> {
    return this.livingBy(by);
  }

  /** What a living token's policies allow, by itself or by its accessor; asking spends no use of it. */
  async aclOf(by: Parameters<Tokens['find']>[0]): Promise<Acl | null> {
    const found = await this.livingBy(by);
    return found && this.acls.of(found.token.policies, found.versions);
  }

  /** The caller's own token once more: its last use may just be spent. */
  async own(caller: Caller): Promise<FoundToken | null> {
    return this.living('id = $1', caller.token.id);
  }

  /** The accessors of all living tokens. */
  async accessors(): Promise<string[]> {
    const rows = (await this.manager.query(
      `select accessor from tokens where ${tokenIsAlive} and ${tokenHasUses} and accessor is not null order by accessor`,
    )) as { accessor: string }[];
    return rows.map((row) => row.accessor);
  }

  /**
   * Makes a token. Its parent stays locked against its end until it is there: who ends the parent finds this child.
   * @param manager of the transaction that it is made in.
   * @throws InvalidRequest when the parent has ended, or a token of that id exists.
   */
  async create(plan: TokenPlan, manager = this.manager): Promise<MadeToken> {
    const id = plan.id || `${plan.type === 'batch' ? 'hvb' : 'hvs'}.${randomBytes(24).toString('base64url')}`;
    const rowId = randomUUID();
    const values = [
      rowId,
      this.keyring.hashToken(id),
      plan.type === 'batch' ? null : newAccessor(),
      plan.type,
      plan.path,
      plan.role,
      plan.policies,
      plan.displayName,
      plan.meta,
      plan.renewable,
      plan.ttlMs,
      plan.periodMs,
      plan.maxTtlMs,
      plan.explicitMaxTtlMs,
      plan.numUses || null,
      plan.boundCidrs,
      plan.parentId,
      plan.maxLeases,
    ];
    const columns = `id, hash, accessor, type, path, role, policies, display_name, meta, renewable, creation_ttl_ms, period_ms,
      max_ttl_ms, explicit_max_ttl_ms, uses_left, bound_cidrs, parent_id, max_leases, expires_at, due_at`;
    const selected = `select $1::uuid, $2::bytea, $3::text, $4::text, $5::text, $6::text, $7::text[], $8::text, $9::jsonb,
      $10::boolean, $11::float8, $12::float8, $13::float8, $14::float8, $15::integer, $16::text[], $17::uuid, $18::integer, instant, instant
      from (select case when $11::float8 > 0 then now() + $11::float8 * interval '1 ms' end as instant) ends`;
    const parent = `, (select 1 from tokens where id = $17 and ${tokenIsAlive} for share) parent`;
    try {
      const made = (await manager.query(
        `insert into tokens (${columns}) ${selected}${plan.parentId ? parent : ''} returning id`,
        values,
      )) as unknown[];
      if (made.length === 0) throw new InvalidRequest('parent token lookup failed: no parent found');
    } catch (error) {
      if (isDuplicate(error)) throw new InvalidRequest('cannot create a token with a duplicate ID');
      throw error;
    }
    const row = await manager.findOneByOrFail(Token, { id: rowId });
    return { id, token: row, leftMs: plan.ttlMs > 0 ? plan.ttlMs : null };
  }

  /**
   * Renews a token: it expires `incrementMs` (0 = as at its creation) from now, or its period, within its max.
   * @throws InvalidRequest with the texts of contract.md 3.3; 'token not found' when it has ended meanwhile.
   */
  async renew(tokenId: string, incrementMs: number): Promise<FoundToken & { cuts: TtlCut[] }> {
    return this.manager.transaction(async (manager) => {
      const [row] = (await manager.query(
        `select extract(epoch from now() - created_at)::float8 * 1000 as "ageMs", ${tokenIsAlive} as alive
         from tokens where id = $1 for no key update`,
        [tokenId],
      )) as { ageMs: number; alive: boolean }[];
      if (!row?.alive) throw new InvalidRequest('token not found');
      const token = await manager.findOneByOrFail(Token, { id: tokenId });
      if (token.type === 'batch') throw new InvalidRequest('batch tokens cannot be renewed');
      if (token.expiresAt === null) throw new InvalidRequest('invalid lease ID');
      if (!token.renewable) throw new InvalidRequest('lease is not renewable');
      const { ttlMs, cuts } = tokenTtl({ ...token, ttlMs: token.creationTtlMs }, incrementMs, row.ageMs);
      await manager.query(
        `update tokens set expires_at = now() + $2 * interval '1 ms', last_renewed_at = now(),
           -- One whose last use is spent is due for that.
           due_at = case when uses_left = 0 then due_at else now() + $2 * interval '1 ms' end
         where id = $1`,
        [tokenId, ttlMs],
      );
      return { token, leftMs: ttlMs, cuts };
    });
  }

  /**
   * Makes `token` the root token that the system was set up with: the first time a new row, later the same row under its new
   * hash, so that leases that root asked for stay root's. Root tokens that were added stay.
   */
  async setRootToken(token: string): Promise<void> {
    await this.changingRoot(async (manager) => {
      const hash = this.keyring.hashToken(token);
      // A root token that was revoked and is given again is a new one of the same name.
      await manager.query(`update tokens set hash = $2 where hash = $1 and ended_at is not null`, [
        hash,
        randomBytes(32),
      ]);
      const living = await this.rootTokens(manager);
      if (living.some((each) => each.hash.equals(hash))) return;
      if (living[0]) await manager.update(Token, living[0].id, { hash });
      else await this.insertRoot(manager, hash);
    });
  }

  /** Makes `token`, which nobody has yet, a root token beside those there are. */
  async addRootToken(token: string): Promise<void> {
    await this.changingRoot((manager) => this.insertRoot(manager, this.keyring.hashToken(token)));
  }

  /**
   * Makes `token`, which nobody has yet, the only root token, in the place of the first one. Every other token with the root
   * policy ends, whoever made it, and with it what it made and asked for.
   */
  async replaceRootTokens(token: string): Promise<void> {
    await this.changingRoot(async (manager) => {
      const hash = this.keyring.hashToken(token);
      const [first] = await this.rootTokens(manager);
      if (first) await manager.update(Token, first.id, { hash });
      else await this.insertRoot(manager, hash);
      await manager.query(
        `update tokens set ended_at = now(), due_at = now() where 'root' = any(policies) and ended_at is null and hash <> $1`,
        [hash],
      );
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
      accessor: newAccessor(),
      path: rootPath,
      policies: ['root'],
      displayName: 'root',
      meta: null,
      maxLeases: null,
      expiresAt: null,
      endedAt: null,
    });
  }

  private livingBy(by: { token: string } | { accessor: string }): Promise<LivingToken | null> {
    return 'token' in by
      ? this.living(`hash = $1 and ${tokenHasUses}`, this.keyring.hashToken(by.token))
      : this.living(`accessor = $1 and ${tokenHasUses}`, by.accessor);
  }

  private async living(condition: string, value: unknown): Promise<LivingToken | null> {
    const [row] = await this.livingWhere(condition, value);
    return this.foundIn(row ?? null);
  }

  private async livingByHash(hashes: Buffer[]): Promise<(TokenRow | null)[]> {
    const rows = await this.livingWhere(`hash = any($1) and ${notSealed}`, hashes);
    return hashes.map((hash) => rows.find((row) => row.tokens_hash.equals(hash)) ?? null);
  }

  private livingWhere(condition: string, value: unknown): Promise<TokenRow[]> {
    return this.manager.query(
      `select ${this.rows.columns}, extract(epoch from expires_at - now())::float8 * 1000 as left_ms,
         ${policyVersions} as policy_versions
       from tokens where ${condition} and ${tokenIsAlive}`,
      [value],
    );
  }

  private foundIn(row: TokenRow | null): LivingToken | null {
    return row && { token: this.rows.of(row)!, leftMs: row.left_ms, versions: row.policy_versions };
  }

  /** Takes a use, and answers how many are left. @throws PermissionDenied when there is none. */
  private async spend(tokenId: string, use: Buffer | null): Promise<number> {
    const spend = (and: string) => `update tokens set uses_left = uses_left - 1,
        due_at = case when uses_left = 1 then least(due_at, now() + ${longestRequestMs} * interval '1 ms') else due_at end
      where id = $1 and uses_left > 0 and ${tokenIsAlive} ${and} returning uses_left`;
    const spent = () =>
      use === null
        ? this.manager.query(`with spent as (${spend('')}) select uses_left from spent`, [tokenId])
        : this.manager.query(
            `with known as (select uses_left from token_uses where use = $2),
               spent as (${spend('and not exists (select 1 from known)')}),
               noted as (insert into token_uses (use, uses_left, forget_at)
                 select $2, uses_left, now() + ${usesRememberedMs} * interval '1 ms' from spent)
             select uses_left from spent union all select uses_left from known`,
            [tokenId, use],
          );
    const rows = (await spent().catch((error: unknown) => {
      // The same command came twice at once: by now it is known.
      if (isDuplicate(error)) return spent();
      throw error;
    })) as { uses_left: number }[];
    if (!rows[0]) throw invalidToken();
    return rows[0].uses_left;
  }

  private useOf(tokenId: string, { commandId, wanted }: { commandId: string; wanted: object }): Buffer {
    return this.keyring.derive('use', [tokenId, commandId, JSON.stringify(wanted)], 32);
  }

  private isAdmitted(caller: Caller, entrance: Entrance): boolean {
    if (entrance === 'continues' || !('admission' in entrance) || entrance.admission === undefined) return false;
    const wanted = this.admission(caller.token.id, entrance.commandId);
    const given = Buffer.from(entrance.admission, 'base64url');
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  }

  private admission(tokenId: string, commandId: string): Buffer {
    return this.keyring.derive('admission', [tokenId, commandId], 32);
  }
}

function invalidToken(): PermissionDenied {
  return new PermissionDenied('2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n');
}

/** It is given to command lines as an argument, so it does not begin with a dash. */
function newAccessor(): string {
  return randomBytes(18).toString('hex');
}

function isDuplicate(error: unknown): boolean {
  return error instanceof QueryFailedError && (error.driverError as { code?: string }).code === '23505';
}
