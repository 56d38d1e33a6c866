import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, RequestFailed } from './client.js';
import { type Account, lentPolicy, type SimulatedAws } from './simulated-aws.js';

/** An engine of this run's own on the system, with the roles that are asked for. Plain Vault API and nothing else. */
export class Mounted {
  readonly path = `bench-${randomBytes(6).toString('hex')}`;

  constructor(
    private readonly client: Client,
    private readonly aws: SimulatedAws,
    readonly account: Account,
  ) {}

  async open(): Promise<void> {
    const { rootIdentity, role } = this.account;
    await this.client.call('POST', `sys/mounts/${this.path}`, { type: 'aws' });
    await this.write('config/root', {
      access_key: rootIdentity.accessKeyId,
      secret_key: rootIdentity.secretAccessKey,
      region: 'us-east-1',
      iam_endpoint: this.aws.url,
      sts_endpoint: this.aws.url,
    });
    await this.write('config/lease', { lease: '1h', lease_max: '24h' });
    await this.write('roles/user', { credential_type: 'iam_user', policy_document: lentPolicy });
    await this.write('roles/assumed', { credential_type: 'assumed_role', role_arns: [role] });
    await this.write('roles/federated', { credential_type: 'federation_token', policy_document: lentPolicy });
  }

  /** @throws RequestFailed */
  write(path: string, body: object): Promise<string> {
    return this.client.call('PUT', `${this.path}/${path}`, body);
  }

  /**
   * Revokes every lease and waits until that is done, for so long at most.
   * @throws RequestFailed
   */
  async revokeAll(withinMs: number): Promise<void> {
    await this.untilDone('PUT', `sys/leases/revoke-prefix/${this.path}`, performance.now() + withinMs, { sync: true });
  }

  /** Revokes every lease and removes the mount. @throws Error when that is not done in time, or users are left in AWS. */
  async close(): Promise<void> {
    const withinMs = 180_000;
    const deadline = performance.now() + withinMs;
    await this.aws.setLatency(0);
    // A server may give up on a request of many leases; unmounting revokes what is left.
    const refused = await this.revokeAll(withinMs).catch(String);
    await this.untilDone('DELETE', `sys/mounts/${this.path}`, deadline);
    let left = await this.aws.lentUsers(this.account.id);
    for (let looks = 0; left > 0 && looks < 40; looks += 1) {
      await sleep(250);
      left = await this.aws.lentUsers(this.account.id);
    }
    if (left > 0) throw new Error(`${left} users are left in AWS${refused ? ` (${refused})` : ''}.`);
  }

  private async untilDone(method: string, path: string, deadline: number, body?: object): Promise<void> {
    try {
      await this.client.call(method, path, body, Math.max(1_000, deadline - performance.now()));
    } catch (error) {
      // 202: it goes on by itself, and asking again waits for it.
      if (!(error instanceof RequestFailed && error.outcome === '202') || performance.now() > deadline) throw error;
      await sleep(500);
      await this.untilDone(method, path, deadline, body);
    }
  }
}
