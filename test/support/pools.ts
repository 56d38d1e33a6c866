import { policyDocument } from './lease-life.js';
import { eventually, type LeaseRow, type World } from './world.js';

/** A row with what only pools have. */
export interface PoolRow extends LeaseRow {
  role_name: string;
  role_version: string;
  token_id: string | null;
  pooled_at: Date | null;
}

/** Writes a role with one inline policy and a pool. */
export async function writePooled(world: World, name: string, size: number, body: object = {}): Promise<void> {
  await world.http.must(204, 'PUT', `aws/roles/${name}`, {
    policy_document: policyDocument,
    credential_type: 'iam_user',
    pool_size: size,
    ...body,
  });
}

/** The rows that were made for the pool of a role, whatever became of them. */
export async function poolRows(world: World, role: string): Promise<PoolRow[]> {
  const rows = (await world.leases()) as PoolRow[];
  return rows.filter((row) => row.role_name === role && (row.token_id === null || row.pooled_at !== null));
}

/** Those that stand in the pool now. */
export async function pooled(world: World, role: string): Promise<PoolRow[]> {
  return (await poolRows(world, role)).filter((row) => row.state === 'pooled');
}

/** Waits until the pool of a role has just so many users, all of its version and old enough to be handed out. */
export async function ready(world: World, role: string, count: number): Promise<PoolRow[]> {
  const readyIds = async () => {
    const { rows } = await world.database.query<{ id: string }>(
      `select l.id from leases l join roles r on r.mount_id = l.mount_id and r.name = l.role_name and r.version = l.role_version
       where r.name = $1 and l.state = 'pooled' and l.pooled_at <= now() - $2 * interval '1 ms'`,
      [role, world.options.timing.pooledMinMs],
    );
    return rows;
  };
  return eventually(async () => {
    const found = await pooled(world, role);
    return (await readyIds()).length === count && found.length === count && found;
  }, 20_000);
}
