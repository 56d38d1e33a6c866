import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { type TokenRole, type TokenRoleWrite, writeTokenRole } from './token-role.js';

/** The token roles (contract.md 3.3): storage. */
@Injectable()
export class TokenRoles {
  constructor(private readonly manager: EntityManager) {}

  async names(): Promise<string[]> {
    const rows = (await this.manager.query(`select name from token_roles order by name`)) as { name: string }[];
    return rows.map((row) => row.name);
  }

  async find(name: string): Promise<TokenRole | null> {
    const rows = (await this.manager.query(`select definition from token_roles where name = $1`, [name])) as {
      definition: TokenRole;
    }[];
    return rows[0]?.definition ?? null;
  }

  /** Creates or changes a role. @throws InvalidRequest before anything is stored. */
  async write(name: string, write: TokenRoleWrite): Promise<void> {
    await this.manager.transaction(async (manager) => {
      await manager.query(`select pg_advisory_xact_lock(hashtext('leasehold token role'), hashtext($1))`, [name]);
      const [before] = (await manager.query(`select definition from token_roles where name = $1`, [name])) as {
        definition: TokenRole;
      }[];
      const role = writeTokenRole(name, before?.definition ?? null, write);
      await manager.query(
        `insert into token_roles (name, definition) values ($1, $2)
         on conflict (name) do update set definition = excluded.definition`,
        [name, role],
      );
    });
  }

  async delete(name: string): Promise<void> {
    await this.manager.query(`delete from token_roles where name = $1`, [name]);
  }
}
