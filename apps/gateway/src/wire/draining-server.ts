import { type IncomingMessage, Server, type ServerOptions, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** How long a server that is being closed bears with its callers. */
export interface Patience {
  /** For a body that has not arrived whole. */
  bodyMs: number;
  /** For everything; longer than the longest answer takes, or an answer would be cut. */
  answerMs: number;
}

/**
 * A server whose `close` ends. Node's own waits for connections that it no longer watches: one that says nothing, or stops
 * in the middle of its headers, would keep it open for ever.
 *
 * Once closing, each connection goes as soon as no answer is owed on it. What still arrives on a connection that waits
 * for an answer is served too; the last of these answers says `Connection: close`.
 *
 * It also tells the answers whose turn has not come that their connection is gone: Node tells the one that is being written.
 */
export class DrainingServer extends Server {
  /** The answers owed on each connection, in the order of their requests. */
  readonly #owed = new Map<Socket, Set<ServerResponse>>();
  /** Those whose request has not arrived whole in its time. */
  readonly #overdue = new WeakSet<ServerResponse>();
  #closing = false;

  constructor(
    options: ServerOptions,
    private readonly patience: Patience,
  ) {
    super(options);
    this.on('connection', (socket: Socket) => {
      this.#owed.set(socket, new Set());
      socket.once('close', () => this.#lose(socket));
    });
    const owe = (request: IncomingMessage, answer: ServerResponse) => this.#owe(request.socket, answer);
    this.on('request', owe);
    this.on('checkExpectation', owe);
  }

  override close(callback?: (error?: Error) => void): this {
    if (!this.#closing) {
      this.#closing = true;
      const end = setTimeout(() => {
        for (const socket of this.#owed.keys()) socket.destroy();
      }, this.patience.answerMs);
      this.once('close', () => clearTimeout(end));
      for (const [socket, owed] of this.#owed) {
        sayCloseInTheLast(owed);
        for (const answer of owed) this.#limitBody(socket, answer);
      }
    }
    return super.close(callback); // lets idle connections go
  }

  /** Lets every connection go on which no answer is owed, be it in the middle of its next headers. */
  override closeIdleConnections(): void {
    for (const socket of this.#owed.keys()) this.#letGo(socket);
  }

  /** False of an answer behind one that has said `Connection: close`: its request must not be processed. */
  owes(answer: ServerResponse): boolean {
    return this.#owed.get(answer.req.socket)?.has(answer) ?? false;
  }

  #owe(socket: Socket, answer: ServerResponse): void {
    const owed = this.#owed.get(socket);
    if (!owed || (this.#closing && [...owed].some((earlier) => earlier.headersSent && !earlier.shouldKeepAlive)))
      return;
    owed.add(answer);
    answer.once('close', () => {
      owed.delete(answer);
      if (this.#closing) this.#letGo(socket);
    });
    if (!this.#closing) return;
    sayCloseInTheLast(owed);
    this.#limitBody(socket, answer);
  }

  #limitBody(socket: Socket, answer: ServerResponse): void {
    const limit = setTimeout(() => {
      this.#overdue.add(answer);
      this.#letGo(socket);
    }, this.patience.bodyMs);
    answer.once('close', () => clearTimeout(limit));
  }

  #letGo(socket: Socket): void {
    for (const answer of this.#owed.get(socket) ?? []) {
      if (answer.req.complete || answer.headersSent || !this.#overdue.has(answer)) return;
    }
    // One that is being ended has its last words on the way.
    if (!socket.writableEnded) socket.destroySoon();
  }

  #lose(socket: Socket): void {
    const owed = this.#owed.get(socket) ?? [];
    this.#owed.delete(socket);
    for (const answer of owed) {
      if (answer.socket || answer.writableFinished) continue; // Node's to tell
      answer.destroyed = true;
      answer.emit('close');
    }
  }
}

/** An answer behind one that closes the connection would be lost. */
function sayCloseInTheLast(owed: Set<ServerResponse>): void {
  const last = [...owed].at(-1);
  for (const answer of owed) {
    if (answer.headersSent) continue;
    answer.shouldKeepAlive = answer !== last;
    if (answer.shouldKeepAlive && answer.hasHeader('connection')) answer.removeHeader('connection'); // Fastify's
  }
}
