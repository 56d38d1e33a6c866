import { Injectable, Logger } from '@nestjs/common';
import { type AppRole, AppRoles, type AppRoleWrite, type SecretId, unwrittenAppRole } from '#libs/access';
import { InvalidRequest, NoRoute, NotFound } from '#libs/contracts';
import { z } from 'zod';
import { noContent, noContentOrWarnings, withData, withKeys } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { boolField, commaListField, durationField, intField, stringField } from '../wire/fields.js';
import { listed } from './token-path.js';

const old = { deprecated: true };

const body = z.object({
  bind_secret_id: boolField().describe('Whether a secret id is needed to log in; it is unless this is false.'),
  role_id: stringField().describe('Its role id, where it is not to be made up.'),
  secret_id_bound_cidrs: commaListField().describe('Addresses that may log in.'),
  bound_cidr_list: commaListField().meta(old).describe('Old name of secret_id_bound_cidrs.'),
  secret_id_num_uses: intField().describe('Logins with one secret id; 0: any number.'),
  secret_id_ttl: durationField().describe('How long a secret id lives; 0: for ever.'),
  token_policies: commaListField().describe('Policies of tokens.'),
  policies: commaListField().meta(old).describe('Old name of token_policies.'),
  token_ttl: durationField().describe('TTL of tokens.'),
  token_max_ttl: durationField().describe('Longest life of tokens.'),
  token_explicit_max_ttl: durationField().describe('Longest life of tokens, periodic ones too.'),
  token_period: durationField().describe('Period of tokens.'),
  period: durationField().meta(old).describe('Old name of token_period.'),
  token_num_uses: intField().describe('Requests that a token may make; 0: any number.'),
  token_no_default_policy: boolField().describe('Leave out the policy "default".'),
  token_bound_cidrs: commaListField().describe('Addresses that tokens may be used from.'),
  token_type: stringField().describe('"service", "batch" or "default".'),
  local_secret_ids: boolField().describe('Taken and not needed: there is no replication.'),
});

const secretIdWish = z.object({
  metadata: stringField().describe(
    'What is remembered with its tokens: a JSON object as text, or "k=v" pairs with commas.',
  ),
  cidr_list: commaListField().describe('Addresses that may log in with it, among those of the role.'),
  token_bound_cidrs: commaListField().describe('Addresses that its tokens may be used from, among those of the role.'),
  num_uses: intField().describe('Logins with it; at most what the role says.'),
  ttl: durationField().describe('How long it lives; at most what the role says.'),
});
const customSecretIdWish = secretIdWish.extend({ secret_id: stringField().describe('The secret id.') });
const secretIdOf = z.object({ secret_id: stringField().describe('The secret id.') });
const accessorOf = z.object({ secret_id_accessor: stringField().describe('The accessor of the secret id.') });
const roleIdOf = z.object({ role_id: stringField().describe('The role id.') });
const nothing = z.object({});

const names = z.array(z.string());
const roleShown = z.strictObject({
  bind_secret_id: z.boolean(),
  local_secret_ids: z.boolean(),
  secret_id_bound_cidrs: names.nullable(),
  secret_id_num_uses: z.int(),
  secret_id_ttl: z.int(),
  token_bound_cidrs: names,
  token_explicit_max_ttl: z.int(),
  token_max_ttl: z.int(),
  token_no_default_policy: z.boolean(),
  token_num_uses: z.int(),
  token_period: z.int(),
  token_policies: names,
  token_ttl: z.int(),
  token_type: z.string(),
});
const secretIdMade = z.strictObject({
  secret_id: z.string(),
  secret_id_accessor: z.string(),
  secret_id_ttl: z.int(),
  secret_id_num_uses: z.int(),
});
const secretIdShown = z.strictObject({
  secret_id_accessor: z.string(),
  secret_id_num_uses: z.int(),
  secret_id_ttl: z.int(),
  creation_time: z.iso.datetime(),
  expiration_time: z.iso.datetime(),
  last_updated_time: z.iso.datetime(),
  metadata: z.record(z.string(), z.string()),
  cidr_list: names,
  token_bound_cidrs: names,
});

/** A field of a role that has a path of its own. */
interface Single {
  path: string;
  name: string;
  older?: string;
  /** Under which name the whole role shows it, where that is another one. */
  shownAs?: string;
  field: keyof AppRole;
}

const singles: Single[] = [
  { path: 'policies', name: 'token_policies', older: 'policies', field: 'tokenPolicies' },
  { path: 'bind-secret-id', name: 'bind_secret_id', field: 'bindSecretId' },
  { path: 'bound-cidr-list', name: 'bound_cidr_list', shownAs: 'secret_id_bound_cidrs', field: 'secretIdBoundCidrs' },
  { path: 'secret-id-bound-cidrs', name: 'secret_id_bound_cidrs', field: 'secretIdBoundCidrs' },
  { path: 'secret-id-num-uses', name: 'secret_id_num_uses', field: 'secretIdNumUses' },
  { path: 'secret-id-ttl', name: 'secret_id_ttl', field: 'secretIdTtl' },
  { path: 'token-bound-cidrs', name: 'token_bound_cidrs', field: 'tokenBoundCidrs' },
  { path: 'token-num-uses', name: 'token_num_uses', field: 'tokenNumUses' },
  { path: 'token-ttl', name: 'token_ttl', field: 'tokenTtl' },
  { path: 'token-max-ttl', name: 'token_max_ttl', field: 'tokenMaxTtl' },
  { path: 'period', name: 'token_period', older: 'period', field: 'tokenPeriod' },
];

/** The names that a role may have, as a group of a path. */
const rolePath = String.raw`auth/approle/role/(?P<role_name>\w(([\w-.]+)?\w)?)`;

/** `auth/approle/role`: who may log in without a person, and with what (contract.md 3.3). */
@Injectable()
export class AppRolePath implements ApiPart<TokenRequest<unknown>> {
  private readonly logger = new Logger(AppRolePath.name);

  constructor(private readonly roles: AppRoles) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [...this.ofRoles(), ...singles.map((single) => this.ofField(single)), ...this.ofSecretIds()];
  }

  private ofRoles(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'auth/approle/role',
        synopsis: 'List the roles of AppRole.',
        description: 'Lists names.',
        operations: { list: operation(nothing, async () => listed(await this.roles.names()), withKeys) },
      },
      {
        pattern: rolePath,
        synopsis: 'Read, write and delete a role of AppRole.',
        description: 'A write changes what it names. Deleting a role ends its secret ids; tokens that it gave live on.',
        operations: {
          read: operation(nothing, ({ params }) => this.read(params.role_name!), withData(roleShown)),
          update: operation(body, ({ params, fields }) => this.write(params.role_name!, fields), noContentOrWarnings),
          delete: operation(nothing, ({ params }) => this.roles.delete(params.role_name!), noContent),
        },
      },
      {
        pattern: `${rolePath}/role-id`,
        synopsis: 'Read or set the role id.',
        description: 'The half of a login that is no secret.',
        operations: {
          read: operation(
            nothing,
            async ({ params }) => {
              const role = await this.roles.find(params.role_name!);
              if (!role) throw new NotFound();
              return { data: { role_id: role.roleId } };
            },
            withData(z.strictObject({ role_id: z.string() })),
          ),
          update: operation(
            roleIdOf,
            ({ params, fields }) => this.setRoleId(params.role_name!, fields.role_id),
            noContent,
          ),
        },
      },
    ];
  }

  /** Read, set and set back: what the role says of one thing. */
  private ofField({ path, name, older, shownAs = name, field }: Single): ApiPath<TokenRequest<unknown>> {
    const spellings = older === undefined ? [name] : [name, older];
    const fieldsOf = (shape: Record<string, z.ZodType>) =>
      z.object(Object.fromEntries(spellings.map((each) => [each, shape[each]!])));
    const shapeShown: Record<string, z.ZodType> = roleShown.shape;
    return {
      pattern: `${rolePath}/${path}`,
      synopsis: `Read, set or set back ${name} of a role.`,
      description: 'The same as that field of the role, which must be there.',
      operations: {
        read: operation<typeof nothing, TokenRequest<unknown>>(
          nothing,
          async ({ params }) => ({ data: { [name]: (await this.read(params.role_name!)).data[shownAs] } }),
          withData(z.strictObject({ [name]: shapeShown[shownAs]! })),
        ),
        update: operation<z.ZodObject, TokenRequest<unknown>>(
          fieldsOf(body.shape),
          async ({ params, fields }) => {
            if (spellings.every((each) => fields[each] === undefined)) throw new InvalidRequest(`missing ${name}`);
            return this.change(params.role_name!, toWrite(fields));
          },
          noContentOrWarnings,
        ),
        delete: operation<typeof nothing, TokenRequest<unknown>>(
          nothing,
          ({ params }) => this.change(params.role_name!, { [field]: unwrittenAppRole[field] }),
          noContentOrWarnings,
        ),
      },
    };
  }

  private ofSecretIds(): ApiPath<TokenRequest<unknown>>[] {
    const destroy = operation<typeof secretIdOf, TokenRequest<unknown>>(
      secretIdOf,
      async ({ params, fields }) => {
        await this.roles.destroySecretId(params.role_name!, { secretId: fields.secret_id ?? '' });
      },
      noContent,
    );
    const destroyByAccessor = operation<typeof accessorOf, TokenRequest<unknown>>(
      accessorOf,
      async ({ params, fields }) => {
        const accessor = fields.secret_id_accessor ?? '';
        if (!(await this.roles.destroySecretId(params.role_name!, { accessor }))) throw unknownAccessor(accessor);
      },
      noContent,
    );
    return [
      {
        pattern: `${rolePath}/secret-id`,
        synopsis: 'Make a secret id, or list the accessors of all.',
        description: 'It is shown this once.',
        operations: {
          update: operation(
            secretIdWish,
            ({ params, fields }) => this.makeSecretId(params.role_name!, null, fields),
            withData(secretIdMade),
          ),
          list: operation(
            nothing,
            async ({ params }) => listed(await this.roles.secretIdAccessors(params.role_name!)),
            withKeys,
          ),
        },
      },
      {
        pattern: `${rolePath}/custom-secret-id`,
        synopsis: 'Set a secret id of your own choice.',
        description: 'It is as hard to guess as you make it.',
        operations: {
          update: operation(
            customSecretIdWish,
            ({ params, fields }) => this.makeSecretId(params.role_name!, fields.secret_id ?? '', fields),
            withData(secretIdMade),
          ),
        },
      },
      {
        pattern: `${rolePath}/secret-id/lookup`,
        synopsis: 'Look up a secret id.',
        description: 'Answers what is known of it.',
        operations: {
          update: operation(
            secretIdOf,
            async ({ params, fields }) => {
              const found = await this.roles.findSecretId(params.role_name!, { secretId: fields.secret_id ?? '' });
              return found ? { data: secretIdToWire(found) } : undefined;
            },
            { ...noContent, ...withData(secretIdShown) },
          ),
        },
      },
      {
        pattern: `${rolePath}/secret-id/destroy`,
        synopsis: 'End a secret id.',
        description: 'Tokens that it gave live on.',
        operations: { update: destroy, delete: destroy },
      },
      {
        pattern: `${rolePath}/secret-id-accessor/lookup`,
        synopsis: 'Look up a secret id by its accessor.',
        description: 'Answers what is known of it, but not the secret id itself.',
        operations: {
          update: operation(
            accessorOf,
            async ({ params, fields }) => {
              const accessor = fields.secret_id_accessor ?? '';
              const found = await this.roles.findSecretId(params.role_name!, { accessor });
              if (!found) throw unknownAccessor(accessor);
              return { data: secretIdToWire(found) };
            },
            withData(secretIdShown),
          ),
        },
      },
      {
        pattern: `${rolePath}/secret-id-accessor/destroy`,
        synopsis: 'End a secret id by its accessor.',
        description: 'Tokens that it gave live on.',
        operations: { update: destroyByAccessor, delete: destroyByAccessor },
      },
      {
        pattern: 'auth/approle/tidy/secret-id',
        synopsis: 'Forget secret ids that open nothing any more.',
        description: 'The sweep does the same by itself, so this is seldom needed.',
        operations: {
          update: operation(nothing, async () => this.tidy(), { 202: { kind: 'data', schema: z.null() } }),
        },
      },
    ];
  }

  private async read(name: string) {
    const role = await this.roles.find(name);
    if (!role) throw new NotFound();
    return { data: roleToWire(role.definition) };
  }

  private async write(name: string, fields: z.output<typeof body>): Promise<ApiAnswer | void> {
    const warnings = await this.roles.write(name, toWrite(fields), fields.role_id);
    if (warnings.length > 0) return { data: null, warnings };
  }

  private async setRoleId(name: string, roleId: string | undefined): Promise<void> {
    if (!roleId) throw new InvalidRequest('missing role_id');
    await this.change(name, {}, roleId);
  }

  /** Writes a role that is there. */
  private async change(name: string, write: AppRoleWrite, roleId?: string): Promise<ApiAnswer | void> {
    const warnings = await this.roles.change(name, write, roleId);
    if (warnings.length > 0) return { data: null, warnings };
  }

  private tidy(): ApiAnswer {
    this.roles.tidy().catch((error: unknown) => {
      this.logger.error({ msg: 'secret ids not tidied; the sweep will', error: String(error) });
    });
    return {
      status: 202,
      data: null,
      warnings: [
        "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs.",
      ],
    };
  }

  private async makeSecretId(
    name: string,
    given: string | null,
    fields: z.output<typeof secretIdWish>,
  ): Promise<ApiAnswer> {
    const made = await this.roles.makeSecretId(name, given, {
      numUses: fields.num_uses,
      ttl: fields.ttl,
      metadata: metadataIn(fields.metadata ?? ''),
      cidrList: fields.cidr_list ?? [],
      tokenBoundCidrs: fields.token_bound_cidrs ?? [],
    });
    return {
      data: {
        secret_id: made.id,
        secret_id_accessor: made.accessor,
        secret_id_ttl: Math.round(made.ttlMs / 1000),
        secret_id_num_uses: made.usesLeft ?? 0,
      },
    };
  }
}

function unknownAccessor(accessor: string): NoRoute {
  return new NoRoute(`failed to find accessor entry for secret_id_accessor: ${JSON.stringify(accessor)}`);
}

function toWrite(fields: z.output<typeof body>): AppRoleWrite {
  return {
    bindSecretId: fields.bind_secret_id,
    secretIdBoundCidrs: fields.secret_id_bound_cidrs ?? fields.bound_cidr_list,
    secretIdNumUses: fields.secret_id_num_uses,
    secretIdTtl: fields.secret_id_ttl,
    tokenPolicies: fields.token_policies ?? fields.policies,
    tokenTtl: fields.token_ttl,
    tokenMaxTtl: fields.token_max_ttl,
    tokenExplicitMaxTtl: fields.token_explicit_max_ttl,
    tokenPeriod: fields.token_period ?? fields.period,
    tokenNumUses: fields.token_num_uses,
    tokenNoDefaultPolicy: fields.token_no_default_policy,
    tokenBoundCidrs: fields.token_bound_cidrs,
    tokenType: fields.token_type,
  };
}

function roleToWire(role: AppRole): Record<string, unknown> {
  return {
    bind_secret_id: role.bindSecretId,
    local_secret_ids: false,
    secret_id_bound_cidrs: role.secretIdBoundCidrs.length > 0 ? role.secretIdBoundCidrs : null,
    secret_id_num_uses: role.secretIdNumUses,
    secret_id_ttl: role.secretIdTtl,
    token_bound_cidrs: role.tokenBoundCidrs,
    token_explicit_max_ttl: role.tokenExplicitMaxTtl,
    token_max_ttl: role.tokenMaxTtl,
    token_no_default_policy: role.tokenNoDefaultPolicy,
    token_num_uses: role.tokenNumUses,
    token_period: role.tokenPeriod,
    token_policies: role.tokenPolicies,
    token_ttl: role.tokenTtl,
    token_type: role.tokenType,
  };
}

function secretIdToWire(secretId: SecretId): Record<string, unknown> {
  return {
    secret_id_accessor: secretId.accessor,
    secret_id_num_uses: secretId.usesLeft ?? 0,
    secret_id_ttl: Math.round(secretId.ttlMs / 1000),
    creation_time: secretId.createdAt.toISOString(),
    // Go's zero instant: it never expires.
    expiration_time: secretId.expiresAt?.toISOString() ?? '0001-01-01T00:00:00Z',
    last_updated_time: secretId.updatedAt.toISOString(),
    metadata: secretId.metadata,
    cidr_list: secretId.cidrList,
    token_bound_cidrs: secretId.tokenBoundCidrs,
  };
}

/** What can be stored; an escape within the text may stand for what cannot. */
const storable = z.string().refine((text) => !text.includes('\u0000') && !/\p{Surrogate}/u.test(text));

/** Metadata as it is sent: a JSON object as text, or `k=v` pairs with commas. @throws InvalidRequest for anything else. */
function metadataIn(sent: string): Record<string, string> {
  const trimmed = sent.trim();
  if (trimmed === '') return {};
  if (trimmed.startsWith('{')) {
    const parsed = z.record(storable, storable).safeParse(jsonIn(trimmed));
    if (parsed.success) return parsed.data;
    throw new InvalidRequest('failed to parse metadata: it must be a JSON object of texts');
  }
  const pairs = trimmed.split(',').map((pair) => pair.trim());
  if (!pairs.every((pair) => /^[^=]+=/.test(pair)))
    throw new InvalidRequest('failed to parse metadata: it must be pairs of the form k=v');
  return Object.fromEntries(
    pairs.map((pair) => [pair.slice(0, pair.indexOf('=')).trim(), pair.slice(pair.indexOf('=') + 1).trim()]),
  );
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
