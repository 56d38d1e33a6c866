import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Leases of the credential type `session_token`; and who a version of `config/root` was seen to be. */
export class SessionTokens1765000000000 implements MigrationInterface {
  readonly name = 'SessionTokens1765000000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table leases
        drop constraint leases_credential_type_check,
        add constraint leases_credential_type_check
          check (credential_type in ('iam_user', 'assumed_role', 'federation_token', 'session_token'));
      alter table root_configs add column identity_arn text;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      delete from leases where credential_type = 'session_token';
      alter table leases
        drop constraint leases_credential_type_check,
        add constraint leases_credential_type_check
          check (credential_type in ('iam_user', 'assumed_role', 'federation_token'));
      alter table root_configs drop column identity_arn;
    `);
  }
}
