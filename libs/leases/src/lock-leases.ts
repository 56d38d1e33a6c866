/**
 * Selects the ids of leases and locks them, for a statement that writes several. Together (not `alone`) they leave out what somebody
 * else holds, who may be paused: who asks for that one is asked for by itself (`Batches`). Nobody else waits, and nobody who
 * holds several leases waits for another one, in a circle with who locks all leases of a mount.
 */
export function lockLeases(condition: string, alone: boolean): string {
  return `select id from leases where ${condition} for no key update ${alone ? '' : 'skip locked'}`;
}
