import { Injectable } from '@nestjs/common';
import { type Wrap, WrappedAnswers } from '#libs/access';
import { EndingTokens } from '#libs/leases';
import type { ApiAnswer } from './api-path.js';
import { jsonOf, toBody } from './envelope.js';
import type { VaultRequest } from './http-request.js';

/** Puts a wrapping token in the place of an answer whose caller asked for that (contract 1.2, 3.6). */
@Injectable()
export class Wrapping {
  constructor(
    private readonly answers: WrappedAnswers,
    private readonly endingTokens: EndingTokens,
  ) {}

  /**
   * What is sent instead of `answer`: that itself where nobody asked to wrap it, where it has no body, and where it tells of the
   * system or of a wrap already. When nobody receives it, the wrap is dropped with what it holds.
   */
  async wrap(answer: ApiAnswer, { path, wrapTtlMs }: VaultRequest, requestId: string): Promise<ApiAnswer> {
    if (!wrapTtlMs || answer.wrapInfo || answer.neverWrapped) return answer;
    const { status, body } = toBody(answer, requestId);
    const whole = answer.text ?? (body && { type: 'application/json', body: jsonOf(body) });
    if (!whole) return answer;
    const wrap = await this.answers.keep({ path, ...whole }, wrapTtlMs);
    const { leaseId, headers, undelivered, auth } = answer;
    return {
      status,
      leaseId,
      headers,
      wrapInfo: { ...wrapToWire(wrap), ...(auth?.accessor ? { wrapped_accessor: auth.accessor } : {}) },
      undelivered: async () => {
        await undelivered?.();
        await this.endingTokens.end([wrap.tokenId]);
      },
    };
  }
}

/** What is told of a wrap (contract 1.6). */
export function wrapToWire({ token, accessor, ttlMs, createdAt, path }: Wrap): Record<string, unknown> {
  return {
    token,
    accessor,
    ttl: Math.trunc(ttlMs / 1000),
    creation_time: createdAt.toISOString(),
    creation_path: path,
  };
}
