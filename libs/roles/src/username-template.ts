import { randomInt } from 'node:crypto';
import { goQuote, InvalidRequest } from '#libs/contracts';
import { iamName, normaliseName } from './iam-name.js';
import { callFunction, functionNames, TemplateFault, type Surroundings, type Value } from './template-functions.js';
import { parseTemplate, TemplateSyntaxError, type Expression, type TemplateNode } from './template-parser.js';

/** `IAM` names users and assumed-role sessions, `STS` names federation tokens. */
export type UsernameType = 'IAM' | 'STS';

/** What a name is made from. As in Vault, an `STS` name sees neither display name nor role name. */
export interface UsernameData {
  type: UsernameType;
  /** The token's display name; the template sees it in IAM's characters. */
  displayName: string;
  /** The role's name; the template sees it in IAM's characters. */
  policyName: string;
  now: Date;
}

/**
 * What a mount without a template of its own uses. Vault cuts the whole name at 64 and may leave 4 random characters of
 * its 20; here the display and role names give way, so that 20 (STS: 15) always remain within 64 (STS: 32).
 */
export const defaultTemplate =
  '{{ if eq .Type "STS" }}{{ printf "vault-%s-%s" unix_time (random 15) }}' +
  '{{ else }}{{ printf "vault-%s-%s-%s" (printf "%s-%s" .DisplayName .PolicyName | truncate 26) unix_time (random 20) }}' +
  '{{ end }}';

const lengthLimits: Record<UsernameType, number> = { IAM: 64, STS: 32 };
const shortestName = 2;
const leastRandom = 12;
const mostRandom = 256;
const longestTemplate = 2048;
const templatesKept = 100;

/** IAM's limit for the name of an inline policy, which is the role's name; no display name worth showing is longer. */
const longestInput = 128;

const fields: ReadonlySet<string> = new Set(['Type', 'DisplayName', 'PolicyName']);

const compiled = new Map<string, Template>();

/**
 * A template ready to make names, kept for the next call with the same text.
 *
 * The language is a small part of Go's text/template and is evaluated here. No npm package fits: `@mdfriday/text-template`
 * grants no licence, `@evertdespiegeleer/go-template` is a Go runtime of 5 MB that takes no functions of ours,
 * `go-text-template` has no `if`, `@ctrl/golang-template` takes no functions, `gotemplate-node` brings a compiler and `eval`.
 * @throws InvalidRequest `unable to initialize username template: …`
 */
export function compileTemplate(text: string): Template {
  const known = compiled.get(text);
  if (known) return known;
  const template = new Template(parse(text));
  const [oldest] = compiled.keys();
  if (compiled.size >= templatesKept && oldest !== undefined) compiled.delete(oldest);
  compiled.set(text, template);
  return template;
}

/** Makes user and session names; made by `compileTemplate`. */
export class Template {
  constructor(private readonly nodes: TemplateNode[]) {}

  /** @throws InvalidRequest when the template fails with these names, or makes one that AWS would refuse. */
  render(data: UsernameData): string {
    const name = this.fill(data, drawAtRandom);
    const fault = faultOf(name, data.type);
    if (fault) throw new InvalidRequest(fault);
    return name;
  }

  /** The name as it comes out, whatever AWS would think of it. */
  fill(data: UsernameData, draw: Surroundings['draw']): string {
    const hasNames = data.type === 'IAM';
    const values: Record<string, string> = {
      Type: data.type,
      DisplayName: hasNames ? normaliseName(data.displayName) : '',
      PolicyName: hasNames ? normaliseName(data.policyName) : '',
    };
    try {
      return fill(this.nodes, values, { now: data.now, draw });
    } catch (error) {
      if (!(error instanceof TemplateFault)) throw error;
      throw new InvalidRequest(`failed to generate username: unable to apply template: ${error.message}`);
    }
  }
}

/**
 * Refuses, when it is written, a template that could not serve: one that does not parse or fails, makes names longer
 * than AWS takes or in other characters, or leaves fewer than 12 random characters (a name must never be met twice:
 * design.md, Failed). Tried with the longest and with short names; what only certain names do shows in `render`.
 * @throws InvalidRequest
 */
export function checkTemplate(text: string): void {
  check(compileTemplate(text), samples());
}

/**
 * The same with the name of one role: a template may make something else of that than of those it was tried with.
 * @throws InvalidRequest
 */
export function checkTemplateFor(text: string, type: UsernameType, roleName: string): void {
  const ofType = samples().filter((data) => data.type === type);
  check(
    compileTemplate(text),
    ofType.map((data) => ({ ...data, policyName: roleName })),
  );
}

function check(template: Template, names: UsernameData[]): void {
  for (const data of names) {
    const { name, randomCharacters } = measure(template, data);
    const fault = faultOf(name, data.type);
    if (fault) throw new InvalidRequest(`${fault}; with long or short names it makes ${goQuote(name)}`);
    if (randomCharacters < leastRandom) {
      throw new InvalidRequest(
        `the username generated by the template keeps only ${randomCharacters} random characters in the worst case; ` +
          `at least ${leastRandom} are needed (type ${data.type})`,
      );
    }
  }
}

function parse(text: string): TemplateNode[] {
  const problem = 'unable to initialize username template';
  if (text === '') throw new InvalidRequest(`${problem}: missing template`);
  if (text.length > longestTemplate) {
    throw new InvalidRequest(`${problem}: the template is longer than ${longestTemplate} characters`);
  }
  try {
    return parseTemplate(text, functionNames, fields);
  } catch (error) {
    if (!(error instanceof TemplateSyntaxError)) throw error;
    throw new InvalidRequest(`${problem}: unable to parse template: ${error.message}`);
  }
}

function fill(nodes: TemplateNode[], values: Record<string, string>, surroundings: Surroundings): string {
  let name = '';
  for (const node of nodes) {
    if (node.kind === 'text') name += node.text;
    else if (node.kind === 'output') name += String(evaluate(node.value, values, surroundings));
    else {
      const arm = node.arms.find(({ condition }) => !condition || evaluate(condition, values, surroundings));
      if (arm) name += fill(arm.body, values, surroundings);
    }
  }
  return name;
}

function evaluate(expression: Expression, values: Record<string, string>, surroundings: Surroundings): Value {
  switch (expression.kind) {
    case 'literal':
      return expression.value;
    case 'field':
      return values[expression.name] ?? '';
    case 'call': {
      const given = expression.arguments.map((argument) => evaluate(argument, values, surroundings));
      return callFunction(expression.name, given, surroundings);
    }
  }
}

/** Why AWS would not take a name, or null. */
function faultOf(name: string, type: UsernameType): string | null {
  const limit = lengthLimits[type];
  if (name.length > limit) {
    return `the username generated by the template exceeds the ${type} username length limits of ${limit} chars`;
  }
  if (name.length < shortestName) {
    return `the username generated by the template is shorter than ${shortestName} chars`;
  }
  if (!iamName.test(name)) {
    return 'the username generated by the template may hold only letters, digits and +=,.@_-';
  }
  return null;
}

/** The longest and short names, on a day whose month and weekday have the longest names. */
function samples(): UsernameData[] {
  const now = new Date('2026-09-30T22:59:59.999Z');
  const longest = 'aZ0_+=,.@-'.repeat(longestInput / 10 + 1).slice(0, longestInput);
  const names: [string, string][] = [
    [longest, longest],
    ['token', 'deploy'],
    ['', 'a'],
  ];
  return [
    ...names.map(([displayName, policyName]) => ({ type: 'IAM' as const, displayName, policyName, now })),
    { type: 'STS', displayName: '', policyName: '', now },
  ];
}

/**
 * How much chance is left in a name: the drawn characters that change it when they alone change, and never more than
 * the places at which it changes at all. So neither a cut nor a hash of a cut counts for more than it is worth.
 */
function measure(template: Template, data: UsernameData): { name: string; randomCharacters: number } {
  let drawn = 0;
  const renderWithChanged = (changed: number) => {
    drawn = 0;
    return template.fill(data, (count, alphabet) =>
      Array.from({ length: count }, () => {
        const at = drawn * 7 + (drawn === changed ? 1 : 0);
        drawn++;
        return alphabet[at % alphabet.length];
      }).join(''),
    );
  };
  const name = renderWithChanged(-1);
  const draws = drawn;
  if (draws > mostRandom) {
    throw new InvalidRequest(`the username template draws more than ${mostRandom} random characters`);
  }
  const places = new Set<number>();
  let telling = 0;
  for (let changed = 0; changed < draws; changed++) {
    const other = renderWithChanged(changed);
    if (other === name) continue;
    telling++;
    for (let place = 0; place < name.length; place++) if (other[place] !== name[place]) places.add(place);
  }
  return { name, randomCharacters: Math.min(telling, places.size) };
}

function drawAtRandom(count: number, alphabet: string): string {
  let drawn = '';
  for (let left = count; left > 0; left--) drawn += alphabet[randomInt(alphabet.length)];
  return drawn;
}
