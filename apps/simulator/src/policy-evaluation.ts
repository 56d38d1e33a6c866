import type { Policy, Statement } from './policy-document.js';

/** What is asked. Context keys are lower case; `aws:username` and `aws:userid` are also policy variables. */
export interface Question {
  action: string;
  resource: string;
  context: Record<string, string | undefined>;
}

export type Verdict = 'allow' | 'deny' | 'silent';

/** What policies of one kind say together: an explicit deny first, then an allow, else nothing. */
export function ask(policies: Policy[], question: Question): Verdict {
  let verdict: Verdict = 'silent';
  for (const policy of policies) {
    for (const statement of policy.statements) {
      if (statement.allow && verdict === 'allow') continue;
      if (!applies(statement, question)) continue;
      if (!statement.allow) return 'deny';
      verdict = 'allow';
    }
  }
  return verdict;
}

/** Whether a statement's actions, resources and conditions fit the question; principals are the caller's to compare. */
export function applies(statement: Statement, question: Question): boolean {
  const { actions, resources } = statement;
  const named = actions.patterns.some((pattern) => matches(pattern.toLowerCase(), question.action.toLowerCase()));
  if (named === actions.except) return false;
  if (resources) {
    const found = resources.patterns.some((pattern) => matches(fillIn(pattern, question), question.resource));
    if (found === resources.except) return false;
  }
  return statement.conditions.every((condition) => holds(condition, question));
}

/** The operators that identity and trust policies for these services use; any other never holds. */
function holds({ operator, key, values }: Statement['conditions'][number], question: Question): boolean {
  const actual = question.context[key];
  const wanted = values.map((value) => fillIn(value, question));
  switch (operator) {
    case 'StringEquals':
    case 'ArnEquals':
      return actual !== undefined && wanted.includes(actual);
    case 'StringNotEquals':
      return actual === undefined || !wanted.includes(actual);
    case 'StringLike':
    case 'ArnLike':
      return actual !== undefined && wanted.some((pattern) => matches(pattern, actual));
    case 'Null':
      return wanted.includes(String(actual === undefined));
    default:
      return false;
  }
}

function fillIn(text: string, question: Question): string {
  if (!text.includes('${')) return text;
  return text.replace(/\$\{([\w:]+)\}/g, (variable, key: string) => question.context[key.toLowerCase()] ?? variable);
}

const expressions = new Map<string, RegExp>();

/** `*` for any characters, `?` for one. */
export function matches(pattern: string, text: string): boolean {
  if (pattern === '*' || pattern === text) return true;
  if (!pattern.includes('*') && !pattern.includes('?')) return false;
  let expression = expressions.get(pattern);
  if (!expression) {
    const source = pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.');
    expression = new RegExp(`^${source}$`, 's');
    if (expressions.size >= 5_000) expressions.clear();
    expressions.set(pattern, expression);
  }
  return expression.test(text);
}
