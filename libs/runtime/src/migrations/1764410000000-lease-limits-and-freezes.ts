import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Most leases of a token, and what issuing is frozen for (docs/decisions/0014). A role's most leases are in its definition;
 * the index is what they are counted by.
 */
export class LeaseLimitsAndFreezes1764410000000 implements MigrationInterface {
  readonly name = 'LeaseLimitsAndFreezes1764410000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table tokens add column max_leases integer check (max_leases > 0);
      create index leases_living_by_role on leases (mount_id, role_name) where state <> 'ended';

      -- Of a mount, of a role by its name, whether or not there is such a role now, or of a token.
      create table freezes (
        mount_id   uuid references mounts (id),
        role_name  text collate "C",
        token_id   uuid references tokens (id) on delete cascade,
        reason     text not null,
        since      timestamptz not null default now(),
        check ((mount_id is null) <> (token_id is null)),
        check (role_name is null or mount_id is not null)
      );
      create unique index freezes_of on freezes (mount_id, role_name, token_id) nulls not distinct;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop table freezes;
      drop index leases_living_by_role;
      alter table tokens drop column max_leases;
    `);
  }
}
