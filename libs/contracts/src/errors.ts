/**
 * Every error that may cross a process or reach a caller has a code from this list; the gateway's table from code to
 * HTTP status does not compile while a code lacks a status.
 */
export type ErrorCode =
  | 'invalid_request'
  | 'idempotency_key_reused'
  | 'permission_denied'
  | 'role_not_found'
  | 'not_found'
  | 'no_route'
  | 'unsupported_operation'
  | 'unsupported_media_type'
  | 'aws_refused'
  | 'aws_throttled'
  | 'aws_unreachable'
  | 'over_budget'
  | 'revocation_failed'
  | 'rotation_failed'
  | 'out_of_time'
  | 'unavailable'
  | 'sealed'
  | 'internal';

/** An error with a code that travels: its message is a sentence for the caller and holds no secret. */
export class CodedError extends Error {
  /** True when the same request may succeed later without being changed. */
  readonly retryable: boolean;
  /** In how many seconds that is worth a try, where we know. */
  readonly retryAfterSeconds?: number;

  constructor(
    readonly code: ErrorCode,
    message: string,
    options: { retryable?: boolean; retryAfterSeconds?: number; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = new.target.name;
    this.retryable = options.retryable ?? false;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** The request itself is wrong; nothing was stored and nothing was made. */
export class InvalidRequest extends CodedError {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super('invalid_request', message, options);
  }
}

/** The Idempotency-Key stands for another request of this caller; nothing was stored and nothing was made. */
export class IdempotencyKeyReused extends CodedError {
  constructor() {
    super(
      'idempotency_key_reused',
      'This Idempotency-Key was used with another body a moment ago: use a new key for another request.',
    );
  }
}

/** No token, a wrong token, or a token without the right (contract.md 1.8). */
export class PermissionDenied extends CodedError {
  constructor(message = 'permission denied') {
    super('permission_denied', message);
  }
}

/** `creds` and `sts` of a role that does not exist (contract.md 1.8: status 400, not 404). */
export class RoleNotFound extends CodedError {
  constructor(role: string) {
    super('role_not_found', `Role "${role}" not found`);
  }
}

/** Nothing is there to read or list (contract.md 1.7): the answer has no text. */
export class NotFound extends CodedError {
  constructor() {
    super('not_found', '');
  }
}

/** No mount, or no such path in the engine (contract.md 1.8). */
export class NoRoute extends CodedError {
  constructor(message: string) {
    super('no_route', message);
  }
}

/**
 * Which limit of ours refused: AWS's rate of calls, an account's users, the leases of a role or of a token, an operator's
 * freeze, or the rate of requests to a gateway.
 */
export type Limit = 'rate' | 'users' | 'role' | 'token' | 'frozen' | 'requests';

/** A limit of ours refused it: one kept so that AWS's is not met, or one that an operator has set. */
export class OverBudget extends CodedError {
  constructor(
    readonly limit: Limit,
    message: string,
    retryAfterSeconds: number,
  ) {
    super('over_budget', message, { retryable: true, retryAfterSeconds });
  }
}

/** A key could not be rotated, or a static role not be served; the text is the one of contract.md 2.3 or 2.8. */
export class RotationFailed extends CodedError {
  constructor(message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    super('rotation_failed', message, options);
  }
}

/** The caller's wait ended before the work did; what was begun is taken back. */
export class OutOfTime extends CodedError {
  constructor(message = 'The credential could not be made within the time the caller waits; it is being taken back.') {
    super('out_of_time', message, { retryable: true });
  }
}

/** The system was restored and not compared with AWS yet: it issues nothing. */
export class Observing extends CodedError {
  constructor(what = 'Credentials are not issued now') {
    super('unavailable', `${what}: the system was restored, and an operator compares it with AWS first.`, {
      retryable: true,
    });
  }
}

/** An operator has sealed the system: it serves nobody until it is unsealed (contract.md 1.8: clients look for this text). */
export class Sealed extends CodedError {
  constructor() {
    super('sealed', 'Vault is sealed', { retryable: true });
  }
}

/** A part of the system that the request needs is away. */
export class Unavailable extends CodedError {
  constructor(message: string, options: { retryAfterSeconds?: number; cause?: unknown } = {}) {
    super('unavailable', message, { retryable: true, ...options });
  }
}
