import type { LoggerService } from '@nestjs/common';
import { pino, type DestinationStream, type Logger } from 'pino';

/**
 * Structured logs: one JSON object a line. `Logger` of Nest takes a sentence, or an object whose `msg` is the sentence
 * and whose other keys are fields (`leaseId`, `mount`, `role`, `attempt`, `requestId`). Payloads never go in.
 */
export class JsonLog implements LoggerService {
  private readonly pino: Logger;

  constructor(destination: DestinationStream, level = 'info') {
    this.pino = pino({ level, base: undefined, timestamp: pino.stdTimeFunctions.isoTime }, destination);
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
    const fields = typeof message === 'object' && message !== null ? message : { msg: String(message) };
    this.pino[level]({ ...(typeof context === 'string' ? { context } : {}), ...fields });
  }
}
