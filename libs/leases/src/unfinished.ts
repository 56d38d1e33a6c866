import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';

/**
 * Revocations that are not finished: `revoking` goes on by itself, `irrevocable` is refused by AWS and tried daily,
 * `left-behind` was forced out while AWS refused or was silent, so its user may still be there.
 */
export const unfinishedKinds = ['revoking', 'irrevocable', 'left-behind'] as const;
export type UnfinishedKind = (typeof unfinishedKinds)[number];

/** What an operator needs to know of one. */
export interface UnfinishedLease {
  id: string;
  mountAccessor: string;
  accountId: string;
  /** As AWS knows the user by now, as far as we know; null for STS credentials. */
  userName: string | null;
  /** The last four characters of the key's id; null when it was never learnt. */
  keyTail: string | null;
  error: string | null;
  /** When it is looked at next; null = never. */
  nextLookAt: Date | null;
}

/** Its condition is that of an index each. */
const conditionOf: Record<UnfinishedKind, string> = {
  revoking: `leases.state = 'revoking' and leases.state <> 'ended'`,
  irrevocable: `leases.state = 'irrevocable' and leases.state <> 'ended'`,
  'left-behind': `leases.forced and leases.state = 'ended' and leases.last_error is not null`,
};

/** Reading what revocation has not finished. */
@Injectable()
export class Unfinished {
  constructor(private readonly manager: EntityManager) {}

  /** How many there are, by the accessor of their mount. */
  async count(kind: UnfinishedKind): Promise<Record<string, number>> {
    const rows = (await this.manager.query(
      `select mounts.accessor, count(*)::int from leases join mounts on mounts.id = leases.mount_id
       where ${conditionOf[kind]} group by mounts.accessor order by mounts.accessor`,
    )) as { accessor: string; count: number }[];
    return Object.fromEntries(rows.map((row) => [row.accessor, row.count]));
  }

  /** The first of them by id; `atMost` null: all. */
  async list(kind: UnfinishedKind, atMost: number | null): Promise<UnfinishedLease[]> {
    return this.manager.query(
      `select leases.id, mounts.accessor as "mountAccessor", leases.account_id as "accountId",
         coalesce(leases.renamed_to, leases.user_name) as "userName", right(leases.access_key_id, 4) as "keyTail",
         leases.last_error as error, leases.due_at as "nextLookAt"
       from leases join mounts on mounts.id = leases.mount_id
       where ${conditionOf[kind]} order by leases.id limit $1`,
      [atMost],
    );
  }
}
