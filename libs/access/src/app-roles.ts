import { randomBytes, randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { InvalidRequest, NoRoute } from '#libs/contracts';
import { EntityManager } from 'typeorm';
import { type AppRole, type AppRoleWrite, writeAppRole } from './app-role.js';
import { addressIsIn, badCidr, cidrsAreWithin } from './cidrs.js';
import { Keyring } from './keyring.js';
import { requireCountable, sanitizePolicies, type TokenPlan, tokenTtl } from './token-rules.js';
import { type MadeToken, Tokens } from './tokens.js';

/** A role as it is kept: names are lower case, and its id outlives no deletion. */
interface StoredRole {
  id: string;
  name: string;
  roleId: string;
  definition: AppRole;
}

/** What a secret id may be given that its role leaves open; undefined = as the role says. */
export interface SecretIdWish {
  numUses?: number;
  ttl?: number;
  metadata: Record<string, string>;
  cidrList: string[];
  tokenBoundCidrs: string[];
}

/** A secret id as it may be looked up: never itself. Spans in milliseconds. */
export interface SecretId {
  accessor: string;
  usesLeft: number | null;
  ttlMs: number;
  createdAt: Date;
  updatedAt: Date;
  expiresAt: Date | null;
  metadata: Record<string, string>;
  cidrList: string[];
  tokenBoundCidrs: string[];
}

const secretIdColumns = `accessor, uses_left as "usesLeft", ttl_ms as "ttlMs", created_at as "createdAt",
  updated_at as "updatedAt", expires_at as "expiresAt", metadata, cidr_list as "cidrList", token_bound_cidrs as "tokenBoundCidrs"`;

const isUsable = `((expires_at is null or expires_at > now()) and (uses_left is null or uses_left > 0))`;

/** AppRole: what services log in by, without a person (contract.md 3.3). Of secret ids only keyed hashes are kept. */
@Injectable()
export class AppRoles {
  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
    private readonly tokens: Tokens,
  ) {}

  async names(): Promise<string[]> {
    const rows = (await this.manager.query(`select name from app_roles order by name`)) as { name: string }[];
    return rows.map((row) => row.name);
  }

  async find(name: string): Promise<StoredRole | null> {
    return this.findIn(this.manager, name);
  }

  /**
   * Creates or changes a role.
   * @returns what its writer should know. @throws InvalidRequest before anything is stored.
   */
  write(name: string, write: AppRoleWrite, roleId: string | undefined): Promise<string[]> {
    return this.store(name, write, roleId, () => null);
  }

  /** Changes a role that is there. @throws NoRoute without one; as `write`. */
  change(name: string, write: AppRoleWrite, roleId: string | undefined): Promise<string[]> {
    return this.store(name, write, roleId, () => {
      throw unknownRole(name);
    });
  }

  private store(
    name: string,
    write: AppRoleWrite,
    roleId: string | undefined,
    whereThereIsNone: () => null,
  ): Promise<string[]> {
    return this.manager.transaction(async (manager) => {
      await manager.query(`select pg_advisory_xact_lock(hashtext('leasehold app role'))`);
      // Locked: who deletes it meanwhile deletes what is stored here.
      const before = (await this.findIn(manager, name, 'for update')) ?? whereThereIsNone();
      const { role, warnings } = writeAppRole(before?.definition ?? null, write);
      const id = roleId ?? before?.roleId ?? randomUUID();
      if (id === '') throw new InvalidRequest('invalid role_id supplied, or failed to generate a role_id');
      const [other] = (await manager.query(`select 1 from app_roles where role_id = $1 and name <> $2`, [
        id,
        name.toLowerCase(),
      ])) as unknown[];
      if (other) throw new InvalidRequest('role_id already in use');
      await manager.query(
        `insert into app_roles (id, name, role_id, definition) values ($1, $2, $3, $4)
         on conflict (name) do update set role_id = excluded.role_id, definition = excluded.definition`,
        [randomUUID(), name.toLowerCase(), id, role],
      );
      return warnings;
    });
  }

  /** Forgets the secret ids that open nothing any more. */
  async tidy(): Promise<void> {
    await this.manager.query(`delete from app_role_secret_ids where not ${isUsable}`);
  }

  /** Deletes a role and its secret ids; tokens that it gave live on. */
  async delete(name: string): Promise<void> {
    await this.manager.query(`delete from app_roles where name = $1`, [name.toLowerCase()]);
  }

  /**
   * Makes a secret id, or takes the given one.
   * @throws NoRoute without such a role; InvalidRequest when it asks for more than the role allows.
   */
  async makeSecretId(name: string, given: string | null, wish: SecretIdWish): Promise<SecretId & { id: string }> {
    const role = await this.require(name);
    const { definition } = role;
    if (given === '') throw new InvalidRequest('missing secret_id');
    if (!definition.bindSecretId) throw new InvalidRequest('bind_secret_id is not set on the role');
    requireWithin(wish.cidrList, definition.secretIdBoundCidrs, 'CIDR');
    requireWithin(wish.tokenBoundCidrs, definition.tokenBoundCidrs, 'token CIDR');
    const numUses = wish.numUses ?? definition.secretIdNumUses;
    const ttl = wish.ttl ?? definition.secretIdTtl;
    if (numUses < 0) throw new InvalidRequest('num_uses cannot be negative');
    requireCountable(numUses, 'num_uses');
    if (exceeds(numUses, definition.secretIdNumUses))
      throw new InvalidRequest("num_uses cannot be higher than the role's secret_id_num_uses");
    if (exceeds(ttl, definition.secretIdTtl))
      throw new InvalidRequest("ttl cannot be longer than the role's secret_id_ttl");
    const id = given ?? randomBytes(24).toString('base64url');
    const [made] = (await this.manager.query(
      `insert into app_role_secret_ids (hash, accessor, app_role_id, uses_left, ttl_ms, expires_at, metadata, cidr_list,
         token_bound_cidrs)
       select $1, $2, $3, $4, $5::float8, case when $5::float8 > 0 then now() + $5::float8 * interval '1 ms' end, $6, $7, $8
       on conflict (hash) do nothing returning ${secretIdColumns}`,
      [
        this.hash(role, id),
        randomUUID(),
        role.id,
        numUses || null,
        ttl * 1000,
        wish.metadata,
        wish.cidrList,
        wish.tokenBoundCidrs,
      ],
    )) as SecretId[];
    if (!made) throw new InvalidRequest('failed to store secret_id: SecretID is already registered');
    return { ...made, id };
  }

  /** The accessors of a role's secret ids. @throws NoRoute without such a role. */
  async secretIdAccessors(name: string): Promise<string[]> {
    const role = await this.require(name);
    const rows = (await this.manager.query(
      `select accessor from app_role_secret_ids where app_role_id = $1 and ${isUsable} order by created_at, accessor`,
      [role.id],
    )) as { accessor: string }[];
    return rows.map((row) => row.accessor);
  }

  /** A secret id by itself or by its accessor. @throws NoRoute without such a role. */
  async findSecretId(name: string, by: { secretId: string } | { accessor: string }): Promise<SecretId | null> {
    const [condition, value] = await this.pick(name, by);
    const rows = (await this.manager.query(
      `select ${secretIdColumns} from app_role_secret_ids where ${condition} and ${isUsable}`,
      value,
    )) as SecretId[];
    return rows[0] ?? null;
  }

  /** @returns whether there was one. @throws NoRoute without such a role. */
  async destroySecretId(name: string, by: { secretId: string } | { accessor: string }): Promise<boolean> {
    const [condition, value] = await this.pick(name, by);
    const gone = (await this.manager.query(
      `with gone as (delete from app_role_secret_ids where ${condition} returning 1) select 1 from gone`,
      value,
    )) as unknown[];
    return gone.length > 0;
  }

  /**
   * Logs a role in from `address` and makes its token, an orphan. A counted secret id gives a use: of n logins at once on k
   * uses exactly k succeed, and the last one takes it away.
   * @throws InvalidRequest with the texts of contract.md 3.3.
   */
  async logIn(roleId: string, secretId: string, address: string): Promise<MadeToken> {
    if (roleId === '') throw new InvalidRequest('missing role_id');
    const [role] = (await this.manager.query(
      `select id, name, role_id as "roleId", definition from app_roles where role_id = $1`,
      [roleId],
    )) as StoredRole[];
    if (!role) throw invalidIds();
    const { definition } = role;
    const entry = definition.bindSecretId ? await this.checkSecretId(role, secretId, address) : null;
    if (definition.secretIdBoundCidrs.length > 0 && !addressIsIn(address, definition.secretIdBoundCidrs))
      throw new InvalidRequest(`source address "${address}" unauthorized by CIDR restrictions on the role`);
    if (entry && entry.usesLeft !== null) await this.spend(role, secretId);
    return this.tokens.create(planOf(role, entry));
  }

  private async checkSecretId(role: StoredRole, secretId: string, address: string): Promise<SecretId> {
    if (secretId === '') throw new InvalidRequest('missing secret_id');
    const entry = await this.findSecretId(role.name, { secretId });
    if (!entry) throw invalidIds();
    // What the role allows may have been narrowed since.
    requireWithin(entry.cidrList, role.definition.secretIdBoundCidrs, 'CIDR');
    requireWithin(entry.tokenBoundCidrs, role.definition.tokenBoundCidrs, 'token CIDR');
    if (entry.cidrList.length > 0 && !addressIsIn(address, entry.cidrList)) {
      throw new InvalidRequest(`source address "${address}" unauthorized through CIDR restrictions on the secret ID`);
    }
    return entry;
  }

  private async spend(role: StoredRole, secretId: string): Promise<void> {
    const hash = this.hash(role, secretId);
    const spent = (await this.manager.query(
      `with spent as (
         update app_role_secret_ids set uses_left = uses_left - 1, updated_at = now()
         where hash = $1 and uses_left > 0 and ${isUsable} returning uses_left
       ) select uses_left as "usesLeft" from spent`,
      [hash],
    )) as { usesLeft: number }[];
    if (!spent[0]) throw invalidIds();
    if (spent[0].usesLeft === 0) {
      await this.manager.query(`delete from app_role_secret_ids where hash = $1 and uses_left = 0`, [hash]);
    }
  }

  private async pick(
    name: string,
    by: { secretId: string } | { accessor: string },
  ): Promise<[condition: string, values: unknown[]]> {
    const role = await this.require(name);
    if ('secretId' in by) {
      if (by.secretId === '') throw new InvalidRequest('missing secret_id');
      return [`hash = $1`, [this.hash(role, by.secretId)]];
    }
    if (by.accessor === '') throw new InvalidRequest('missing secret_id_accessor');
    return [`accessor::text = $1 and app_role_id = $2`, [by.accessor, role.id]];
  }

  private async require(name: string): Promise<StoredRole> {
    const role = await this.find(name);
    if (!role) throw unknownRole(name);
    return role;
  }

  private async findIn(manager: EntityManager, name: string, lock: 'for update' | '' = ''): Promise<StoredRole | null> {
    const rows = (await manager.query(
      `select id, name, role_id as "roleId", definition from app_roles where name = $1 ${lock}`,
      [name.toLowerCase()],
    )) as StoredRole[];
    return rows[0] ?? null;
  }

  /** A secret id is one of its role alone: what it is kept as takes the role in. */
  private hash(role: StoredRole, secretId: string): Buffer {
    return this.keyring.derive('secret id', [role.id, secretId], 32);
  }
}

function unknownRole(name: string): NoRoute {
  return new NoRoute(`role ${JSON.stringify(name)} does not exist`);
}

function planOf({ name, definition }: StoredRole, entry: SecretId | null): TokenPlan {
  const type = definition.tokenType === 'batch' ? 'batch' : 'service';
  const spans = {
    ttlMs: definition.tokenTtl * 1000,
    maxTtlMs: definition.tokenMaxTtl * 1000,
    explicitMaxTtlMs: definition.tokenExplicitMaxTtl * 1000,
    periodMs: definition.tokenPeriod * 1000,
  };
  return {
    ...spans,
    ...tokenTtl(spans, 0, 0),
    id: '',
    type,
    path: 'auth/approle/login',
    role: null,
    parentId: null,
    maxLeases: null,
    policies: sanitizePolicies(definition.tokenPolicies, !definition.tokenNoDefaultPolicy),
    displayName: 'approle',
    meta: { ...entry?.metadata, role_name: name },
    renewable: type === 'service',
    numUses: definition.tokenNumUses,
    boundCidrs: entry && entry.tokenBoundCidrs.length > 0 ? entry.tokenBoundCidrs : definition.tokenBoundCidrs,
    warnings: [],
  };
}

function invalidIds(): InvalidRequest {
  return new InvalidRequest('invalid role or secret ID');
}

/** Where the role has a limit, none is more than it. */
function exceeds(asked: number, limit: number): boolean {
  return limit > 0 && (asked === 0 || asked > limit);
}

function requireWithin(cidrs: string[], ofRole: string[], what: string): void {
  if (badCidr(cidrs) !== undefined) throw new InvalidRequest(`failed to validate ${what} blocks`);
  if (cidrs.length > 0 && ofRole.length > 0 && !cidrsAreWithin(cidrs, ofRole)) {
    const [inner, outer] = [cidrs, ofRole].map((each) => `[${each.map((cidr) => JSON.stringify(cidr)).join(' ')}]`);
    throw new InvalidRequest(
      `failed to verify subset relationship between CIDR blocks on the role ${outer} and CIDR blocks on the secret ID ${inner}`,
    );
  }
}
