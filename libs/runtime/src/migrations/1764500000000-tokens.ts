import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Tokens beside the root one: parents, ends, uses and roles (docs/decisions/0015).
 *
 * A token's life is its row's, as a lease's is: `due_at` says when somebody must look at it (living: when it expires; ended:
 * until children and leases have gone too), and one partial index finds what is due.
 */
export class Tokens1764500000000 implements MigrationInterface {
  readonly name = 'Tokens1764500000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table tokens
        alter column accessor drop not null,
        -- No foreign key: a row is forgotten only after its children have ended, and to check that costs an index.
        add column parent_id            uuid,
        add column type                 text not null default 'service' check (type in ('service', 'batch')),
        add column role                 text,
        add column renewable            boolean not null default false,
        add column creation_ttl_ms      double precision not null default 0,
        add column period_ms            double precision not null default 0,
        add column max_ttl_ms           double precision not null default 0,
        add column explicit_max_ttl_ms  double precision not null default 0,
        add column last_renewed_at      timestamptz,
        -- Null: any number of uses.
        add column uses_left            integer check (uses_left >= 0),
        add column bound_cidrs          text[] not null default '{}',
        add column due_at               timestamptz,
        add column forget_at            timestamptz,
        add check ((type = 'service') = (accessor is not null));

      create index tokens_due on tokens (due_at) where due_at is not null;
      create index tokens_forget on tokens (forget_at) where forget_at is not null;
      create index tokens_unsettled_children on tokens (parent_id)
        where parent_id is not null and (ended_at is null or due_at is not null);
      create index tokens_path on tokens (path text_pattern_ops) where ended_at is null;

      -- Also for those that have ended: their token is kept while they name it.
      create index leases_by_token on leases (token_id);

      -- A command that is delivered again has spent its use already.
      create table token_uses (
        command_id  uuid primary key,
        uses_left   integer not null,
        forget_at   timestamptz not null
      );
      create index token_uses_forget on token_uses (forget_at);

      create table token_roles (
        name        text collate "C" primary key,
        definition  jsonb not null
      );
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop table token_roles, token_uses;
      drop index leases_by_token, tokens_path, tokens_unsettled_children, tokens_forget, tokens_due;
      alter table tokens
        drop column parent_id, drop column type, drop column role, drop column renewable, drop column creation_ttl_ms,
        drop column period_ms, drop column max_ttl_ms, drop column explicit_max_ttl_ms, drop column last_renewed_at,
        drop column uses_left, drop column bound_cidrs, drop column due_at, drop column forget_at;
      -- What this schema knows nothing of must not live on without its limits.
      update tokens set ended_at = coalesce(ended_at, now()), accessor = coalesce(accessor, id::text)
        where path <> 'auth/token/root';
      alter table tokens alter column accessor set not null;
    `);
  }
}
