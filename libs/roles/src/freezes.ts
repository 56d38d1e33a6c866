import { Injectable } from '@nestjs/common';
import { tokenIsAlive } from '#libs/access';
import { InvalidRequest } from '#libs/contracts';
import { EntityManager } from 'typeorm';

/** What issuing may be frozen for: all of a mount, by its path with the closing slash, a role of it, or a token. */
export type Freezable = { mount: string; role?: string } | { accessor: string };

/** A freeze as it is listed. */
export interface Freeze {
  what: Freezable;
  /** '' where none was given. */
  reason: string;
  since: Date;
}

/** Every caller who is refused is shown it. */
const longestReason = 500;

/**
 * The condition of a freeze that holds for an issue, for the `where` of a query on `freezes`. One of a token holds for all that
 * come from it: its holder could go on by a token of its own making.
 */
export function freezes(mountId: string, roleName: string, tokenId: string): string {
  return `(freezes.token_id in (
      with recursive line as (
        select id, parent_id from tokens where id = ${tokenId}
        union all select above.id, above.parent_id from tokens above join line on above.id = line.parent_id
      ) select id from line)
    or freezes.mount_id = ${mountId} and (freezes.role_name is null or freezes.role_name = ${roleName}))`;
}

/**
 * What an operator has frozen: nothing is issued for it, while its leases are renewed, looked up and taken back as ever. A role
 * is frozen by its name, so that one which is deleted and written anew is still frozen; freezes of a mount end with it.
 */
@Injectable()
export class Freezes {
  constructor(private readonly manager: EntityManager) {}

  /**
   * From this commit on no intent is opened; what was begun before it is still handed over. Frozen again, the new reason
   * is in force, and it is frozen since the first time.
   * @throws InvalidRequest when there is no such mount, role or living token, or the reason is too long.
   */
  async freeze(what: Freezable, reason: string): Promise<void> {
    if (reason.length > longestReason) {
      throw new InvalidRequest(`The reason is longer than ${longestReason} characters; nothing was frozen.`);
    }
    const frozen = (await this.manager.query(
      `insert into freezes (mount_id, role_name, token_id, reason)
       select mount_id, role_name, token_id, $3 from (${subjectOf(what)}) subject where is_there
       on conflict (mount_id, role_name, token_id) do update set reason = excluded.reason returning 1`,
      [...namesOf(what), reason],
    )) as unknown[];
    if (frozen.length === 0) throw new InvalidRequest(`There is no ${wordsFor(what)}; nothing was frozen.`);
  }

  /**
   * Lets it be issued again, unless a freeze of the whole mount, of its role or of the token goes on.
   * @throws InvalidRequest when it is not frozen.
   */
  async lift(what: Freezable): Promise<void> {
    const [, lifted] = (await this.manager.query(
      `delete from freezes using (${subjectOf(what)}) subject
       where (freezes.mount_id, freezes.role_name, freezes.token_id)
         is not distinct from (subject.mount_id, subject.role_name, subject.token_id)`,
      namesOf(what),
    )) as [unknown, number];
    if (lifted === 0) throw new InvalidRequest(`The ${wordsFor(what)} is not frozen; nothing was lifted.`);
  }

  /** All that are in force: mounts and roles by path and name, then tokens. */
  async list(): Promise<Freeze[]> {
    const rows = (await this.manager.query(
      `select mounts.path as mount, role_name as role, tokens.accessor, reason, since
       from freezes left join mounts on mounts.id = mount_id left join tokens on tokens.id = token_id
       where removed_at is null
       order by mounts.path, role_name nulls first, since`,
    )) as { mount: string | null; role: string | null; accessor: string; reason: string; since: Date }[];
    return rows.map(({ mount, role, accessor, reason, since }) => ({
      what: mount === null ? { accessor } : { mount, role: role ?? undefined },
      reason,
      since,
    }));
  }
}

/** The query for the row of `freezes` that `what` names, its names in $1 and $2, and whether there is such a thing now. */
function subjectOf(what: Freezable): string {
  if ('accessor' in what) {
    return `select null::uuid as mount_id, $2::text as role_name, id as token_id, ${tokenIsAlive} as is_there
            from tokens where accessor = $1`;
  }
  return `select id as mount_id, $2::text as role_name, null::uuid as token_id,
            $2::text is null or exists (select 1 from roles where mount_id = mounts.id and name = $2) as is_there
          from mounts where path = $1 and removed_at is null`;
}

function namesOf(what: Freezable): [string, string | null] {
  return 'accessor' in what ? [what.accessor, null] : [what.mount, what.role ?? null];
}

/** Not the accessor: who mistakes a token for it shall not find it in an error. */
function wordsFor(what: Freezable): string {
  if ('accessor' in what) return 'token with this accessor';
  return what.role === undefined ? `mount "${what.mount}"` : `role "${what.role}" in "${what.mount}"`;
}
