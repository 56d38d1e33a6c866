import type { RoleDefinition } from './role-definition.js';

/** What makes users or keys that no lease explains and nobody takes back. */
const powers = ['iam:CreateUser', 'iam:CreateAccessKey'];

/** Policies of AWS's own that allow them. */
const managedPowers = /^arn:[\w-]+:iam::aws:policy\/(AdministratorAccess|IAMFullAccess)$/;

interface Statement {
  Effect?: unknown;
  Action?: unknown;
  NotAction?: unknown;
  Resource?: unknown;
  NotResource?: unknown;
  Condition?: unknown;
}

/**
 * Why the holder of such a credential could make IAM users or keys of its own, which outlive the lease; empty when it could
 * not, as far as the role itself says. A federation token reaches IAM never, a session token with MFA only (aws-facts.md).
 */
export function waysToOutlive(role: RoleDefinition): string[] {
  const types = role.credentialTypes;
  if (types.includes('session_token')) {
    return role.mfaSerialNumber
      ? [warning('an MFA code gives its holder all that the identity of config/root may do, IAM included')]
      : [];
  }
  if (!types.includes('iam_user') && !types.includes('assumed_role')) return [];
  const asFarAs = types.includes('iam_user')
    ? role.permissionsBoundaryArn === ''
      ? ''
      : ', as far as its permissions boundary lets it'
    : ', as far as the IAM role that is assumed lets it';
  const allowed = actionsAllowedBy(role.policyDocument);
  const managed = (role.policyArns ?? []).filter((arn) => managedPowers.test(arn));
  return [
    ...(allowed.length > 0 ? [warning(`policy_document allows ${allowed.join(' and ')}${asFarAs}`)] : []),
    ...managed.map((arn) => warning(`${arn} allows ${powers.join(' and ')}${asFarAs}`)),
  ];
}

function warning(why: string): string {
  return `This role lets its holder make IAM users or access keys of its own, which stay when the lease ends: ${why}.`;
}

/** Those of `powers` that a document allows on some user and does not deny on every one. */
function actionsAllowedBy(document: string): string[] {
  const statements = statementsOf(document);
  return powers.filter(
    (action) =>
      statements.some((each) => each.Effect === 'Allow' && names(each, action) && reachesSomeUser(each)) &&
      !statements.some((each) => each.Effect === 'Deny' && names(each, action) && reachesAlways(each)),
  );
}

function statementsOf(document: string): Statement[] {
  if (document === '') return [];
  const policy = JSON.parse(document) as { Statement?: unknown } | null;
  const given = typeof policy === 'object' && policy !== null ? [policy.Statement].flat() : [];
  return given.filter((each): each is Statement => typeof each === 'object' && each !== null);
}

/** Actions are one whatever their case; `*` is any text and `?` any character. */
function names({ Action, NotAction }: Statement, action: string): boolean {
  const isOneOf = (patterns: string[]) =>
    patterns.some((pattern) => matches(pattern.toLowerCase(), action.toLowerCase()));
  return Action === undefined ? NotAction !== undefined && !isOneOf(textsOf(NotAction)) : isOneOf(textsOf(Action));
}

/** Whether it may be about a user; of NotResource only that it is not about everything is known. */
function reachesSomeUser({ Resource, NotResource }: Statement): boolean {
  if (Resource === undefined) return NotResource !== undefined && !textsOf(NotResource).includes('*');
  return textsOf(Resource).some((pattern) => pattern === '*' || mayBeUser(pattern));
}

function reachesAlways({ Resource, Condition }: Statement): boolean {
  return Condition === undefined && textsOf(Resource).includes('*');
}

/** Whether a pattern may match `arn:<partition>:iam::<account>:user/…`; in doubt it may. */
function mayBeUser(pattern: string): boolean {
  const [, , service = '', , , ...rest] = pattern.split(':');
  // With fewer parts than an ARN has, a wildcard stands for some of them.
  if (rest.length === 0) return /[*?]/.test(pattern);
  const [known = ''] = rest.join(':').split(/[*?]/);
  return matches(service, 'iam') && ('user/'.startsWith(known) || known.startsWith('user/'));
}

function textsOf(value: unknown): string[] {
  return [value].flat().filter((each): each is string => typeof each === 'string');
}

/** `*` for any text, `?` for one character; in time that no pattern makes long, unlike a regular expression's. */
function matches(pattern: string, text: string): boolean {
  let at = 0;
  let star = -1;
  let starAt = 0;
  let next = 0;
  while (at < text.length) {
    if (pattern[next] === '*') {
      star = next++;
      starAt = at;
    } else if (next < pattern.length && (pattern[next] === '?' || pattern[next] === text[at])) {
      next++;
      at++;
    } else if (star >= 0) {
      next = star + 1;
      at = ++starAt;
    } else {
      return false;
    }
  }
  while (pattern[next] === '*') next++;
  return next === pattern.length;
}
