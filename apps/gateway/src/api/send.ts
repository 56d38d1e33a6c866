import type { FastifyReply } from 'fastify';

/** Writes an answer with the headers that every answer has (contract.md 1.3). */
export function send(reply: FastifyReply, status: number, body?: Record<string, unknown>): void {
  // No charset behind the type: hvac compares it to the letter (contract.md 1.3).
  void reply
    .status(status)
    .header('content-type', 'application/json')
    .header('cache-control', 'no-store')
    .send(body === undefined ? undefined : Buffer.from(`${JSON.stringify(body)}\n`));
}
