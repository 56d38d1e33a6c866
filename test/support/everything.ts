import type { World } from './world.js';

const tables = ['mounts', 'root_configs', 'roles', 'tokens', 'commands', 'leases'];

/** All that a request could have changed: every row that is kept, and every call to AWS but asking who we are. */
export async function everything(world: World): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for (const table of tables) {
    const { rows } = await world.database.query<{ line: string }>(
      `select t::text as line from ${table} t order by line`,
    );
    found[table] = rows.map((row) => row.line);
  }
  const calls = world.simulator.calls.list().filter((call) => call.action !== 'GetCallerIdentity');
  found.calls = calls.map((call) => call.action);
  return found;
}
