import { malformedPolicy } from './aws-error.js';

/** A policy ready to be asked. */
export interface Policy {
  statements: Statement[];
}

export interface Statement {
  allow: boolean;
  actions: { patterns: string[]; except: boolean };
  /** Absent in a trust policy. */
  resources?: { patterns: string[]; except: boolean };
  /** Trust policies only: ARNs, account ids, or `*`. */
  principals?: string[];
  conditions: { operator: string; key: string; values: string[] }[];
}

type Json = Record<string, unknown>;
export type PolicyKind = 'identity' | 'trust';

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const syntaxError = () => malformedPolicy('Syntax errors in policy.');

const parsed = new Map<string, Policy>();

/**
 * Parses a document and keeps the result by its text: the same few documents are asked on every call.
 * @throws AwsError MalformedPolicyDocument, in the words that IAM uses for the first fault found.
 */
export function readPolicy(document: string, kind: PolicyKind = 'identity'): Policy {
  const name = `${kind} ${document}`;
  const known = parsed.get(name);
  if (known) return known;
  const policy = parse(document, kind);
  if (parsed.size >= 5_000) parsed.clear();
  parsed.set(name, policy);
  return policy;
}

function parse(document: string, kind: PolicyKind): Policy {
  let root: unknown;
  try {
    root = JSON.parse(document);
  } catch {
    throw syntaxError();
  }
  if (!isObject(root)) throw syntaxError();
  if (root['Version'] !== undefined && root['Version'] !== '2012-10-17' && root['Version'] !== '2008-10-17') {
    throw malformedPolicy('The policy must contain a valid version string.');
  }
  for (const member of Object.keys(root)) {
    if (!['Version', 'Id', 'Statement'].includes(member)) throw syntaxError();
  }
  const statements = Array.isArray(root['Statement']) ? root['Statement'] : [root['Statement']];
  if (statements.length === 0) throw syntaxError();
  return { statements: statements.map((statement) => parseStatement(statement, kind)) };
}

function parseStatement(statement: unknown, kind: PolicyKind): Statement {
  if (!isObject(statement)) throw syntaxError();
  const effect = statement['Effect'];
  if (effect !== 'Allow' && effect !== 'Deny') throw syntaxError();
  const actions = eitherList(statement, 'Action');
  if (!actions) throw malformedPolicy('Policy statement must contain actions.');
  for (const action of actions.patterns) {
    if (action !== '*' && !/^[\w*?-]+:[\w*?]+$/.test(action)) {
      throw malformedPolicy('Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.');
    }
  }
  const rest = { allow: effect === 'Allow', actions, conditions: parseConditions(statement['Condition']) };
  const resources = eitherList(statement, 'Resource');
  if (kind === 'trust') {
    if (resources) throw malformedPolicy('Has prohibited field Resource');
    if (!actions.patterns.every((action) => action.startsWith('sts:') || action === '*')) {
      throw malformedPolicy('AssumeRole policy may only specify STS AssumeRole actions.');
    }
    return { ...rest, principals: parsePrincipals(statement['Principal']) };
  }
  if (statement['Principal'] !== undefined || statement['NotPrincipal'] !== undefined) {
    throw malformedPolicy('Policy document should not specify a principal.');
  }
  if (!resources) throw malformedPolicy('Policy statement must contain resources.');
  for (const resource of resources.patterns) {
    if (resource !== '*' && resource.split(':').length < 6) {
      throw malformedPolicy(`Resource ${resource} must be in ARN format or "*".`);
    }
  }
  return { ...rest, resources };
}

/** `Action` or `NotAction`, `Resource` or `NotResource`; undefined when neither is there. */
function eitherList(statement: Json, name: string): { patterns: string[]; except: boolean } | undefined {
  const plain = statement[name];
  const except = statement[`Not${name}`];
  if (plain !== undefined && except !== undefined) throw syntaxError();
  const value = plain ?? except;
  if (value === undefined) return undefined;
  const patterns = textList(value);
  if (patterns.length === 0) return undefined;
  return { patterns, except: plain === undefined };
}

function textList(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).map((item: unknown) => {
    if (typeof item === 'string') return item;
    if (typeof item === 'boolean' || typeof item === 'number') return String(item);
    throw syntaxError();
  });
}

function parsePrincipals(principal: unknown): string[] {
  if (principal === '*') return ['*'];
  if (!isObject(principal)) throw malformedPolicy('Missing required field Principal');
  return textList(principal['AWS'] ?? []);
}

function parseConditions(condition: unknown): Statement['conditions'] {
  if (condition === undefined) return [];
  if (!isObject(condition)) throw syntaxError();
  return Object.entries(condition).flatMap(([operator, keys]) => {
    if (!isObject(keys)) throw syntaxError();
    return Object.entries(keys).map(([key, values]) => ({
      operator,
      key: key.toLowerCase(),
      values: textList(values),
    }));
  });
}
