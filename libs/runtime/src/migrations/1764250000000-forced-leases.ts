import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The few leases that an operator forced out are found among all that have ended: what they left in AWS is listed. */
export class ForcedLeases1764250000000 implements MigrationInterface {
  readonly name = 'ForcedLeases1764250000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`create index leases_forced on leases (id) where forced`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`drop index leases_forced`);
  }
}
