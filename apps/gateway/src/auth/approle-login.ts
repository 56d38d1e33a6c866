import { Injectable } from '@nestjs/common';
import { AppRoles } from '#libs/access';
import { Metrics, type Span } from '#libs/runtime';
import { z } from 'zod';
import { type ApiAnswer, type ApiPart, type ApiPath, type ApiRequest, operation } from '../api/api-path.js';
import { stringField } from '../wire/fields.js';
import { authToWire, withToken } from './token-wire.js';

const credentials = z.object({
  role_id: stringField().describe('The role id.'),
  secret_id: stringField().describe('The secret id; needed unless the role asks for none.'),
});

/** `auth/approle/login`: a token for who knows a role id and a secret id (contract.md 3.3). */
@Injectable()
export class AppRoleLogin implements ApiPart<ApiRequest<unknown>> {
  private readonly making: Span;

  constructor(
    private readonly roles: AppRoles,
    metrics: Metrics,
  ) {
    this.making = metrics.span('vault.token.create', 'Making a token.');
  }

  paths(): ApiPath<ApiRequest<unknown>>[] {
    return [
      {
        pattern: 'auth/approle/login',
        synopsis: 'Log in with a role id and a secret id.',
        description: 'The answer holds a token with the policies and limits of the role.',
        operations: {
          update: operation<typeof credentials, ApiRequest<unknown>>(
            credentials,
            (request) => this.logIn(request),
            withToken,
          ),
        },
      },
    ];
  }

  private async logIn({
    fields,
    remoteAddress,
  }: Omit<ApiRequest<unknown>, 'fields'> & { fields: z.output<typeof credentials> }): Promise<ApiAnswer> {
    const ids = [fields.role_id, fields.secret_id].map((id) => (id ?? '').trim()) as [string, string];
    const made = await this.making(() => this.roles.logIn(...ids, remoteAddress));
    return { data: null, auth: authToWire(made.id, made) };
  }
}
