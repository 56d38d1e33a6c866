import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The audit devices (docs/decisions/0019). A row is made and removed, and never changed. */
export class Audit1764800000000 implements MigrationInterface {
  readonly name = 'Audit1764800000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table audit_devices (
        id           uuid primary key,
        path         text collate "C" not null unique check (path like '%/'),
        -- Named by the environment of some processes: only the salt is here, which is one for all of them.
        configured   boolean not null default false,
        type         text not null,
        description  text not null default '',
        local        boolean not null default false,
        options      jsonb not null,
        sealed_salt  text not null,
        created_at   timestamptz not null default now()
      );
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`drop table audit_devices`);
  }
}
