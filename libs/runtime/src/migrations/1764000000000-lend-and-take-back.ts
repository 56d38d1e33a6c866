import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The tables of mounts, their root configurations, roles, tokens, commands and leases (docs/decisions/0002).
 *
 * Names that are looked up by prefix are collated "C", so that a prefix is one range of the index whatever the
 * database's own collation is.
 */
export class LendAndTakeBack1764000000000 implements MigrationInterface {
  readonly name = 'LendAndTakeBack1764000000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- One number line for every definition, so that a role deleted and written again never repeats a version.
      create sequence definition_versions;

      create table keyring (
        id          uuid primary key,
        purpose     text not null check (purpose in ('seal', 'token_hash')),
        sealed_key  text not null,
        created_at  timestamptz not null default now()
      );
      create unique index keyring_token_hash on keyring (purpose) where purpose = 'token_hash';

      create table mounts (
        id                         uuid primary key,
        path                       text collate "C" not null check (path like '%/'),
        type                       text not null,
        accessor                   text not null unique,
        version                    bigint not null default nextval('definition_versions'),
        description                text not null default '',
        local                      boolean not null default false,
        seal_wrap                  boolean not null default false,
        external_entropy_access    boolean not null default false,
        options                    jsonb,
        default_lease_ttl_seconds  bigint not null default 0,
        max_lease_ttl_seconds      bigint not null default 0,
        tuning                     jsonb not null default '{}',
        lease_ms                   double precision,
        lease_max_ms               double precision,
        created_at                 timestamptz not null default now(),
        tainted_at                 timestamptz,
        removed_at                 timestamptz
      );
      create unique index mounts_path on mounts (path) where removed_at is null;

      create table root_configs (
        mount_id           uuid not null references mounts (id),
        version            bigint not null default nextval('definition_versions'),
        settings           jsonb not null,
        sealed_secret_key  text,
        account_id         text,
        created_at         timestamptz not null default now(),
        superseded_at      timestamptz,
        primary key (mount_id, version)
      );
      create unique index root_configs_current on root_configs (mount_id) where superseded_at is null;

      create table roles (
        mount_id    uuid not null references mounts (id),
        name        text collate "C" not null,
        version     bigint not null default nextval('definition_versions'),
        definition  jsonb not null,
        updated_at  timestamptz not null default now(),
        primary key (mount_id, name)
      );

      create table tokens (
        id            uuid primary key,
        hash          bytea not null unique,
        accessor      text not null unique,
        path          text not null,
        policies      text[] not null,
        display_name  text not null,
        meta          jsonb,
        created_at    timestamptz not null default now(),
        expires_at    timestamptz,
        ended_at      timestamptz
      );

      -- A command id outlives its lease by a day: whatever is delivered again meets it here.
      create table commands (
        id            uuid primary key,
        lease_id      text,
        attempts      smallint not null default 1,
        withdrawn_at  timestamptz,
        created_at    timestamptz not null default now(),
        forget_at     timestamptz
      );
      create index commands_forget on commands (forget_at) where forget_at is not null;

      create table leases (
        id               text collate "C" primary key,
        command_id       uuid not null,
        attempt          smallint not null default 1,
        state            text not null
                         check (state in ('issuing', 'offered', 'active', 'revoking', 'ended', 'irrevocable')),
        credential_type  text not null check (credential_type in ('iam_user', 'assumed_role', 'federation_token')),
        mount_id         uuid not null references mounts (id),
        mount_version    bigint not null,
        role_name        text not null,
        role_version     bigint not null,
        root_version     bigint not null,
        account_id       text not null,
        token_id         uuid not null references tokens (id),
        request_id       text not null,
        user_name        text,
        renamed_to       text,
        made             jsonb not null default '{}',
        access_key_id    text,
        renewable        boolean not null,
        created_at       timestamptz not null default now(),
        issued_at        timestamptz,
        accepted_at      timestamptz,
        last_renewed_at  timestamptz,
        expires_at       timestamptz,
        due_at           timestamptz,
        armed_for        timestamptz,
        claim_id         uuid,
        end_reason       text,
        forced           boolean not null default false,
        attempts         smallint not null default 0,
        absences         smallint not null default 0,
        last_error       text,
        looks_left       smallint not null default 0,
        ended_at         timestamptz,
        check ((state = 'ended') = (ended_at is not null)),
        check (credential_type <> 'iam_user' or user_name is not null),
        check (state not in ('offered', 'active') or expires_at is not null),
        check (state = 'ended' or due_at is not null)
      );
      -- IAM's names are unique whatever their case.
      create unique index leases_user_name on leases (account_id, lower(user_name)) where user_name is not null;
      create index leases_due on leases (due_at) where due_at is not null;
      create index leases_command on leases (command_id);
      create index leases_living_by_mount on leases (mount_id, state) where state <> 'ended';
      create index leases_living_by_token on leases (token_id) where state <> 'ended';
      create index leases_access_key on leases (access_key_id) where access_key_id is not null;
      create index leases_ended on leases (ended_at) where ended_at is not null;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop table leases, commands, tokens, roles, root_configs, mounts, keyring;
      drop sequence definition_versions;
    `);
  }
}
