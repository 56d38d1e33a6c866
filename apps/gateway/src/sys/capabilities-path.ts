import { Injectable } from '@nestjs/common';
import { type Acl, Tokens } from '#libs/access';
import { InvalidRequest } from '#libs/contracts';
import { z } from 'zod';
import { wrapped } from '../api/api-error.js';
import { withData, withFlatData } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { commaListField, stringField } from '../wire/fields.js';

const own = z.object({
  paths: commaListField().describe('The paths that are asked about.'),
  path: commaListField().meta({ deprecated: true }).describe('Old name of paths.'),
});
const ofToken = own.extend({ token: stringField().describe('Whose capabilities.') });
const ofAccessor = own.extend({ accessor: stringField().describe('Accessor of the token whose capabilities.') });

const names = z.array(z.string());
const told = withFlatData(z.record(z.string(), names));
const summarized = z.record(z.string(), z.strictObject({ capabilities: names })).optional();
const summary = z.strictObject({ root: z.boolean(), exact_paths: summarized, glob_paths: summarized });

type Paths = z.output<typeof own>;

/** `sys/capabilities`: what a token may do with paths (contract 3.4). */
@Injectable()
export class CapabilitiesPath implements ApiPart<TokenRequest<unknown>> {
  constructor(private readonly tokens: Tokens) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/capabilities-self',
        synopsis: 'What the calling token may do with paths.',
        description: 'A list for every path: its capabilities, or root alone, or deny alone.',
        operations: {
          update: operation<typeof own, TokenRequest<unknown>>(
            own,
            async ({ caller, fields }) => capabilities(fields, caller.acl),
            told,
          ),
        },
      },
      {
        pattern: 'sys/capabilities-accessor',
        synopsis: 'What the token with an accessor may do with paths.',
        description: 'As sys/capabilities-self.',
        operations: {
          update: operation(
            ofAccessor,
            async ({ fields }) => {
              if (!fields.accessor) throw new InvalidRequest('missing accessor');
              return capabilities(fields, await this.aclOf({ accessor: fields.accessor }, 'invalid accessor'));
            },
            told,
          ),
        },
      },
      {
        pattern: 'sys/capabilities',
        synopsis: 'What a token may do with paths.',
        description: 'As sys/capabilities-self.',
        operations: {
          update: operation(
            ofToken,
            async ({ fields }) => {
              if (!fields.token) throw new InvalidRequest(wrapped('no token found'));
              return capabilities(fields, await this.aclOf({ token: fields.token }, 'invalid token'));
            },
            told,
          ),
        },
      },
      {
        pattern: 'sys/internal/ui/resultant-acl',
        synopsis: 'All that the calling token may do.',
        description: 'Its capabilities on exact paths, and on patterns of paths.',
        operations: {
          read: operation<z.ZodObject, TokenRequest<unknown>>(
            z.object({}),
            async ({ caller: { acl } }) => {
              if (acl.isRoot) return { data: { root: true } };
              const { exact, globs } = acl.summary();
              return { data: { root: false, exact_paths: withLists(exact), glob_paths: withLists(globs) } };
            },
            withData(summary),
          ),
        },
      },
    ];
  }

  private async aclOf(by: Parameters<Tokens['aclOf']>[0], refusal: string): Promise<Acl> {
    const acl = await this.tokens.aclOf(by);
    if (!acl) throw new InvalidRequest(wrapped(refusal));
    return acl;
  }
}

function capabilities({ paths = [], path = [] }: Paths, acl: Acl): ApiAnswer {
  const asked = paths.length > 0 ? paths : path;
  if (asked.length === 0) throw new InvalidRequest('paths must be supplied');
  const found: Record<string, string[]> = Object.fromEntries(asked.map((each) => [each, acl.capabilities(each)]));
  const data = asked.length === 1 ? { ...found, capabilities: found[asked[0]!] } : found;
  return { data, flat: true };
}

function withLists(paths: Record<string, string[]>): Record<string, { capabilities: string[] }> {
  return Object.fromEntries(Object.entries(paths).map(([path, list]) => [path, { capabilities: list }]));
}
