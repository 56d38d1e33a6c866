import type { FastifyReply } from 'fastify';
import { answerHeaders, refuseInBody } from '../wire/connection.js';
import type { ErrorAnswer } from './api-error.js';
import { jsonOf } from './envelope.js';

/** Writes an answer that is no JSON. */
export function sendText(reply: FastifyReply, status: number, { type, body }: { type: string; body: string }): void {
  void reply.status(status).headers(answerHeaders).header('content-type', type).send(Buffer.from(body));
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
    .headers({ ...headers, ...answerHeaders })
    .send(body === undefined ? undefined : Buffer.from(jsonOf(body)));
}

/** Writes an error, also to who is still sending. */
export function sendError(reply: FastifyReply, { status, errors, retryAfter }: ErrorAnswer): void {
  const headers: Record<string, string> = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) };
  if (reply.request.raw.complete) send(reply, status, { errors }, headers);
  else refuseInBody(reply.hijack().raw, status, { ...headers, ...answerHeaders }, jsonOf({ errors }));
}
