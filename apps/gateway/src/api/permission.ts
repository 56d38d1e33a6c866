import type { AccessRequest, Acl } from '#libs/access';
import { PermissionDenied } from '#libs/contracts';
import { wrapped } from './api-error.js';
import type { VaultRequest } from './http-request.js';

/** What a write is granted as; of what is no write, both are said. */
export interface Grant {
  update: boolean;
  create: boolean;
}

/** A policy says no (contract.md 1.8). */
export function denied(): PermissionDenied {
  return new PermissionDenied(wrapped('permission denied'));
}

/**
 * What the caller's policies grant of a request, on the path as it was requested: both spellings of `sys/revoke` and its
 * like are paths of their own. `sent` is what came beside the path and counts.
 * @throws PermissionDenied when that is nothing.
 */
export function grantOf(acl: Acl, asked: VaultRequest, sent: Record<string, unknown>): Grant {
  const isList = asked.operation === 'list';
  const path = isList ? `${asked.path}/` : asked.path;
  const may = (operation: AccessRequest['operation']) =>
    acl.allows({ operation, path, parameters: sent, wrapTtlMs: asked.wrapTtlMs }, needsSudo(path));
  const operation = asked.operation === 'head' ? 'read' : asked.operation;
  const granted = may(operation);
  const grant =
    operation === 'update' ? { update: granted, create: may('create') } : { update: granted, create: granted };
  if (!grant.update && !grant.create) throw denied();
  return grant;
}

/**
 * Paths that ask for the capability `sudo` besides (contract.md 3; `sys/freeze` and `lookup-access-key` are ours); a closing `*`
 * stands for any text.
 */
const sudoPaths = [
  'sys/auth/*',
  'sys/remount',
  'sys/audit',
  'sys/audit/*',
  'sys/raw*',
  'sys/rotate*',
  'sys/config/cors',
  'sys/config/auditing/*',
  'sys/config/ui/headers/*',
  'sys/plugins/catalog/*',
  'sys/revoke-prefix/*',
  'sys/revoke-force/*',
  'sys/leases',
  'sys/freeze*',
  'sys/leases/lookup/*',
  'sys/leases/lookup-access-key',
  'sys/leases/revoke-prefix/*',
  'sys/leases/revoke-force/*',
  'sys/internal/inspect/*',
  'sys/seal',
  'auth/token/accessors*',
];

/** `path`: that of a list with its closing slash. */
export function needsSudo(path: string): boolean {
  return sudoPaths.some((each) => (each.endsWith('*') ? path.startsWith(each.slice(0, -1)) : path === each));
}
