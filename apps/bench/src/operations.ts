import { type Client, RequestFailed } from './client.js';

export const operationNames = ['creds', 'renew', 'revoke', 'assumed-role', 'federation-token', 'role-read'] as const;
export type OperationName = (typeof operationNames)[number];

/** Does it once for one of the callers. False: nothing is left to do it with. */
export type Operation = (caller: number) => Promise<boolean>;

/** What callers do, on one mount; `stock` holds the leases that were lent and not revoked. */
export class Operations {
  readonly stock: string[] = [];
  readonly by: Record<OperationName, Operation>;

  constructor(client: Client, mount: string) {
    const lend = async (path: string) => leaseIdIn(await client.call('GET', `${mount}/${path}`));
    this.by = {
      creds: async () => this.stock.push(await lend('creds/user')) > 0,
      renew: async (caller) => {
        const lease_id = this.stock[caller];
        if (lease_id) await client.call('PUT', 'sys/leases/renew', { lease_id, increment: 3_600 });
        return lease_id !== undefined;
      },
      revoke: async () => {
        const lease_id = this.stock.pop();
        // A Vault queues it and answers at once unless it is asked to wait.
        if (lease_id) await client.call('PUT', 'sys/leases/revoke', { lease_id, sync: true });
        return lease_id !== undefined;
      },
      'assumed-role': async () => (await lend('sts/assumed')) !== '',
      'federation-token': async () => (await lend('sts/federated')) !== '',
      'role-read': async () => (await client.call('GET', `${mount}/roles/user`)) !== '',
    };
  }
}

/** Found without reading the rest: the load generator's CPU is taken from the same cores. */
function leaseIdIn(text: string): string {
  const [, id] = /"lease_id":\s*"([^"]+)"/.exec(text) ?? [];
  if (!id) throw new RequestFailed('no lease', 'the answer holds no lease_id');
  return id;
}
