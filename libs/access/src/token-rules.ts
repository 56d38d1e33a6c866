import { InvalidRequest } from '#libs/contracts';
import type { Token, TokenType } from './token.entity.js';
import type { TokenRole } from './token-role.js';

/** The system's default and longest TTL of a token (contract.md 4.2), milliseconds. */
export const systemMaxTokenTtlMs = 768 * 3_600_000;

/** What is asked of a new token (contract.md 3.3); spans in milliseconds, 0 = not asked. */
export interface TokenWish {
  /** The path it was asked at, such as `auth/token/create`. */
  path: string;
  /** That path makes orphans. */
  orphan: boolean;
  id: string;
  policies: string[];
  meta: Record<string, string> | null;
  ttlMs: number;
  explicitMaxTtlMs: number;
  periodMs: number;
  noParent: boolean;
  noDefaultPolicy: boolean;
  displayName: string;
  numUses: number;
  /** Leases that have not ended at once; 0 = not asked. */
  maxLeases: number;
  renewable: boolean;
  type: string;
  entityAlias: string;
}

/** What a token is made with. */
export type TokenPlan = Pick<
  Token,
  | 'type'
  | 'path'
  | 'role'
  | 'policies'
  | 'displayName'
  | 'meta'
  | 'renewable'
  | 'periodMs'
  | 'maxTtlMs'
  | 'explicitMaxTtlMs'
  | 'boundCidrs'
  | 'parentId'
  | 'maxLeases'
> & {
  /** '' = one is made. */
  id: string;
  /** 0 = it never expires. */
  ttlMs: number;
  /** 0 = any number. */
  numUses: number;
  cuts: TtlCut[];
  warnings: string[];
};

/** A span that was cut: what was wanted and what was left, milliseconds. */
export interface TtlCut {
  of: 'TTL' | 'period';
  wantedMs: number;
  limitMs: number;
}

/** The spans that bound a token's time. */
export type TokenSpans = Pick<Token, 'periodMs' | 'maxTtlMs' | 'explicitMaxTtlMs'> & { ttlMs: number };

/**
 * How long a token of `ageMs` lives from now on, asked for `incrementMs` (0 = no wish). A period renews without a max; an
 * explicit max is hard (contract.md 3.3, 4.2).
 * @throws InvalidRequest when it is past its max TTL.
 */
export function tokenTtl(spans: TokenSpans, incrementMs: number, ageMs: number): { ttlMs: number; cuts: TtlCut[] } {
  const { periodMs, maxTtlMs, explicitMaxTtlMs } = spans;
  const maxMs = Math.min(systemMaxTokenTtlMs, maxTtlMs || Infinity, explicitMaxTtlMs || Infinity);
  const cuts: TtlCut[] = [];
  let wantedMs = incrementMs || spans.ttlMs || systemMaxTokenTtlMs;
  let limitMs = maxMs - ageMs;
  if (periodMs > 0) {
    wantedMs = Math.min(periodMs, maxMs);
    if (wantedMs < periodMs) cuts.push({ of: 'period', wantedMs: periodMs, limitMs: maxMs });
    limitMs = explicitMaxTtlMs > 0 ? explicitMaxTtlMs - ageMs : Infinity;
  }
  if (limitMs <= 0) throw new InvalidRequest('past the max TTL, cannot renew');
  if (wantedMs > limitMs) cuts.push({ of: 'TTL', wantedMs, limitMs });
  return { ttlMs: Math.min(wantedMs, limitMs), cuts };
}

/**
 * What becomes of a wish for a token: the rules of contract.md 3.3, in the peers' order.
 * @param parent the caller's token. @param hasSudo whether it has sudo on the path it asked at.
 * @throws InvalidRequest with the texts there.
 */
export function planToken(parent: Token, hasSudo: boolean, wish: TokenWish, role: TokenRole | null): TokenPlan {
  if (parent.type === 'batch') throw new InvalidRequest('batch tokens cannot create more tokens');
  // Its last use is spent: it is as good as gone.
  if (parent.usesLeft === 0) throw new InvalidRequest('parent token lookup failed: no parent found');
  if (parent.usesLeft !== null) throw new InvalidRequest('restricted use token cannot generate child tokens');
  const type = typeOf(wish, role);
  if (type === 'batch') refuseForBatch(wish);
  if (wish.numUses < 0) throw new InvalidRequest('number of uses cannot be negative');
  requireCountable(wish.numUses, 'num_uses');
  if (wish.maxLeases < 0) throw new InvalidRequest('max_leases cannot be negative');
  requireCountable(wish.maxLeases, 'max_leases');
  if (wish.entityAlias) {
    // There are no entities, so no role may allow one.
    throw new InvalidRequest(
      role ? "invalid 'entity_alias' value" : "'entity_alias' is only allowed in combination with token role",
    );
  }
  if (wish.id) requireCustomId(wish.id, hasSudo);

  const policies = policiesOf(parent, hasSudo, wish, role);
  const isRoot = policies.includes('root');
  if (isRoot && !parent.policies.includes('root'))
    throw new InvalidRequest('root tokens may not be created without parent token being root');
  if (isRoot && type === 'batch') throw new InvalidRequest('batch tokens cannot be root tokens');
  if (!role && wish.noParent) requireSudo(hasSudo, 'create orphan token');
  const isOrphan = role ? role.orphan : wish.noParent || wish.orphan;
  if (wish.periodMs > 0) requireSudo(hasSudo, 'create periodic token');

  const { spans, warnings } = spansOf(wish, type === 'batch' ? null : role);
  const limited = spans.periodMs > 0 || spans.ttlMs > 0 || !isRoot;
  const { ttlMs, cuts } = limited ? tokenTtl(spans, 0, 0) : { ttlMs: spans.explicitMaxTtlMs, cuts: [] };
  if (ttlMs === 0 && parent.expiresAt !== null)
    throw new InvalidRequest('expiring root tokens cannot create non-expiring root tokens');
  return {
    id: wish.id,
    type,
    path: role?.pathSuffix ? `${wish.path}/${role.pathSuffix}` : wish.path,
    role: role?.name ?? null,
    policies,
    displayName: displayNameOf(wish.displayName),
    meta: wish.meta,
    parentId: isOrphan ? null : parent.id,
    renewable: type === 'service' && ttlMs > 0 && wish.renewable && (role?.renewable ?? true),
    numUses: lowestOf(wish.numUses, type === 'batch' ? 0 : (role?.tokenNumUses ?? 0)),
    // Each token has its own count; a limit is handed down, so that a child is not the way around it.
    maxLeases: lowestOf(wish.maxLeases, parent.maxLeases ?? 0) || null,
    periodMs: spans.periodMs,
    maxTtlMs: 0,
    explicitMaxTtlMs: spans.explicitMaxTtlMs,
    ttlMs,
    // A role may widen what its caller is bound to; nothing else may.
    boundCidrs: ttlMs === 0 ? [] : role ? role.tokenBoundCidrs : isOrphan ? [] : parent.boundCidrs,
    cuts,
    warnings: [...warnings, ...(wish.id ? [customIdWarning] : [])],
  };
}

/** The peers warn of a weak hash here; ours is the same for every id, and only the id itself may be weak. */
const customIdWarning =
  'A custom ID is as hard to guess as whoever chose it made it: leave it out to get a random one.';

function typeOf(wish: TokenWish, role: TokenRole | null): TokenType {
  const asked = role?.tokenType === 'service' || role?.tokenType === 'batch' ? role.tokenType : wish.type;
  const type = asked || (role?.tokenType === 'default-batch' ? 'batch' : 'service');
  if (type !== 'service' && type !== 'batch') throw new InvalidRequest("invalid 'token_type' value");
  return type;
}

function refuseForBatch(wish: TokenWish): void {
  const bad = [
    ['explicit_max_ttl', wish.explicitMaxTtlMs],
    ['num_uses', wish.numUses],
    ['period', wish.periodMs],
  ].find(([, value]) => value !== 0);
  if (bad) throw new InvalidRequest(`batch tokens cannot have "${bad[0]}" set`);
  if (wish.id) throw new InvalidRequest('batch tokens cannot have "id" set');
}

function requireSudo(hasSudo: boolean, what: string): void {
  if (!hasSudo) throw new InvalidRequest(`root or sudo privileges required to ${what}`);
}

function requireCustomId(id: string, hasSudo: boolean): void {
  requireSudo(hasSudo, 'specify token id');
  const prefix = ['hvs.', 's.'].find((each) => id.startsWith(each));
  if (prefix) throw new InvalidRequest(`custom token ID cannot have the '${prefix}' prefix`);
  if (id.includes('.')) throw new InvalidRequest("custom token ID cannot have a '.' in the value");
}

/** @throws InvalidRequest for more uses than are counted. */
export function requireCountable(uses: number, field: string): void {
  if (uses > 2 ** 31 - 1) throw new InvalidRequest(`${field} must be at most ${2 ** 31 - 1}; 0 is any number`);
}

function displayNameOf(asked: string): string {
  return asked === '' ? 'token' : `token-${asked}`.replaceAll(/[^a-zA-Z0-9-]/g, '-').replace(/-$/, '');
}

/** Of two limits the lower; 0 is none. */
function lowestOf(...limits: number[]): number {
  const set = limits.filter((limit) => limit > 0);
  return set.length > 0 ? Math.min(...set) : 0;
}

/** The spans of wish and role together: of two, the lesser. */
function spansOf(wish: TokenWish, role: TokenRole | null): { spans: TokenSpans; warnings: string[] } {
  const warnings: string[] = [];
  const lesser = (name: string, asked: number, ofRole: number) => {
    const usedMs = lowestOf(asked, ofRole);
    if (asked > 0 && ofRole > 0) {
      warnings.push(
        `${name} specified both during creation call and in role; using the lesser value of ${Math.floor(usedMs / 1000)} seconds`,
      );
    }
    return usedMs;
  };
  const explicitMaxTtlMs = lesser('Explicit max TTL', wish.explicitMaxTtlMs, (role?.tokenExplicitMaxTtl ?? 0) * 1000);
  const periodMs = lesser('Period', wish.periodMs, (role?.tokenPeriod ?? 0) * 1000);
  return { spans: { ttlMs: wish.ttlMs, explicitMaxTtlMs, periodMs, maxTtlMs: 0 }, warnings };
}

/** Policy names as they are kept: lower case, each once, sorted; `root` stands alone. */
export function sanitizePolicies(names: string[], addDefault: boolean): string[] {
  const clean = names.map((name) => name.trim().toLowerCase()).filter((name) => name !== '');
  if (clean.includes('root')) return ['root'];
  return [...new Set(addDefault ? [...clean, 'default'] : clean)].sort();
}

function policiesOf(parent: Token, hasSudo: boolean, wish: TokenWish, role: TokenRole | null): string[] {
  const asked = sanitizePolicies(wish.policies, false);
  const chosen = () => {
    if (role && hasPolicyRules(role)) return policiesByRole(parent, wish, role);
    if (wish.policies.length === 0) return parent.policies;
    if (hasSudo) return sanitizePolicies(asked, !wish.noDefaultPolicy);
    if (!asked.every((name) => parent.policies.includes(name)))
      throw new InvalidRequest('child policies must be subset of parent');
    return sanitizePolicies(asked, !wish.noDefaultPolicy && parent.policies.includes('default'));
  };
  const policies = chosen().filter((name) => !(wish.noDefaultPolicy && name === 'default'));
  requireAssignable(policies);
  return policies;
}

/** @throws InvalidRequest for the policy that only wrapping tokens have. */
export function requireAssignable(policies: string[]): void {
  if (policies.includes('response-wrapping')) throw new InvalidRequest('cannot assign policy "response-wrapping"');
}

function hasPolicyRules(role: TokenRole): boolean {
  const { allowedPolicies, allowedPoliciesGlob, disallowedPolicies, disallowedPoliciesGlob } = role;
  return [allowedPolicies, allowedPoliciesGlob, disallowedPolicies, disallowedPoliciesGlob].some(
    (names) => names.length > 0,
  );
}

function policiesByRole(parent: Token, wish: TokenWish, role: TokenRole): string[] {
  const { allowedPolicies, allowedPoliciesGlob, disallowedPolicies, disallowedPoliciesGlob } = role;
  const refusesDefault = disallowedPolicies.includes('default') || matchesOneOf('default', disallowedPoliciesGlob);
  const addDefault = !wish.noDefaultPolicy && !role.tokenNoDefaultPolicy && !refusesDefault;
  let final = wish.policies.length > 0 ? sanitizePolicies(wish.policies, addDefault) : [];
  if (allowedPolicies.length > 0 || allowedPoliciesGlob.length > 0) {
    const allowed = sanitizePolicies(allowedPolicies, addDefault);
    const globs = sanitizePolicies(allowedPoliciesGlob, false);
    if (final.length === 0) final = allowed;
    else if (!final.every((name) => allowed.includes(name) || matchesOneOf(name, globs))) {
      throw new InvalidRequest(
        `token policies (${quoted(final)}) must be subset of the role's allowed policies (${quoted(allowed)}) ` +
          `or glob policies (${quoted(globs)})`,
      );
    }
  } else if (final.length === 0) final = sanitizePolicies(parent.policies, addDefault);
  const refused = final.find((name) => disallowedPolicies.includes(name) || matchesOneOf(name, disallowedPoliciesGlob));
  if (refused !== undefined) throw new InvalidRequest(`token policy "${refused}" is disallowed by this role`);
  return final;
}

/** A list in Go's quoted form. */
function quoted(names: string[]): string {
  return `[${names.map((name) => JSON.stringify(name)).join(' ')}]`;
}

function matchesOneOf(name: string, globs: string[]): boolean {
  return globs.some((glob) => matchesGlob(name, glob));
}

/** Whether `*`, any text, is all in which they differ. Each part is looked for behind the one before it, so it is quick. */
function matchesGlob(name: string, glob: string): boolean {
  const [first = '', ...rest] = glob.split('*');
  const last = rest.pop();
  if (last === undefined) return name === glob;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}
