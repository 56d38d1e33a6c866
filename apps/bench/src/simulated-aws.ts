import { OwnProcess } from './own-process.js';

const rootUser = 'bench-root';
const policyOf = (...actions: string[]) =>
  JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: actions, Resource: '*' }] });
/** What the credentials of the bench may do. */
export const lentPolicy = policyOf('ec2:*');

interface Seeded {
  account: string;
  roles: string[];
  rootIdentity: { accessKeyId: string; secretAccessKey: string };
}

/** IAM and STS in a process of their own, so that their CPU is not counted as the system's. */
export class SimulatedAws {
  private constructor(
    private readonly process: OwnProcess,
    readonly seeded: Seeded,
  ) {}

  static async start(): Promise<SimulatedAws> {
    const code = "await import('./dist/apps/simulator/src/main.js');";
    const started = await OwnProcess.start(code, { SIMULATOR_PORT: '0' }, /^simulator .* at (\S+)$/m);
    const { url } = started;
    // AWS's quota is not what is measured.
    await ask(url, 'faults', { settings: { usersPerAccount: 10_000_000 } });
    const rootIdentity = { userName: rootUser, policy: policyOf('iam:*', 'sts:*', 'ec2:*') };
    const { account } = (await ask(url, 'seed', { rootIdentity })) as Seeded;
    const trustPolicy = JSON.stringify({
      Version: '2012-10-17',
      Statement: {
        Effect: 'Allow',
        Principal: { AWS: `arn:aws:iam::${account}:user/${rootUser}` },
        Action: 'sts:AssumeRole',
      },
    });
    const roles = [{ name: 'bench', trustPolicy, policies: { all: lentPolicy } }];
    return new SimulatedAws(started, (await ask(url, 'seed', { rootIdentity, roles })) as Seeded);
  }

  get url(): string {
    return this.process.url;
  }

  get pid(): number {
    return this.process.pid;
  }

  async setLatency(latencyMs: number): Promise<void> {
    await ask(this.url, 'faults', { settings: { latencyMs } });
  }

  /** Users that were made for callers and are there still. */
  async lentUsers(): Promise<number> {
    const state = (await ask(this.url, 'state')) as Record<string, { users: { name: string }[] }>;
    return Object.values(state)
      .flatMap(({ users }) => users)
      .filter(({ name }) => name !== rootUser).length;
  }

  end(): Promise<void> {
    return this.process.end();
  }
}

async function ask(url: string, door: string, body?: object): Promise<unknown> {
  const init = body && { method: 'POST', body: JSON.stringify(body) };
  const answer = await fetch(`${url}/_simulator/${door}`, init);
  if (!answer.ok) throw new Error(`The simulator refused ${door}: ${await answer.text()}`);
  return answer.json();
}
