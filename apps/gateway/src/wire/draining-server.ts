import { type IncomingMessage, Server, type ServerOptions, type ServerResponse } from 'node:http';
import { Server as SecureServer } from 'node:https';
import type { Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';

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
function draining(
  Base: new (options: ServerOptions & TlsOptions) => Server,
  arrival: 'connection' | 'secureConnection',
) {
  return class extends Base {
    /** The answers owed on each connection, in the order of their requests. */
    readonly #owed = new Map<Socket, Set<ServerResponse>>();
    /** Those whose request has not arrived whole in its time. */
    readonly #overdue = new WeakSet<ServerResponse>();
    /** Connections on which no TLS session has begun, by the caller's end of them. */
    readonly #greeting = new Map<string, Socket>();
    #closing = false;

    constructor(
      options: ServerOptions & TlsOptions,
      private readonly patience: Patience,
    ) {
      super(options);
      if (arrival !== 'connection') this.on('connection', (socket: Socket) => this.#greet(socket));
      this.on(arrival, (socket: Socket) => {
        this.#greeting.delete(endOf(socket));
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
          for (const socket of [...this.#owed.keys(), ...this.#greeting.values()]) socket.destroy();
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
      for (const socket of this.#greeting.values()) socket.destroy();
    }

    /** Whether requests may come over this connection: it is open, and its TLS session, if it has one, has begun. */
    serves(socket: Socket): boolean {
      return this.#owed.has(socket);
    }

    /** False of an answer behind one that has said `Connection: close`: its request must not be processed. */
    owes(answer: ServerResponse): boolean {
      return this.#owed.get(answer.req.socket)?.has(answer) ?? false;
    }

    #greet(socket: Socket): void {
      const end = endOf(socket);
      this.#greeting.set(end, socket);
      socket.once('close', () => this.#greeting.delete(end));
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
  };
}

/** See above. */
export const DrainingServer = draining(Server, 'connection');
export type DrainingServer = InstanceType<typeof DrainingServer>;

/** The same over TLS. */
export const DrainingTlsServer: typeof DrainingServer = draining(SecureServer as never, 'secureConnection');

function endOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
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
