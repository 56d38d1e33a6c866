import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Agent, request } from 'node:http';
import fc from 'fast-check';
import { checkDocumented } from '../support/documented.js';
import { policyDocument } from '../support/lease-life.js';
import { eventually, World } from '../support/world.js';
import { type Request, requests } from './requests.js';

const runs = Number(process.env.FUZZ_RUNS ?? 1_500);
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);

describe('whatever is asked over HTTP', () => {
  let world: World;
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });

  beforeAll(async () => {
    world = await World.start({ weather: {}, timing: { syncOneMs: 500, syncManyMs: 500 } });
    world.simulator.faults.set({ usersPerAccount: 1_000_000 });
    await furnish();
  });
  afterAll(async () => {
    agent.destroy();
    await world.close();
  });

  /** Root's rights for hostile requests, which may end their own token; in their place until they are sent. */
  const hostileToken = '<token>';
  let token = '';

  async function furnish(): Promise<void> {
    for (const furnishing of Object.values(furnishings)) await furnishing();
  }

  /** What hostile requests may have taken down, by the paths that do it. */
  const furnishings: Record<string, () => Promise<void>> = {
    seal: async () => {
      await world.http.must(200, 'PUT', 'sys/unseal', { key: world.options.masterKey.toString('base64') });
    },
    audit: async () => {
      const { body } = await world.http.must(200, 'GET', 'sys/audit');
      for (const path of Object.keys(body.data)) await world.http.must(204, 'DELETE', `sys/audit/${encoded(path)}`);
    },
    freeze: () => world.database.query('delete from freezes').then(() => undefined),
    // An unmount may go on for a while.
    'mount|config|roles|revoke': async () => {
      const { http, root, simulator } = world;
      const config = {
        access_key: root.accessKeyId,
        secret_key: root.secretAccessKey,
        region: 'us-east-1',
        iam_endpoint: simulator.url,
        sts_endpoint: simulator.url,
        sts_region: '',
        sts_fallback_endpoints: [],
        sts_fallback_regions: [],
        max_retries: 0,
        username_template: '',
      };
      await eventually(async () => {
        await http.call('POST', 'sys/mounts/aws', { type: 'aws' });
        return (await http.call('PUT', 'aws/config/root', config)).status === 204;
      });
      const role = { credential_type: 'iam_user', policy_document: policyDocument, max_leases: 0 };
      await http.must(204, 'PUT', 'aws/roles/deploy', role);
    },
    'token|revoke': async () => {
      const alive =
        token && (await world.http.call('GET', 'auth/token/lookup-self', undefined, { token })).status === 200;
      if (alive) return;
      const { body } = await world.http.must(200, 'POST', 'auth/token/create', { policies: ['root'], no_parent: true });
      token = (body.auth as { client_token: string }).client_token;
    },
  };

  it('is answered as the documents say, without a fault of ours and without an end', async () => {
    const asked = { all: 0, past: 0 };
    const statuses: Record<number, number> = {};
    const before = process.memoryUsage().rss;
    const { body } = await world.http.must(200, 'GET', 'aws/creds/deploy');
    const known = {
      aws_mount_path: ['aws'],
      path: ['aws', 'aws', 'other', 'aws/inner', 'sys'],
      name: ['deploy', 'deploy', 'assumed', 'x.y@z'],
      prefix: ['aws/creds/deploy', 'aws', 'aws/creds'],
      from: ['aws', 'other', 'elsewhere'],
      to: ['other', 'elsewhere', 'aws/inner'],
      lease_id: [body.lease_id, 'aws/creds/deploy/nothing'],
      url_lease_id: [body.lease_id, 'aws/creds/deploy/nothing'],
      type: ['aws', 'irrevocable', 'revoking'],
      list: ['true'],
    };
    await fc.assert(
      fc.asyncProperty(requests(hostileToken, known), async (hostile) => {
        const answer = await send(hostile);
        asked.all += 1;
        statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
        if (isPastTheDoor(answer)) asked.past += 1;
        if (!isOfRotation(hostile.path, answer))
          expect([answer.status < 500, answer.text]).toEqual([true, answer.text]);
        if (answer.status < 400) checkDocumented(hostile.method, hostile.path.replace(/^\/v1\//, ''), answer);
        if (hostile.method === 'GET' || answer.status >= 300) return;
        for (const [paths, furnishing] of Object.entries(furnishings)) {
          if (new RegExp(paths).test(hostile.path)) await furnishing();
        }
      }),
      { numRuns: runs, seed, endOnFailure: true },
    );
    const grownMb = (process.memoryUsage().rss - before) / 2 ** 20;
    process.stderr.write(
      `    ${asked.all} requests (seed ${seed}), ${((asked.past / asked.all) * 100).toFixed(0)} % past routing and ` +
        `authentication; ${JSON.stringify(statuses)}; ${grownMb.toFixed(0)} MB more\n`,
    );
    expect(asked.past / asked.all).toBeGreaterThan(0.6);
    expect(grownMb).toBeLessThan(500);
    await furnish();
    await world.http.must(200, 'GET', 'aws/creds/deploy');
  }, 3_600_000);

  function send({
    method,
    path,
    headers: given,
    body,
  }: Request): Promise<{ status: number; headers: Headers; text: string }> {
    const headers = { ...given, 'X-Vault-Token': given['X-Vault-Token']!.replace(hostileToken, token) };
    return new Promise((resolve, reject) => {
      const sent = request(new URL(world.http.url), { method, path, headers, agent }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () =>
          resolve({
            status: response.statusCode!,
            headers: new Headers({ 'content-type': response.headers['content-type'] ?? '' }),
            text: Buffer.concat(parts).toString(),
          }),
        );
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }
});

const encoded = (path: string) => path.split('/').map(encodeURIComponent).join('/');

/** What the contract has answered with 500 where keys are rotated (2.3, 2.8, 5.2), and a rotation that is in the way. */
const ofRotation: Record<number, RegExp> = {
  500: /error calling \w+: |no configuration found for config\/root|unable to validate username |role rotation period out of range|cross-account static roles|failed to create new credentials for role /,
  503: /The root key was rotated a moment ago|Another rotation has just ended/,
};

function isOfRotation(path: string, { status, text }: { status: number; text: string }): boolean {
  const isThere = /\/(config\/rotate-root|static-roles\/.+)$/.test(path);
  return isThere && (ofRotation[status]?.test(text) ?? false);
}

function isPastTheDoor({ status, text }: { status: number; text: string }): boolean {
  if (status === 403 || status === 405) return false;
  return status !== 404 || !/unsupported path|no handler for route/.test(text);
}
