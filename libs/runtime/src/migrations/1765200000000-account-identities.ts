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
    await runner.query(`
      do $$ begin
        if exists (select 1 from account_identities i join leases l on l.mount_id = i.mount_id and l.root_version = i.version
                   where l.due_at is not null and l.credential_type = 'iam_user') then
          raise exception 'There are users that only the credentials of config/accounts can take back: revoke their leases first.';
        end if;
      end $$;
      drop table account_identities;
    `);
  }
}
