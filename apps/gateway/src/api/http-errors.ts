import { type ArgumentsHost, Catch, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { CodedError } from '#libs/contracts';
import { BodyTooLarge } from './admission.js';
import { type ErrorAnswer, errorAnswer } from './api-error.js';
import type { RequestOutcomes } from './request-outcomes.js';
import { sendError } from './send.js';

/** What is refused before the API is asked: a body over the limit or broken off, too much at once, a fault of the framework. */
@Catch()
export class HttpErrors implements ExceptionFilter {
  constructor(private readonly outcomes: RequestOutcomes) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const answer = answerTo(error);
    const { status } = answer;
    const told = error instanceof CodedError || status >= 500 ? error : new CodedError('invalid_request', '');
    this.outcomes.failed(this.outcomes.begin(reply.request.id), status, told, reply.request.raw.socket.destroyed);
    sendError(reply, answer);
  }
}

/** Fastify's errors carry `statusCode`, Nest's `getStatus()`; their texts are theirs alone. */
function answerTo(error: unknown): ErrorAnswer {
  if (error instanceof CodedError) return errorAnswer(error);
  if (error instanceof BodyTooLarge) return { status: 413, errors: [error.message] };
  const { statusCode, status = 500 } = error as { statusCode?: number; status?: number };
  const found = statusCode ?? status;
  return found >= 500 ? errorAnswer(error) : { status: found, errors: [] };
}
