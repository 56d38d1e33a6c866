import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Static roles, rotations of keys that are under way, and what each worker says that it works with (docs/decisions/0023).
 *
 * A rotation is told of by a trigger, as leases are (docs/decisions/0009): `root.rotated` when the new key is in use.
 */
export class Rotation1765100000000 implements MigrationInterface {
  readonly name = 'Rotation1765100000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table root_configs
        add column rotates_at   timestamptz,
        add column key_made_at  timestamptz;
      create index root_configs_rotates on root_configs (rotates_at) where superseded_at is null;

      create table static_roles (
        mount_id                 uuid not null references mounts (id),
        name                     text collate "C" not null,
        account_id               text not null,
        user_name                text not null,
        -- IAM's own, which a user that takes the name over does not have.
        user_id                  text not null,
        rotation_period_seconds  bigint not null check (rotation_period_seconds > 0),
        access_key_id            text,
        sealed_secret_key        text,
        next_rotation_at         timestamptz not null default now(),
        -- Its keys are being removed; then the row goes.
        deleted_at               timestamptz,
        primary key (mount_id, name),
        check ((access_key_id is null) = (sealed_secret_key is null))
      );
      -- Two roles of one user would take each other's keys away.
      create unique index static_roles_user on static_roles (user_id);
      create index static_roles_next_rotation on static_roles (next_rotation_at);

      create table rotations (
        id                 uuid primary key default gen_random_uuid(),
        mount_id           uuid not null references mounts (id),
        -- Null: of the mount's root key.
        static_role        text collate "C",
        state              text not null check (state in ('creating', 'trying', 'retiring', 'undoing', 'watching')),
        -- What a deletion that AWS refused goes back to.
        state_before       text,
        account_id         text,
        user_name          text,
        old_key_id         text,
        -- The user's keys before one was asked for.
        known_key_ids      text[],
        -- Since then AWS may have made a key whose id we do not have.
        attempted_at       timestamptz,
        -- A key was asked for and the answer never came: it may yet appear.
        is_ambiguous       boolean not null default false,
        new_key_id         text,
        sealed_secret_key  text,
        made_at            timestamptz,
        switched_at        timestamptz,
        looks_left         smallint not null default 0,
        attempts           smallint not null default 0,
        last_error         text,
        -- Of the request that asked for it; null: it was due.
        command_id         uuid,
        request_id         text not null,
        created_at         timestamptz not null default now(),
        due_at             timestamptz not null,
        claim_id           uuid,
        check (state <> 'trying' or (new_key_id is not null and sealed_secret_key is not null))
      );
      -- One at a time; what only looks whether a key appears is in nobody's way.
      create unique index rotations_of on rotations (mount_id, static_role) nulls not distinct where state <> 'watching';
      create index rotations_due on rotations (due_at);

      create table workers (
        id             uuid primary key,
        name           text not null,
        -- Versions of root configurations that it is at work with.
        root_versions  bigint[] not null,
        seen_at        timestamptz not null default now()
      );

      create function tell_of_rotation() returns trigger language plpgsql as $$
      declare
        event_id  uuid := gen_random_uuid();
      begin
        insert into outbox (id, name, body)
        select event_id, 'root.rotated', jsonb_build_object(
          'id', event_id,
          'name', 'root.rotated',
          'at', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
          'mount', mounts.path,
          'accountId', new.account_id,
          'requestId', new.request_id)
        from mounts where mounts.id = new.mount_id;
        return null;
      end $$;

      create trigger rotated after update of state on rotations for each row
        when (new.static_role is null and new.state = 'retiring' and old.state = 'trying')
        execute function tell_of_rotation();
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop function tell_of_rotation() cascade;
      drop table workers, rotations, static_roles;
      drop index root_configs_rotates;
      alter table root_configs drop column key_made_at, drop column rotates_at;
    `);
  }
}
