import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * A use is known again by token, command and what the command asks for: an id is chosen by who sends it, and two senders, or
 * two commands, may choose the same.
 */
export class Uses1764950000000 implements MigrationInterface {
  readonly name = 'Uses1764950000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      delete from token_uses;
      alter table token_uses drop column command_id, add column use bytea primary key;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      delete from token_uses;
      alter table token_uses drop column use, add column command_id uuid primary key;
    `);
  }
}
