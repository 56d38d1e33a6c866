import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Terms of the keyring's keys, and whether the system is sealed (docs/decisions/0018).
 *
 * A build that knows no terms makes rows of the first one, which is what they are.
 */
export class Sealing1764700000000 implements MigrationInterface {
  readonly name = 'Sealing1764700000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table keyring add column term integer not null default 1;
      create unique index keyring_term on keyring (purpose, term);

      create table seal (
        the_only_row  boolean primary key default true check (the_only_row),
        sealed_at     timestamptz
      );
      insert into seal default values;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop table seal;
      alter table keyring drop column term;
    `);
  }
}
