import { HttpStatus } from '@nestjs/common';
import { CodedError, type ErrorCode } from '#libs/contracts';

/** The HTTP status of every error code (contract.md 1.7, 1.8, 5.2). */
const statusOf: Record<ErrorCode, HttpStatus> = {
  invalid_request: HttpStatus.BAD_REQUEST,
  idempotency_key_reused: HttpStatus.UNPROCESSABLE_ENTITY,
  permission_denied: HttpStatus.FORBIDDEN,
  role_not_found: HttpStatus.BAD_REQUEST,
  not_found: HttpStatus.NOT_FOUND,
  no_route: HttpStatus.NOT_FOUND,
  unsupported_operation: HttpStatus.METHOD_NOT_ALLOWED,
  unsupported_media_type: HttpStatus.UNSUPPORTED_MEDIA_TYPE,
  aws_refused: HttpStatus.BAD_REQUEST,
  aws_throttled: HttpStatus.BAD_GATEWAY,
  aws_unreachable: HttpStatus.BAD_REQUEST,
  over_budget: HttpStatus.TOO_MANY_REQUESTS,
  revocation_failed: HttpStatus.BAD_REQUEST,
  rotation_failed: HttpStatus.INTERNAL_SERVER_ERROR,
  out_of_time: HttpStatus.SERVICE_UNAVAILABLE,
  unavailable: HttpStatus.SERVICE_UNAVAILABLE,
  sealed: HttpStatus.SERVICE_UNAVAILABLE,
  internal: HttpStatus.INTERNAL_SERVER_ERROR,
};

/** An answer in the form of an error: `{"errors": […]}`. */
export interface ErrorAnswer {
  status: number;
  errors: string[];
  /** Seconds, for the header Retry-After. */
  retryAfter?: number;
}

/** Go's form of a list with one error, which the peers wrap most texts in. */
export function wrapped(text: string): string {
  return `1 error occurred:\n\t* ${text}\n\n`;
}

/** What a caller is told of an error; of one without a code, nothing but that it happened. */
export function errorAnswer(error: unknown): ErrorAnswer {
  if (!(error instanceof CodedError)) return { status: 500, errors: [wrapped('internal error')] };
  if (error.code === 'internal') return { status: 500, errors: [wrapped('internal error')] };
  if (error.code === 'rotation_failed') return { status: statusOf[error.code], errors: [wrapped(error.message)] };
  return {
    status: statusOf[error.code],
    errors: error.message ? [error.message] : [],
    retryAfter: error.retryAfterSeconds,
  };
}
