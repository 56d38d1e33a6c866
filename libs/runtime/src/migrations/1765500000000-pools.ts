import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Pools of users that are made ahead (docs/decisions/0028). A user of a pool is a lease without a token, in the state `pooled`
 * once it is made; its secret is beside it, sealed, until it is handed out or leaves the pool for another reason.
 */
export class Pools1765500000000 implements MigrationInterface {
  readonly name = 'Pools1765500000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table leases
        alter column token_id drop not null,
        -- Since when it was in a pool; kept when it has been handed out.
        add column pooled_at timestamptz,
        drop constraint leases_state_check,
        add constraint leases_state_check
          check (state in ('issuing', 'pooled', 'offered', 'active', 'revoking', 'ended', 'irrevocable')),
        add constraint leases_nobodys_check
          check (token_id is not null
                 or credential_type = 'iam_user' and accepted_at is null and state not in ('offered', 'active')),
        add constraint leases_pooled_check
          check (state <> 'pooled' or token_id is null and pooled_at is not null and access_key_id is not null);
      create index leases_of_pools on leases (mount_id, role_name, pooled_at) where token_id is null and state <> 'ended';
      create index roles_with_pool on roles (mount_id, name) where definition ? 'poolSize';

      create table pooled_keys (
        lease_id           text collate "C" primary key references leases (id) on delete cascade,
        -- Of config/root when the user was made; 0 = nothing configured.
        config_version     bigint not null,
        sealed_secret_key  text not null
      );

      create function forget_pooled_key() returns trigger language plpgsql as $$
      begin
        delete from pooled_keys where lease_id = new.id;
        return null;
      end $$;

      create trigger pooled_key_forgotten after update of state on leases for each row
        when (old.state = 'pooled' and new.state <> 'pooled')
        execute function forget_pooled_key();
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      do $$ begin
        if exists (select 1 from leases where token_id is null and due_at is not null) then
          raise exception 'There are users of pools in AWS: write pool_size=0 to every role and wait until they are gone.';
        end if;
      end $$;
      drop function forget_pooled_key() cascade;
      drop table pooled_keys;
      drop index roles_with_pool, leases_of_pools;
      delete from leases where token_id is null;
      alter table leases
        drop constraint leases_pooled_check, drop constraint leases_nobodys_check, drop constraint leases_state_check,
        add constraint leases_state_check
          check (state in ('issuing', 'offered', 'active', 'revoking', 'ended', 'irrevocable')),
        drop column pooled_at,
        alter column token_id set not null;
    `);
  }
}
