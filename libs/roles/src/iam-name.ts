/** The characters of IAM user names, role session names and federation token names (aws-facts.md, Limits). */
export const iamName = /^[\w+=,.@-]*$/;

/** A display, role or session name in the characters that IAM takes: every other one becomes `_` (contract.md 2.5). */
export function normaliseName(name: string): string {
  return name.replace(/[^\w+=,.@-]/gu, '_');
}
