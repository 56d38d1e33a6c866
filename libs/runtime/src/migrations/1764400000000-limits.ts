import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * IAM users per account, counted in the transaction of every change to a lease, so that the count never drifts from the rows
 * that it is of (docs/decisions/0013).
 */
export class Limits1764400000000 implements MigrationInterface {
  readonly name = 'Limits1764400000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table aws_accounts (
        id     text primary key,
        -- Users of leases that have not ended.
        users  integer not null default 0
      );
      insert into aws_accounts (id, users)
        select account_id, count(*) from leases where credential_type = 'iam_user' and state <> 'ended' group by account_id;

      create function count_user() returns trigger language plpgsql as $$
      begin
        insert into aws_accounts (id, users) values (coalesce(new.account_id, old.account_id), tg_argv[0]::integer)
          on conflict (id) do update set users = aws_accounts.users + excluded.users;
        return null;
      end $$;

      create trigger user_intended after insert on leases for each row
        when (new.credential_type = 'iam_user' and new.state <> 'ended')
        execute function count_user('1');
      create trigger user_gone after update of state on leases for each row
        when (new.credential_type = 'iam_user' and new.state = 'ended' and old.state <> 'ended')
        execute function count_user('-1');
      create trigger user_found_again after update of state on leases for each row
        when (new.credential_type = 'iam_user' and new.state <> 'ended' and old.state = 'ended')
        execute function count_user('1');
      create trigger user_forgotten after delete on leases for each row
        when (old.credential_type = 'iam_user' and old.state <> 'ended')
        execute function count_user('-1');
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop function count_user() cascade;
      drop table aws_accounts;
    `);
  }
}
