import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The policy of wrapping tokens: to open what they wrap, by the path of today or the old one. Nobody changes it. */
const responseWrapping = `path "cubbyhole/response" {
  capabilities = ["create", "read"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
`;

/**
 * The answers that are kept for the holder of a wrapping token, each sealed under a key derived from that token, and the trigger
 * that wipes one when its token ends, for whatever reason (docs/decisions/0020).
 */
export class Wrapping1764900000000 implements MigrationInterface {
  readonly name = 'Wrapping1764900000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table wrapped_answers (
        token_id       uuid primary key references tokens (id) on delete cascade,
        -- With the path that it was the answer of.
        sealed_answer  text not null
      );

      create function wipe_wrapped_answer() returns trigger language plpgsql as $$
      begin
        delete from wrapped_answers where token_id = new.id;
        return null;
      end $$;

      create trigger wrapped_answer_wiped after update of ended_at on tokens for each row
        when (old.ended_at is null and new.ended_at is not null and new.policies = '{response-wrapping}')
        execute function wipe_wrapped_answer();
    `);
    await runner.query(`insert into policies (name, rules) values ('response-wrapping', $1)`, [responseWrapping]);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop function wipe_wrapped_answer() cascade;
      drop table wrapped_answers;
      -- What they open is gone.
      update tokens set ended_at = now(), due_at = now() where ended_at is null and policies = '{response-wrapping}';
      delete from policies where name = 'response-wrapping';
    `);
  }
}
