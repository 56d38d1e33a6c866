import { notSealed, tokenIsAlive } from '#libs/access';
import { NoRoute, OverBudget, PermissionDenied, Sealed } from '#libs/contracts';
import { freezes } from '#libs/roles';
import { recordset } from '#libs/runtime';
import type { EntityManager } from 'typeorm';
import { placesLeft } from './foreign-users.js';

/**
 * What a lease is opened under: the system is not sealed, token and mount are alive, nothing is frozen, no limit is reached and
 * its account has a place. The conditions are parts of the very statements that open it, so that nothing comes between.
 */

/** Who asks for a lease of what, as far as limits and freezes are concerned. */
export interface Asker {
  mountId: string;
  /** As it was when the order was read: what was ordered under an earlier path of the mount is not opened. */
  mountVersion: string;
  roleName: string;
  tokenId: string;
  /** Whether role and token have a limit to their leases; those that have none cost no lock and no count. */
  limited: { role: boolean; token: boolean };
}

/** What a lease is opened with: the definitions it was issued under, and who asked. */
export interface Opening extends Asker {
  leaseId: string;
  commandId: string;
  roleVersion: string;
  rootVersion: string;
  accountId: string;
  requestId: string;
}

/** Which account a user is wanted in, and how many users leases may have there. */
interface AskedPlace {
  accountId: string;
  usersPerAccount: number;
}

/** Neither gone nor going, and at the path that it had in the version that was read. */
export const mountIsAlive = (version: string) =>
  `(tainted_at is null and removed_at is null and path_version <= ${version}::bigint)`;

/** The columns that every opening has. */
const askedColumns = `command_id uuid, lease_id text, token_id uuid, mount_id uuid, mount_version bigint, role_name text,
  role_version bigint, root_version bigint, account_id text, request_id text`;

/** The relation `asked` of a statement that opens leases: those it is to open, `nth` in their order. $1: `askedValues`. */
export function asked(moreColumns: string): string {
  const columns = `${askedColumns}, ${moreColumns}`;
  const names = columns.split(',').map((column) => column.trim().split(' ')[0]!);
  return `asked as (
    select * from rows from (jsonb_to_recordset($1) as (${columns})) with ordinality as given (${names.join(', ')}, nth)
  )`;
}

/** The value that `asked` reads: each opening with its further columns. */
export function askedValues(openings: [opening: Opening, more: Record<string, unknown>][]): string {
  return recordset(
    openings.map(([opening, more]) => ({
      command_id: opening.commandId,
      lease_id: opening.leaseId,
      token_id: opening.tokenId,
      mount_id: opening.mountId,
      mount_version: opening.mountVersion,
      role_name: opening.roleName,
      role_version: opening.roleVersion,
      root_version: opening.rootVersion,
      account_id: opening.accountId,
      request_id: opening.requestId,
      ...more,
    })),
  );
}

/** Foreign users of an account, and how many users it may have; null = AWS does not tell. */
export interface Users {
  foreignUsers: number;
  quota: number | null;
}

/**
 * The relation `taken`: those of `allowed` that have a place for another user in their account, which is locked, so that the
 * next one who asks waits until their intents are counted. Nobody has one where AWS has yet to be asked who else has users.
 */
export const taken = `accounts as (
    select id, users, foreign_users, quota, count_due_at from aws_accounts
    where id in (select account_id from allowed) order by id for update
  ), taken as (
    select a.*, count_due_at
    from (select *, row_number() over (partition by account_id order by nth) as turn from allowed) a
    join accounts on accounts.id = a.account_id
    where count_due_at is not null and turn <= ${placesLeft('a.users_per_account')}
  )`;

/** Those of `asked` whose token and mount are alive, and for whom nothing is frozen and no limit is reached. */
export function allowed(underLimits: boolean): string {
  const [mountId, roleName, tokenId] = ['a.mount_id', 'a.role_name', 'a.token_id'] as const;
  const limits = `and not exists (select 1 from (${limitsOf(mountId, roleName, tokenId)}) limits where used >= most)`;
  return `select a.* from asked a
    where exists (select 1 from tokens where id = ${tokenId} and ${tokenIsAlive})
      and exists (select 1 from mounts where id = ${mountId} and ${mountIsAlive('a.mount_version')}) and ${notSealed}
      and not exists (select 1 from freezes where ${freezes(mountId, roleName, tokenId)})
      ${underLimits ? limits : ''}`;
}

/** Whether role or token have a limit, so that what is opened for them must be counted one by one. */
export function isLimited({ limited }: Asker): boolean {
  return limited.role || limited.token;
}

/** Role and token where they have a limit, with it and how many leases count against it; no more are counted than that. */
function limitsOf(mountId: string, roleName: string, tokenId: string): string {
  const used = (whose: string) =>
    `(select count(*) from (
      select 1 from leases where ${whose} and token_id is not null and state <> 'ended' limit most) counted) as used`;
  return `
    select 'role' as kind, most, ${used(`mount_id = ${mountId} and role_name = ${roleName}`)}
    from (select (definition ->> 'maxLeases')::integer as most from roles
          where mount_id = ${mountId} and name = ${roleName}) role where most > 0
    union all
    select 'token', most, ${used(`token_id = ${tokenId}`)}
    from (select max_leases as most from tokens where id = ${tokenId}) token where most > 0`;
}

/**
 * Locks role and token where they have a limit, in this order, so that what a statement after it counts is what there is. A
 * lock that leaves alone those who only refer to the row, as every new lease does.
 */
export async function lockLimits(
  manager: EntityManager,
  { mountId, roleName, tokenId, limited }: Asker,
): Promise<void> {
  if (limited.role) {
    await manager.query(`select 1 from roles where mount_id = $1 and name = $2 for no key update`, [mountId, roleName]);
  }
  if (limited.token) await manager.query(`select 1 from tokens where id = $1 for no key update`, [tokenId]);
}

/** What is lent ends all the time: soon is a good time to ask again. */
const placeWithinSeconds = 10;

/** What an operator has frozen takes longer. */
const thawWithinSeconds = 60;

export function noPlace({ accountId, usersPerAccount }: AskedPlace, { foreignUsers, quota }: Users): OverBudget {
  const most = quota === null ? usersPerAccount : Math.min(quota, foreignUsers + usersPerAccount);
  const foreign = foreignUsers > 0 ? `, ${foreignUsers} of them by users that are not leases'` : '';
  return new OverBudget(
    'users',
    `AWS account ${accountId} has no place for another IAM user: it may have ${most}, and they are all taken${foreign}; ` +
      'try again when a lease has ended.',
    placeWithinSeconds,
  );
}

/** Refuses when the system is sealed, token or mount have ended, issuing is frozen or a limit is reached, and says which of them. */
export async function requireAllowed(
  manager: EntityManager,
  { mountId, mountVersion, roleName, tokenId }: Asker,
): Promise<void> {
  const [found] = (await manager.query(
    `select ${notSealed} as open, exists (select 1 from tokens where id = $3 and ${tokenIsAlive}) as token,
       exists (select 1 from mounts where id = $1 and ${mountIsAlive('$4')}) as mount,
       (select path from mounts where id = $1) as path,
       (select json_build_object('ofToken', token_id, 'ofRole', role_name is not null, 'reason', reason,
          'since', to_char(since at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
        from freezes where ${freezes('$1', '$2', '$3')} order by token_id nulls first, role_name nulls first limit 1) as freeze,
       (select json_build_object('kind', kind, 'most', most)
        from (${limitsOf('$1', '$2', '$3')}) limits where used >= most limit 1) as "limit"`,
    [mountId, roleName, tokenId, mountVersion],
  )) as {
    open: boolean;
    token: boolean;
    mount: boolean;
    path: string;
    freeze: { ofToken: string | null; ofRole: boolean; reason: string; since: string } | null;
    limit: { kind: 'role' | 'token'; most: number } | null;
  }[];
  const { open, token, mount, path, freeze, limit } = found!;
  if (!open) throw new Sealed();
  if (!token) throw new PermissionDenied();
  if (!mount) throw new NoRoute(`no handler for route "${path}". route entry or namespace is tainted.`);
  if (freeze) {
    const ofToken = freeze.ofToken === tokenId ? 'this token' : 'a token that this one comes from';
    const what = freeze.ofToken ? ofToken : freeze.ofRole ? `role "${roleName}" of "${path}"` : `mount "${path}"`;
    const why = freeze.reason === '' ? '' : ` (${freeze.reason})`;
    throw new OverBudget(
      'frozen',
      `An operator has frozen issuing for ${what} at ${freeze.since}${why}; ask for it to be lifted, or try again later.`,
      thawWithinSeconds,
    );
  }
  if (limit) {
    const what = limit.kind === 'token' ? 'This token' : `Role "${roleName}" of "${path}"`;
    throw new OverBudget(
      limit.kind,
      `${what} has as many leases as it may have at once (max_leases ${limit.most}); revoke one that is not needed, or try ` +
        'again when one has ended.',
      placeWithinSeconds,
    );
  }
}
