import { afterAll, beforeAll } from '@jest/globals';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls, Server as TlsServer } from 'node:tls';
import { Authority } from '../../../../test/support/certificates.js';
import { createHttpServer } from './http-server.js';
import { verbOf } from './list-verb.js';

/** Waits until the condition holds; gives up after ten seconds. */
export async function until(condition: () => boolean, what: () => string): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`gave up waiting: ${what()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export interface Answer {
  status: number;
  headers: string[];
  body: string;
}

/** A caller that decides itself which bytes make a packet. */
export class Caller {
  hungUp = false;
  #received = '';
  #sent = 0;

  private constructor(
    readonly socket: Socket,
    private readonly line: Socket,
    readonly serverSocket: Socket,
  ) {
    socket.setNoDelay();
    socket.on('data', (chunk) => (this.#received += chunk.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => (this.hungUp = true));
  }

  static async to(server: Server): Promise<Caller> {
    const arrival = isSecure(server) ? 'secureConnection' : 'connection';
    const accepted = new Promise<Socket>((resolve) => server.once(arrival, resolve));
    const line = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const socket = isSecure(server) ? connectTls({ socket: line, rejectUnauthorized: false }) : line;
    return new Caller(socket, line, await accepted);
  }

  /** Breaks the connection off without a word. */
  reset(): void {
    this.line.resetAndDestroy();
  }

  send(text: string): void {
    this.#sent += Buffer.byteLength(text, 'latin1');
    this.socket.write(text, 'latin1');
  }

  /** Sends each text as a packet of its own: the next leaves when the server has read this one. */
  async deliver(...packets: string[]): Promise<void> {
    for (const packet of packets) {
      this.send(packet);
      await until(
        () => this.serverSocket.bytesRead >= this.#sent || this.serverSocket.destroyed,
        () => `${packet} unread after ${this.serverSocket.bytesRead} bytes`,
      );
    }
  }

  /** The answers so far, whole ones only. */
  answers(): Answer[] {
    const found: Answer[] = [];
    for (let rest = this.#received; ;) {
      const head = rest.indexOf('\r\n\r\n');
      if (head < 0) return found;
      const [first = '', ...headers] = rest.slice(0, head).split('\r\n');
      const length = Number(/^content-length: (\d+)$/im.exec(headers.join('\n'))?.[1] ?? 0);
      if (rest.length < head + 4 + length) return found;
      found.push({ status: Number(first.split(' ')[1]), headers, body: rest.slice(head + 4, head + 4 + length) });
      rest = rest.slice(head + 4 + length);
    }
  }

  async bodies(count: number): Promise<string[]> {
    await until(
      () => this.answers().length >= count || this.hungUp,
      () => `${this.answers().length} of ${count} answers: ${this.#received.slice(-200)}`,
    );
    return this.answers().map((answer) => (answer.status === 200 ? answer.body : `${answer.status} ${answer.body}`));
  }

  /** Everything that was received, once the server has ended the connection. */
  async ended(): Promise<Answer[]> {
    await until(
      () => this.socket.readableEnded || this.hungUp,
      () => `still open: ${this.#received.slice(-200)}`,
    );
    return this.answers();
  }
}

/** What the application saw of a request: verb, target and body. */
export async function tell(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const sent = verbOf(request);
  const verb = sent === request.method ? sent : `${sent}(${request.method})`;
  return `${verb} ${request.url} ${Buffer.concat(chunks).toString('latin1')}`.trim();
}

/** What connections are made of: each promise of the wire holds over both. */
export const lines = ['TCP', 'TLS'] as const;

let ownTls: { tls: NonNullable<Parameters<typeof createHttpServer>[1]>['tls'] } | undefined;

/** In a `describe`: its servers speak over this line. */
export function over(line: (typeof lines)[number]): void {
  beforeAll(async () => {
    if (line === 'TLS') ownTls = { tls: await (await Authority.named('callers trust it')).certify('vault') };
  });
  afterAll(() => (ownTls = undefined));
}

function isSecure(server: Server): boolean {
  return (server as unknown) instanceof TlsServer;
}

const serving: Server[] = [];

/** A server on a free port of the loopback interface; by default it answers with what it saw. */
export async function serve(
  handler: (request: IncomingMessage, response: ServerResponse) => unknown = async (request, response) =>
    response.end(await tell(request)),
  options?: Parameters<typeof createHttpServer>[1],
): Promise<Server> {
  const server = createHttpServer(
    (request, response) => {
      void Promise.resolve(handler(request, response)).catch(() => response.destroy()); // the caller hung up
    },
    { ...ownTls, ...options },
  );
  serving.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** Ends all servers of a test with their connections. */
export async function stopServing(): Promise<void> {
  for (const server of serving.splice(0)) {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }
}
