import type { MigrationInterface, QueryRunner } from 'typeorm';

/** AppRole: roles that log in without a person, and their secret ids, of which only keyed hashes are kept. */
export class AppRole1764510000000 implements MigrationInterface {
  readonly name = 'AppRole1764510000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table app_roles (
        id          uuid primary key,
        name        text collate "C" not null unique,
        role_id     text not null unique,
        definition  jsonb not null
      );

      create table app_role_secret_ids (
        hash               bytea primary key,
        accessor           uuid not null unique,
        app_role_id        uuid not null references app_roles (id) on delete cascade,
        -- Null: any number of uses.
        uses_left          integer check (uses_left >= 0),
        ttl_ms             double precision not null,
        created_at         timestamptz not null default now(),
        updated_at         timestamptz not null default now(),
        expires_at         timestamptz,
        metadata           jsonb not null,
        cidr_list          text[] not null,
        token_bound_cidrs  text[] not null
      );
      create index app_role_secret_ids_role on app_role_secret_ids (app_role_id);
      create index app_role_secret_ids_expiry on app_role_secret_ids (expires_at) where expires_at is not null;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`drop table app_role_secret_ids, app_roles`);
  }
}
