import type { CallFilter, FaultSettings, LoggedCall } from '../../simulator/src/index.js';
import { OwnProcess } from './own-process.js';

const rootUser = 'bench-root';
const policyOf = (...actions: string[]) =>
  JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: actions, Resource: '*' }] });
/** What the credentials of the bench may do. */
export const lentPolicy = policyOf('ec2:*');

/** One account of AWS, with a root identity for a mount. */
export interface Account {
  id: string;
  /** ARN of a role that the root identity may assume. */
  role: string;
  group: string;
  rootIdentity: { accessKeyId: string; secretAccessKey: string };
}

/** IAM and STS in a process of their own, so that their CPU is not counted as the system's. */
export class SimulatedAws {
  private constructor(private readonly process: OwnProcess) {}

  static async start(): Promise<SimulatedAws> {
    const code = `process.stdout.write('clock ' + performance.timeOrigin + '\\n');
      await import('./dist/apps/simulator/src/main.js');`;
    const serving = /^clock (?<clock>\S+)$[^]*^simulator .* at (?<url>\S+)$/m;
    const aws = new SimulatedAws(await OwnProcess.start(code, { SIMULATOR_PORT: '0' }, serving));
    // AWS's quota is not what is measured.
    await aws.set({ usersPerAccount: 10_000_000 });
    return aws;
  }

  get url(): string {
    return this.process.url;
  }

  get pid(): number {
    return this.process.pid;
  }

  /** Makes the account of this number ready for a mount; once for each. */
  async account(number = 0): Promise<Account> {
    const id = String(number).padStart(12, '0');
    const rootIdentity = { userName: rootUser, policy: policyOf('iam:*', 'sts:*', 'ec2:*') };
    const trustPolicy = JSON.stringify({
      Version: '2012-10-17',
      Statement: {
        Effect: 'Allow',
        Principal: { AWS: `arn:aws:iam::${id}:user/${rootUser}` },
        Action: 'sts:AssumeRole',
      },
    });
    // The role trusts a user that has to be there.
    await this.ask('seed', { account: id, rootIdentity });
    const seeded = (await this.ask('seed', {
      account: id,
      rootIdentity,
      roles: [{ name: 'bench', trustPolicy, policies: { all: lentPolicy } }],
      groups: [{ name: 'bench', policies: { all: lentPolicy } }],
    })) as { roles: string[]; rootIdentity: Account['rootIdentity'] };
    return { id, role: seeded.roles[0]!, group: 'bench', rootIdentity: seeded.rootIdentity };
  }

  async set(settings: Partial<FaultSettings>): Promise<void> {
    await this.ask('faults', { settings });
  }

  setLatency(latencyMs: number): Promise<void> {
    return this.set({ latencyMs });
  }

  /** Calls that were answered and fit, among the last hundred thousand; their times are milliseconds since 1970. */
  async calls(filter: CallFilter): Promise<LoggedCall[]> {
    const found = (await this.ask(`calls?${new URLSearchParams(filter as Record<string, string>)}`)) as LoggedCall[];
    const origin = Number(this.process.said.clock);
    return found.map((call) => ({
      ...call,
      startedAtMs: call.startedAtMs + origin,
      endedAtMs: call.endedAtMs + origin,
    }));
  }

  /** Users that were made for callers and are there still, of one account or of all. */
  async lentUsers(accountId?: string): Promise<number> {
    const state = (await this.ask('state')) as Record<string, { users: { name: string }[] }>;
    return Object.entries(state)
      .filter(([id]) => accountId === undefined || id === accountId)
      .flatMap(([, { users }]) => users)
      .filter(({ name }) => name !== rootUser).length;
  }

  end(): Promise<void> {
    return this.process.end();
  }

  private async ask(door: string, body?: object): Promise<unknown> {
    const init = body && { method: 'POST', body: JSON.stringify(body) };
    const answer = await fetch(`${this.url}/_simulator/${door}`, init);
    if (!answer.ok) throw new Error(`The simulator refused ${door}: ${await answer.text()}`);
    return answer.json();
  }
}
