import type { World } from './world.js';

/** What a request may change of each table: not what the sweep and the issuer note for themselves meanwhile. */
const tables = {
  mounts: '*',
  mount_moves: '*',
  root_configs: 'mount_id, version, settings, sealed_secret_key, superseded_at, rotates_at',
  account_identities: '*',
  static_roles: '*',
  rotations: 'id, mount_id, static_role, state, old_key_id, new_key_id',
  roles: '*',
  tokens: '*',
  wrapped_answers: '*',
  freezes: '*',
  policies: '*',
  token_roles: '*',
  app_roles: '*',
  app_role_secret_ids: '*',
  commands: '*',
  idempotent_answers: '*',
  leases: 'id, state, expires_at, last_renewed_at, end_reason, forced, attempts',
};

/** All that a request could have changed: every row that is kept, and every call to AWS but asking who we are. */
export async function everything(world: World): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for (const [table, columns] of Object.entries(tables)) {
    const { rows } = await world.database.query<{ line: string }>(
      `select t::text as line from (select ${columns} from ${table}) t order by line`,
    );
    found[table] = rows.map((row) => row.line);
  }
  const calls = world.simulator.calls.list().filter((call) => call.action !== 'GetCallerIdentity');
  found.calls = calls.map((call) => call.action);
  return found;
}
