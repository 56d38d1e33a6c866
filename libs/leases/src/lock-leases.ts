/**
 * Selects the ids of leases and locks them, for a statement that writes several. Together (not `alone`) they leave out what somebody
 * else holds, who may be paused: who asks for that one is asked for by itself (`Batches`). Nobody else waits, and nobody who
 * holds several leases waits for another one, in a circle with who locks all leases of a mount.
 * @param ids selects them.
 */
export function lockLeases(ids: string, alone: boolean): string {
  return `select id from leases where ${isOneOf(ids)} for no key update ${alone ? '' : 'skip locked'}`;
}

/**
 * The leases with these ids, for the `where` of a statement that is asked often. Of an array that it makes itself PostgreSQL expects a
 * few elements, whatever they are: so it looks each up, where of rows it would expect a hundred and read a small table whole; and
 * it keeps the plan, where for a parameter it would make a new one each time.
 * @param ids selects them.
 */
export function isOneOf(ids: string): string {
  return `id = any(array(${ids}))`;
}

/** The elements of a parameter that is an array of texts. */
export const elementsOf = (parameter: string) => `select unnest(${parameter}::text[])`;
