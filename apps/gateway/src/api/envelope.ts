import type { ApiAnswer } from './api-path.js';

/** Status and body of an answer (contract.md 1.6, 1.7); no body for 204 and for an asynchronous 202. */
export function toBody(answer: ApiAnswer, requestId: string): { status: number; body?: Record<string, unknown> } {
  if (answer.wrapInfo) return { status: answer.status ?? 200, body: wrappedBody(answer.wrapInfo) };
  if (answer.bare) return { status: answer.status ?? 200, body: answer.bare };
  if (answer.text) return { status: answer.status ?? 200 };
  const hasBody = answer.data !== undefined || answer.leaseId !== undefined || answer.warnings?.length;
  if (!hasBody) return { status: answer.status ?? 204 };
  return {
    status: answer.status ?? 200,
    body: {
      ...(answer.flat ? answer.data : {}),
      request_id: requestId,
      lease_id: answer.leaseId ?? '',
      renewable: answer.renewable ?? false,
      lease_duration: answer.leaseDuration ?? 0,
      data: answer.data ?? null,
      wrap_info: null,
      warnings: answer.warnings?.length ? answer.warnings : null,
      auth: answer.auth ?? null,
    },
  };
}

/** A body as it is sent. */
export function jsonOf(body: Record<string, unknown>): string {
  return `${JSON.stringify(body)}\n`;
}

function wrappedBody(wrapInfo: Record<string, unknown>): Record<string, unknown> {
  return {
    request_id: '',
    lease_id: '',
    renewable: false,
    lease_duration: 0,
    data: null,
    wrap_info: wrapInfo,
    warnings: null,
    auth: null,
  };
}
