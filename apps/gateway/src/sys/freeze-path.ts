import { Injectable } from '@nestjs/common';
import { NotFound } from '#libs/contracts';
import { type Freezable, Freezes } from '#libs/roles';
import { z } from 'zod';
import { noContent, withData } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { rolePattern } from '../aws/roles-path.js';
import { stringField } from '../wire/fields.js';

const body = z.object({ reason: stringField().describe('Why; whoever is refused is told.') });
const nothing = z.object({});

const listed = z.strictObject({
  keys: z.array(z.string()).describe('Paths below sys/freeze.'),
  key_info: z.record(z.string(), z.strictObject({ since: z.iso.datetime(), reason: z.string() })),
});

/** `sys/freeze`: an operator stops issuing, and nothing else. Ours: Vault has no such thing. */
@Injectable()
export class FreezePath implements ApiPart<TokenRequest<unknown>> {
  constructor(private readonly freezes: Freezes) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/freeze',
        synopsis: 'List what is frozen.',
        description: 'Mounts, roles and tokens from which nothing is issued, since when and why.',
        operations: {
          read: operation(nothing, () => this.list(), withData(listed)),
          list: operation(nothing, () => this.listSome(), withData(listed)),
        },
      },
      this.path('mount/(?P<path>.+)', 'a mount', ({ path }) => ({ mount: `${path!.replace(/\/+$/, '')}/` })),
      this.path(`role/(?P<path>.+)/${rolePattern}`, 'a role, by the path of its mount and its name', (params) => ({
        mount: `${params.path!.replace(/\/+$/, '')}/`,
        role: params.name!,
      })),
      this.path('token/(?P<accessor>[^/]+)', 'a token, by its accessor', ({ accessor }) => ({ accessor: accessor! })),
    ];
  }

  private path(
    pattern: string,
    words: string,
    named: (params: Record<string, string>) => Freezable,
  ): ApiPath<TokenRequest<unknown>> {
    return {
      pattern: `sys/freeze/${pattern}`,
      synopsis: `Freeze issuing from ${words}, or let it go on.`,
      description:
        'While it is frozen, requests for credentials are answered 429 with the reason. Leases are renewed, looked up and\n' +
        'revoked, and expire, as ever. Deleting the freeze lets it go on.',
      operations: {
        update: operation(
          body,
          ({ params, fields }) => this.freezes.freeze(named(params), fields.reason ?? ''),
          noContent,
        ),
        delete: operation(nothing, ({ params }) => this.freezes.lift(named(params)), noContent),
      },
    };
  }

  /** As a list, one without keys is not found (contract.md 1.7). */
  private async listSome() {
    const answer = await this.list();
    if (answer.data.keys.length === 0) throw new NotFound();
    return answer;
  }

  private async list() {
    const found = await this.freezes.list();
    const infos = found.map(
      ({ what, reason, since }) => [keyOf(what), { since: since.toISOString(), reason }] as const,
    );
    return { data: { keys: infos.map(([key]) => key), key_info: Object.fromEntries(infos) } } satisfies ApiAnswer;
  }
}

/** The path below `sys/freeze/` that names it. */
function keyOf(what: Freezable): string {
  if ('accessor' in what) return `token/${what.accessor}`;
  return what.role === undefined ? `mount/${what.mount}` : `role/${what.mount}${what.role}`;
}
