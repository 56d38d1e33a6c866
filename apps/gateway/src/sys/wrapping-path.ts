import { Injectable } from '@nestjs/common';
import { WrappedAnswers } from '#libs/access';
import { InvalidRequest, NotFound } from '#libs/contracts';
import { z } from 'zod';
import { withAnything, withData, withWrap } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { wrapToWire } from '../api/wrapping.js';
import { stringField } from '../wire/fields.js';

const ofToken = z.object({ token: stringField().describe('The wrapping token; absent, the calling token is meant.') });
const nothing = z.object({});

type Shown = Omit<TokenRequest<unknown>, 'fields'> & { fields: z.output<typeof ofToken> };

/** `sys/wrapping/*` but its look-up, and the path that old clients unwrap by (contract 3.6). */
@Injectable()
export class WrappingPath implements ApiPart<TokenRequest<unknown>> {
  constructor(private readonly answers: WrappedAnswers) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/wrapping/wrap',
        synopsis: 'Wrap what is sent.',
        description: 'Answers with a wrapping token that gives it back once. Takes the header X-Vault-Wrap-TTL.',
        takesAnything: true,
        operations: { update: operation(nothing, (request) => this.wrap(request), withWrap) },
      },
      {
        pattern: 'sys/wrapping/unwrap',
        synopsis: 'Open a wrapped answer.',
        description: 'The answer as it would have been sent. The wrapping token is spent by it.',
        operations: {
          update: operation<typeof ofToken, TokenRequest<unknown>>(
            ofToken,
            async (request) => {
              const { type, body } = await this.take(request);
              return body === '' ? {} : { text: { type, body } };
            },
            withAnything,
          ),
        },
      },
      {
        pattern: 'sys/wrapping/rewrap',
        synopsis: 'Put a new wrapping token in the place of another one.',
        description:
          'The answer is kept once more for the time that it was wrapped for at first. The old token is spent.',
        operations: {
          update: operation<typeof ofToken, TokenRequest<unknown>>(
            ofToken,
            async ({ fields, token, caller }) => ({
              wrapInfo: wrapToWire(await this.answers.rewrap(fields.token || token, caller)),
            }),
            withWrap,
          ),
        },
      },
      {
        pattern: 'cubbyhole/response',
        synopsis: 'Open a wrapped answer, as old clients do.',
        description: 'The calling token is the wrapping token. The answer is a text in response.',
        operations: {
          read: operation<typeof nothing, TokenRequest<unknown>>(
            nothing,
            ({ token, caller }) => this.old(token, caller),
            withData(z.strictObject({ response: z.string() })),
          ),
        },
      },
    ];
  }

  private async wrap({ wrapTtlMs, sent, path }: Pick<Shown, 'wrapTtlMs' | 'sent' | 'path'>): Promise<ApiAnswer> {
    if (!wrapTtlMs) throw new InvalidRequest('endpoint requires response wrapping to be used');
    if (Object.keys(sent).length > 0) return { data: sent, flat: true };
    return { wrapInfo: wrapToWire(await this.answers.keep({ path, type: '', body: '' }, wrapTtlMs)) };
  }

  private take({ fields, token, caller }: Shown) {
    return this.answers.take(fields.token || token, caller);
  }

  private async old(token: string, caller: Shown['caller']): Promise<ApiAnswer> {
    try {
      const { body } = await this.answers.take(token, caller);
      return { data: { response: body } };
    } catch (error) {
      // Whoever calls with another token asks for something that was never put there.
      if (error instanceof InvalidRequest) throw new NotFound();
      throw error;
    }
  }
}
