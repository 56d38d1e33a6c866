import type { LoggerService } from '@nestjs/common';
import { pino, type DestinationStream, type Logger } from 'pino';

/**
 * Structured logs: one JSON object a line. `Logger` of Nest takes a sentence, or an object whose `msg` is the sentence
 * and whose other keys are fields (`leaseId`, `mount`, `role`, `attempt`, `requestId`). Payloads never go in.
 */
export class JsonLog implements LoggerService {
  private readonly pino: Logger;

  constructor(destination: DestinationStream, level = 'info', base: Record<string, string> = {}) {
    this.pino = pino({ level, base, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  }

  log(message: unknown, ...rest: unknown[]): void {
    this.write('info', message, rest);
  }

  warn(message: unknown, ...rest: unknown[]): void {
    this.write('warn', message, rest);
  }

  error(message: unknown, ...rest: unknown[]): void {
    this.write('error', message, rest);
  }

  debug(message: unknown, ...rest: unknown[]): void {
    this.write('debug', message, rest);
  }

  verbose(message: unknown, ...rest: unknown[]): void {
    this.write('trace', message, rest);
  }

  private write(level: 'info' | 'warn' | 'error' | 'debug' | 'trace', message: unknown, rest: unknown[]): void {
    const context = rest.at(-1);
    const fields = fieldsOf(message);
    this.pino[level]({ ...(typeof context === 'string' ? { context } : {}), ...fields });
  }
}

/** Of an error its text alone: other fields may hold what must not be told, such as the URL that it failed at. */
function fieldsOf(message: unknown): object {
  if (message instanceof Error) return { msg: message.message, stack: message.stack };
  if (typeof message !== 'object' || message === null) return { msg: String(message) };
  if ('err' in message && message.err instanceof Error) return { msg: message.err.message };
  return message;
}
