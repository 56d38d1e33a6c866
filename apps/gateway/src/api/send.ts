import type { FastifyReply } from 'fastify';

/** Writes an answer that is no JSON. */
export function sendText(reply: FastifyReply, status: number, { type, body }: { type: string; body: string }): void {
  void reply.status(status).header('content-type', type).header('cache-control', 'no-store').send(Buffer.from(body));
}

/** Writes an answer with the headers that every answer has (contract.md 1.3). */
export function send(
  reply: FastifyReply,
  status: number,
  body?: Record<string, unknown>,
  headers: Record<string, string> = {},
): void {
  // No charset behind the type: hvac compares it to the letter (contract.md 1.3).
  void reply
    .status(status)
    .headers(headers)
    .header('content-type', 'application/json')
    .header('cache-control', 'no-store')
    .send(body === undefined ? undefined : Buffer.from(`${JSON.stringify(body)}\n`));
}
