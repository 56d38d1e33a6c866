import { Injectable } from '@nestjs/common';
import { InvalidRequest } from '#libs/contracts';
import { EntityManager, IsNull } from 'typeorm';
import { AccountIdentity } from './account-identity.entity.js';
import { type RoleDefinition, type RoleWrite, warningsOf, writeRole } from './role-definition.js';
import { settingOf } from './role-setting.js';
import { Role } from './role.entity.js';
import { RootConfig } from './root-config.entity.js';

/** A name is part of keys that PostgreSQL indexes, where a value of some 2,700 bytes is the largest. */
const longestName = 512;

/** A role as a write leaves it, and what its writer should know of it. */
export interface WrittenRole {
  definition: RoleDefinition;
  warnings: string[];
}

/** The roles of every mount. */
@Injectable()
export class Roles {
  constructor(private readonly manager: EntityManager) {}

  async find(mountId: string, name: string): Promise<Role | null> {
    return this.manager.findOneBy(Role, { mountId, name });
  }

  /** Names, sorted. */
  async names(mountId: string): Promise<string[]> {
    const roles = await this.manager.find(Role, { where: { mountId }, select: { name: true }, order: { name: 'ASC' } });
    return roles.map((role) => role.name);
  }

  /**
   * Creates the role, or changes what `write` names of it; the role as it would be afterwards is what is checked, with what is
   * known of the mount it is for. Written again as it is, it stays the version that it is.
   * @throws InvalidRequest with the texts of contract.md 2.4; nothing is stored then.
   */
  async write(mountId: string, name: string, write: RoleWrite): Promise<WrittenRole> {
    return this.manager.transaction(async (manager) => {
      // Two writers of one new role meet here: neither would find a row to lock.
      await manager.query(`select pg_advisory_xact_lock(hashtext($1), hashtext($2))`, [mountId, name]);
      const written = await this.after(manager, mountId, name, write);
      await manager.query(
        `insert into roles (mount_id, name, definition) values ($1, $2, $3)
         on conflict (mount_id, name) do update
           set definition = excluded.definition, version = nextval('definition_versions'), updated_at = now()
           where roles.definition <> excluded.definition`,
        [mountId, name, JSON.stringify(written.definition)],
      );
      return written;
    });
  }

  /** What `write` would do, without doing it. @throws InvalidRequest as `write`. */
  async check(mountId: string, name: string, write: RoleWrite): Promise<WrittenRole> {
    return this.after(this.manager, mountId, name, write);
  }

  /** Forgets the role; its leases live on. False where there was none. */
  async delete(mountId: string, name: string): Promise<boolean> {
    const { affected } = await this.manager.delete(Role, { mountId, name });
    return affected === 1;
  }

  private async after(manager: EntityManager, mountId: string, name: string, write: RoleWrite): Promise<WrittenRole> {
    if (name.length > longestName) {
      throw new InvalidRequest(`role name is longer than ${longestName} characters`);
    }
    const existing = await manager.findOneBy(Role, { mountId, name });
    const root = await manager.findOneBy(RootConfig, { mountId, supersededAt: IsNull() });
    const own = await manager.findBy(AccountIdentity, { mountId, supersededAt: IsNull() });
    const setting = settingOf(root, name, own);
    const definition = writeRole(existing?.definition ?? null, write, setting);
    return { definition, warnings: warningsOf(definition, setting) };
  }
}
