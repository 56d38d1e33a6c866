import { seedRootPolicy, seedRotationPolicy } from '../../apps/simulator/src/index.js';
import { policyDocument } from './lease-life.js';
import { eventually, type LentKeys, type World } from './world.js';

/** A mount whose root user is nobody else's. */
export interface Rooted {
  path: string;
  userName: string;
  /** Its first key. */
  key: { accessKeyId: string; secretAccessKey: string };
}

/** Mounts an engine with a root user of its own, and a role `deploy`. */
export async function mountRooted(world: World, path: string, policies = { rotation: true }): Promise<Rooted> {
  const { simulator, http } = world;
  const userName = `leasehold-root-of-${path}`;
  const key = simulator.provisionRootIdentity({ userName, policy: seedRootPolicy('000000000000') });
  const account = simulator.account();
  if (policies.rotation) account.putUserPolicy(account.existingUser(userName), 'rotate', seedRotationPolicy());
  await http.must(204, 'POST', `sys/mounts/${path}`, { type: 'aws' });
  await http.must(204, 'PUT', `${path}/config/root`, {
    access_key: key.accessKeyId,
    secret_key: key.secretAccessKey,
    region: 'us-east-1',
  });
  await http.must(204, 'PUT', `${path}/roles/deploy`, {
    credential_type: 'iam_user',
    policy_document: policyDocument,
  });
  return { path, userName, key };
}

/** Ids of the keys that a user has in AWS. */
export function keysOf(world: World, userName: string): string[] {
  return world.simulator
    .account()
    .existingUser(userName)
    .accessKeys.map(({ id }) => id)
    .sort();
}

/** The key that a mount works with. */
export async function rootKeyOf(world: World, { path }: Pick<Rooted, 'path'>): Promise<string> {
  return (await world.http.must(200, 'GET', `${path}/config/root`)).body.data.access_key as string;
}

/** The pair of a static role. */
export async function staticCreds(
  world: World,
  path: string,
  role: string,
): Promise<LentKeys & { expiration: string }> {
  const { body } = await world.http.must(200, 'GET', `${path}/static-creds/${role}`);
  return body.data as unknown as LentKeys & { expiration: string };
}

/** The rows of all rotations that are not over, and of those that only watch. */
export async function rotations(world: World): Promise<Record<string, unknown>[]> {
  return (await world.database.query('select * from rotations order by created_at')).rows;
}

/** Waits until nothing is left to do, and nothing to look for. */
export async function rotationsRest(world: World, withinMs = 12_000): Promise<void> {
  let found: unknown[] = [];
  await eventually(async () => (found = await rotations(world)).length === 0, withinMs).catch((error: unknown) => {
    throw new Error(`rotations do not come to rest: ${JSON.stringify(found)}`, { cause: error });
  });
}
