import { Injectable } from '@nestjs/common';
import type { Token } from '#libs/access';
import { z } from 'zod';
import { withData } from '../api/answers.js';
import { type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';

const shown = z.strictObject({
  id: z.string(),
  accessor: z.string(),
  policies: z.array(z.string()),
  path: z.string(),
  meta: z.record(z.string(), z.string()).nullable(),
  display_name: z.string(),
  num_uses: z.int(),
  orphan: z.boolean(),
  creation_time: z.int(),
  creation_ttl: z.int(),
  expire_time: z.string().nullable(),
  ttl: z.int(),
  explicit_max_ttl: z.int(),
  entity_id: z.string(),
  type: z.string(),
});

/** `auth/token/lookup-self`: who the caller is (contract.md 3.3). */
@Injectable()
export class TokenSelf implements ApiPart<TokenRequest<unknown>> {
  paths(): ApiPath<TokenRequest<unknown>>[] {
    const lookUp = operation<z.ZodObject, TokenRequest<unknown>>(
      z.object({}),
      async ({ token, caller }) => ({ data: toWire(token, caller.token) }),
      withData(shown),
    );
    return [
      {
        pattern: 'auth/token/lookup-self',
        synopsis: 'Look up the calling token.',
        description: 'Answers what is known of the token that the request carries.',
        operations: { read: lookUp, update: lookUp },
      },
    ];
  }
}

function toWire(id: string, token: Token): Record<string, unknown> {
  return {
    id,
    accessor: token.accessor,
    policies: token.policies,
    path: token.path,
    meta: token.meta,
    display_name: token.displayName,
    num_uses: 0,
    orphan: true,
    creation_time: Math.floor(token.createdAt.getTime() / 1000),
    creation_ttl: 0,
    expire_time: null,
    ttl: 0,
    explicit_max_ttl: 0,
    entity_id: '',
    type: 'service',
  };
}
