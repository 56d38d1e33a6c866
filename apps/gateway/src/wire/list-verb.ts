import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { answersWritten, divert, type HttpConnection } from './connection.js';

/** What Node tells of a message it could not parse. `bytesParsed` is where in `rawPacket` the parser stopped. */
export type ParseFault = Error & { code?: string; reason?: string; bytesParsed?: number; rawPacket?: Buffer };

type Verb = (typeof verbs)[number];
type Hook = { event: string | symbol; listener: (...args: unknown[]) => void };

/** The verbs of the API that Node's parser refuses. */
const verbs = ['LIST', 'HELP'] as const;

/** A verb as it stands in a request line. */
const written = (verb: Verb) => Buffer.from(`${verb} `);

/** Stands in for these verbs on their way through the parser: as long, known to it, and used by nobody. */
const standIn = 'LINK';

/** How far the parser reads into each before it refuses: `LI` might still have become `LINK`, and `HE` `HEAD`. */
const refusedAt = 2;

/** What a connection may send ahead while its earlier requests are being answered; more has to wait in the network. */
const mostHeldBytes = 64 * 1024;

const revealed = new WeakMap<IncomingMessage, Verb>();

/** The verb that a request was sent with, also where it is `LIST` or `HELP`, whose `method` reads `GET`. */
export function verbOf(request: IncomingMessage): string {
  return revealed.get(request) ?? request.method ?? '';
}

/**
 * Teaches a server the verbs `LIST`, which hvac and node-vault send, and `HELP`; Node's parser refuses both (contract.md
 * 1.1).
 *
 * The refusal comes exactly at the start of a message, so nothing needs to be guessed about boundaries: the parser is
 * taken off the connection as it is at a connection's end, the earlier answers are waited for, and a fresh parser of the
 * same server reads on from the refused byte with a verb it knows in place of the other. One parser, Node's own, decides
 * where messages begin and end. A connection that never says either pays nothing.
 *
 * The parser keeps no text of its own, so what it read before the refused byte is known only as far as it must have been
 * `LI` or `HE`. An unknown verb that begins as one it knows and goes on as these do is therefore taken for one of them:
 * `UNLIST`, or a `PAST` that the network cut behind `PA`. Nothing else of the request is read differently for it.
 */
export class ListVerb {
  readonly #hangParser: (socket: Socket) => void;
  readonly #hooks = new WeakMap<Socket, Hook[]>();
  readonly #waiting = new WeakSet<Socket>();
  readonly #disguised = new WeakMap<Socket, Verb>();

  /**
   * `arrival`: the event by which the server hears of a connection that it can read requests from. `refuse` is told of a
   * connection whose verb turned out to be another unknown one. Takes a server nobody has touched yet.
   */
  constructor(
    private readonly server: Server,
    arrival: 'connection' | 'secureConnection',
    private readonly refuse: (socket: Socket) => void,
  ) {
    const [node] = server.listeners(arrival);
    if (!node) throw new Error('the server has no connection listener of its own');
    server.removeListener(arrival, node as () => void);
    this.#hangParser = (socket) => node.call(server, socket);
    server.on(arrival, (socket: Socket) => this.#open(socket));
  }

  /** Whether a parse fault is, or may yet become, one of the verbs; if so the connection is looked after from here on. */
  takes(fault: ParseFault, socket: HttpConnection): boolean {
    if (this.#waiting.has(socket)) return true; // a header timeout of the message that waits for its turn
    if (fault.code !== 'HPE_INVALID_METHOD') return false;
    for (const verb of verbs) {
      const held = fromVerb(fault, verb);
      if (!held || !mayBe(verb, held)) continue;
      this.#hold(socket, verb, held);
      return true;
    }
    return false;
  }

  /** Whether the request is one that arrives under the stand-in; if so it becomes a `GET` whose `verbOf` is its own. */
  reveals(request: IncomingMessage): boolean {
    const verb = this.#disguised.get(request.socket);
    if (request.method !== standIn || verb === undefined) return false;
    this.#disguised.delete(request.socket);
    request.method = 'GET';
    revealed.set(request, verb);
    return true;
  }

  /** Hangs a parser on the connection and remembers what it listens to, so that it can be taken off again. */
  #open(socket: Socket): void {
    const others = new Set(hooksOf(socket).map((hook) => hook.listener));
    this.#hangParser(socket);
    this.#hooks.set(
      socket,
      hooksOf(socket).filter((hook) => !others.has(hook.listener)),
    );
  }

  /** Frees the parser in the only way Node offers: its own listener for the end of the connection. */
  #close(socket: Socket): void {
    for (const { event, listener } of this.#hooks.get(socket) ?? []) {
      socket.removeListener(event, listener);
      if (event === 'close') listener.call(socket, false);
    }
  }

  #hold(socket: HttpConnection, verb: Verb, first: Buffer): void {
    let held = first;
    const decide = () => {
      if (!mayBe(verb, held)) this.refuse(socket);
      else if (held.length > verb.length) void this.#reopen(socket, verb, () => held);
    };
    divert(socket, (chunk) => {
      held = Buffer.concat([held, chunk]);
      if (held.length > mostHeldBytes) socket.pause();
      if (!this.#waiting.has(socket)) decide();
    });
    decide();
  }

  async #reopen(socket: HttpConnection, verb: Verb, held: () => Buffer): Promise<void> {
    this.#waiting.add(socket);
    await answersWritten(socket);
    this.#waiting.delete(socket);
    if (!socket.readable || !socket.writable) return; // the caller hung up, or the last answer closes the connection
    socket.removeAllListeners('data');
    this.#close(socket);
    socket.setTimeout(this.server.timeout); // the last answer left the keep-alive timeout behind
    this.#disguised.set(socket, verb);
    this.#open(socket);
    const bytes = held();
    bytes.write(standIn);
    socket.unshift(bytes);
    socket.resume();
  }
}

function hooksOf(socket: Socket): Hook[] {
  return socket
    .eventNames()
    .flatMap((event) =>
      socket.rawListeners(event).map((listener) => ({ event, listener: listener as Hook['listener'] })),
    );
}

/** The bytes from the start of the refused verb on, with those of `verb` that came in an earlier packet put back. */
function fromVerb({ rawPacket, bytesParsed }: ParseFault, verb: Verb): Buffer | undefined {
  if (!rawPacket || bytesParsed === undefined) return undefined;
  const start = bytesParsed - refusedAt;
  if (start < 0) return Buffer.concat([written(verb).subarray(0, -start), rawPacket]);
  return rawPacket.subarray(start);
}

function mayBe(verb: Verb, held: Buffer): boolean {
  const wanted = written(verb);
  return wanted.subarray(0, held.length).equals(held.subarray(0, wanted.length));
}
