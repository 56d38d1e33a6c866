import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, RequestFailed } from './client.js';
import { lentPolicy, type SimulatedAws } from './simulated-aws.js';

/** An engine of this run's own on the system, with the roles that are asked for. Plain Vault API and nothing else. */
export class Mounted {
  readonly path = `bench-${randomBytes(6).toString('hex')}`;

  constructor(
    private readonly client: Client,
    private readonly aws: SimulatedAws,
  ) {}

  async open(): Promise<void> {
    const { rootIdentity, roles } = this.aws.seeded;
    const write = (path: string, body: object) => this.client.call('PUT', `${this.path}/${path}`, body);
    await this.client.call('POST', `sys/mounts/${this.path}`, { type: 'aws' });
    await write('config/root', {
      access_key: rootIdentity.accessKeyId,
      secret_key: rootIdentity.secretAccessKey,
      region: 'us-east-1',
      iam_endpoint: this.aws.url,
      sts_endpoint: this.aws.url,
    });
    await write('config/lease', { lease: '1h', lease_max: '24h' });
    await write('roles/user', { credential_type: 'iam_user', policy_document: lentPolicy });
    await write('roles/assumed', { credential_type: 'assumed_role', role_arns: roles });
    await write('roles/federated', { credential_type: 'federation_token', policy_document: lentPolicy });
  }

  /** Revokes every lease and removes the mount. @throws Error when that is not done in time, or users are left in AWS. */
  async close(): Promise<void> {
    const deadline = performance.now() + 90_000;
    const untilDone = async (method: string, path: string, body?: object): Promise<void> => {
      try {
        await this.client.call(method, path, body, Math.max(1_000, deadline - performance.now()));
      } catch (error) {
        // 202: it goes on by itself, and asking again waits for it.
        if (!(error instanceof RequestFailed && error.outcome === '202') || performance.now() > deadline) throw error;
        await sleep(500);
        await untilDone(method, path, body);
      }
    };
    await this.aws.setLatency(0);
    // A server may give up on a request of many leases; unmounting revokes what is left.
    const refused = await untilDone('PUT', `sys/leases/revoke-prefix/${this.path}`, { sync: true }).catch(String);
    await untilDone('DELETE', `sys/mounts/${this.path}`);
    let left = await this.aws.lentUsers();
    for (let looks = 0; left > 0 && looks < 40; looks += 1) {
      await sleep(250);
      left = await this.aws.lentUsers();
    }
    if (left > 0) throw new Error(`${left} users are left in AWS${refused ? ` (${refused})` : ''}.`);
  }
}
