import { goQuote, InvalidRequest, parseDuration } from '#libs/contracts';
import { HclBody, type HclEntry, HclFault, HclText, type HclValue } from './hcl.js';

const capabilities = ['create', 'read', 'update', 'patch', 'delete', 'list', 'scan', 'sudo', 'deny'] as const;

/** What a rule lets its holder do with a path (contract.md 3.4). */
export type Capability = (typeof capabilities)[number];

/** What a parameter may, or must not, be: a value of JSON. */
export type ParameterValue = string | number | boolean | null | ParameterValue[] | { [name: string]: ParameterValue };

/** By the parameter's name in lower case; an empty list means any value. */
export type ParameterRules = Map<string, ParameterValue[]>;

/** One `path` of a policy. */
export interface PolicyRule {
  /** The name of the policy that it is in, where that is known. */
  policy?: string;
  /** Without `/v1/` and a leading slash; with its wildcards `*` (at the end) and `+` (a whole segment). */
  path: string;
  /** Of a rule that denies, `deny` alone. */
  capabilities: Set<Capability>;
  allowed: ParameterRules;
  denied: ParameterRules;
  /** In lower case. */
  required: Set<string>;
  /** Bounds of the wish to wrap the answer, in milliseconds; 0: none. */
  minWrappingTtlMs: number;
  maxWrappingTtlMs: number;
  /** After this instant, milliseconds since 1970, the rule is none. */
  expiresAt: number;
}

/** The old words for sets of capabilities. */
const legacy: Record<string, Capability[]> = {
  deny: ['deny'],
  read: ['read', 'list'],
  write: ['create', 'read', 'update', 'delete', 'list'],
  sudo: ['create', 'read', 'update', 'delete', 'list', 'sudo'],
};

/** The last five are for other servers: they are taken and mean nothing here, but for `expiration`, which is kept to. */
const keysOfPath = [
  'comment',
  'policy',
  'capabilities',
  'allowed_parameters',
  'denied_parameters',
  'required_parameters',
  'min_wrapping_ttl',
  'max_wrapping_ttl',
  'expiration',
  'mfa_methods',
  'control_group',
  'pagination_limit',
  'subscribe_event_types',
];

/** So many unknown keys are told at once. */
const mostFaults = 10;

/**
 * Reads a policy, HCL or JSON. Rules whose path is made of an identity (`{{identity.…}}`) are left out, since no token here
 * has one.
 * @throws InvalidRequest with the texts of contract.md 3.4.
 */
export function parsePolicy(text: string): PolicyRule[] {
  try {
    return new PolicyReader(new HclText(text)).read();
  } catch (error) {
    if (error instanceof HclFault) throw new InvalidRequest(`failed to parse policy: ${error.message}`);
    throw error;
  }
}

class PolicyReader {
  constructor(private readonly hcl: HclText) {}

  read(): PolicyRule[] {
    const root = this.hcl.read();
    this.checkKeys(root, ['name', 'path'], '');
    return root.entries.flatMap((entry) => {
      if (entry.keys[0] === 'path') return this.pathsOf(entry).flatMap(([path, body]) => this.rule(path, body));
      if (typeof entry.value !== 'string' || entry.keys.length > 1) throw this.fault(entry, 'name must be a text');
      return [];
    });
  }

  /** `path "x" { … }`; or, as JSON has it, `path = { "x" = { … } }`, and lists of either where one is meant. */
  private pathsOf(entry: HclEntry): [string, HclBody][] {
    const [, label, ...more] = entry.keys;
    if (more.length > 0) throw this.fault(entry, 'a path block has one label, its path');
    const bodies = this.bodiesOf(entry);
    if (label !== undefined) return bodies.map((body) => [label, body]);
    return bodies.flatMap((body) =>
      body.entries.flatMap((inner) => {
        if (inner.keys.length > 1) throw this.fault(inner, 'expected a path and its block');
        return this.bodiesOf(inner).map((each): [string, HclBody] => [inner.keys[0]!, each]);
      }),
    );
  }

  private bodiesOf(entry: HclEntry): HclBody[] {
    const values = Array.isArray(entry.value) ? entry.value : [entry.value];
    return values.map((value) => {
      if (!(value instanceof HclBody)) throw this.fault(entry, 'expected a block');
      return value;
    });
  }

  private rule(key: string, body: HclBody): PolicyRule[] {
    const plain = key.replaceAll(/\{\{[^{}]*\}\}/g, '');
    if (/\{\{|\}\}/.test(plain)) {
      throw refusal('failed to validate policy templating: unbalanced templating characters');
    }
    this.checkKeys(body, keysOfPath, `path ${goQuote(key)}: `);
    const fields = this.fieldsOf(body);
    const path = key.replace(/^\//, '');
    if (path.includes('+*')) throw refusal(`path ${goQuote(path)}: invalid use of wildcards ('+*' is forbidden)`);
    const rule: PolicyRule = {
      path,
      capabilities: this.capabilitiesOf(key, fields),
      allowed: this.parametersOf(fields.get('allowed_parameters')),
      denied: this.parametersOf(fields.get('denied_parameters')),
      required: new Set(this.textsOf(fields.get('required_parameters')).map((name) => name.toLowerCase())),
      minWrappingTtlMs: this.durationOf(fields.get('min_wrapping_ttl')),
      maxWrappingTtlMs: this.durationOf(fields.get('max_wrapping_ttl')),
      expiresAt: expiryOf(key, fields.get('expiration')?.value),
    };
    const { minWrappingTtlMs: least, maxWrappingTtlMs: most } = rule;
    if (most > 0 && most < least) throw refusal('max_wrapping_ttl cannot be less than min_wrapping_ttl');
    return plain === key ? [rule] : [];
  }

  /** Every key once: of two, one would be passed over, and nobody would know which. */
  private fieldsOf(body: HclBody): Map<string, HclEntry> {
    const fields = new Map<string, HclEntry>();
    for (const entry of body.entries) {
      const [name, label] = entry.keys as [string, string?];
      if (label !== undefined) throw this.fault(entry, `${goQuote(name)} has no label`);
      if (fields.has(name)) throw this.fault(entry, `the argument ${goQuote(name)} was already set`);
      fields.set(name, entry);
    }
    return fields;
  }

  private capabilitiesOf(key: string, fields: Map<string, HclEntry>): Set<Capability> {
    const named = this.textsOf(fields.get('capabilities'));
    const old = fields.get('policy');
    if (old) {
      const meant = typeof old.value === 'string' && Object.hasOwn(legacy, old.value) ? legacy[old.value]! : null;
      if (!meant) throw refusal(`path ${goQuote(key)}: invalid policy ${goQuote(String(old.value))}`);
      named.push(...meant);
    }
    const unknown = named.find((name) => !capabilities.includes(name as Capability));
    if (unknown !== undefined) throw refusal(`path ${goQuote(key)}: invalid capability ${goQuote(unknown)}`);
    return new Set(named.includes('deny') ? ['deny'] : (named as Capability[]));
  }

  private parametersOf(entry: HclEntry | undefined): ParameterRules {
    const rules: ParameterRules = new Map();
    if (!entry) return rules;
    if (!(entry.value instanceof HclBody)) throw this.fault(entry, `${goQuote(entry.keys[0]!)} must be a map of lists`);
    for (const { keys, value, at } of entry.value.entries) {
      if (keys.length > 1 || !Array.isArray(value))
        throw this.hcl.fault('expected a parameter and a list of values', at);
      const name = keys[0]!.toLowerCase();
      if (rules.has(name)) throw this.hcl.fault(`the parameter ${goQuote(name)} was already named`, at);
      rules.set(name, value.map(toJson));
    }
    return rules;
  }

  private textsOf(entry: HclEntry | undefined): string[] {
    if (!entry) return [];
    const { keys, value } = entry;
    if (!Array.isArray(value) || !value.every((each) => typeof each === 'string')) {
      throw this.fault(entry, `${goQuote(keys[0]!)} must be a list of texts`);
    }
    return [...value];
  }

  private durationOf(entry: HclEntry | undefined): number {
    if (!entry) return 0;
    try {
      return Math.trunc(parseDuration(entry.value) / 1000) * 1000;
    } catch (error) {
      throw refusal(`error parsing ${entry.keys[0]!}: ${(error as Error).message}`);
    }
  }

  private checkKeys(body: HclBody, known: string[], prefix: string): void {
    const faults = body.entries
      .filter(({ keys }) => !known.includes(keys[0]!))
      .slice(0, mostFaults)
      .map(({ keys, at }) => `${prefix}invalid key ${goQuote(keys[0]!)} on line ${this.hcl.lineOf(at)}`);
    if (faults.length === 0) return;
    const count = faults.length === 1 ? '1 error' : `${faults.length} errors`;
    throw refusal(`${count} occurred:\n${faults.map((fault) => `\t* ${fault}\n`).join('')}\n`);
  }

  private fault(entry: HclEntry, what: string): HclFault {
    return this.hcl.fault(what, entry.at);
  }
}

function refusal(text: string): InvalidRequest {
  return new InvalidRequest(`failed to parse policy: ${text}`);
}

function expiryOf(key: string, value: HclValue | undefined): number {
  if (value === undefined || value === '') return Number.POSITIVE_INFINITY;
  const seconds = typeof value === 'number' || (typeof value === 'string' && /^\d+$/.test(value));
  const isInstant =
    typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(value);
  const at = seconds ? Number(value) * 1000 : isInstant ? Date.parse(value) : Number.NaN;
  if (!Number.isFinite(at)) {
    throw refusal(`path ${goQuote(key)}: invalid expiration time: give an instant such as 2030-01-31T12:00:00Z`);
  }
  return at;
}

function toJson(value: HclValue): ParameterValue {
  if (value instanceof HclBody) {
    return Object.fromEntries(value.entries.map((entry) => [entry.keys.join('.'), toJson(entry.value)]));
  }
  return Array.isArray(value) ? value.map(toJson) : value;
}
