import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { InvalidRequest } from '#libs/contracts';
import { EntityManager, IsNull } from 'typeorm';
import { Mount } from './mount.entity.js';
import { longestPathBytes, protectedPrefixes, reservePath } from './mounts.js';

/** A move of a mount, under way or over. */
export interface Move {
  id: string;
  from: string;
  to: string;
  state: 'in-progress' | 'success' | 'failure';
  /** Why it was given up. */
  error: string | null;
}

/** How long it is told what became of a move, days. */
const rememberedDays = 30;

/**
 * Moves of mounts to other paths. A mount that is being moved is tainted: nothing is issued from it and what it has lent is being
 * taken back, as when it is taken down. Then it has its new path in one commit, with all that is kept under its id; or, where
 * AWS does not let a lease go, it stays where it was and serves again. Paths carry their closing slash.
 */
@Injectable()
export class Moves {
  constructor(private readonly manager: EntityManager) {}

  /**
   * Begins a move: from this commit on nothing is issued from the mount, and nobody else is given its new path.
   * @throws InvalidRequest with the texts of contract.md 3.1.
   */
  async begin(from: string, to: string): Promise<{ id: string; mountId: string }> {
    if (protectedPrefixes.some((prefix) => from.startsWith(prefix))) {
      throw new InvalidRequest(`cannot remount "${from}"`);
    }
    if (protectedPrefixes.some((prefix) => to.startsWith(prefix))) {
      throw new InvalidRequest(`cannot remount to destination ${to}`);
    }
    if (Buffer.byteLength(to) > longestPathBytes) {
      throw new InvalidRequest(`mount path is longer than ${longestPathBytes} bytes`);
    }
    return this.manager.transaction(async (manager) => {
      const clash = await reservePath(manager, to);
      const mount = await manager.findOne(Mount, {
        where: { path: from, removedAt: IsNull() },
        lock: { mode: 'pessimistic_write' },
      });
      if (!mount) throw new InvalidRequest(`no matching mount at "${from}"`);
      if (mount.taintedAt) {
        throw new InvalidRequest(`the mount at "${from}" is being moved or taken down; ask again when that is over`);
      }
      if (clash !== undefined) throw new InvalidRequest(`path already in use at "${clash}"`);
      const id = randomUUID();
      await manager.query(`insert into mount_moves (id, mount_id, from_path, to_path) values ($1, $2, $3, $4)`, [
        id,
        mount.id,
        from,
        to,
      ]);
      await manager.query(`update mounts set tainted_at = now() where id = $1`, [mount.id]);
      return { id, mountId: mount.id };
    });
  }

  /** Notes that all leases of the mount were asked back: from now on one that AWS does not let go ends the move. */
  async noteAsked(id: string): Promise<void> {
    await this.manager.query(`update mount_moves set asked_at = now() where id = $1`, [id]);
  }

  /**
   * Ends every move that can end: of a mount that nothing lent by is left of, by giving it its new path; of one with a lease that
   * AWS does not let go, by giving it up. Any number of processes may do so at once.
   * @returns what has ended.
   */
  async finish(): Promise<Move[]> {
    const moved = (await this.manager.query(
      `with ready as (
         select id from mounts
         where tainted_at is not null and removed_at is null
           and exists (select 1 from mount_moves where mount_id = mounts.id and state = 'in-progress')
           -- Whoever has been given nothing yet is rolled back at leisure; until that has begun, it might still be accepted.
           and not exists (
             select 1 from leases where mount_id = mounts.id and state <> 'ended'
               and (accepted_at is not null or state in ('issuing', 'pooled', 'offered', 'active')))
         for update skip locked
       ), done as (
         update mount_moves set state = 'success', ended_at = now() from ready
         where mount_id = ready.id and state = 'in-progress'
         returning mount_moves.id, mount_id, from_path, to_path, state, error
       ), moved as (
         -- Whatever was read of it before has its version of now, or an earlier one.
         update mounts set path = to_path, tainted_at = null, version = nextval('definition_versions'),
           path_version = mounts.version + 1
         from done where mounts.id = mount_id
       ) select id, from_path as "from", to_path as "to", state, error from done`,
    )) as Move[];
    const givenUp = (await this.manager.query(
      `with stuck as (
         select mounts.id, lease.id as lease_id, lease.last_error from mounts cross join lateral (
           select id, last_error from leases
           where mount_id = mounts.id and state = 'irrevocable' and state <> 'ended' and accepted_at is not null
           order by id limit 1
         ) lease
         where tainted_at is not null and removed_at is null
           -- Or whoever has begun it has died before that.
           and exists (select 1 from mount_moves where mount_id = mounts.id and state = 'in-progress'
                         and (asked_at is not null or began_at < now() - interval '1 minute'))
         for update of mounts skip locked
       ), done as (
         update mount_moves set state = 'failure', ended_at = now(),
           error = format('AWS does not let go of "%s": %s', lease_id, last_error)
         from stuck where mount_id = stuck.id and state = 'in-progress'
         returning mount_moves.id, mount_id, from_path, to_path, state, error
       ), back as (
         update mounts set tainted_at = null from done where mounts.id = mount_id
       ) select id, from_path as "from", to_path as "to", state, error from done`,
    )) as Move[];
    return [...moved, ...givenUp];
  }

  async find(id: string): Promise<Move | null> {
    const [move] = (await this.manager.query(
      `select id, from_path as "from", to_path as "to", state, error from mount_moves where id::text = $1`,
      [id],
    )) as Move[];
    return move ?? null;
  }

  /** Forgets what ended long ago. */
  async forget(): Promise<void> {
    await this.manager.query(`delete from mount_moves where ended_at < now() - $1 * interval '1 day'`, [
      rememberedDays,
    ]);
  }
}
