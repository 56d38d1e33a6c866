import { type Client, RequestFailed } from './client.js';

export const operationNames = ['creds', 'renew', 'revoke', 'assumed-role', 'federation-token', 'role-read'] as const;
export type OperationName = (typeof operationNames)[number];

/** Does it once for one of the callers. False: nothing is left to do it with. */
export type Operation = (caller: number) => Promise<boolean>;

/** What was lent and not revoked. */
export interface Lent {
  leaseId: string;
  accessKeyId: string;
}

/** What callers do, each on its mount; `stock` holds the leases that were lent and not revoked. */
export class Operations {
  readonly stock: Lent[] = [];
  readonly by: Record<OperationName, Operation>;

  constructor(client: Client, mounts: readonly string[]) {
    const of = (caller: number) => mounts[caller % mounts.length]!;
    this.by = {
      creds: async (caller) => this.stock.push(lentIn(await client.call('GET', `${of(caller)}/creds/user`))) > 0,
      renew: async (caller) => {
        const lease_id = this.stock[caller]?.leaseId;
        if (lease_id) await client.call('PUT', 'sys/leases/renew', { lease_id, increment: 3_600 });
        return lease_id !== undefined;
      },
      revoke: async () => {
        const lease_id = this.stock.pop()?.leaseId;
        // A Vault queues it and answers at once unless it is asked to wait.
        if (lease_id) await client.call('PUT', 'sys/leases/revoke', { lease_id, sync: true });
        return lease_id !== undefined;
      },
      'assumed-role': async (caller) => (await client.call('GET', `${of(caller)}/sts/assumed`)) !== '',
      'federation-token': async (caller) => (await client.call('GET', `${of(caller)}/sts/federated`)) !== '',
      'role-read': async (caller) => (await client.call('GET', `${of(caller)}/roles/user`)) !== '',
    };
  }
}

/**
 * What an answer lends, found without reading the rest: the load generator's CPU is taken from the same cores.
 * @throws RequestFailed when it lends nothing.
 */
export function lentIn(text: string): Lent {
  return { leaseId: leaseIdIn(text), accessKeyId: fieldIn(text, 'access_key') };
}

/** @throws RequestFailed when the answer holds none. */
export function leaseIdIn(text: string): string {
  return fieldIn(text, 'lease_id');
}

function fieldIn(text: string, name: string): string {
  const [, value] = new RegExp(`"${name}":\\s*"([^"]+)"`).exec(text) ?? [];
  if (!value) throw new RequestFailed(`no ${name}`, `the answer holds no ${name}`);
  return value;
}
