import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Server as TlsServer, TLSSocket } from 'node:tls';
import { longestAnswerMs } from '../longest-answer.js';
import { type HttpConnection, refuseConnection, refuseLate, refuseRequest } from './connection.js';
import { DrainingServer, DrainingTlsServer, type Patience } from './draining-server.js';
import { ListVerb, type ParseFault } from './list-verb.js';
import { defaultLimits, type WireLimits } from './wire-limits.js';

/** Verbs that reach the application (contract.md 1.1); `LIST` and `HELP` come to it as `GET`. */
const verbs = new Set<string | undefined>(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH']);

/** What a server shows its callers, as PEM, and what it wants to see of them. */
export interface ServerTls {
  cert: string;
  key: string;
  /** Authorities that vouch for callers. */
  clientCa?: string;
  /** Whether a caller must show a certificate; one that is shown must be good in any case. */
  clientCert?: 'asked' | 'required';
}

interface ServerOptions extends Partial<WireLimits>, Partial<Patience> {
  /** HTTPS, and nothing but HTTPS. */
  tls?: ServerTls;
}

/**
 * An HTTP/1.1 server, over TLS if told so, with the limits of contract.md 1.3 that also understands the verbs `LIST` and
 * `HELP`: such a request reaches `handler` as a `GET` whose `verbOf` is the verb that was sent. Everything that is no
 * request for the application is answered `{"errors":[]}` behind the answers to the requests before it: 405 another verb,
 * 400 no HTTP, 408 what does not come in time, 417 an unknown `Expect`, 431 headers over the limit, 503 what is not
 * answered in time. The connection ends with it, so that nothing that came behind it is done without an answer; only a
 * verb that the parser knows is known to end where it says, and the connection goes on.
 *
 * Parse errors are answered here alone: listeners for `clientError` that others add are taken off again. `close` waits for
 * the answers that are owed, and for no longer than the patience that it is given.
 */
export function createHttpServer(handler: RequestListener, options: ServerOptions = {}): Server {
  const { bodyMs = 5_000, answerMs = longestAnswerMs(), tls } = options;
  const limits = { ...defaultLimits, ...options };
  const server = new (tls ? DrainingTlsServer : DrainingServer)(
    {
      keepAliveTimeout: limits.idleMs,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.receiveMs,
      connectionsCheckingInterval: Math.ceil(Math.min(limits.headersMs, limits.receiveMs) / 2),
      maxHeaderSize: limits.headerBytes,
      handshakeTimeout: limits.headersMs,
      ...(tls && secure(tls)),
      requireHostHeader: false, // checked below: Node's own answer has no body
    },
    { bodyMs, answerMs },
  );
  server.timeout = limits.requestMs;
  server.maxConnections = limits.connections;
  server.maxHeadersCount = limits.headers + 1; // Node says nothing of those that it leaves out
  const arrival = tls ? 'secureConnection' : 'connection';
  const refused = new WeakSet<Socket>();
  const refuse = (socket: Socket, status: number) => {
    refused.add(socket);
    void refuseConnection(socket, status);
  };
  const listVerb = new ListVerb(server, arrival, (socket) => refuse(socket, 405));

  server.on('request', (request, response) => {
    if (!server.owes(response)) return;
    if (request.rawHeaders.length > 2 * limits.headers) refuseRequest(response, 431);
    else if (!verbs.has(request.method) && !listVerb.reveals(request)) refuseRequest(response, 405, { goesOn: true });
    else if (!/^1\.[01]$/.test(request.httpVersion)) refuseRequest(response, 400);
    else if (request.headers.host === undefined && request.httpVersion === '1.1') refuseRequest(response, 400);
    else {
      request.url = originForm(request.url!);
      handler(request, response);
    }
  });
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => refuseRequest(response, 417));
  server.on('connect', (_request, socket: Socket) => {
    socket.on('error', () => socket.destroy()); // Node has let go of the connection: a hang-up is ours to notice
    refuse(socket, 405);
  });
  server.on('clientError', (fault: ParseFault, socket: Socket) => {
    if (!server.serves(socket))
      socket.destroy(); // no TLS session: whatever was said would be in the clear
    else if (!refused.has(socket) && !listVerb.takes(fault, socket)) refuse(socket, statusOf(fault));
  });
  server.on('timeout', (socket: HttpConnection) => refuseLate(socket));
  if (tls?.clientCert === 'asked') {
    server.on('secureConnection', (socket: TLSSocket) => {
      if (!socket.authorized && Object.keys(socket.getPeerCertificate()).length > 0) socket.destroy();
    });
  }
  server.on('newListener', (event, listener) => {
    // Fastify brings its own; two answers to one fault would run into each other.
    if (event === 'clientError') queueMicrotask(() => server.removeListener(event, listener));
  });
  return server;
}

/**
 * Gives a TLS server another certificate; connections that are open keep theirs.
 * @throws Error of OpenSSL when they do not fit together; the server then goes on with what it had.
 */
export function renewTls(server: Server, tls: ServerTls): void {
  (server as unknown as TlsServer).setSecureContext(contextOf(tls));
}

function secure(tls: ServerTls) {
  const { clientCert } = tls;
  return { ...contextOf(tls), requestCert: clientCert !== undefined, rejectUnauthorized: clientCert === 'required' };
}

function contextOf({ cert, key, clientCa }: ServerTls) {
  return { cert, key, ca: clientCa, minVersion: 'TLSv1.2' as const };
}

/** What a proxy is asked, `http://host/path`, without what stands before the path (RFC 9112 3.2.2). */
function originForm(target: string): string {
  return target.replace(/^https?:\/\/[^/?#]*/i, '') || '/';
}

function statusOf(fault: ParseFault): number {
  if (fault.code === 'HPE_HEADER_OVERFLOW') return 431;
  if (fault.code === 'ERR_HTTP_REQUEST_TIMEOUT') return 408;
  return fault.reason?.startsWith('Invalid method') || fault.code === 'HPE_INVALID_METHOD' ? 405 : 400;
}
