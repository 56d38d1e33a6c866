import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  seedAssumeRolePolicy,
  seedFederationPolicy,
  seedRotationPolicy,
  seedTrustPolicy,
} from '../../apps/simulator/src/index.js';
import { comesToRest, policyDocument } from '../support/lease-life.js';
import { eventually, World } from '../support/world.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const clients = ['vault', 'curl', 'node-vault', 'hvac'];

/** One step of a page: its heading, and what it has to run by the client that it is for. */
interface Step {
  heading: string;
  blocks: Map<string, string>;
}

async function stepsOf(page: string): Promise<Step[]> {
  const text = await readFile(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  return text.split(/^## /m).map((section) => ({
    heading: section.slice(0, section.indexOf('\n')),
    blocks: new Map([...section.matchAll(/^```\w+ (\S+)\n(.*?)^```$/gms)].map(([, client, code]) => [client!, code!])),
  }));
}

const codeFor = (steps: Step[], client: string) => steps.map(({ blocks }) => blocks.get(client) ?? '').join('\n');

/** Runs what a page says as its readers would, in a shell or in Node, and gives what it printed. */
async function run(client: string, code: string, env: Record<string, string>): Promise<string> {
  const [command, ...args] =
    client === 'curl' ? ['sh', '-euc', code] : [process.execPath, '--input-type=module', '--eval', code];
  const { stdout } = await promisify(execFile)(command!, args, { cwd: root, env: { PATH: process.env.PATH, ...env } });
  return stdout;
}

describe('the pages for users of clients', () => {
  let world: World;
  let iamRoleArn: string;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    const account = world.simulator.account();
    iamRoleArn = account.arn('role', '/', 'RoleNameToAssume');
    account.createRole('RoleNameToAssume', seedTrustPolicy(`arn:aws:iam::${account.id}:root`));
  });
  afterAll(() => world.close());

  /** What the shell has of whoever takes the tour: users of its own, since it has the root key rotated. */
  const env = (client: string) => {
    const account = world.simulator.account();
    const userName = `leasehold-root-of-${client}`;
    const key = world.simulator.provisionRootIdentity({ userName });
    const user = account.existingUser(userName);
    account.putUserPolicy(user, 'federate', seedFederationPolicy());
    account.putUserPolicy(user, 'assume', seedAssumeRolePolicy(iamRoleArn));
    account.putUserPolicy(user, 'rotate', seedRotationPolicy());
    return {
      VAULT_ADDR: world.http.url,
      VAULT_TOKEN: world.http.token,
      ROOT_KEY_ID: key.accessKeyId,
      ROOT_SECRET_KEY: key.secretAccessKey,
      IAM_ROLE_ARN: iamRoleArn,
      IAM_USER: account.createUser(`app-of-${client}`).name,
    };
  };

  it('take the tour with every client, step by step', async () => {
    const [before, ...steps] = await stepsOf('tour.md');
    expect([...before!.blocks.keys()]).toEqual(clients.slice(1));
    expect(steps.length).toBeGreaterThan(12);
    for (const { heading, blocks } of steps) expect([heading, ...blocks.keys()]).toEqual([heading, ...clients]);
  });

  it.each(['curl', 'node-vault'])('take it with %s from the first line to the last', async (client) => {
    const seen = new Set((await world.leases()).map(({ id }) => id));
    const shell = env(client);
    const printed = await run(client, codeFor(await stepsOf('tour.md'), client), shell);
    expect(printed.match(/"errors":\[.*/)).toBeNull();
    expect(printed.match(/AKIA\w{16}/g)?.length).toBeGreaterThanOrEqual(3);
    // It has lent of every kind, and left nothing behind.
    const { rows } = await world.database.query<{ credential_type: string; state: string; id: string }>(
      'select id, credential_type, state from leases',
    );
    const lent = rows.filter(({ id }) => !seen.has(id));
    expect(new Set(lent.map((row) => row.credential_type))).toEqual(
      new Set(['iam_user', 'federation_token', 'assumed_role']),
    );
    expect(lent.filter((row) => row.credential_type === 'iam_user').length).toBeGreaterThanOrEqual(4);
    expect(lent.filter((row) => row.state !== 'ended')).toEqual([]);
    // The root key is another one, and the user of the static role has none.
    expect(printed).toMatch(/\bexpiration\b/);
    const account = world.simulator.account();
    const rootUser = account.existingUser(`leasehold-root-of-${client}`);
    await eventually(() => rootUser.accessKeys.length === 1);
    expect(rootUser.accessKeys[0]!.id).not.toBe(shell.ROOT_KEY_ID);
    const staticUser = account.existingUser(shell.IAM_USER);
    await eventually(() => staticUser.accessKeys.length === 0);
    account.deleteUser(staticUser);
    await comesToRest(world);
    expect((await world.http.must(200, 'GET', 'sys/mounts')).body.data).not.toHaveProperty(['aws/']);
  });

  it('move roles over as they are', async () => {
    const write = (mount: string, name: string, role: object) =>
      world.http.must(204, 'PUT', `${mount}/roles/${name}`, role);
    for (const path of ['old', 'new']) await world.http.must(204, 'POST', `sys/mounts/${path}`, { type: 'aws' });
    await write('old', 'of-old', { policy: policyDocument });
    await write('old', 'managed', { arn: 'arn:aws:iam::aws:policy/ReadOnlyAccess' });
    await write('old', 'cross', {
      credential_type: 'assumed_role',
      role_arns: [iamRoleArn],
      max_sts_ttl: '2h',
      session_tags: { team: 'a' },
    });
    await write('old', 'federated', { credential_type: 'federation_token', policy_document: policyDocument });
    await write('old', 'user', {
      credential_type: 'iam_user',
      policy_document: policyDocument,
      policy_arns: ['arn:aws:iam::aws:policy/ReadOnlyAccess'],
      iam_groups: ['a', 'b'],
      iam_tags: { team: 'a' },
      user_path: '/lent/',
    });
    await run('node-vault', codeFor(await stepsOf('coming-from-vault.md'), 'move'), {
      OLD_ADDR: world.http.url,
      OLD_TOKEN: world.http.token,
      OLD_MOUNT: 'old',
      VAULT_ADDR: world.http.url,
      VAULT_TOKEN: world.http.token,
      MOUNT: 'new',
    });
    const { keys } = (await world.http.must(200, 'LIST', 'old/roles')).body.data as { keys: string[] };
    expect((await world.http.must(200, 'LIST', 'new/roles')).body.data.keys).toEqual(keys);
    // An ARN that was written as of old is in the field of today.
    const read = async (mount: string, name: string) => {
      const { data } = (await world.http.must(200, 'GET', `${mount}/roles/${name}`)).body;
      return { ...data, arn: undefined };
    };
    for (const name of keys) expect([name, await read('new', name)]).toEqual([name, await read('old', name)]);
  });
});
