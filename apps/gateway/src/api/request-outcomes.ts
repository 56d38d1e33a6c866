import { Injectable, Logger } from '@nestjs/common';
import { Seal } from '#libs/access';
import { CodedError } from '#libs/contracts';
import { Metrics } from '#libs/runtime';

/** The status of a request whose caller left before its answer, in figures alone: nobody reads it. */
const callerLeft = 499;

/** What is noted of one request while it is answered. */
export interface Asked {
  id: string;
  startedAt: number;
  /** `read`, `update`, `delete`, `list`, `head` or `help`; `none` of what could not be read. */
  operation: string;
  /** Of the path that was found; `none` until then. */
  route: string;
}

/**
 * How requests end, in figures and in the log: a line for every credential that was handed over and for every request
 * that failed. Paths, names and payloads are in neither.
 */
@Injectable()
export class RequestOutcomes {
  private readonly logger = new Logger('Request');
  private readonly requests;
  private readonly seconds;
  private readonly handled;

  constructor(metrics: Metrics, seal: Seal) {
    this.requests = metrics.counter(
      'leasehold_http_requests_total',
      `Requests by part of the API and by status; ${callerLeft}: the caller left before its answer.`,
      ['route', 'operation', 'status'],
    );
    this.seconds = metrics.histogram(
      'leasehold_http_request_seconds',
      'How long requests took to answer.',
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20],
      ['route', 'operation'],
    );
    this.handled = metrics.summary('vault.core.handle_request', 'Answering a request.');
    metrics.gauge('vault.core.unsealed', '1, or 0 while the system is sealed.', async () =>
      (await seal.isSealed()) ? 0 : 1,
    );
    metrics.gauge('vault.core.active', 'Always 1: every gateway serves.', () => 1);
  }

  begin(id: string): Asked {
    return { id, startedAt: performance.now(), operation: 'none', route: 'none' };
  }

  answered(asked: Asked, status: number): void {
    this.count(asked, status);
  }

  /** The last byte of a credential's answer was written. */
  handedOver(asked: Asked, leaseId: string): void {
    this.logger.log({ msg: 'credential handed over', requestId: asked.id, leaseId, ms: since(asked) });
  }

  /** The caller left before anything was answered. */
  left(asked: Asked): void {
    this.count(asked, callerLeft);
  }

  /** The caller left before its credential was written. */
  notReceived(asked: Asked, leaseId: string): void {
    this.logger.warn({ msg: 'credential not received; taking it back', requestId: asked.id, leaseId });
  }

  /** Of an error its code alone is told, since texts quote what callers sent; what has no code is told whole. */
  failed(asked: Asked, status: number, error: unknown, hasLeft: boolean): void {
    this.count(asked, hasLeft ? callerLeft : status);
    const { id: requestId, operation, route } = asked;
    if (error instanceof CodedError && error.code !== 'internal') {
      const line = { msg: 'request refused', requestId, operation, route, status, code: error.code, ms: since(asked) };
      if (status >= 500) this.logger.warn(line);
      else this.logger.log(line);
    } else this.undone(asked, error);
  }

  /** Something went wrong that nobody is answered with. */
  undone({ id: requestId }: Asked, error: unknown): void {
    this.logger.error({
      msg: 'request failed',
      requestId,
      error: error instanceof Error ? error.stack : String(error),
    });
  }

  private count(asked: Asked, status: number): void {
    const { route, operation, startedAt } = asked;
    const ms = performance.now() - startedAt;
    this.requests.inc({ route, operation, status: String(status) });
    this.seconds.observe({ route, operation }, ms / 1000);
    this.handled.observe(ms);
  }
}

function since({ startedAt }: Asked): number {
  return Math.round(performance.now() - startedAt);
}
