import type { Service } from '../../apps/cluster/src/fleet.js';
import type { LentKeys } from './world.js';

/** What one caller was answered. */
export interface Answered {
  status: number;
  /** From the question to the last byte, milliseconds. */
  ms: number;
  leaseId?: string;
  keys?: LentKeys;
  error?: string;
}

/**
 * Callers that ask for credentials one after the other, each as a client behind a load balancer does: a gateway that says it
 * is ready, another one where the connection is refused, and no second try once a question is on its way.
 */
export class Callers {
  readonly answers: Answered[] = [];
  private stopped = false;
  private readonly running: Promise<void>[] = [];
  private next = 0;

  constructor(
    private readonly gateways: () => Service[],
    private readonly token: string,
    private readonly path = 'aws/creds/deploy',
  ) {}

  start(count: number): this {
    for (let caller = 0; caller < count; caller += 1) this.running.push(this.keepAsking());
    return this;
  }

  async stop(): Promise<Answered[]> {
    this.stopped = true;
    await Promise.all(this.running);
    return this.answers;
  }

  /** Asks once. */
  async ask(): Promise<Answered> {
    const startedAt = performance.now();
    const answered = await this.askAny();
    const whole = { ...answered, ms: performance.now() - startedAt };
    this.answers.push(whole);
    return whole;
  }

  private async keepAsking(): Promise<void> {
    while (!this.stopped) {
      const { status } = await this.ask();
      if (status !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  private async askAny(): Promise<Omit<Answered, 'ms'>> {
    const gateways = this.gateways();
    for (let tries = 0; tries < gateways.length; tries += 1) {
      const gateway = gateways[this.next++ % gateways.length]!;
      try {
        const answer = await fetch(`${gateway.url}/v1/${this.path}`, { headers: { 'X-Vault-Token': this.token } });
        const body = (await answer.json()) as { lease_id?: string; data?: LentKeys; errors?: string[] };
        if (answer.status === 200) return { status: 200, leaseId: body.lease_id, keys: body.data };
        return { status: answer.status, error: body.errors?.join('; ') };
      } catch (error) {
        const { code } = (error as { cause?: { code?: string } }).cause ?? {};
        // Nothing was asked yet: the next gateway.
        if (code === 'ECONNREFUSED') continue;
        return { status: 0, error: `${code ?? String(error)}` };
      }
    }
    return { status: 0, error: 'no gateway' };
  }
}

/** The gateways that a load balancer would send to: those that said a moment ago that they are ready. */
export class LoadBalancer {
  private ready: Service[] = [];
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly gateways: () => Service[]) {
    this.timer = setInterval(() => void this.look(), 100);
  }

  readonly choose = (): Service[] => this.ready;

  async look(): Promise<void> {
    const found = await Promise.all(this.gateways().map(async (each) => ((await each.isReady()) ? [each] : [])));
    this.ready = found.flat();
  }

  close(): void {
    clearInterval(this.timer);
  }
}

/** Figures of a run, for a line of the test's output. */
export function figures(answers: Answered[]): string {
  const sorted = answers.map((answer) => answer.ms).toSorted((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0);
  const counts = new Map<number, number>();
  for (const { status } of answers) counts.set(status, (counts.get(status) ?? 0) + 1);
  const statuses = [...counts].map(([status, count]) => `${count} × ${status}`);
  return `${answers.length} answers (${statuses.join(', ')}), p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`;
}
