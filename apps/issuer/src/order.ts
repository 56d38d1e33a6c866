import type { Caller } from '#libs/access';
import type { AwsAccount, CallerIdentity, Fence } from '#libs/aws';
import type { IssueLeaseRequest } from '#libs/contracts';
import { newLeaseId, type Opening } from '#libs/leases';
import type { Mount, OpenedRootConfig, Role } from '#libs/roles';

/** A command with everything it names, read once: who asks for what, from which account, until when. */
export interface Order {
  command: IssueLeaseRequest;
  caller: Caller;
  mount: Mount;
  role: Role;
  root: OpenedRootConfig;
  account: AwsAccount;
  identity: CallerIdentity;
  /** Closes when the caller stops waiting. */
  fence: Fence;
}

/** The columns of a lease that its order decides; every attempt has its own id. */
export function openingOf(order: Order): Opening {
  const { command, caller, mount, role, root, identity } = order;
  return {
    leaseId: newLeaseId(`${mount.path}${command.door}/${role.name}`),
    commandId: command.id,
    mountId: mount.id,
    mountVersion: mount.version,
    roleName: role.name,
    roleVersion: role.version,
    rootVersion: root.version,
    accountId: identity.accountId,
    tokenId: caller.token.id,
    requestId: command.requestId,
  };
}
