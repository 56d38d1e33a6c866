import { Injectable } from '@nestjs/common';
import { type Acl, Tokens } from '#libs/access';
import { goQuote, PermissionDenied } from '#libs/contracts';
import { EndingTokens } from '#libs/leases';
import { Mounts } from '#libs/roles';
import { z } from 'zod';
import { withData } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, type ApiRequest, operation } from '../api/api-path.js';
import { methods, methodShown } from '../auth/auth-methods.js';
import { coreMounts, mountShown, mountToWire } from './mounts-path.js';

/** What who shows no token is told of a mount. */
const brief = z.strictObject({
  type: z.string(),
  description: z.string(),
  options: z.record(z.string(), z.string()).nullable(),
});
const shown = z.strictObject({
  secret: z.record(z.string(), z.union([mountShown, brief])),
  auth: z.record(z.string(), z.union([methodShown, brief])),
});
const shownWithPath = z.union([mountShown.extend({ path: z.string() }), methodShown.extend({ path: z.string() })]);

type Asking = Pick<ApiRequest<unknown>, 'token' | 'remoteAddress'>;

/**
 * `sys/internal/ui/mounts`: which mounts a caller has anything to do with (contract.md 3.1). Who shows no token sees what is
 * listed for everybody.
 */
@Injectable()
export class VisibleMounts implements ApiPart<ApiRequest<unknown>> {
  constructor(
    private readonly mounts: Mounts,
    private readonly tokens: Tokens,
    private readonly endingTokens: EndingTokens,
  ) {}

  paths(): ApiPath<ApiRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/internal/ui/mounts',
        synopsis: 'The mounts that the caller may see.',
        description:
          'Those below which its token may do anything, and those with the listing_visibility "unauth"; without a token the\n' +
          'latter alone.',
        operations: {
          read: operation<z.ZodObject, ApiRequest<unknown>>(
            z.object({}),
            (request) => this.list(request),
            withData(shown),
          ),
        },
      },
      {
        pattern: 'sys/internal/ui/mounts/(?P<path>.+)',
        synopsis: 'The mount that a path is in.',
        description: 'For who may do anything below it.',
        operations: {
          read: operation<z.ZodObject, ApiRequest<unknown>>(
            z.object({}),
            (request) => this.find(request, request.params.path!),
            withData(shownWithPath),
          ),
        },
      },
    ];
  }

  private async list(request: Asking): Promise<ApiAnswer> {
    const acl = await this.aclOf(request);
    const secret: Record<string, unknown> = {};
    for (const mount of await this.mounts.list()) {
      const { path, type, description, options, tuning } = mount;
      if (acl?.reaches(path)) secret[path] = mountToWire(mount);
      else if (tuning.listingVisibility === 'unauth')
        secret[path] = acl ? mountToWire(mount) : { type, description, options };
    }
    const reached = (entries: Record<string, object>, prefix = '') =>
      Object.fromEntries(Object.entries(entries).filter(([path]) => acl?.reaches(`${prefix}${path}`)));
    return { data: { secret: { ...secret, ...reached(coreMounts) }, auth: reached(methods, 'auth/') } };
  }

  private async find(request: Asking, asked: string): Promise<ApiAnswer> {
    const acl = await this.aclOf(request);
    if (!acl) throw new PermissionDenied();
    const found = await this.mountOf(`${asked}/`);
    if (!found || !acl.reaches(found.path)) {
      throw new PermissionDenied(
        `preflight capability check returned 403, please ensure client's policies grant access to path ${goQuote(`${asked}/`)}`,
      );
    }
    return { data: { ...found.info, path: found.path } };
  }

  /** `path`: with its closing slash. */
  private async mountOf(path: string): Promise<{ path: string; info: object } | null> {
    const auth = Object.entries(methods).map(([name, info]) => [`auth/${name}`, info] as const);
    const own = [...Object.entries(coreMounts), ...auth].find(([prefix]) => path.startsWith(prefix));
    if (own) return { path: own[0], info: own[1] };
    const mount = await this.mounts.route(path.slice(0, -1));
    return mount && { path: mount.path, info: mountToWire(mount) };
  }

  /** Null without a token. @throws PermissionDenied for one that is none. */
  private async aclOf({ token, remoteAddress }: Asking): Promise<Acl | null> {
    if (!token) return null;
    const caller = await this.tokens.authenticate(token, { remoteAddress });
    await this.endingTokens.afterRequestOf(caller);
    return caller.acl;
  }
}
