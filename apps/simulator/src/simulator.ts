import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Account } from './account.js';
import { CallLog } from './calls.js';
import { ControlDoor } from './control-door.js';
import { Faults, type FaultSettings } from './faults.js';
import { QueryDoor } from './query-door.js';
import { seedRootPolicy } from './seed-policy.js';
import { World } from './world.js';

export interface SimulatorOptions {
  /** Default 127.0.0.1. */
  host?: string;
  /** Default: any free port. */
  port?: number;
  /** Where its state outlives it; unset: in memory only. */
  stateFile?: string;
  faults?: Partial<FaultSettings>;
  /** Id of the account meant when none is named. Default 000000000000. */
  account?: string;
}

export interface AccessKeyPair {
  accessKeyId: string;
  secretAccessKey: string;
}

/** A running stand-in for IAM and STS. */
export interface Simulator {
  /** The endpoint of both services. */
  readonly url: string;
  readonly faults: Faults;
  readonly calls: CallLog;
  /** An account to seed and inspect, by its twelve digits; without an id the one the simulator was started with. */
  account(id?: string): Account;
  /**
   * A user with a key that works at once; called again, also after a restart, it renews the policy and returns the same
   * key. `policy` is JSON text, by default the seed's root policy.
   */
  provisionRootIdentity(identity: { userName: string; policy?: string; account?: string }): AccessKeyPair;
  /** Breaks open connections, lets go what is held without effect, closes the state file. */
  close(): Promise<void>;
}

const largestBody = 1024 * 1024;

/** @throws Error when the port is taken or the state file cannot be read. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { host = '127.0.0.1', port = 0, account: ownAccount = '000000000000' } = options;
  const faults = new Faults(options.faults);
  const calls = new CallLog();
  const world = new World(faults, options.stateFile);
  let open = true;

  const account = (id = ownAccount) => world.account(id);
  const provisionRootIdentity: Simulator['provisionRootIdentity'] = ({ userName, policy, account: id }) => {
    const home = account(id);
    const user = home.user(userName) ?? home.createUser(userName);
    home.putUserPolicy(user, 'root', policy ?? seedRootPolicy(home.id));
    const key = user.accessKeys.find(({ active }) => active) ?? home.createAccessKey(user);
    return { accessKeyId: key.id, secretAccessKey: key.secret };
  };

  const query = new QueryDoor(world, calls, () => open);
  const control = new ControlDoor(world, calls, { account, provisionRootIdentity });
  const server = createServer((request, response) => {
    readBody(request, (body) => {
      if (request.url?.startsWith('/_simulator/')) control.answer(request, response, body);
      else query.answer(request, response, body);
    });
  });
  // Longer than any client keeps an idle connection, so that no call meets a socket that is just being closed.
  server.keepAliveTimeout = 120_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const { port: boundPort } = server.address() as AddressInfo;

  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${boundPort}`,
    faults,
    calls,
    account,
    provisionRootIdentity,
    close: async () => {
      if (!open) return;
      open = false;
      faults.clear();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
      world.journal.close();
    },
  };
}

function readBody(request: IncomingMessage, then: (body: Buffer) => void): void {
  const chunks: Buffer[] = [];
  let size = 0;
  request.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
    if (size > largestBody) request.destroy();
  });
  request.on('end', () => then(Buffer.concat(chunks)));
}
