import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CallFilter, CallLog } from './calls.js';
import { defaultFaults, type CallPattern, type ErrorRule, type FaultSettings } from './faults.js';
import type { Simulator } from './simulator.js';
import type { World } from './world.js';

/** `POST /_simulator/faults`: settings to change, rules to arm; `clear` first takes everything back. */
interface FaultsBody {
  clear?: boolean;
  settings?: Partial<FaultSettings>;
  fail?: ErrorRule[];
  loseReply?: (CallPattern & { times?: number })[];
}

/** `POST /_simulator/seed`: what to make. A root identity is answered with its key, the same one each time. */
interface SeedBody {
  account?: string;
  rootIdentity?: { userName: string; policy?: string };
  policies?: { name: string; document: string }[];
  groups?: { name: string; policies?: Record<string, string>; attached?: string[] }[];
  roles?: {
    name: string;
    trustPolicy: string;
    maxSessionSeconds?: number;
    policies?: Record<string, string>;
    attached?: string[];
  }[];
}

const filters: (keyof CallFilter)[] = ['action', 'service', 'account', 'accessKeyId', 'userName', 'outcome'];

/** Log, knobs, seed and counts as JSON, for processes other than the simulator's own, on this machine only. */
export class ControlDoor {
  constructor(
    private readonly world: World,
    private readonly calls: CallLog,
    private readonly simulator: Pick<Simulator, 'account' | 'provisionRootIdentity'>,
  ) {}

  answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const { status, json } = this.handle(request, body);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
  }

  private handle(request: IncomingMessage, body: Buffer): { status: number; json: unknown } {
    // An Origin means that a web page asks, from whichever site.
    if (!isLoopback(request.socket.remoteAddress) || request.headers.origin !== undefined) {
      return { status: 403, json: { error: 'The control door opens to this machine only.' } };
    }
    const url = new URL(request.url ?? '/', 'http://simulator');
    try {
      switch (`${request.method} ${url.pathname}`) {
        case 'GET /_simulator/calls':
          return { status: 200, json: this.listCalls(url.searchParams) };
        case 'GET /_simulator/state':
          return { status: 200, json: this.state() };
        case 'POST /_simulator/faults':
          return { status: 200, json: this.setFaults(JSON.parse(body.toString()) as FaultsBody) };
        case 'POST /_simulator/seed':
          return { status: 200, json: this.seed(JSON.parse(body.toString()) as SeedBody) };
        default:
          return { status: 404, json: { error: 'calls, state, faults or seed' } };
      }
    } catch (error) {
      return { status: 400, json: { error: error instanceof Error ? `${error.name}: ${error.message}` : '' } };
    }
  }

  private listCalls(query: URLSearchParams): unknown {
    const filter = Object.fromEntries(filters.flatMap((name) => (query.has(name) ? [[name, query.get(name)]] : [])));
    return this.calls.list(filter);
  }

  private state(): unknown {
    return Object.fromEntries(
      [...this.world.everyAccount()].map((account) => [
        account.id,
        {
          users: account
            .users()
            .map(({ name, accessKeys }) => ({ name, accessKeyIds: accessKeys.map(({ id }) => id) })),
          groups: account.groups().map(({ name }) => name),
          roles: account.roles().map(({ name }) => name),
          policies: account.policies().map(({ arn }) => arn),
        },
      ]),
    );
  }

  private setFaults({ clear, settings, fail, loseReply }: FaultsBody): unknown {
    const { faults } = this.world;
    const unknown = Object.keys(settings ?? {}).find((name) => !(name in defaultFaults));
    if (unknown !== undefined) throw new Error(`there is no setting "${unknown}"`);
    if (clear) faults.clear();
    faults.set(settings ?? {});
    for (const rule of fail ?? []) faults.fail(rule);
    for (const rule of loseReply ?? []) faults.loseReply(rule);
    return faults.settings;
  }

  private seed(seed: SeedBody): unknown {
    const account = this.simulator.account(seed.account);
    const policies = (seed.policies ?? []).map(({ name, document }) => account.createPolicy(name, document).arn);
    const groups = (seed.groups ?? []).map(({ name, ...rest }) => account.createGroup(name, rest).name);
    const roles = (seed.roles ?? []).map(({ name, trustPolicy, ...rest }) => {
      const role = account.createRole(name, trustPolicy, rest);
      return account.arn('role', role.path, role.name);
    });
    const rootIdentity =
      seed.rootIdentity && this.simulator.provisionRootIdentity({ ...seed.rootIdentity, account: account.id });
    return { account: account.id, policies, groups, roles, rootIdentity };
  }
}

const isLoopback = (address: string | undefined) => address !== undefined && /^(127\.|::1$|::ffff:127\.)/.test(address);
