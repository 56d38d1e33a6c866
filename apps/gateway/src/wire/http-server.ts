import type { IncomingMessage, RequestListener, Server, ServerOptions, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { refuseConnection, refuseRequest } from './connection.js';
import { DrainingServer, type Patience } from './draining-server.js';
import { ListVerb, type ParseFault } from './list-verb.js';

/** Verbs that reach the application (contract.md 1.1); `LIST` and `HELP` come to it as `GET`. */
const verbs = new Set<string | undefined>(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH']);

/**
 * An HTTP/1.1 server with the limits of contract.md 1.3 that also understands the verbs `LIST` and `HELP`: such a request
 * reaches `handler` as a `GET` whose `verbOf` is the verb that was sent. Everything that is no request for the
 * application is answered `{"errors":[]}` and ends its connection, behind the answers to the requests before it: 405
 * another verb, 400 no HTTP, 408 headers that do not come in time, 417 an unknown `Expect`, 431 headers over Node's limit.
 *
 * Parse errors are answered here alone: listeners for `clientError` that others add are taken off again. `close` waits for
 * the answers that are owed, and for no longer than the patience that it is given.
 */
export function createHttpServer(handler: RequestListener, options: ServerOptions & Partial<Patience> = {}): Server {
  const { bodyMs = 5_000, answerMs = 65_000, ...limits } = options; // callers wait 20 s, for a revocation 60 s
  const server = new DrainingServer(
    {
      keepAliveTimeout: 100_000, // longer than a Go client keeps an idle connection, or it is reset under a request
      headersTimeout: 10_000,
      requestTimeout: 90_000,
      connectionsCheckingInterval: 5_000,
      ...limits,
      requireHostHeader: false, // checked below: Node's own answer has no body
    },
    { bodyMs, answerMs },
  );
  const refused = new WeakSet<Socket>();
  const refuse = (socket: Socket, status: number) => {
    refused.add(socket);
    void refuseConnection(socket, status);
  };
  const listVerb = new ListVerb(server, (socket) => refuse(socket, 405));

  server.on('request', (request, response) => {
    if (!server.owes(response)) return;
    if (!verbs.has(request.method) && !listVerb.reveals(request)) refuseRequest(response, 405);
    else if (request.headers.host === undefined && request.httpVersion === '1.1') refuseRequest(response, 400);
    else handler(request, response);
  });
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => refuseRequest(response, 417));
  server.on('connect', (_request, socket: Socket) => {
    socket.on('error', () => socket.destroy()); // Node has let go of the connection: a hang-up is ours to notice
    refuse(socket, 405);
  });
  server.on('clientError', (fault: ParseFault, socket: Socket) => {
    if (!refused.has(socket) && !listVerb.takes(fault, socket)) refuse(socket, statusOf(fault));
  });
  server.on('newListener', (event, listener) => {
    // Fastify brings its own; two answers to one fault would run into each other.
    if (event === 'clientError') queueMicrotask(() => server.removeListener(event, listener));
  });
  return server;
}

function statusOf(fault: ParseFault): number {
  if (fault.code === 'HPE_HEADER_OVERFLOW') return 431;
  if (fault.code === 'ERR_HTTP_REQUEST_TIMEOUT') return 408;
  return fault.reason?.startsWith('Invalid method') || fault.code === 'HPE_INVALID_METHOD' ? 405 : 400;
}
