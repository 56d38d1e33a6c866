import { InvalidRequest } from '#libs/contracts';
import { filledInFor, isTemplated, type RoleCaller } from './identity-template.js';
import type { RoleDefinition } from './role-definition.js';
import { faultsOfSizes } from './role-limits.js';

/**
 * What a role is for this caller: its templates filled in, and AWS's limits looked at again.
 * @throws InvalidRequest before anything is made.
 */
export function roleFor(role: RoleDefinition, caller: RoleCaller): RoleDefinition {
  if (!isTemplated(role)) return role;
  const filledIn = filledInFor(role, caller);
  const faults = faultsOfSizes(filledIn);
  if (faults.length > 0) {
    throw new InvalidRequest(`The role does not fit AWS's limits with this caller's values: ${faults.join('; ')}.`);
  }
  return filledIn;
}
