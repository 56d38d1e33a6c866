import { Injectable } from '@nestjs/common';
import { Keyring } from '#libs/access';
import { Batches, Rows } from '#libs/runtime';
import { EntityManager } from 'typeorm';
import { freezes } from './freezes.js';
import { Mount } from './mount.entity.js';
import { Role } from './role.entity.js';
import { freshFor, RootConfig } from './root-config.entity.js';
import { type OpenedRootConfig, RootConfigs } from './root-configs.js';

/** What a caller names when it asks for a credential. */
interface Asked {
  /** With its closing slash. */
  mountPath: string;
  roleName: string;
  /** In the clear. Nobody has to be known by it yet: it may be looked up meanwhile who that is. */
  token: string;
}

/** All that is defined for it, as it stood at one instant; the role is null where there is none. */
export interface Terms {
  mount: Mount;
  role: Role | null;
  /** Whether issuing of that role is frozen for this token. */
  isFrozen: boolean;
  /** Opens the mount's `config/root`. @throws where that cannot be */
  openRoot(): Promise<OpenedRootConfig>;
}

/** Reads in one statement, and for all who ask at the same time together, what a credential is to be issued under. */
@Injectable()
export class IssueTerms {
  private readonly mounts: Rows<Mount>;
  private readonly roles: Rows<Role>;
  private readonly roots: Rows<RootConfig>;
  private readonly reads = new Batches<Asked, Terms | null>((asked) => this.read(asked));

  constructor(
    private readonly manager: EntityManager,
    private readonly rootConfigs: RootConfigs,
    private readonly keyring: Keyring,
  ) {
    this.mounts = new Rows(manager, Mount, 'mounts');
    this.roles = new Rows(manager, Role, 'roles');
    this.roots = new Rows(manager, RootConfig, 'root_configs');
  }

  /** Null when there is no such mount. Who asks for the same at the same time is given the same, so nobody changes it. */
  of(asked: Asked): Promise<Terms | null> {
    return this.reads.ask(asked);
  }

  private async read(asked: Asked[]): Promise<(Terms | null)[]> {
    const keys = asked.map(({ mountPath, roleName, token }) => JSON.stringify([token, mountPath, roleName]));
    const distinct = [...new Map(keys.map((key, nth) => [key, asked[nth]!]))];
    const tokenId = '(select id from tokens where hash = asked.token_hash)';
    const rows = (await this.manager.query(
      `select asked.nth, ${this.mounts.columns}, ${this.roles.columns}, ${this.roots.columns},
         ${freshFor} as fresh_for_ms,
         exists (select 1 from freezes where ${freezes('mounts.id', 'asked.role_name', tokenId)}) as is_frozen
       from unnest($1::text[], $2::text[], $3::bytea[]) with ordinality as asked (mount_path, role_name, token_hash, nth)
       join mounts on mounts.path = asked.mount_path and removed_at is null
       left join roles on roles.mount_id = mounts.id and roles.name = asked.role_name
       left join root_configs on root_configs.mount_id = mounts.id and superseded_at is null`,
      [
        distinct.map(([, { mountPath }]) => mountPath),
        distinct.map(([, { roleName }]) => roleName),
        distinct.map(([, { token }]) => this.keyring.hashToken(token)),
      ],
    )) as (Record<string, unknown> & { nth: string })[];
    const terms = new Map(rows.map((row) => [distinct[Number(row.nth) - 1]![0], this.termsIn(row)]));
    return keys.map((key) => terms.get(key) ?? null);
  }

  private termsIn(row: Record<string, unknown>): Terms {
    const mount = this.mounts.of(row)!;
    const root = this.roots.of(row);
    let opened: Promise<OpenedRootConfig> | undefined;
    return {
      mount,
      role: this.roles.of(row),
      isFrozen: row.is_frozen as boolean,
      openRoot: () => (opened ??= this.rootConfigs.openRow(mount.id, root, row.fresh_for_ms as number)),
    };
  }
}
