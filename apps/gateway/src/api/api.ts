import { Inject, Injectable } from '@nestjs/common';
import { type Caller, Seal, Tokens } from '#libs/access';
import { CodedError, InvalidRequest, NoRoute, PermissionDenied } from '#libs/contracts';
import { EndingTokens } from '#libs/leases';
import { Mounts } from '#libs/roles';
import { Metrics, type Span } from '#libs/runtime';
import { parseFields } from '../wire/fields.js';
import { wrapped } from './api-error.js';
import type { ApiAnswer, ApiOperation, ApiPart, ApiPath, ApiRequest, EngineRequest, TokenRequest } from './api-path.js';
import { DocumentsPath } from '../documents/documents-path.js';
import { mountHelp, pathHelp } from './help.js';
import { coreMountOf, type HttpEntry } from './http-audit.js';
import type { VaultRequest } from './http-request.js';
import { type Match, PathTable } from './path-table.js';
import { denied, type Grant, grantOf } from './permission.js';
import { RateLimits } from './rate-limits.js';

/** Injection tokens of the three parts of the tree: arrays of `ApiPart`. */
export const OPEN_PARTS = Symbol('paths without a token');
export const CORE_PARTS = Symbol('paths of the core');
export const ENGINE_PARTS = Symbol('paths of the aws engine');

const engineDescription = `The AWS engine lends credentials of AWS, made for the caller alone, on a lease.
An IAM user with its policies, a federation token or an assumed role: the role
says which. When the lease ends or is revoked, they are gone from AWS.

Before it can be used, the engine needs the credentials that it works with:
write them to "config/root". Then write roles to "roles/".`;

const coreDescription = 'The core: mounts, leases, tokens and what clients ask before they have a token.';

/** Paths whose last part is itself a path, so that a closing slash says nothing: node-vault sends one. */
const endsInAnyPath = /^sys\/(leases\/)?(revoke|revoke-prefix|revoke-force|renew)(\/|$)|^sys\/(mounts|freeze\/mount)\//;

/** Help for a person, and for a program. */
interface Help {
  text: string;
  document: Record<string, unknown>;
}

/** A caller's own name for a field, told back; of a very long one its beginning. */
const toldName = (name: string) => (name.length > 256 ? `${name.slice(0, 256)}…` : name);

/** What load balancers and clients ask about the system itself, however busy it is. */
const alwaysAnswered = new Set(['sys/health', 'sys/seal-status', 'sys/leader', 'sys/init']);

/** Hears which part of the API a request is for, and who asks. */
interface Heard {
  onRoute: (route: string) => void;
  entry: HttpEntry;
}

/** A request whose path is not found yet. */
type Unrouted<Request extends ApiRequest<unknown>> = Omit<Request, 'params' | 'fields' | 'sent'> & Heard;

class UnsupportedOperation extends CodedError {
  constructor() {
    super('unsupported_operation', wrapped('unsupported operation'));
  }
}

function operationOf<Request>(asked: VaultRequest, path: ApiPath<Request>): ApiOperation<Request> {
  const name = asked.operation === 'head' && path.answersHead ? 'read' : asked.operation;
  const operation = name === 'head' || name === 'patch' ? undefined : path.operations[name];
  if (!operation) throw new UnsupportedOperation();
  return operation;
}

/** Of a write's query only some paths take anything, and which path it is, is not known yet: they decide in `confirm`. */
function firstGrant(asked: VaultRequest, { acl }: Caller): Grant {
  try {
    return grantOf(acl, asked, asked.raw);
  } catch (error) {
    if (Object.keys(asked.query).length === 0) throw error;
    return grantOf(acl, asked, { ...asked.query, ...asked.raw });
  }
}

/** Who may create alone does not learn what there is. */
function unlessOnlyCreate({ update }: Grant, error: unknown): unknown {
  return update ? error : denied();
}

/**
 * Asks the policies again about a write, now that its path says what of it counts, and whether it creates (contract.md 1.9).
 * @throws PermissionDenied
 */
async function confirm<Request extends TokenRequest<unknown>>(
  asked: VaultRequest,
  { path, params }: Match<Request>,
  base: Unrouted<Request>,
): Promise<void> {
  if (asked.operation !== 'update') return;
  const { update, create } = grantOf(base.caller.acl, asked, sentTo(path, asked));
  const { creates } = path;
  if (update && (create || !creates || creates.byUpdateToo)) return;
  const isAbsent = creates ? await creates.isAbsent({ ...base, params }) : false;
  if (!(isAbsent ? create : update)) throw denied();
}

/** What was sent beside the path, as far as the path takes it. */
function sentTo<Request>({ readsQuery }: ApiPath<Request>, { query, raw }: VaultRequest): Record<string, unknown> {
  return readsQuery ? { ...query, ...raw } : raw;
}

/**
 * Every request to the API, in the order of contract.md 1.8: is the system sealed, who is calling, may they, which mount,
 * which path, which operation, which fields, then the handler.
 */
@Injectable()
export class Api {
  private readonly open: PathTable<ApiRequest<unknown>>;
  private readonly core: PathTable<TokenRequest<unknown>>;
  private readonly engine: PathTable<EngineRequest<unknown>>;
  private readonly documents: DocumentsPath;
  private readonly checkingToken: Span;
  private readonly lookingUpToken: Span;

  constructor(
    private readonly tokens: Tokens,
    private readonly endingTokens: EndingTokens,
    private readonly mounts: Mounts,
    private readonly rates: RateLimits,
    private readonly seal: Seal,
    @Inject(OPEN_PARTS) open: ApiPart<ApiRequest<unknown>>[],
    @Inject(CORE_PARTS) core: ApiPart<TokenRequest<unknown>>[],
    @Inject(ENGINE_PARTS) engine: ApiPart<EngineRequest<unknown>>[],
    private readonly metrics: Metrics,
  ) {
    this.checkingToken = metrics.span('vault.core.check_token', 'Finding out who is calling.');
    this.lookingUpToken = metrics.span('vault.token.lookup', 'Looking up a token.');
    this.documents = new DocumentsPath(
      () => ({ open: this.open.paths, core: this.core.paths, engine: this.engine.paths }),
      (token, remoteAddress) => this.admit(token, remoteAddress),
      mounts,
    );
    this.open = new PathTable([...open, this.documents]);
    this.core = new PathTable(core);
    this.engine = new PathTable(engine);
  }

  /**
   * `onRoute` hears which part of the API is asked, as `routeLabel` names it, before its handler runs; `entry`, who asks, and,
   * with its record made, that the handler runs.
   * @throws CodedError for everything that is not answered.
   */
  async handle(
    asked: VaultRequest,
    token: string | undefined,
    id: string,
    hangUp: AbortSignal,
    onRoute: (route: string) => void,
    entry: HttpEntry,
  ): Promise<ApiAnswer> {
    const { path, remoteAddress = '', accept = '', idempotencyKey, wrapTtlMs } = asked;
    const base = { id, path, hangUp, remoteAddress, accept, idempotencyKey, wrapTtlMs, onRoute, entry };
    const openMatch = this.open.match(asked.path);
    const isOpen = openMatch && !asked.help;
    if (!isOpen || !alwaysAnswered.has(path)) await this.rates.ofAll();
    if (isOpen) {
      if (!alwaysAnswered.has(path)) await this.rates.ofAddress(remoteAddress);
      if (!openMatch.path.answersSealed) await this.seal.refuse();
      return this.run(asked, openMatch, { ...base, token });
    }

    const caller = await this.callerOf(token, remoteAddress);
    entry.caller = caller;
    try {
      await this.rates.ofToken(caller.token.id);
      return await this.handleFor(caller, asked, { ...base, token: token! });
    } finally {
      // A refused request is a use as well (contract.md 3.3, Uses).
      await this.endingTokens.afterRequestOf(caller);
    }
  }

  /** For a path that serves who has no token as well. @throws PermissionDenied for a token that is none. */
  private async admit(token: string, remoteAddress: string): Promise<void> {
    const caller = await this.tokens.authenticate(token, { remoteAddress });
    await this.endingTokens.afterRequestOf(caller);
  }

  private async handleFor(
    caller: Caller,
    asked: VaultRequest,
    base: Omit<Unrouted<TokenRequest<unknown>>, 'caller'>,
  ): Promise<ApiAnswer> {
    if (asked.help) return this.help(asked.path);
    const grant = firstGrant(asked, caller);
    const writes = asked.operation === 'update' || asked.operation === 'patch';
    if (writes && asked.endsInSlash && !endsInAnyPath.test(asked.path)) {
      throw new InvalidRequest("cannot write to a path ending in '/'");
    }
    return this.route(asked, { ...base, caller }, grant);
  }

  /** Who is calling. @throws PermissionDenied; OverBudget when too many come from there who are nobody. */
  private async callerOf(token: string | undefined, remoteAddress: string): Promise<Caller> {
    try {
      return await this.checkingToken(() =>
        this.lookingUpToken(() => this.tokens.authenticate(token, { remoteAddress })),
      );
    } catch (error) {
      if (error instanceof PermissionDenied) await this.rates.ofAddress(remoteAddress);
      throw error;
    }
  }

  private async route(asked: VaultRequest, base: Unrouted<TokenRequest<unknown>>, grant: Grant): Promise<ApiAnswer> {
    if (isCore(asked.path)) {
      const match = this.core.match(asked.path);
      if (!match) throw unlessOnlyCreate(grant, new NoRoute(wrapped('unsupported path')));
      await confirm(asked, match, base);
      return this.run(asked, match, base);
    }
    const mount = await this.mountOf(asked.path).catch((error: unknown) => {
      throw unlessOnlyCreate(grant, error);
    });
    const match = this.engine.match(asked.path.slice(mount.path.length));
    if (!match) throw unlessOnlyCreate(grant, new NoRoute(wrapped('unsupported path')));
    await confirm(asked, match, { ...base, mount });
    return this.run(asked, match, { ...base, mount });
  }

  private async mountOf(path: string) {
    const mount = await this.mounts.route(path);
    if (!mount) throw new NoRoute(`no handler for route "${path}". route entry not found.`);
    if (mount.taintedAt) {
      throw new NoRoute(`no handler for route "${path}" on namespace "". route entry or namespace is tainted.`);
    }
    return mount;
  }

  private async run<Request extends ApiRequest<unknown>>(
    asked: VaultRequest,
    { path, params, route }: Match<Request>,
    { onRoute, entry, ...base }: Unrouted<Request>,
  ): Promise<ApiAnswer> {
    onRoute(route);
    const { mount } = base as Partial<EngineRequest<unknown>>;
    await entry.allowed(mount);
    const operation = operationOf(asked, path);
    const sent = sentTo(path, asked);
    const { raw, replaced } = withoutCaptures(sent, params);
    const { fields, unknown } = parseFields(operation.schema, raw);
    const startedAt = performance.now();
    const answer = await operation
      .handle({ ...base, params, fields, sent } as unknown as Request)
      .then((answered) => answered ?? {})
      .finally(() => this.measure(asked, mount?.path, performance.now() - startedAt));
    const warnings = [
      ...(answer.warnings ?? []),
      ...(unknown.length > 0 && !path.takesAnything
        ? [`Endpoint ignored these unrecognized parameters: [${unknown.map(toldName).join(' ')}]`]
        : []),
      ...(replaced.length > 0
        ? [
            "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: " +
              `[${replaced.join(' ')}]`,
          ]
        : []),
    ];
    // While it is sealed nothing can be kept.
    if (path.answersSealed) return { ...answer, neverWrapped: true };
    // A 204 has no place for them.
    return answer.data === undefined || answer.bare ? answer : { ...answer, warnings };
  }

  private measure({ operation, path }: VaultRequest, mountPath: string | undefined, ms: number): void {
    const mount = mountPath ?? coreMountOf(path)?.path;
    if (mount === undefined) return;
    this.metrics.summaryOfMount(`vault.route.${operation}`, mount, 'Handling a request to a mount.').observe(ms);
  }

  /** Help of a mount or of a path in it; any valid token may ask (contract.md 2.9). */
  private async help(path: string): Promise<ApiAnswer> {
    const help = isCore(path) || this.open.match(path) ? this.coreHelp(path) : await this.engineHelp(path);
    return { bare: { help: help.text, see_also: null, openapi: help.document } };
  }

  private coreHelp(path: string): Help {
    if (coreMountOf(path)?.path === `${path}/`) {
      const all: ApiPath<never>[] = [...this.core.paths, ...this.open.paths];
      const paths = all.filter((each) => each.pattern.startsWith(`${path}/`));
      return { text: mountHelp(coreDescription, paths), document: this.documents.ofCore(paths) };
    }
    const match = this.core.match(path) ?? this.open.match(path);
    if (!match) throw new NoRoute(wrapped('unsupported path'));
    return { text: pathHelp(path, match.path), document: this.documents.ofCore([match.path]) };
  }

  private async engineHelp(path: string): Promise<Help> {
    const mount = await this.mountOf(path);
    const inside = path.slice(mount.path.length);
    if (inside === '') {
      const { paths } = this.engine;
      return { text: mountHelp(engineDescription, paths), document: this.documents.ofEngine(paths, mount.path) };
    }
    const match: Match<never> | null = this.engine.match(inside) ?? this.engine.match(`${inside}/`);
    if (!match) throw new NoRoute(wrapped('unsupported path'));
    return { text: pathHelp(inside, match.path), document: this.documents.ofEngine([match.path], mount.path) };
  }
}

function isCore(path: string): boolean {
  return /^(sys|cubbyhole|auth\/(token|approle))(\/|$)/.test(path);
}

/** A body that repeats what the path already says: the path wins (contract.md 1.5). */
function withoutCaptures(raw: Record<string, unknown>, params: Record<string, string>) {
  const replaced = Object.keys(raw)
    .filter((name) => Object.hasOwn(params, name) && params[name] !== '')
    .sort();
  return { raw: Object.fromEntries(Object.entries(raw).filter(([name]) => !replaced.includes(name))), replaced };
}
