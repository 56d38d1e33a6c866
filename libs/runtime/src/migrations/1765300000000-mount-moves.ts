import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Moves of mounts to other paths (docs/decisions/0026). */
export class MountMoves1765300000000 implements MigrationInterface {
  readonly name = 'MountMoves1765300000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- The least version that the mount has at this path: what was ordered by an earlier one is of its old path.
      alter table mounts add column path_version bigint not null default 0;

      create table mount_moves (
        id         uuid primary key,
        mount_id   uuid not null references mounts (id),
        from_path  text collate "C" not null,
        to_path    text collate "C" not null check (to_path like '%/'),
        state      text not null default 'in-progress' check (state in ('in-progress', 'success', 'failure')),
        error      text,
        began_at   timestamptz not null default now(),
        -- When its leases had been asked back.
        asked_at   timestamptz,
        ended_at   timestamptz
      );
      create unique index mount_moves_under_way on mount_moves (mount_id) where state = 'in-progress';
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- To who knows no moves a tainted mount is one that was taken down, whose roles and keys go with its last lease.
      update mounts set tainted_at = null from mount_moves
      where mount_moves.mount_id = mounts.id and state = 'in-progress';
      drop table mount_moves;
      alter table mounts drop column path_version;
    `);
  }
}
