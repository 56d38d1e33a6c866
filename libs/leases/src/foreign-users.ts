import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';

/** What AWS said of an account: how many users it has, and may have where it tells that. */
export interface CountedUsers {
  users: number;
  quota: number | null;
}

/** How a count went: what AWS said, that it may not be asked, or that it gave no answer. */
export type Count = CountedUsers | 'not allowed' | 'no answer';

/** Until AWS is asked again, in seconds, by how it answered. */
const againSeconds = { counted: 300, 'not allowed': 3600, 'no answer': 60 };

/** How long somebody who has claimed a count has for it, in seconds. */
const claimSeconds = 15;

/** A count that turned out wrong is made again when it is older, in seconds. */
const correctedSeconds = 10;

/** What was made so shortly before AWS counted may be missing in its count, milliseconds. */
const lagMs = 10_000;

/** How many more users fit, of a row of `aws_accounts`; `usersPerAccount`: the placeholder of how many leases may have. */
export function placesLeft(usersPerAccount: string): string {
  return `least(${usersPerAccount}::integer - users, coalesce(quota, ${usersPerAccount}::integer) - users - foreign_users)`;
}

/**
 * The users of an account that are no living lease's: who else works in it, and what leases that were dropped by force left
 * there. They take places as well (docs/decisions/0013).
 *
 * They are the users that AWS counts less those of leases that surely exist there: offered or active since before the
 * count, and still. So a user that is just being made or taken back counts twice until the next count, and rather
 * too few are lent than too many; holders who remove their own users hide as many foreign ones.
 */
@Injectable()
export class ForeignUsers {
  constructor(private readonly manager: EntityManager) {}

  /** How many more users the account takes that takes the fewest. */
  async fewestPlacesLeft(usersPerAccount: number): Promise<number> {
    const [row] = (await this.manager.query(
      `select coalesce(min(${placesLeft('$1')}), $1::integer) as places from aws_accounts`,
      [usersPerAccount],
    )) as { places: number }[];
    return row!.places;
  }

  /** Whether a first count of the account is recorded, however it went. */
  async isRecorded(accountId: string): Promise<boolean> {
    const found = (await this.manager.query(`select 1 from aws_accounts where id = $1 and count_due_at is not null`, [
      accountId,
    ])) as unknown[];
    return found.length > 0;
  }

  /**
   * Takes it upon the asker to count an account again, so that of all processes one does; false when it is not due, or another
   * one is at it. `isWrong`: AWS has shown that the count is wrong, so it is due at once, unless AWS does not tell.
   */
  async claim(accountId: string, isWrong: boolean): Promise<boolean> {
    const [, claimed] = (await this.manager.query(
      `update aws_accounts set count_due_at = now() + $3 * interval '1 s'
       where id = $1 and (count_due_at <= now() or
         $2 and counted_at < now() - $4 * interval '1 s' and count_due_at > now() + $3 * interval '1 s')`,
      [accountId, isWrong, claimSeconds, correctedSeconds],
    )) as [unknown, number];
    return claimed > 0;
  }

  /**
   * Records a count. Of several first counts the first is kept: nothing was made before it, so it is exact. What one mount's root
   * credentials may not ask, another's of the same account may: a count is given up when nobody could repeat it for an hour.
   * @param tookMs time since before AWS was asked, in milliseconds.
   * @param isFirst whether the account was never counted before; else the count was claimed.
   */
  async note(accountId: string, count: Count, tookMs: number, isFirst: boolean): Promise<void> {
    const [outcome, { users, quota }] =
      typeof count === 'string' ? [count, { users: 0, quota: null }] : (['counted', count] as const);
    const keep = `($5 <> 'counted' and coalesce(a.counted_at > now() - interval '1 hour', false))`;
    await this.manager.query(
      `insert into aws_accounts as a (id, foreign_users, quota, counted_at, count_due_at)
       select $1,
         greatest(0, $2::integer - (
           select count(*) from leases where account_id = $1 and credential_type = 'iam_user'
             and state in ('pooled', 'offered', 'active') and coalesce(pooled_at, issued_at) < now() - $4 * interval '1 ms'))::integer,
         $3::integer, case when $5 = 'counted' then now() end, now() + $6 * interval '1 s'
       on conflict (id) do update set
         foreign_users = case when ${keep} then a.foreign_users else excluded.foreign_users end,
         quota = case when ${keep} then a.quota else excluded.quota end,
         counted_at = case when ${keep} then a.counted_at else excluded.counted_at end,
         count_due_at = least(excluded.count_due_at, case when ${keep} then now() + $7 * interval '1 s' end)
       where (a.count_due_at is null) = $8`,
      [accountId, users, quota, tookMs + lagMs, outcome, againSeconds[outcome], againSeconds.counted, isFirst],
    );
  }
}
