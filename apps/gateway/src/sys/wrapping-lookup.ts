import { Injectable } from '@nestjs/common';
import { WrappedAnswers } from '#libs/access';
import { PermissionDenied } from '#libs/contracts';
import { z } from 'zod';
import { withData } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, type ApiRequest, operation } from '../api/api-path.js';
import { stringField } from '../wire/fields.js';

const ofToken = z.object({ token: stringField().describe('The wrapping token; absent, the calling token is meant.') });
const shown = z.strictObject({
  creation_ttl: z.int(),
  creation_time: z.iso.datetime(),
  creation_path: z.string(),
});

/** `sys/wrapping/lookup`: what a wrapping token's holder may know without spending it; it asks for no other token. */
@Injectable()
export class WrappingLookup implements ApiPart<ApiRequest<unknown>> {
  constructor(private readonly answers: WrappedAnswers) {}

  paths(): ApiPath<ApiRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/wrapping/lookup',
        synopsis: 'What is known of a wrapping token.',
        description: 'When, for how long and at which path its answer was wrapped. The token is not spent.',
        operations: {
          read: operation(z.object({}), ({ token }) => this.look(token), withData(shown)),
          update: operation<typeof ofToken, ApiRequest<unknown>>(
            ofToken,
            ({ fields, token }) => this.look(fields.token || token),
            withData(shown),
          ),
        },
      },
    ];
  }

  private async look(token: string | undefined): Promise<ApiAnswer> {
    if (!token) throw new PermissionDenied('error validating wrapping token: token is empty');
    const { ttlMs, createdAt, path } = await this.answers.look(token);
    return {
      data: {
        creation_ttl: Math.trunc(ttlMs / 1000),
        creation_time: createdAt.toISOString(),
        creation_path: path,
      },
    };
  }
}
