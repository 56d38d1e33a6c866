import { InvalidRequest } from '#libs/contracts';
import type { RoleDefinition } from './role-definition.js';

/** Who asks, as far as a role may be templated from it. */
export interface RoleCaller {
  displayName: string;
  /** Of the token: AppRole puts `role_name` and a secret id's metadata there. */
  meta: Record<string, string> | null;
}

type Templated = Pick<RoleDefinition, 'policyDocument' | 'iamTags' | 'sessionTags'>;

const opening = '{{';
const placeholder = /\{\{\s*\.(?:DisplayName|Metadata\.([\w-]{1,64}))\s*\}\}/g;

/**
 * What a value may hold. It stands inside JSON, inside ARNs and beside wildcards and policy variables, so it holds none of
 * their signs, and none that would make one part of an ARN or of a path into two.
 */
const safeValue = /^[\w+=,.@-]{1,128}$/;

/** Where in a policy a value says whom or what it is about; anywhere else it would say what may be done. */
const templatedElements = new Set(['Resource', 'NotResource', 'Condition']);

/**
 * The role with its policy and the values of its tags filled in for who asks: `{{ .DisplayName }}` and
 * `{{ .Metadata.<key> }}` (docs/decisions/0021).
 * @throws InvalidRequest when the caller has no such value, or one that could change what the policy means.
 */
export function filledInFor<Role extends Templated>(role: Role, caller: RoleCaller): Role {
  return mapped(role, (text) =>
    text.replace(placeholder, (_, key: string | undefined) =>
      key === undefined
        ? valueOf('display name', caller.displayName)
        : valueOf(`metadata "${key}"`, caller.meta && Object.hasOwn(caller.meta, key) ? caller.meta[key]! : ''),
    ),
  );
}

/** Whether anything of a role depends on who asks. */
export function isTemplated({ policyDocument, iamTags, sessionTags }: Templated): boolean {
  const texts = [policyDocument, ...Object.values(iamTags ?? {}), ...Object.values(sessionTags ?? {})];
  return texts.some((text) => text.includes(opening));
}

/** The role as short as its templates can make it. */
export function withShortestValues<Role extends Templated>(role: Role): Role {
  return mapped(role, (text) => text.replace(placeholder, 'x'));
}

/** What is wrong with the templates of a role. */
export function faultsOfTemplates(role: Templated): string[] {
  const faults = faultsOfPolicy(role.policyDocument);
  for (const [field, tags] of [
    ['iam_tags', role.iamTags],
    ['session_tags', role.sessionTags],
  ] as const) {
    for (const [key, value] of Object.entries(tags ?? {})) {
      if (key.includes(opening)) faults.push(`${field}: the key of a tag cannot be templated`);
      if (value.replace(placeholder, '').includes(opening)) faults.push(`${field}: ${unknown}`);
    }
  }
  return faults;
}

const unknown = 'it can be templated with {{ .DisplayName }} and {{ .Metadata.<key> }}, and with nothing else';

function faultsOfPolicy(document: string): string[] {
  if (!document.includes(opening) && !document.includes('\\u007b') && !document.includes('\\u007B')) return [];
  const found: { path: string[]; text: string }[] = [];
  walk(JSON.parse(document), (path, text) => {
    if (text.includes(opening)) found.push({ path, text });
  });
  const faults = new Set<string>();
  for (const { path, text } of found) {
    const [top, ...below] = path.filter((step) => !/^\d+$/.test(step));
    const isValue = top === 'Statement' && templatedElements.has(below[0] ?? '') && below.at(-1) !== keyMark;
    if (!isValue)
      faults.add('policy_document: only the values of Resource, NotResource and Condition can be templated');
    if (text.replace(placeholder, '').includes(opening)) faults.add(`policy_document: ${unknown}`);
    // A value would choose the variable, and with it whatever AWS puts there.
    if (/\$\{(?!\{)[^}]*\{\{|\$\{\{/.test(text)) {
      faults.add('policy_document: a policy variable, ${…}, cannot be made of a template');
    }
  }
  // What is filled in is the document's text: a brace that is escaped there, or a value that JSON drops since its key comes
  // again, is none of those that were looked at.
  const counted = found.reduce((sum, { text }) => sum + text.split(opening).length - 1, 0);
  if (counted !== document.split(opening).length - 1) {
    faults.add('policy_document: a template stands behind a key that comes twice, or has its braces escaped');
  }
  return [...faults];
}

/** The last step of the path of a key. */
const keyMark = '(key)';

/** Steps of a path that are kept. */
const longestPath = 16;

/** Sees every text of a document, keys included. Without recursion: how deep it is, is the caller's choice. */
function walk(document: unknown, see: (path: string[], text: string) => void): void {
  const left: { path: string[]; value: unknown }[] = [{ path: [], value: document }];
  for (let next = left.pop(); next; next = left.pop()) {
    const { path, value } = next;
    if (typeof value === 'string') see(path, value);
    if (typeof value !== 'object' || value === null) continue;
    for (const [key, inner] of Object.entries(value)) {
      if (!Array.isArray(value)) see([...path, keyMark], key);
      // What lies deeper is judged by how its path begins.
      left.push({ path: path.length > longestPath ? path : [...path, key], value: inner });
    }
  }
}

function valueOf(what: string, value: string): string {
  if (value === '') {
    throw new InvalidRequest(`The role is templated with the ${what} of its caller's token, which has none.`);
  }
  if (!safeValue.test(value)) {
    throw new InvalidRequest(
      `The role is templated with the ${what} of its caller's token, which is not made of 1 to 128 letters, digits and ` +
        'characters of _+=,.@- alone: it could change what the policy means.',
    );
  }
  return value;
}

function mapped<Role extends Templated>(role: Role, fill: (text: string) => string): Role {
  const tags = (given: Record<string, string> | null) =>
    given && Object.fromEntries(Object.entries(given).map(([key, value]) => [key, fill(value)]));
  return {
    ...role,
    policyDocument: fill(role.policyDocument),
    iamTags: tags(role.iamTags),
    sessionTags: tags(role.sessionTags),
  };
}
