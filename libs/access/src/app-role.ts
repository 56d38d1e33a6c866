import { InvalidRequest } from '#libs/contracts';
import { badCidr } from './cidrs.js';
import type { TokenType } from './token.entity.js';
import { requireAssignable, requireCountable, sanitizePolicies, systemMaxTokenTtlMs } from './token-rules.js';

/** What a role of AppRole asks of who logs in, and what tokens it gives; spans in whole seconds, 0 = none. */
export interface AppRole {
  bindSecretId: boolean;
  secretIdBoundCidrs: string[];
  secretIdNumUses: number;
  secretIdTtl: number;
  tokenPolicies: string[];
  tokenTtl: number;
  tokenMaxTtl: number;
  tokenExplicitMaxTtl: number;
  tokenPeriod: number;
  tokenNumUses: number;
  tokenNoDefaultPolicy: boolean;
  tokenBoundCidrs: string[];
  tokenType: TokenType | 'default';
}

/** A write of a role: what it does not name stays. */
export type AppRoleWrite = Partial<Omit<AppRole, 'tokenType'>> & { tokenType?: string };

/** A role of which nothing was said. */
export const unwritten: AppRole = {
  bindSecretId: true,
  secretIdBoundCidrs: [],
  secretIdNumUses: 0,
  secretIdTtl: 0,
  tokenPolicies: [],
  tokenTtl: 0,
  tokenMaxTtl: 0,
  tokenExplicitMaxTtl: 0,
  tokenPeriod: 0,
  tokenNumUses: 0,
  tokenNoDefaultPolicy: false,
  tokenBoundCidrs: [],
  tokenType: 'default',
};

/** What the role becomes of a write, and what its writer should know. @throws InvalidRequest when nobody should log in by it. */
export function writeAppRole(before: AppRole | null, write: AppRoleWrite): { role: AppRole; warnings: string[] } {
  const given = Object.fromEntries(Object.entries(write).filter(([, value]) => value !== undefined)) as AppRoleWrite;
  const warnings: string[] = [];
  const role: AppRole = {
    ...(before ?? unwritten),
    ...given,
    tokenPolicies: given.tokenPolicies
      ? sanitizePolicies(given.tokenPolicies, false)
      : (before ?? unwritten).tokenPolicies,
    tokenType: typeIn(given.tokenType ?? (before ?? unwritten).tokenType, warnings),
  };
  requireCidrs(role.secretIdBoundCidrs, 'secret_id_bound_cidrs');
  requireCidrs(role.tokenBoundCidrs, 'token_bound_cidrs');
  requireAssignable(role.tokenPolicies);
  if (role.tokenPolicies.includes('root')) throw new InvalidRequest('auth methods cannot create root tokens');
  if (role.secretIdNumUses < 0) throw new InvalidRequest('secret_id_num_uses cannot be negative');
  if (role.tokenNumUses < 0) throw new InvalidRequest("'token_num_uses' cannot be negative");
  requireCountable(role.secretIdNumUses, 'secret_id_num_uses');
  requireCountable(role.tokenNumUses, 'token_num_uses');
  if (role.tokenMaxTtl > 0 && role.tokenTtl > role.tokenMaxTtl)
    throw new InvalidRequest("'token_ttl' cannot be greater than 'token_max_ttl'");
  if (role.tokenType === 'batch') refuseBatch(role);
  const isBound = role.bindSecretId || role.secretIdBoundCidrs.length > 0 || role.tokenBoundCidrs.length > 0;
  if (!isBound) throw new InvalidRequest('at least one constraint should be enabled on the role');
  if (role.tokenMaxTtl * 1000 > systemMaxTokenTtlMs) {
    warnings.push(
      "token_max_ttl is greater than the backend mount's maximum TTL value; issued tokens' max TTL value will be truncated",
    );
  }
  return { role, warnings };
}

function requireCidrs(cidrs: string[], field: string): void {
  const bad = badCidr(cidrs);
  if (bad !== undefined) throw new InvalidRequest(`invalid CIDR blocks: "${bad}" of ${field} is no block of addresses`);
}

function typeIn(text: string, warnings: string[]): AppRole['tokenType'] {
  if (text === '' || text === 'default') return 'default';
  const type = text.replace(/^default-/, '');
  if (type !== 'service' && type !== 'batch') throw new InvalidRequest(`invalid 'token_type' value "${text}"`);
  if (type !== text) warnings.push(`${text} has no useful meaning; adjusting to ${type}`);
  return type;
}

function refuseBatch(role: AppRole): void {
  const wrong =
    role.tokenPeriod > 0 ? 'periodic tokens' : role.tokenNumUses > 0 ? 'tokens with limited use count' : null;
  if (wrong)
    throw new InvalidRequest(`'token_type' cannot be 'batch' or 'default_batch' when set to generate ${wrong}`);
}
