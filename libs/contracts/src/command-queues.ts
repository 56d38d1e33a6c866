import { InvalidRequest } from './errors.js';
import { issueLease } from './lease-issue.js';
import { tryRole } from './role-try.js';
import { rotateRoot } from './root-rotate.js';
import { deleteStaticRole, writeStaticRole } from './static-role.js';

/** What waits for AWS. */
const atAws = new Set(
  [issueLease, tryRole, rotateRoot, writeStaticRole, deleteStaticRole].map(({ pattern }) => pattern),
);

/**
 * The queues of commands. What waits for AWS has one of its own: an acceptance behind a full prefetch of issues would wait
 * until its offer has lapsed (docs/decisions/0010).
 */
export const commandQueues = (namespace: string) => ({
  issues: `${namespace}.commands`,
  /** What is asked of pools, and of leases that were offered or are held: a moment at PostgreSQL. */
  held: `${namespace}.commands.held`,
});

/** What an issuer answers to a command that it does not know. */
export const unknownCommand = (pattern: string) => new InvalidRequest(`There is no command "${pattern}".`);

/** Which of them a command goes to, and how long it may stay there, as a part of its asker's wait. */
export function queueing(pattern: string): { queue: keyof ReturnType<typeof commandQueues>; partOfWait: number } {
  // What is begun has the other half of the wait for AWS.
  return atAws.has(pattern) ? { queue: 'issues', partOfWait: 0.5 } : { queue: 'held', partOfWait: 1 };
}
