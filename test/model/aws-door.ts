import { createServer, request as send, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Interleaving } from './interleaving.js';

/** A call that was sent and has not taken effect. */
interface Underway {
  /** Cuts its caller off: what it hears is a broken connection, and nobody knows what becomes of the call. */
  cutOff(): void;
}

/** A call whose caller is gone still arrives within this time, milliseconds of the model, or it never does. */
const arrivesWithinMs = 60_000;

/** One worker's way to AWS. Every call waits there for its turn; the caller may be cut off meanwhile. */
export class AwsDoor {
  /** Calls are not even heard: the worker is dead. */
  shut = false;
  private readonly underway = new Set<Underway>();

  private constructor(
    private readonly worker: string,
    private readonly interleaving: Interleaving,
    private readonly aws: string,
    private readonly onTurn: () => void,
    private readonly server: ReturnType<typeof createServer>,
  ) {}

  /** @param onTurn hears of each call when its turn has come, just before it takes effect */
  static async open(worker: string, interleaving: Interleaving, aws: string, onTurn: () => void): Promise<AwsDoor> {
    const server = createServer();
    const door = new AwsDoor(worker, interleaving, aws, onTurn, server);
    server.keepAliveTimeout = 600_000;
    server.on('request', (request, response) => void door.answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return door;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Whether a call stands here. */
  isBusy(): boolean {
    return this.underway.size > 0;
  }

  /** Cuts every caller off. Their calls still arrive for a while, each or none as `arrives` says. */
  cutOff(arrives: boolean): void {
    for (const call of this.underway) call.cutOff();
    if (!arrives) this.underway.clear();
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    await closed;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bodyOf(request);
    if (this.shut) return void response.destroy();
    const form = new URLSearchParams(body.toString());
    const action = form.get('Action')!;
    // It changes nothing, and what it says is shared by all who ask at the same time.
    if (action === 'GetCallerIdentity') return this.pass(request, body, response);
    const held = this.interleaving.held();
    let lateFrom: number | null = null;
    const call: Underway = {
      cutOff: () => {
        lateFrom ??= performance.now();
        held.release();
        response.destroy();
      },
    };
    this.underway.add(call);
    await this.interleaving.gate(`${this.worker} calls ${action}`, this.worker);
    if (lateFrom === null) this.onTurn();
    const stillComes = this.underway.delete(call);
    held.release();
    if (lateFrom === null) return this.pass(request, body, response);
    if (!stillComes || performance.now() - lateFrom > arrivesWithinMs) return;
    await this.interleaving.stray(() => this.pass(request, body, response));
  }

  private async pass(request: IncomingMessage, body: Buffer, response: ServerResponse): Promise<void> {
    const target = new URL(request.url!, this.aws);
    const answer = await new Promise<IncomingMessage | null>((resolve) => {
      const sent = send(target, { method: request.method, headers: request.headers }, resolve);
      sent.on('error', () => resolve(null));
      sent.end(body);
    });
    if (!answer) return void response.destroy();
    const text = await bodyOf(answer);
    if (response.destroyed) return;
    const { connection: _, 'transfer-encoding': __, ...headers } = answer.headers;
    response.writeHead(answer.statusCode!, headers);
    response.end(text);
  }
}

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
