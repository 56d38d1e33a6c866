import type { Caller } from '#libs/access';
import type { Fence } from '#libs/aws';
import type { CredentialType, IssueLeaseReply, TryRoleRequest } from '#libs/contracts';
import { type Asker, type KeptAnswer, newLeaseId, type Opening, type Ttl, ttl } from '#libs/leases';
import type { Mount, OpenedRootConfig, Role } from '#libs/roles';
import type { Acting } from './acting-identity.js';

/** Until when, and how an order is answered. */
export interface Bounds {
  /** Closes when the caller stops waiting. */
  fence: Fence;
  /** Closes when whoever has waited longest in the queue must be answered at the latest. */
  answerBy: Fence;
  /** Seals the answer for who asks again; absent without an idempotency key. */
  seal?: Seal;
}

/** A command with everything it names, read once: who asks for what, until when. */
export interface Asked extends Bounds {
  command: TryRoleRequest;
  caller: Caller;
  mount: Mount;
  /** As it is for this caller. */
  role: Role;
  credentialType: CredentialType;
  openRoot(): Promise<OpenedRootConfig>;
  /** Whether the answer waits until AWS accepts the key of an IAM user. */
  ready: boolean;
}

/** The same with who asks AWS for it. */
export interface Order extends Acting, Asked {
  root: OpenedRootConfig;
}

/** Whether users are made ahead for it: their leases are named after the path of users. */
export function hasPool({ command, role, credentialType }: Asked): boolean {
  return !!role.definition.poolSize && credentialType === 'iam_user' && command.door === 'creds';
}

/** What was made, and for whom; how long it lives is on its row. */
export type Made = Omit<IssueLeaseReply, 'leaseDuration' | 'stsTtl' | 'replayed' | 'hasPool'>;

/** Seals what was made, to be kept with its lease. */
export type Seal = (made: Made) => Promise<KeptAnswer>;

/** The answer to who asked; `ttlMs`: how long it lives from now on, in milliseconds. */
export function replyOf(made: Made, ttlMs: number): IssueLeaseReply {
  const lives = { ...made, leaseDuration: Math.round(ttlMs / 1000) };
  return made.credentialType === 'iam_user' ? lives : { ...lives, stsTtl: Math.trunc(ttlMs / 1000) };
}

/** How long a user's key lives (contract.md 4.2). */
export function userTtl({ caller, mount, role }: Asked): Ttl {
  const rules = {
    engineTtlMs: ms(role.definition.defaultUserTtlSeconds) ?? mount.leaseMs ?? 0,
    engineMaxMs: ms(role.definition.maxUserTtlSeconds) ?? mount.leaseMaxMs ?? 0,
    mountDefaultMs: mount.defaultLeaseTtlSeconds * 1000,
    mountMaxMs: mount.maxLeaseTtlSeconds * 1000,
    ownerLeftMs: caller.longestLeaseMs(),
  };
  return ttl(rules, 0, 0);
}

const ms = (seconds: number | undefined) => (seconds === undefined ? undefined : seconds * 1000);

/** Who asks for what, as limits and freezes see it. */
export function askerOf({ caller, mount, role }: Pick<Asked, 'caller' | 'mount' | 'role'>): Asker {
  return {
    mountId: mount.id,
    mountVersion: mount.version,
    roleName: role.name,
    tokenId: caller.token.id,
    limited: { role: role.definition.maxLeases !== undefined, token: caller.token.maxLeases !== null },
  };
}

/** The columns of a lease that its order decides; every attempt has its own id. */
export function openingOf(order: Order): Opening {
  const { command, mount, role, version, identity } = order;
  return {
    ...askerOf(order),
    leaseId: newLeaseId(`${mount.path}${command.door}/${role.name}`),
    commandId: command.id,
    roleVersion: role.version,
    rootVersion: version,
    accountId: identity.accountId,
    requestId: command.requestId,
  };
}
