/**
 * Selects the ids of leases and locks them, for a statement that writes several: in one order, so that no two wait for each other in
 * a circle. Together (not `alone`) they leave out what somebody else holds, who may be paused: who asks for that one is asked for
 * by itself (`Batches`), and nobody else waits.
 */
export function lockLeases(condition: string, alone: boolean): string {
  return `select id from leases where ${condition} order by id for no key update ${alone ? '' : 'skip locked'}`;
}
