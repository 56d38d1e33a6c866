import { Injectable } from '@nestjs/common';
import { systemMaxTtlSeconds } from '#libs/roles';
import { z } from 'zod';
import { withFlatData } from '../api/answers.js';
import { type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';

/** `sys/auth`: the ways in (contract.md 3.1). They are always these; none can be mounted. */
@Injectable()
export class AuthMethods implements ApiPart<TokenRequest<unknown>> {
  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/auth',
        synopsis: 'List the auth methods.',
        description: 'Tokens, and AppRole for services: both are always there.',
        operations: {
          read: operation(
            z.object({}),
            async () => ({ data: methods, flat: true }),
            withFlatData(z.record(z.string(), methodShown)),
          ),
        },
      },
    ];
  }
}

export const methodShown = z.strictObject({
  type: z.string(),
  description: z.string(),
  accessor: z.string(),
  uuid: z.string(),
  local: z.boolean(),
  seal_wrap: z.boolean(),
  external_entropy_access: z.boolean(),
  options: z.null(),
  plugin_version: z.string(),
  running_plugin_version: z.string(),
  running_sha256: z.string(),
  deprecation_status: z.string(),
  config: z.strictObject({
    default_lease_ttl: z.int(),
    max_lease_ttl: z.int(),
    force_no_cache: z.boolean(),
    token_type: z.string(),
  }),
});

const method = (type: string, description: string, tokenType: string) => ({
  type,
  description,
  accessor: `auth_${type}_00000000`,
  uuid: '00000000-0000-0000-0000-000000000000',
  local: false,
  seal_wrap: false,
  external_entropy_access: false,
  options: null,
  plugin_version: '',
  running_plugin_version: '',
  running_sha256: '',
  deprecation_status: 'supported',
  config: {
    default_lease_ttl: systemMaxTtlSeconds,
    max_lease_ttl: systemMaxTtlSeconds,
    force_no_cache: false,
    token_type: tokenType,
  },
});

/** By their paths below `auth/`. */
export const methods = {
  'approle/': method('approle', 'roles that log in with a role id and a secret id', 'default-service'),
  'token/': method('token', 'token based credentials', 'default-service'),
};
