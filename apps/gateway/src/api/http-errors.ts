import { type ArgumentsHost, Catch, type ExceptionFilter, Logger } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { send } from './send.js';

/** What the framework itself refuses before the API is asked: a body over the limit, a body that breaks off. */
@Catch()
export class HttpErrors implements ExceptionFilter {
  private readonly logger = new Logger(HttpErrors.name);

  catch(error: unknown, host: ArgumentsHost): void {
    const status = statusOf(error);
    if (status >= 500) this.logger.error(error instanceof Error ? error.stack : String(error));
    // contract.md 1.4.
    const errors = status === 413 ? ['http: request body too large'] : [];
    send(host.switchToHttp().getResponse<FastifyReply>(), status, { errors });
  }
}

/** Fastify's errors carry `statusCode`, Nest's `getStatus()`. */
function statusOf(error: unknown): number {
  const { statusCode, status } = error as { statusCode?: number; status?: number };
  return statusCode ?? status ?? 500;
}
