import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * A command is its token's, also before there is a lease: who else knows its id can neither withdraw it nor deliver it again.
 * Without one it was written by an earlier version, for a day.
 */
export class CommandsOfTokens1764430000000 implements MigrationInterface {
  readonly name = 'CommandsOfTokens1764430000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table commands add column token_id uuid`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table commands drop column token_id`);
  }
}
