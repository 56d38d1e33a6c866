import type { ServerResponse } from 'node:http';

/**
 * Aborted when the caller is gone before the last byte of this answer was handed to the network. It wants an answer of
 * `createHttpServer`: from Node's own server it would not hear of a connection that ends before the answer's turn.
 */
export function hangUpOf(answer: ServerResponse): AbortSignal {
  const hangUp = new AbortController();
  const { socket } = answer.req;
  let written = false;
  // Node says `finish` also of bytes that were thrown away with the connection.
  answer.once('finish', () => (written = !socket.destroyed && !socket.errored));
  answer.once('close', () => {
    if (!written) hangUp.abort();
  });
  if (answer.destroyed || socket.destroyed) hangUp.abort();
  return hangUp.signal;
}
