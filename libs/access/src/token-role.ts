import { InvalidRequest } from '#libs/contracts';
import { badCidr } from './cidrs.js';
import { requireCountable } from './token-rules.js';

/** Which type a token role's tokens get: `default-…` lets the caller choose. */
export const tokenRoleTypes = ['service', 'batch', 'default-service', 'default-batch'] as const;
export type TokenRoleType = (typeof tokenRoleTypes)[number];

/** What tokens made through a role get and may be asked to be (contract.md 3.3); spans in whole seconds, 0 = none. */
export interface TokenRole {
  name: string;
  allowedPolicies: string[];
  allowedPoliciesGlob: string[];
  disallowedPolicies: string[];
  disallowedPoliciesGlob: string[];
  allowedEntityAliases: string[];
  orphan: boolean;
  pathSuffix: string;
  renewable: boolean;
  /** The fields without `token` in front are the old names, read back as they were written. */
  period: number;
  tokenPeriod: number;
  explicitMaxTtl: number;
  tokenExplicitMaxTtl: number;
  boundCidrs: string[];
  tokenBoundCidrs: string[];
  tokenNoDefaultPolicy: boolean;
  tokenNumUses: number;
  tokenType: TokenRoleType;
}

/** A write of a role: what it does not name stays. */
export type TokenRoleWrite = Partial<Omit<TokenRole, 'name' | 'tokenType'>> & { tokenType?: string };

const unwritten: Omit<TokenRole, 'name'> = {
  allowedPolicies: [],
  allowedPoliciesGlob: [],
  disallowedPolicies: [],
  disallowedPoliciesGlob: [],
  allowedEntityAliases: [],
  orphan: false,
  pathSuffix: '',
  renewable: true,
  period: 0,
  tokenPeriod: 0,
  explicitMaxTtl: 0,
  tokenExplicitMaxTtl: 0,
  boundCidrs: [],
  tokenBoundCidrs: [],
  tokenNoDefaultPolicy: false,
  tokenNumUses: 0,
  tokenType: 'default-service',
};

const suffixPattern = String.raw`\w[\w-.]+\w`;

/** What the role becomes of a write. @throws InvalidRequest when it could make no token, or one that nobody can have meant. */
export function writeTokenRole(name: string, before: TokenRole | null, write: TokenRoleWrite): TokenRole {
  const given = Object.fromEntries(Object.entries(write).filter(([, value]) => value !== undefined)) as TokenRoleWrite;
  const role: TokenRole = {
    ...(before ?? { ...unwritten, name }),
    ...given,
    ...newAndOld('tokenPeriod', 'period', given, 0),
    ...newAndOld('tokenExplicitMaxTtl', 'explicitMaxTtl', given, 0),
    ...newAndOld('tokenBoundCidrs', 'boundCidrs', given, []),
    tokenType: given.tokenType === undefined ? (before?.tokenType ?? unwritten.tokenType) : typeIn(given.tokenType),
  };
  if (role.pathSuffix !== '' && (!/^\w[\w\-.]+\w$/.test(role.pathSuffix) || role.pathSuffix.includes('..')))
    throw new InvalidRequest(`given role path suffix contains invalid characters; must match ${suffixPattern}`);
  const bad = badCidr(role.tokenBoundCidrs);
  if (bad !== undefined) throw new InvalidRequest(`error parsing bound_cidrs: "${bad}" is no block of addresses`);
  if (role.tokenNumUses < 0) throw new InvalidRequest("'token_num_uses' cannot be negative");
  requireCountable(role.tokenNumUses, 'token_num_uses');
  if (role.tokenType === 'batch') refuseBatch(role);
  return role;
}

/** Of two names of one field the new one wins; the old one is read back only where it was the one that was written. */
function newAndOld<New extends keyof TokenRole, Old extends keyof TokenRole>(
  newName: New,
  oldName: Old,
  given: TokenRoleWrite,
  none: TokenRole[Old],
): Partial<TokenRole> {
  if (newName in given) return { [oldName]: none };
  return oldName in given ? { [newName]: given[oldName as keyof TokenRoleWrite] } : {};
}

function typeIn(text: string): TokenRoleType {
  const type = tokenRoleTypes.find((each) => each === text);
  if (!type) throw new InvalidRequest(`invalid 'token_type' value "${text}"`);
  return type;
}

function refuseBatch(role: TokenRole): void {
  const wrong = [
    [!role.orphan, 'non-orphan tokens'],
    [role.tokenPeriod > 0, 'periodic tokens'],
    [role.renewable, 'renewable tokens'],
    [role.tokenExplicitMaxTtl > 0, 'tokens with an explicit max TTL'],
  ].find(([isSo]) => isSo);
  if (wrong) throw new InvalidRequest(`'token_type' cannot be 'batch' when role is set to generate ${wrong[1]}`);
}
