import { Injectable } from '@nestjs/common';
import type { AccessRequest } from '#libs/access';
import { InvalidRequest, NotFound } from '#libs/contracts';
import { EndingTokens, Finding, Renewing } from '#libs/leases';
import { z } from 'zod';
import { withData, doneOrGoingOn, withKeys } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { denied, needsSudo } from '../api/permission.js';
import { ttlCutWarning } from '../lease-texts.js';
import { boolField, durationField, stringField } from '../wire/fields.js';
import { TakeBack } from './take-back.js';

const leaseId = stringField().describe('The lease; wins over an id in the path.');
const lookUp = z.object({ lease_id: leaseId });
const renewal = z.object({
  lease_id: leaseId,
  increment: durationField().describe('Seconds from now that the lease should last; 0: what the engine gives.'),
});
const revocation = z.object({
  lease_id: leaseId,
  sync: boolField().describe('Wait until it is gone from AWS (the default), or answer at once.'),
});
const prefixed = z.object({
  sync: boolField().describe('Wait until all are gone from AWS (the default), or answer at once.'),
});

const instant = z.iso.datetime();
const shown = z.strictObject({
  id: z.string(),
  issue_time: instant,
  expire_time: instant,
  last_renewal: instant.nullable(),
  renewable: z.boolean(),
  ttl: z.int(),
  revoke_error: z.string().optional(),
});

type Fields<Schema extends z.ZodObject> = Omit<TokenRequest<unknown>, 'fields'> & { fields: z.output<Schema> };

/** `sys/leases`, in today's and in the 0.6 spellings (contract.md 3.2). */
@Injectable()
export class LeasesPath implements ApiPart<TokenRequest<unknown>> {
  constructor(
    private readonly finding: Finding,
    private readonly renewing: Renewing,
    private readonly takeBack: TakeBack,
    private readonly endingTokens: EndingTokens,
  ) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/leases/lookup(/(?P<prefix>.*))?',
        synopsis: 'Look a lease up, or list the leases under a prefix.',
        description:
          'A look-up says when the lease was issued, when it ends and whether it can be renewed. In a list, what ends\n' +
          'in a slash has leases below it.',
        operations: {
          update: operation(lookUp, (request) => this.lookUp(request), withData(shown)),
          list: operation(z.object({}), ({ params }) => this.list(params.prefix!), withKeys),
        },
      },
      {
        pattern: 'sys/(leases/)?renew(/(?P<url_lease_id>.+))?',
        synopsis: 'Renew a lease.',
        description: 'The increment replaces what is left of the lease; it never goes past its longest life.',
        operations: { update: operation(renewal, (request) => this.renew(request), withData(z.null())) },
      },
      {
        pattern: 'sys/(leases/)?revoke-prefix/(?P<prefix>.+)',
        synopsis: 'Revoke every lease under a prefix.',
        description: 'A prefix is whole path segments. All are tried, side by side; one failure stops nothing.',
        operations: { update: operation(prefixed, (request) => this.revokePrefix(request), doneOrGoingOn) },
      },
      {
        pattern: 'sys/(leases/)?revoke-force/(?P<prefix>.+)',
        synopsis: 'Revoke every lease under a prefix, and drop those that AWS would not let go.',
        description: 'What AWS refuses to remove may remain there: look after it by hand.',
        operations: {
          update: operation(
            z.object({}),
            ({ params }) => this.takeBack.now({ prefix: params.prefix! }, 'revoked', true),
            doneOrGoingOn,
          ),
        },
      },
      {
        pattern: 'sys/(leases/)?revoke(/(?P<url_lease_id>.+))?',
        synopsis: 'Revoke a lease.',
        description: 'Its credential is gone from AWS when the answer comes, unless sync is false.',
        operations: { update: operation(revocation, (request) => this.revoke(request), doneOrGoingOn) },
      },
    ];
  }

  private async lookUp(request: Fields<typeof lookUp>): Promise<ApiAnswer> {
    const id = idOf(request, request.params.prefix!);
    const lease = await this.finding.find(id);
    if (!lease) throw new InvalidRequest('invalid lease');
    const data = {
      id: lease.id,
      issue_time: lease.issuedAt.toISOString(),
      expire_time: lease.expiresAt.toISOString(),
      last_renewal: lease.lastRenewedAt?.toISOString() ?? null,
      renewable: lease.renewable,
      ttl: Math.round(lease.ttlMs / 1000),
      ...(lease.lastError ? { revoke_error: lease.lastError } : {}),
    };
    return { data };
  }

  private async list(prefix: string): Promise<ApiAnswer> {
    const keys = await this.finding.children(prefix === '' ? '' : `${prefix.replace(/\/+$/, '')}/`);
    if (keys.length === 0) throw new NotFound();
    return { data: { keys } };
  }

  private async renew(request: Fields<typeof renewal>): Promise<ApiAnswer> {
    const id = idOf(request, request.params.url_lease_id!);
    const { ttlMs, cut } = await this.renewing.renew(id, (request.fields.increment ?? 0) * 1000);
    return {
      leaseId: id,
      renewable: true,
      leaseDuration: Math.round(ttlMs / 1000),
      data: null,
      warnings: cut ? [ttlCutWarning(cut)] : [],
    };
  }

  private async revoke(request: Fields<typeof revocation>): Promise<ApiAnswer | void> {
    const which = { leaseId: idOf(request, request.params.url_lease_id!) };
    return request.fields.sync === false ? this.takeBack.later(which, 'revoked') : this.takeBack.now(which, 'revoked');
  }

  private async revokePrefix({ params, fields }: Fields<typeof prefixed>): Promise<ApiAnswer | void> {
    const which = { prefix: params.prefix! };
    // The command line's `token revoke -mode=path`: tokens are found by where they were made.
    if (which.prefix.startsWith('auth/')) return this.endingTokens.endMadeAt(which.prefix.replace(/\/+$/, ''));
    return fields.sync === false ? this.takeBack.later(which, 'revoked') : this.takeBack.now(which, 'revoked');
  }
}

/**
 * The lease that is meant. Of two ids the body's counts (contract.md 3.2), and policies must allow the path with that one as
 * well: a right to renew or revoke below some path is none to do so elsewhere.
 */
function idOf({ path, fields, caller, sent, wrapTtlMs }: Fields<typeof lookUp>, idInPath: string): string {
  const fromPath = idInPath.replace(/\/+$/, '');
  const id = fields.lease_id || fromPath;
  if (!id) throw new InvalidRequest('lease_id must be specified');
  if (fromPath && id !== fromPath) {
    const named = `${path.slice(0, path.length - idInPath.length)}${id}`;
    const wanted: AccessRequest = { operation: 'update', path: named, parameters: sent, wrapTtlMs };
    if (!caller.acl.allows(wanted, needsSudo(named))) throw denied();
  }
  return id;
}
