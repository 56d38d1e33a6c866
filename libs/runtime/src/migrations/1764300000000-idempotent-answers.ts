import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The answers that are kept for who asks again under the same Idempotency-Key, and the trigger that wipes one when its
 * lease leaves the states in which somebody may have it (docs/decisions/0011).
 *
 * A row without an answer is a claim: its command is at work on one. Neither token nor key is in it, and the answer is
 * sealed under a key derived from both.
 */
export class IdempotentAnswers1764300000000 implements MigrationInterface {
  readonly name = 'IdempotentAnswers1764300000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table idempotent_answers (
        -- Keyed hashes: of token, path and key; of the body.
        id             bytea primary key,
        body_hash      bytea not null,
        -- Who makes the answer: the command, and which delivery of it.
        command_id     uuid not null,
        claim_id       uuid not null,
        lease_id       text,
        sealed_answer  text,
        -- The commands whose askers have accepted the lease and are not known to have lost it.
        holders        uuid[] not null default '{}',
        -- From then on the row is as good as not there.
        ends_at        timestamptz not null,
        check ((lease_id is null) = (sealed_answer is null))
      );
      create index idempotent_answers_lease on idempotent_answers (lease_id) where lease_id is not null;
      create index idempotent_answers_ends_at on idempotent_answers (ends_at);

      create function wipe_idempotent_answer() returns trigger language plpgsql as $$
      begin
        delete from idempotent_answers where lease_id = new.id;
        return null;
      end $$;

      create trigger answer_wiped after update of state on leases for each row
        when (old.state in ('offered', 'active') and new.state not in ('offered', 'active'))
        execute function wipe_idempotent_answer();
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop function wipe_idempotent_answer() cascade;
      drop table idempotent_answers;
    `);
  }
}
