import { describeFields } from '../wire/fields.js';
import type { ApiPath } from './api-path.js';

/** Help of a whole mount: what it is, and a line for every path (contract.md 2.9). */
export function mountHelp(description: string, paths: ApiPath<never>[]): string {
  const listed = [...paths]
    .sort((a, b) => (a.pattern < b.pattern ? -1 : 1))
    .map((path) => `    ^${path.pattern}$\n        ${path.synopsis}\n`);
  return [
    '## DESCRIPTION\n',
    `${description}\n`,
    '## PATHS\n',
    'The following paths are supported by this backend. To view help for any of the paths below, use the help command with any route matching the path pattern.\n',
    listed.join('\n'),
  ].join('\n');
}

/** Help of one path: what it takes and what it does. */
export function pathHelp(asked: string, path: ApiPath<never>): string {
  const fields = new Map(
    Object.values(path.operations).flatMap((operation) =>
      describeFields(operation.schema).map((field) => [field.name, field] as const),
    ),
  );
  const parameters = [...fields.values()].map(
    (field) =>
      `    ${field.name} (${field.type})${field.deprecated ? ' (DEPRECATED)' : ''}\n\n        ${field.description}\n`,
  );
  return [
    `Request:        ${asked}`,
    `Matching Route: ^${path.pattern}$\n`,
    `${path.synopsis}\n`,
    ...(parameters.length > 0 ? ['## PARAMETERS\n', parameters.join('\n')] : []),
    '## DESCRIPTION\n',
    `${path.description}\n`,
  ].join('\n');
}
