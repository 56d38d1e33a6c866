import { Inject, Injectable } from '@nestjs/common';
import { type FoundToken, planToken, Policies, type TokenRole, TokenRoles, Tokens } from '#libs/access';
import { InvalidRequest, NotFound, Observing, PermissionDenied } from '#libs/contracts';
import { EndingTokens } from '#libs/leases';
import { Metrics, type Span } from '#libs/runtime';
import { z } from 'zod';
import { noContent, noContentOrWarnings, withData, withKeys } from '../api/answers.js';
import { wrapped } from '../api/api-error.js';
import { OBSERVING } from '../issuer-client.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { boolField, durationField, intField, keyValueField, plainListField, stringField } from '../wire/fields.js';
import { authToWire, cutWarnings, spanMs, tokenShown, tokenToWire, withToken } from './token-wire.js';

/** The names that a token role may have, as a group of a path. */
export const tokenRolePattern = String.raw`(?P<role_name>\w(([\w-.@]+)?\w)?)`;

const creation = z.object({
  id: stringField().describe('The token itself, where it is not to be made up (sudo).'),
  policies: plainListField().describe("Names of policies; none: the caller's."),
  meta: keyValueField().describe('What is to be remembered of it.'),
  ttl: stringField().describe('How long it lives; not set: the longest TTL of the system.'),
  lease: stringField().meta({ deprecated: true }).describe('Old name of ttl.'),
  explicit_max_ttl: stringField().describe('Longest life, whatever is renewed.'),
  period: stringField().describe('A renewal gives so much each time, without a max (sudo).'),
  no_parent: boolField().describe('Make an orphan, which outlives its maker (sudo).'),
  no_default_policy: boolField().describe('Leave out the policy "default".'),
  display_name: stringField().describe('Part of the names of what is made for it.'),
  num_uses: intField().describe('Requests that it may make; 0: any number.'),
  max_leases: intField().describe('Leases that it may have at once; 0: any number. Ours.'),
  // hvac sends null for what its caller left out, which must not come to mean "no" here.
  renewable: z
    .preprocess((value) => (value === null ? undefined : value), boolField())
    .meta({ fieldType: 'bool' })
    .describe('Whether it may be renewed; it may unless this is false.'),
  type: stringField().describe('"service" or "batch".'),
  entity_alias: stringField().describe('Taken with no role: there are no entities.'),
});

const token = stringField().describe('The token.');
const accessor = stringField().describe('The accessor of the token.');
const increment = durationField().describe('Seconds from now that it should live; 0: as at its creation.');

type Request<Schema extends z.ZodObject> = Omit<TokenRequest<unknown>, 'fields'> & { fields: z.output<Schema> };

const nothing = z.object({});
const tokenOf = z.object({ token });
const accessorOf = z.object({ accessor });
const renewal = z.object({ token, increment });
const ownRenewal = z.object({ increment });
const renewalByAccessor = z.object({ accessor, increment });

/** `auth/token`: tokens are made, looked up, renewed and ended (contract.md 3.3). */
@Injectable()
export class TokenPath implements ApiPart<TokenRequest<unknown>> {
  private readonly making: Span;
  private readonly finding: Span;

  constructor(
    private readonly tokens: Tokens,
    private readonly roles: TokenRoles,
    private readonly policies: Policies,
    private readonly ending: EndingTokens,
    @Inject(OBSERVING) private readonly observing: boolean,
    metrics: Metrics,
  ) {
    this.making = metrics.span('vault.token.create', 'Making a token.');
    this.finding = metrics.span('vault.token.lookup', 'Looking up a token.');
  }

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [...this.creating(), ...this.lookingUp(), ...this.renewing(), ...this.revoking(), ...this.housekeeping()];
  }

  private creating(): ApiPath<TokenRequest<unknown>>[] {
    const create = operation<typeof creation, TokenRequest<unknown>>(
      creation,
      (request) => this.create(request),
      withToken,
    );
    return [
      {
        pattern: 'auth/token/create',
        synopsis: 'Make a token.',
        description:
          'It is a child of the caller and ends with it. It may do no more than its maker, unless that has sudo here.',
        operations: { update: create },
      },
      {
        pattern: 'auth/token/create-orphan',
        synopsis: 'Make a token that outlives its maker.',
        description: 'As create, and without a parent.',
        operations: { update: create },
      },
      {
        pattern: `auth/token/create/${tokenRolePattern}`,
        synopsis: 'Make a token as a token role says.',
        description: 'The role may allow policies that the caller does not have, and bound what the token may be.',
        operations: { update: create },
      },
    ];
  }

  private lookingUp(): ApiPath<TokenRequest<unknown>>[] {
    const own = operation<typeof nothing, TokenRequest<unknown>>(
      nothing,
      (request) => this.lookUpOwn(request),
      withData(tokenShown),
    );
    const lookUp = operation<typeof tokenOf, TokenRequest<unknown>>(
      tokenOf,
      (request) => this.lookUp(request),
      withData(tokenShown),
    );
    return [
      {
        pattern: 'auth/token/lookup-self',
        synopsis: 'Look up the calling token.',
        description: 'Answers what is known of the token that the request carries.',
        operations: { read: own, update: own },
      },
      {
        pattern: 'auth/token/lookup',
        synopsis: 'Look up a token.',
        description: "Answers what is known of a token; the caller's where none is named.",
        operations: { read: lookUp, update: lookUp },
      },
      {
        pattern: 'auth/token/lookup-accessor',
        synopsis: 'Look up a token by its accessor.',
        description: 'Answers what is known of it, but not the token itself.',
        operations: {
          update: operation(
            accessorOf,
            async ({ fields }) => ({
              data: tokenToWire('', await this.byAccessor(fields.accessor)),
            }),
            withData(tokenShown),
          ),
        },
      },
      {
        pattern: 'auth/token/accessors',
        synopsis: 'List the accessors of all tokens.',
        description: 'Batch tokens have none.',
        operations: { list: operation(nothing, async () => listed(await this.tokens.accessors()), withKeys) },
      },
    ];
  }

  private renewing(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'auth/token/renew',
        synopsis: 'Renew a token.',
        description: 'The increment replaces what is left of it; it never goes past its longest life.',
        operations: { update: operation(renewal, ({ fields }) => this.renew(fields), withToken) },
      },
      {
        pattern: 'auth/token/renew-self',
        synopsis: 'Renew the calling token.',
        description: 'As renew, of the token that the request carries.',
        operations: {
          update: operation<typeof ownRenewal, TokenRequest<unknown>>(
            ownRenewal,
            (request) => this.renewOwn(request),
            withToken,
          ),
        },
      },
      {
        pattern: 'auth/token/renew-accessor',
        synopsis: 'Renew a token by its accessor.',
        description: 'As renew; the answer does not hold the token.',
        operations: {
          update: operation(
            renewalByAccessor,
            async ({ fields }) => this.renewed('', await this.byAccessor(fields.accessor), fields.increment),
            withToken,
          ),
        },
      },
    ];
  }

  private revoking(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'auth/token/revoke',
        synopsis: 'End a token, the tokens below it, and their leases.',
        description: 'Their leases are being taken back when the answer comes, and may not be gone from AWS yet.',
        operations: { update: operation(tokenOf, ({ fields }) => this.revoke(fields.token), noContent) },
      },
      {
        pattern: 'auth/token/revoke-self',
        synopsis: 'End the calling token, the tokens below it, and their leases.',
        description: 'As revoke, of the token that the request carries.',
        operations: {
          update: operation<typeof nothing, TokenRequest<unknown>>(
            nothing,
            ({ caller }) => this.end(caller),
            noContent,
          ),
        },
      },
      {
        pattern: 'auth/token/revoke-orphan',
        synopsis: 'End a token and its leases, and leave the tokens below it.',
        description: 'They live on as orphans.',
        operations: {
          update: operation<typeof tokenOf, TokenRequest<unknown>>(
            tokenOf,
            (request) => this.revokeOrphan(request),
            noContent,
          ),
        },
      },
      {
        pattern: 'auth/token/revoke-accessor',
        synopsis: 'End a token by its accessor.',
        description: 'As revoke.',
        operations: {
          update: operation(accessorOf, ({ fields }) => this.revokeByAccessor(fields.accessor), noContentOrWarnings),
        },
      },
    ];
  }

  private housekeeping(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'auth/token/tidy',
        synopsis: 'End what has expired now.',
        description: 'The sweep does the same by itself, so this is seldom needed.',
        operations: {
          update: operation(nothing, async () => this.tidy(), { 202: { kind: 'data', schema: z.null() } }),
        },
      },
    ];
  }

  private async create({ path, params, fields, caller }: Request<typeof creation>): Promise<ApiAnswer> {
    const roleName = params.role_name;
    const role: TokenRole | null = roleName ? await this.roles.find(roleName) : null;
    if (roleName && !role) throw new InvalidRequest(`unknown role ${roleName}`);
    const plan = planToken(
      caller.token,
      caller.hasSudo(path),
      {
        path,
        orphan: path === 'auth/token/create-orphan',
        id: fields.id ?? '',
        policies: fields.policies ?? [],
        meta: fields.meta ?? null,
        explicitMaxTtlMs: spanMs('explicit_max_ttl', fields.explicit_max_ttl),
        periodMs: spanMs('period', fields.period),
        ttlMs: fields.ttl ? spanMs('ttl', fields.ttl) : spanMs('lease', fields.lease),
        noParent: fields.no_parent ?? false,
        noDefaultPolicy: fields.no_default_policy ?? false,
        displayName: fields.display_name ?? '',
        numUses: fields.num_uses ?? 0,
        maxLeases: fields.max_leases ?? 0,
        renewable: fields.renewable ?? true,
        type: fields.type ?? '',
        entityAlias: fields.entity_alias ?? '',
      },
      role,
    );
    const made = await this.making(() => this.tokens.create(plan));
    const warnings = [...plan.warnings, ...(await this.unknownPolicies(plan.policies)), ...cutWarnings(plan.cuts)];
    return { data: null, auth: authToWire(made.id, made), warnings };
  }

  /** A policy may be written after its tokens; until then it grants nothing. */
  private async unknownPolicies(names: string[]): Promise<string[]> {
    const known = new Set(await this.policies.names());
    return names.filter((name) => !known.has(name)).map((name) => `Policy "${name}" does not exist`);
  }

  private async lookUpOwn({ token: id, caller }: Pick<TokenRequest<unknown>, 'token' | 'caller'>): Promise<ApiAnswer> {
    const found = await this.tokens.own(caller);
    if (!found) throw new PermissionDenied('bad token');
    return { data: tokenToWire(id, found) };
  }

  private async lookUp(request: Request<typeof tokenOf>): Promise<ApiAnswer> {
    const asked = request.fields.token;
    if (!asked || asked === request.token) return this.lookUpOwn(request);
    const found = await this.finding(() => this.tokens.find({ token: asked }));
    if (!found) throw new PermissionDenied('bad token');
    return { data: tokenToWire(asked, found) };
  }

  private async byAccessor(asked: string | undefined): Promise<FoundToken> {
    if (!asked) throw new InvalidRequest(wrapped('missing accessor'));
    const found = await this.finding(() => this.tokens.find({ accessor: asked }));
    if (!found) throw new InvalidRequest(wrapped('invalid accessor'));
    return found;
  }

  private async renew({ token: asked, increment: seconds }: z.output<typeof renewal>): Promise<ApiAnswer> {
    if (!asked) throw new InvalidRequest('missing token ID');
    const found = await this.tokens.find({ token: asked });
    if (!found) throw new InvalidRequest('token not found');
    return this.renewed(asked, found, seconds);
  }

  private async renewOwn({ token: id, caller, fields }: Request<typeof ownRenewal>): Promise<ApiAnswer> {
    return this.renewed(id, caller, fields.increment);
  }

  private async renewed(id: string, { token: row }: Pick<FoundToken, 'token'>, seconds = 0): Promise<ApiAnswer> {
    const renewed = await this.tokens.renew(row.id, seconds * 1000);
    return { data: null, auth: authToWire(id, renewed), warnings: cutWarnings(renewed.cuts) };
  }

  private async revoke(asked: string | undefined): Promise<void> {
    if (!asked) throw new InvalidRequest('missing token ID');
    const found = await this.tokens.find({ token: asked });
    if (found) await this.end(found);
  }

  private async end({ token: row }: Pick<FoundToken, 'token'>): Promise<void> {
    refuseBatch(row.type);
    await this.ending.end([row.id]);
  }

  private async revokeOrphan({ path, fields, caller }: Request<typeof tokenOf>): Promise<void> {
    if (!fields.token) throw new InvalidRequest('missing token ID');
    if (!caller.hasSudo(path)) throw new InvalidRequest('root or sudo privileges required to revoke and orphan');
    const found = await this.tokens.find({ token: fields.token });
    if (!found) throw new InvalidRequest('token to revoke not found');
    refuseBatch(found.token.type);
    await this.ending.endAlone(found.token.id);
  }

  private async revokeByAccessor(asked: string | undefined): Promise<ApiAnswer | void> {
    if (!asked) throw new InvalidRequest(wrapped('missing accessor'));
    const found = await this.tokens.find({ accessor: asked });
    if (!found) return { data: null, warnings: ['No token found with this accessor'] };
    await this.end(found);
  }

  private tidy(): ApiAnswer {
    if (this.observing) throw new Observing('Nothing is tidied now');
    this.ending.sweepBeside();
    return {
      status: 202,
      data: null,
      warnings: [
        "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs.",
      ],
    };
  }
}

function refuseBatch(type: FoundToken['token']['type']): void {
  if (type === 'batch') throw new InvalidRequest('batch tokens cannot be revoked');
}

/** @throws NotFound as every list without keys does (contract.md 1.7). */
export function listed(keys: string[]): ApiAnswer {
  if (keys.length === 0) throw new NotFound();
  return { data: { keys } };
}
