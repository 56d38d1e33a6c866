import { Injectable } from '@nestjs/common';
import { type TokenRole, TokenRoles } from '#libs/access';
import { NotFound } from '#libs/contracts';
import { z } from 'zod';
import { noContent, withData, withKeys } from '../api/answers.js';
import { type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { boolField, commaListField, durationField, intField, stringField } from '../wire/fields.js';
import { listed, tokenRolePattern } from './token-path.js';

const old = { deprecated: true };

const body = z.object({
  allowed_policies: commaListField().describe('Policies that may be asked for; none: the usual rules.'),
  allowed_policies_glob: commaListField().describe('The same with "*" for any text.'),
  disallowed_policies: commaListField().describe('Policies that may not be asked for.'),
  disallowed_policies_glob: commaListField().describe('The same with "*" for any text.'),
  allowed_entity_aliases: commaListField().describe('Kept and shown; there are no entities.'),
  orphan: boolField().describe('Make orphans.'),
  path_suffix: stringField().describe('End of the path that tokens say they were made at.'),
  renewable: boolField().describe('Whether tokens may be renewed; they may unless this is false.'),
  token_period: durationField().describe('Period of tokens.'),
  period: durationField().meta(old).describe('Old name of token_period.'),
  token_explicit_max_ttl: durationField().describe('Longest life of tokens.'),
  explicit_max_ttl: durationField().meta(old).describe('Old name of token_explicit_max_ttl.'),
  token_bound_cidrs: commaListField().describe('Addresses that tokens may be used from.'),
  bound_cidrs: commaListField().meta(old).describe('Old name of token_bound_cidrs.'),
  token_no_default_policy: boolField().describe('Leave out the policy "default".'),
  token_num_uses: intField().describe('Requests that tokens may make; 0: any number.'),
  token_type: stringField().describe('"service", "batch", "default-service" or "default-batch".'),
});

const listShown = z.array(z.string());
const roleShown = z.strictObject({
  name: z.string(),
  allowed_policies: listShown,
  allowed_policies_glob: listShown,
  disallowed_policies: listShown,
  disallowed_policies_glob: listShown,
  allowed_entity_aliases: listShown,
  orphan: z.boolean(),
  path_suffix: z.string(),
  period: z.int(),
  token_period: z.int(),
  explicit_max_ttl: z.int(),
  token_explicit_max_ttl: z.int(),
  renewable: z.boolean(),
  token_no_default_policy: z.boolean(),
  token_type: z.string(),
  token_bound_cidrs: listShown.optional(),
  bound_cidrs: listShown.optional(),
  token_num_uses: z.int().optional(),
});

/** `auth/token/roles`: what tokens of `auth/token/create/<role>` are (contract.md 3.3). */
@Injectable()
export class TokenRolesPath implements ApiPart<TokenRequest<unknown>> {
  constructor(private readonly roles: TokenRoles) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'auth/token/roles',
        synopsis: 'List the token roles.',
        description: 'Lists names.',
        operations: { list: operation(z.object({}), async () => listed(await this.roles.names()), withKeys) },
      },
      {
        pattern: `auth/token/roles/${tokenRolePattern}`,
        synopsis: 'Read, write and delete a token role.',
        description: 'A write changes what it names. Tokens that were made keep what they were given.',
        operations: {
          read: operation(z.object({}), ({ params }) => this.read(params.role_name!), withData(roleShown)),
          update: operation(body, ({ params, fields }) => this.write(params.role_name!, fields), noContent),
          delete: operation(z.object({}), ({ params }) => this.roles.delete(params.role_name!), noContent),
        },
        creates: { isAbsent: async ({ params }) => !(await this.roles.find(params.role_name!)) },
      },
    ];
  }

  private async read(name: string) {
    const role = await this.roles.find(name);
    if (!role) throw new NotFound();
    return { data: toWire(role) };
  }

  private async write(name: string, fields: z.output<typeof body>): Promise<void> {
    await this.roles.write(name, {
      allowedPolicies: fields.allowed_policies && namesIn(fields.allowed_policies),
      allowedPoliciesGlob: fields.allowed_policies_glob && namesIn(fields.allowed_policies_glob),
      disallowedPolicies: fields.disallowed_policies && namesIn(fields.disallowed_policies),
      disallowedPoliciesGlob: fields.disallowed_policies_glob && namesIn(fields.disallowed_policies_glob),
      allowedEntityAliases: fields.allowed_entity_aliases && namesIn(fields.allowed_entity_aliases),
      orphan: fields.orphan,
      pathSuffix: fields.path_suffix,
      renewable: fields.renewable,
      tokenPeriod: fields.token_period,
      period: fields.period,
      tokenExplicitMaxTtl: fields.token_explicit_max_ttl,
      explicitMaxTtl: fields.explicit_max_ttl,
      tokenBoundCidrs: fields.token_bound_cidrs,
      boundCidrs: fields.bound_cidrs,
      tokenNoDefaultPolicy: fields.token_no_default_policy,
      tokenNumUses: fields.token_num_uses,
      tokenType: fields.token_type,
    });
  }
}

/** Names are compared in lower case. */
function namesIn(names: string[]): string[] {
  return [...new Set(names.map((name) => name.trim().toLowerCase()).filter((name) => name !== ''))].sort();
}

function toWire(role: TokenRole): Record<string, unknown> {
  return {
    name: role.name,
    allowed_policies: role.allowedPolicies,
    allowed_policies_glob: role.allowedPoliciesGlob,
    disallowed_policies: role.disallowedPolicies,
    disallowed_policies_glob: role.disallowedPoliciesGlob,
    allowed_entity_aliases: role.allowedEntityAliases,
    orphan: role.orphan,
    path_suffix: role.pathSuffix,
    period: role.period,
    token_period: role.tokenPeriod,
    explicit_max_ttl: role.explicitMaxTtl,
    token_explicit_max_ttl: role.tokenExplicitMaxTtl,
    renewable: role.renewable,
    token_no_default_policy: role.tokenNoDefaultPolicy,
    token_type: role.tokenType,
    ...(role.tokenBoundCidrs.length > 0 ? { token_bound_cidrs: role.tokenBoundCidrs } : {}),
    ...(role.boundCidrs.length > 0 ? { bound_cidrs: role.boundCidrs } : {}),
    ...(role.tokenNumUses > 0 ? { token_num_uses: role.tokenNumUses } : {}),
  };
}
