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

  /** What hostile requests may have taken down: an unmount may go on for a while. */
  async function furnish(): Promise<void> {
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
    await http.must(204, 'PUT', 'aws/roles/deploy', { credential_type: 'iam_user', policy_document: policyDocument });
  }

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
      lease_id: [body.lease_id, 'aws/creds/deploy/nothing'],
      url_lease_id: [body.lease_id, 'aws/creds/deploy/nothing'],
      type: ['aws', 'irrevocable', 'revoking'],
      list: ['true'],
    };
    await fc.assert(
      fc.asyncProperty(requests(world.options.rootToken!, known), async (hostile) => {
        const answer = await send(hostile);
        asked.all += 1;
        statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
        if (isPastTheDoor(answer)) asked.past += 1;
        expect(answer.status).toBeLessThan(500);
        if (answer.status < 400) checkDocumented(hostile.method, hostile.path.replace(/^\/v1\//, ''), answer);
        const mayHaveBroken = hostile.method !== 'GET' && /config|roles|mounts/.test(hostile.path);
        if (mayHaveBroken && answer.status < 300) await furnish();
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

  function send({ method, path, headers, body }: Request): Promise<{ status: number; headers: Headers; text: string }> {
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

function isPastTheDoor({ status, text }: { status: number; text: string }): boolean {
  if (status === 403 || status === 405) return false;
  return status !== 404 || !/unsupported path|no handler for route/.test(text);
}
