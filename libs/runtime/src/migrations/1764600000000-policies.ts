import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The policies, and the one that every token has unless it is told otherwise (docs/decisions/0016). */
export class Policies1764600000000 implements MigrationInterface {
  readonly name = 'Policies1764600000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table policies (
        name         text collate "C" primary key,
        rules        text not null,
        -- On the one number line of all definitions: one that was deleted and written again never repeats a version.
        version      bigint not null default nextval('definition_versions'),
        modified_at  timestamptz not null default now()
      );
    `);
    await runner.query(`insert into policies (name, rules) values ('default', $1)`, [defaultPolicy]);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`drop table policies`);
  }
}

const defaultPolicy = `# What every token may do, unless it was made without this policy.

# Look itself up, renew itself, end itself.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# Ask what it may do.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "sys/internal/ui/resultant-acl" {
  capabilities = ["read"]
}

# Look up and renew the leases whose ids it knows.
path "sys/renew" {
  capabilities = ["update"]
}
path "sys/leases/renew" {
  capabilities = ["update"]
}
path "sys/leases/lookup" {
  capabilities = ["update"]
}

# Keep what is its own.
path "cubbyhole/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# Wrap answers, and open those that were wrapped for it.
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}
path "sys/wrapping/lookup" {
  capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}

# Hash what it sends.
path "sys/tools/hash" {
  capabilities = ["update"]
}
path "sys/tools/hash/*" {
  capabilities = ["update"]
}
`;
