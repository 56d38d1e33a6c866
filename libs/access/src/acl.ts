import type { Capability, ParameterRules, ParameterValue, PolicyRule } from './policy.js';

/** What a caller wants, as policies see it. */
export interface AccessRequest {
  operation: Exclude<Capability, 'sudo' | 'deny' | 'scan'>;
  /** Without `/v1/`; that of a list ends in a slash. */
  path: string;
  /** What was sent beside the path, as it was sent. */
  parameters?: Record<string, unknown>;
  /** How long the wrapped answer should live, in milliseconds; absent where none is to be wrapped. */
  wrapTtlMs?: number;
}

/** What the policies of a token say of one path or pattern: all their rules of that same text, made one. */
interface Permissions extends PolicyRule {
  /** The policies that grant each capability, by name. */
  grantedBy: Map<Capability, Set<string>>;
}

/** A pattern, taken apart once. */
interface Pattern {
  permissions: Permissions;
  /** Offset of the first wildcard. */
  firstWildcard: number;
  endsInStar: boolean;
  /** Its segments, without a closing `*`. */
  segments: string[];
  plusses: number;
  /** Without a closing `*`. */
  text: string;
}

/**
 * The policies of a token, compiled: what they allow, and nothing that no rule of theirs names (contract 3.4). The order of
 * patterns is known beforehand, so that the first that takes a path is the best one.
 */
export class Acl {
  /** What the root policy allows: everything. */
  static readonly root = new Acl([], true);

  private readonly exact = new Map<string, Permissions>();
  private readonly patterns: Pattern[];

  private constructor(
    rules: PolicyRule[],
    readonly isRoot: boolean,
    /** When a rule runs out, milliseconds since 1970: from then on another compilation says what is allowed. */
    readonly validUntil = Number.POSITIVE_INFINITY,
  ) {
    const byPattern = new Map<string, Permissions>();
    for (const rule of rules) {
      const path = pathWithNames(rule.path);
      const target = isPattern(path) ? byPattern : this.exact;
      const known = target.get(path);
      if (known) unite(known, rule);
      else target.set(path, { ...permissionsOf(rule), path });
    }
    this.patterns = [...byPattern.values()].map(toPattern).sort(bestFirst);
  }

  /** Rules of any number of policies; those whose time is over by `now`, milliseconds since 1970, are left out. */
  static of(rules: PolicyRule[], now: number): Acl {
    const alive = rules.filter((rule) => rule.expiresAt > now);
    return new Acl(alive, false, Math.min(...alive.map((rule) => rule.expiresAt), Number.POSITIVE_INFINITY));
  }

  /** Whether the request is allowed; `needsSudo`: its path asks for that capability as well. */
  allows(request: AccessRequest, needsSudo = false): boolean {
    if (this.isRoot) return true;
    const found = this.find(request.path, request.operation === 'list');
    if (!found?.capabilities.has(request.operation)) return false;
    if (needsSudo && !found.capabilities.has('sudo')) return false;
    return wrapsAsAsked(found, request.wrapTtlMs) && takesParameters(found, request);
  }

  /** The policies with a rule that grants any of the operations on the path, sorted: what audit records name (contract.md 3.6). */
  grantingPolicies(operations: AccessRequest['operation'][], path: string): string[] {
    if (this.isRoot) return ['root'];
    const granting = (operation: Capability) => this.find(path, operation === 'list')?.grantedBy.get(operation) ?? [];
    return [...new Set(operations.flatMap((operation) => [...granting(operation)]))].sort();
  }

  /** Whether anything is granted on `prefix`, which ends in a slash, or on any path that begins with it. */
  reaches(prefix: string): boolean {
    if (this.isRoot) return true;
    const exact = [...this.exact.keys()].filter((path) => path.startsWith(prefix));
    // A better pattern may deny what is near; below all of them, nothing is better any more.
    const deepest = Math.max(0, ...this.patterns.map((pattern) => pattern.segments.length));
    const fitting = this.patterns.flatMap((pattern) => witnessesOf(pattern, prefix, deepest));
    return [prefix, ...exact, ...fitting].some(
      (path) =>
        grantsAnything(this.find(path, false)) ||
        (this.find(path, true)?.capabilities.has('list') && path.endsWith('/')),
    );
  }

  /** Whether `path` may be used with the rights that only some have. */
  hasSudo(path: string): boolean {
    return this.isRoot || (this.find(path, false)?.capabilities.has('sudo') ?? false);
  }

  /** What `sys/capabilities` answers for a path: sorted, `root` alone, or `deny` alone. */
  capabilities(path: string): string[] {
    if (this.isRoot) return ['root'];
    const found = [...(this.find(path.replace(/^\/+/, ''), true)?.capabilities ?? [])];
    return found.length > 0 ? found.sort() : ['deny'];
  }

  /** Every rule, as user interfaces ask for it: exact paths, and patterns without a closing `*`. */
  summary(): { exact: Record<string, string[]>; globs: Record<string, string[]> } {
    const told = ({ capabilities }: Permissions) => (capabilities.size > 0 ? [...capabilities].sort() : ['deny']);
    return {
      exact: Object.fromEntries([...this.exact].map(([path, permissions]) => [path, told(permissions)])),
      globs: Object.fromEntries(
        this.patterns.map(({ permissions, plusses, text }) => [
          plusses > 0 ? permissions.path : text,
          told(permissions),
        ]),
      ),
    };
  }

  /** A list is meant by its path with and without the closing slash. */
  private find(asked: string, isList: boolean): Permissions | undefined {
    const path = pathWithNames(asked);
    const paths = isList && path.endsWith('/') ? [path, path.slice(0, -1)] : [path];
    const exact = paths.map((each) => this.exact.get(each)).find((found) => found !== undefined);
    if (exact) return exact;
    const split = paths.map((each) => ({ path: each, segments: each.split('/') }));
    return this.patterns.find((pattern) => split.some((each) => takes(pattern, each)))?.permissions;
  }
}

/** Paths with a name that is kept in lower case: of a policy, or of a role of AppRole. */
const namesInLowerCase = /^(?:sys\/(?:policy|policies\/acl)\/.*|auth\/approle\/role\/[^/]*)/;

/** The path with the name that is meant, in whatever case it is spelled: another spelling is no way around a rule. */
function pathWithNames(path: string): string {
  return path.replace(namesInLowerCase, (matched) => matched.toLowerCase());
}

function isPattern(path: string): boolean {
  return path.endsWith('*') || hasPlus(path);
}

/** A `+` is a wildcard where it is a whole segment; elsewhere it is a letter like any other. */
function hasPlus(path: string): boolean {
  return path.split('/').includes('+');
}

function toPattern(permissions: Permissions): Pattern {
  const { path: pattern } = permissions;
  const endsInStar = pattern.endsWith('*');
  const text = endsInStar ? pattern.slice(0, -1) : pattern;
  const segments = text.split('/');
  const plus = segments.indexOf('+');
  return {
    permissions,
    firstWildcard: plus < 0 ? text.length : segments.slice(0, plus).join('/').length + Math.min(plus, 1),
    endsInStar,
    segments,
    plusses: segments.filter((segment) => segment === '+').length,
    text,
  };
}

/** Contract 3.4: first wildcard latest, then no closing `*`, then fewer `+`, then longer, then the later in the alphabet. */
function bestFirst(a: Pattern, b: Pattern): number {
  return (
    b.firstWildcard - a.firstWildcard ||
    Number(a.endsInStar) - Number(b.endsInStar) ||
    a.plusses - b.plusses ||
    b.text.length - a.text.length ||
    (a.text < b.text ? 1 : -1)
  );
}

function takes({ segments, plusses, endsInStar, text }: Pattern, asked: { path: string; segments: string[] }): boolean {
  if (plusses === 0) return endsInStar ? asked.path.startsWith(text) : asked.path === text;
  if (endsInStar ? asked.segments.length < segments.length : asked.segments.length !== segments.length) return false;
  return segments.every((segment, index) => {
    const found = asked.segments[index]!;
    if (segment === '+' || segment === found) return true;
    return endsInStar && index === segments.length - 1 && found.startsWith(segment);
  });
}

/** A segment that no rule names. */
const unnamed = '~';

/** Paths that begin with `prefix` and fit the pattern, the shortest first; where it is open at its end, up to so much deeper. */
function witnessesOf({ segments, endsInStar }: Pattern, prefix: string, deeper: number): string[] {
  const wanted = prefix.split('/').slice(0, -1);
  if (!endsInStar && segments.length <= wanted.length) return [];
  const chosen = Array.from({ length: Math.max(segments.length, wanted.length + 1) }, (_, index) => {
    const [own, asked] = [segments[index], wanted[index]];
    if (asked === undefined) return own === '+' ? unnamed : (own ?? '');
    const isOpen = endsInStar && index === segments.length - 1;
    const fits = own === undefined || own === '+' || own === asked || (isOpen && asked.startsWith(own));
    return fits ? asked : undefined;
  });
  if (chosen.includes(undefined)) return [];
  const shortest = chosen.join('/');
  if (!endsInStar) return [shortest];
  const tails = Array.from({ length: deeper + 2 }, (_, depth) =>
    Array.from({ length: depth }, () => unnamed).join('/'),
  );
  return tails.map((tail) => shortest + tail);
}

function grantsAnything(found: Permissions | undefined): boolean {
  return [...(found?.capabilities ?? [])].some((capability) => capability !== 'deny' && capability !== 'sudo');
}

function permissionsOf(rule: PolicyRule): Permissions {
  return {
    ...rule,
    capabilities: new Set(rule.capabilities),
    grantedBy: grantsOf(rule),
    allowed: new Map(rule.allowed),
    denied: new Map(rule.denied),
    required: new Set(rule.required),
  };
}

/** Of what is no policy's, nobody is named. */
function grantsOf({ policy, capabilities }: PolicyRule): Permissions['grantedBy'] {
  return new Map([...capabilities].map((capability) => [capability, new Set(policy === undefined ? [] : [policy])]));
}

/** The rules of one path in several policies (contract 3.4); `deny` of any of them beats all. */
function unite(known: Permissions, rule: PolicyRule): void {
  if (known.capabilities.has('deny')) return;
  if (rule.capabilities.has('deny')) {
    known.capabilities = new Set(['deny']);
    known.grantedBy = new Map();
    return;
  }
  for (const capability of rule.capabilities) known.capabilities.add(capability);
  for (const [capability, policies] of grantsOf(rule)) {
    known.grantedBy.set(capability, new Set([...(known.grantedBy.get(capability) ?? []), ...policies]));
  }
  for (const name of rule.required) known.required.add(name);
  uniteParameters(known.allowed, rule.allowed);
  uniteParameters(known.denied, rule.denied);
  known.minWrappingTtlMs = lowest(known.minWrappingTtlMs, rule.minWrappingTtlMs);
  known.maxWrappingTtlMs = lowest(known.maxWrappingTtlMs, rule.maxWrappingTtlMs);
}

/** An empty list means any value, so it wins. */
function uniteParameters(known: ParameterRules, added: ParameterRules): void {
  for (const [name, values] of added) {
    const before = known.get(name);
    known.set(name, values.length === 0 || before?.length === 0 ? [] : [...(before ?? []), ...values]);
  }
}

const lowest = (a: number, b: number) => (a === 0 || b === 0 ? a + b : Math.min(a, b));

function wrapsAsAsked({ minWrappingTtlMs: least, maxWrappingTtlMs: most }: Permissions, wrapTtlMs: number | undefined) {
  if (least === 0 && most === 0) return true;
  return wrapTtlMs !== undefined && wrapTtlMs >= least && (most === 0 || wrapTtlMs <= most);
}

/** A delete has no parameters that count, and a list none either. */
function takesParameters({ allowed, denied, required }: Permissions, { operation, parameters = {} }: AccessRequest) {
  if (operation === 'delete' || operation === 'list') return true;
  const sent = Object.entries(parameters).map(([name, value]) => [name.toLowerCase(), value] as const);
  // To the letter: a field whose name is spelled otherwise is not given.
  if ([...required].some((name) => !Object.hasOwn(parameters, name))) return false;
  return sent.every(([name, value]) => !isDenied(denied, name, value) && isAllowed(allowed, name, value));
}

function isDenied(denied: ParameterRules, name: string, value: unknown): boolean {
  if (denied.has('*')) return true;
  const values = denied.get(name);
  if (!values) return false;
  // A list that holds what is denied is no way around it.
  const parts = Array.isArray(value) ? [value, ...(value as unknown[])] : [value];
  return values.length === 0 || parts.some((part) => values.some((listed) => isMeant(listed, part)));
}

function isAllowed(allowed: ParameterRules, name: string, value: unknown): boolean {
  if (allowed.size === 0) return true;
  const values = allowed.get(name);
  if (!values) return allowed.has('*');
  return values.length === 0 || values.some((listed) => isMeant(listed, value));
}

/** Whether a listed value means the one that was sent; a field takes 5 and "5" for the same, so does this. */
function isMeant(listed: ParameterValue, sent: unknown): boolean {
  if (isScalar(listed) && isScalar(sent)) return globTakes(String(listed), String(sent));
  return canonical(listed) === canonical(sent);
}

function isScalar(value: unknown): value is string | number | boolean {
  return ['string', 'number', 'boolean'].includes(typeof value);
}

/** A `*` at either end stands for any text. */
function globTakes(glob: string, text: string): boolean {
  if (glob === '*') return true;
  const [starts, ends] = [glob.endsWith('*'), glob.startsWith('*')];
  if (starts && ends) return text.includes(glob.slice(1, -1));
  if (starts) return text.startsWith(glob.slice(0, -1));
  return ends ? text.endsWith(glob.slice(1)) : text === glob;
}

/** JSON with its keys in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
