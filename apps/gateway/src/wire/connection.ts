import { STATUS_CODES, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** A server's connection, with Node's own name for the answer that is being written; the next one follows at once. */
export type HttpConnection = Socket & { _httpMessage?: ServerResponse | null };

/** How long a refused caller may go on sending: closing on unread bytes resets the connection and loses the answer. */
const lingerMs = 1_000;

const nothing = '{"errors":[]}';

/** Headers of every answer (contract.md 1.3). */
export const answerHeaders = {
  'Content-Type': 'application/json',
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
};
const plain = { ...answerHeaders, 'Content-Length': Buffer.byteLength(nothing) };

/** Gives what arrives from now on to `take` alone; the connection's parser sees none of it. */
export function divert(connection: HttpConnection, take: (chunk: Buffer) => void): void {
  connection.removeAllListeners('data');
  connection.on('data', take);
}

/**
 * Waits until each request that arrived whole has its answer written, or the connection is over. A request that is
 * itself broken off keeps nobody waiting: its handler may well wait for the rest of the body for ever.
 */
export async function answersWritten(connection: HttpConnection): Promise<void> {
  for (let answer = connection._httpMessage; answer && !connection.destroyed; answer = connection._httpMessage) {
    if (!answer.req.complete) return;
    const current = answer;
    await new Promise((resolve) => current.once('close', resolve));
  }
}

/** Answers a request that was understood with `status` and `{"errors":[]}`; the connection ends with it unless it `goesOn`. */
export function refuseRequest(response: ServerResponse, status: number, { goesOn = false } = {}): void {
  response.writeHead(status, goesOn ? plain : { ...plain, Connection: 'close' }).end(nothing);
}

/**
 * Answers a request whose body has not arrived whole, and ends the connection. What still comes of the body is let go for a
 * while: the caller may be one that reads when it has sent all.
 */
export function refuseInBody(
  response: ServerResponse,
  status: number,
  headers: Record<string, string>,
  body: string,
): void {
  const { req } = response;
  response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body), Connection: 'close' });
  response.write(body);
  const end = () => void response.end();
  const linger = setTimeout(end, lingerMs);
  response.once('close', () => clearTimeout(linger));
  req.once('end', end);
  req.resume();
}

/**
 * Answers 503 in the place of the answer whose turn it is, and ends the connection. Whoever works on that answer hears at
 * once that it will not be delivered.
 */
export function refuseLate(connection: HttpConnection): void {
  const answer = connection._httpMessage;
  if (!answer || answer.headersSent) {
    connection.destroy();
    return;
  }
  answer.detachSocket(connection);
  say(connection, 503);
  answer.destroyed = true;
  answer.emit('close');
}

/**
 * Answers what Node's parser could not make a request of with `status` and `{"errors":[]}`, after the answers that are
 * owed to requests before it, and ends the connection. Says nothing where an answer is half written, or nobody listens.
 */
export async function refuseConnection(connection: HttpConnection, status: number): Promise<void> {
  divert(connection, () => {});
  connection.resume();
  await answersWritten(connection);
  if (!connection.writable) return;
  if (connection._httpMessage?.headersSent) connection.destroy();
  else say(connection, status);
}

function say(connection: HttpConnection, status: number): void {
  const lines = { ...plain, Connection: 'close', Date: new Date().toUTCString() };
  const headers = Object.entries(lines).map((header) => header.join(': '));
  connection.end(`${[`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...headers].join('\r\n')}\r\n\r\n${nothing}`);
  const linger = setTimeout(() => connection.destroy(), lingerMs);
  connection.once('close', () => clearTimeout(linger));
}
