import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Users of an account that are no lease's, as AWS told when it was last asked (docs/decisions/0013). */
export class ForeignUsers1764411000000 implements MigrationInterface {
  readonly name = 'ForeignUsers1764411000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table aws_accounts
        add column foreign_users  integer not null default 0,
        -- Users that the account may have; null = AWS does not tell.
        add column quota          integer,
        -- When AWS last told; null = it does not.
        add column counted_at     timestamptz,
        -- When AWS is to be asked again; null = it was never asked.
        add column count_due_at   timestamptz;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table aws_accounts
        drop column foreign_users, drop column quota, drop column counted_at, drop column count_due_at;
    `);
  }
}
