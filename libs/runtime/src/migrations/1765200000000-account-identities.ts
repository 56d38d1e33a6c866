import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The identities that a mount has in accounts beside its root's (docs/decisions/0025). */
export class AccountIdentities1765200000000 implements MigrationInterface {
  readonly name = 'AccountIdentities1765200000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table account_identities (
        mount_id           uuid not null references mounts (id),
        version            bigint not null default nextval('definition_versions'),
        account_id         text not null check (account_id ~ '^[0-9]{12}$'),
        access_key         text not null,
        sealed_secret_key  text,
        role_arn           text not null,
        external_id        text not null,
        created_at         timestamptz not null default now(),
        superseded_at      timestamptz,
        primary key (mount_id, version)
      );
      create unique index account_identities_current on account_identities (mount_id, account_id)
        where superseded_at is null;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`drop table account_identities`);
  }
}
