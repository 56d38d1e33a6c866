import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';

/** Tokens that are looked at in one statement, so that no sweep holds many locks for long. */
const batch = 500;

/** Ended, and what it leaves behind is not seen to yet. */
const isUnsettled = `(ended_at is null or due_at is not null)`;

/**
 * The ends of tokens: who ends, and whose end is not seen to yet. Marking ends a whole tree at once and is committed before
 * anything is taken back; what then died half way is due, and the next look finds it.
 */
@Injectable()
export class TokenEnds {
  constructor(private readonly manager: EntityManager) {}

  /** Ends these tokens and all below them. @returns all that were ended by it. */
  async markTrees(tokenIds: string[]): Promise<string[]> {
    // Always locked in the order of their ids: two trees that meet do not wait for each other.
    return this.mark(`select unnest($1::uuid[]) as id`, [tokenIds], 'for no key update');
  }

  /** Ends every token whose time or last use is over, and all below it. @returns how many were found. */
  async markDue(): Promise<number> {
    // What somebody else holds is ended by them, or found by the next look.
    const due = `select id from tokens where due_at <= now() and ended_at is null order by due_at limit ${batch}
      for no key update skip locked`;
    return (await this.mark(due, [], 'for no key update skip locked')).length;
  }

  /** Ends a token alone: its children live on as orphans. @returns whether it was living. */
  async markOrphaning(tokenId: string): Promise<boolean> {
    return this.manager.transaction(async (manager) => {
      // Whoever makes a child of it now waits, and is refused; whoever did has committed.
      await manager.query(`select 1 from tokens where id = $1 for no key update`, [tokenId]);
      await manager.query(`update tokens set parent_id = null where parent_id = $1 and ${isUnsettled}`, [tokenId]);
      const ended = (await manager.query(
        `with ended as (update tokens set ended_at = now(), due_at = now() where id = $1 and ended_at is null returning 1)
         select 1 from ended`,
        [tokenId],
      )) as unknown[];
      return ended.length > 0;
    });
  }

  /** Ids of living tokens that were made at this API path or below it. */
  async madeAt(path: string): Promise<string[]> {
    return this.ids(`select id from tokens where ended_at is null and (path = $1 or path like $2)`, [
      path,
      `${path.replaceAll(/[\\%_]/g, String.raw`\$&`)}/%`,
    ]);
  }

  /** Of these ended tokens, or of all: those below which a child was born while they were being ended. */
  async livingChildrenOf(tokenIds: string[] | null): Promise<string[]> {
    return this.ids(
      `select child.id from tokens parent join tokens child on child.parent_id = parent.id and child.ended_at is null
       where parent.ended_at is not null and parent.due_at is not null and ($1::uuid[] is null or parent.id = any($1))
       limit ${batch}`,
      [tokenIds],
    );
  }

  /** Of these, or of all: ended tokens that are not seen to yet, though everything below them is. */
  async next(tokenIds: string[] | null): Promise<string[]> {
    return this.ids(
      `select id from tokens where ended_at is not null and due_at <= now() and ($1::uuid[] is null or id = any($1))
         and not exists (select 1 from tokens child where child.parent_id = tokens.id and child.parent_id is not null
           and (child.ended_at is null or child.due_at is not null))
       order by due_at limit ${batch}`,
      [tokenIds],
    );
  }

  /** Notes that nothing of these ended tokens is left to take back; they are forgotten at the earliest in so long. */
  async settled(tokenIds: string[], keptMs: number): Promise<void> {
    await this.manager.query(
      `update tokens set due_at = null, forget_at = now() + $2 * interval '1 ms'
       where id = any($1) and ended_at is not null and due_at is not null`,
      [tokenIds, keptMs],
    );
  }

  /** Milliseconds until the next token is due, 0 when one is; null when none will be. */
  async nextDueMs(): Promise<number | null> {
    const [next] = (await this.manager.query(
      `select extract(epoch from min(due_at) - now())::float8 * 1000 as ms from tokens where due_at is not null`,
    )) as { ms: number | null }[];
    return next!.ms === null ? null : Math.max(0, next!.ms);
  }

  private async mark(roots: string, values: unknown[], lock: string): Promise<string[]> {
    return this.ids(
      `with recursive roots as materialized (${roots}), tree as (
         select id from roots
         union
         select child.id from tokens child join tree on child.parent_id = tree.id where child.ended_at is null
       ), locked as materialized (
         select id from tokens where id in (select id from tree) and ended_at is null order by id ${lock}
       ), ended as (
         update tokens set ended_at = now(), due_at = now() from locked where tokens.id = locked.id returning tokens.id
       ) select id from ended`,
      values,
    );
  }

  private async ids(sql: string, values: unknown[]): Promise<string[]> {
    const rows = (await this.manager.query(sql, values)) as { id: string }[];
    return rows.map((row) => row.id);
  }
}
