import {
  type ArgumentsHost,
  Catch,
  Logger,
  type RpcExceptionFilter,
  StandardSchemaValidationPipe,
} from '@nestjs/common';
import { CodedError, InvalidRequest, toWire } from '#libs/contracts';
import { type Observable, throwError } from 'rxjs';
import { databaseIsAway } from './database.js';

/** The one filter of a process that is reached by messages: code and message go out, what has no code is logged. */
@Catch()
export class RpcErrors implements RpcExceptionFilter {
  private readonly logger = new Logger(RpcErrors.name);

  catch(thrown: unknown, host: ArgumentsHost): Observable<never> {
    const error = databaseIsAway(thrown);
    if (!(error instanceof CodedError)) {
      const { requestId } = (host.switchToRpc().getData() ?? {}) as { requestId?: string };
      this.logger.error({
        msg: 'command failed',
        requestId,
        error: error instanceof Error ? error.stack : String(error),
      });
    }
    return throwError(() => toWire(error));
  }
}

/** Checks a payload against the schema its door names; a caller reads which field is wrong. */
export const messageValidation = new StandardSchemaValidationPipe({
  exceptionFactory: (issues) =>
    new InvalidRequest(
      `The command is malformed: ${issues
        .map((issue) => `${issue.path?.map(String).join('.') ?? ''} ${issue.message}`.trim())
        .join('; ')}.`,
    ),
});
