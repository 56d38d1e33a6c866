import type { Caller } from '#libs/access';
import type { Mount } from '#libs/roles';
import type { z } from 'zod';
import type { Answers } from './answers.js';

/** What a request wants of a path (contract.md 1.1). */
export type Operation = 'read' | 'update' | 'delete' | 'list';

/** A checked request, as a handler gets it. */
export interface ApiRequest<Fields> {
  /** UUID; the same in the envelope, in commands and in every log line. */
  id: string;
  /** The path that was asked, without `/v1/` and without a closing slash. */
  path: string;
  /** What the named groups of the path's pattern caught; absent groups are ''. */
  params: Record<string, string>;
  /** Query parameters of a read, list or delete; body of an update: converted by the operation's schema. */
  fields: Fields;
  /** The same as it was sent, with what the schema does not know: what policies are about. */
  sent: Record<string, unknown>;
  /** Aborted when the caller hangs up before the answer is written. */
  hangUp: AbortSignal;
  /** As it was sent; a path without a token may find out whose it is. */
  token?: string;
  /** The caller's address: of the connection, or what trusted proxies say of it; '' when it is already gone. */
  remoteAddress: string;
  /** The header of that name; '' when absent. */
  accept: string;
  /** The header of that name, as it was sent. */
  idempotencyKey?: string;
  /** For how long the answer is going to be wrapped, in milliseconds; absent where it is not. */
  wrapTtlMs?: number;
}

/** A request of a caller whose token was checked. */
export interface TokenRequest<Fields> extends ApiRequest<Fields> {
  token: string;
  caller: Caller;
}

/** A request to an engine. */
export interface EngineRequest<Fields> extends TokenRequest<Fields> {
  mount: Mount;
}

/** What a handler answers; nothing at all means 204 (contract.md 1.6, 1.7). */
export interface ApiAnswer {
  /** Only where it is not 200 or 204. */
  status?: number;
  data?: Record<string, unknown> | null;
  /** The token that the answer gives or renews. */
  auth?: Record<string, unknown>;
  leaseId?: string;
  renewable?: boolean;
  /** Whole seconds. */
  leaseDuration?: number;
  warnings?: string[];
  /** The keys of `data` stand beside the envelope too: paths that old clients read flat. */
  flat?: boolean;
  /** The whole body, without envelope. */
  bare?: Record<string, unknown>;
  /** The whole body where it is no JSON, and its Content-Type. */
  text?: { type: string; body: string };
  /** Told in the place of everything else: the answer is wrapped. Its lease, if it has one, is still `leaseId`. */
  wrapInfo?: Record<string, unknown>;
  /** It is sent as it is, whatever was asked: it tells of the system itself. */
  neverWrapped?: boolean;
  /** Beside those that every answer has. */
  headers?: Record<string, string>;
  /** Called when the caller hung up before the last byte of this answer was written. */
  undelivered?: () => Promise<void>;
}

/** One operation of a path: its schemas are the single source of what it takes and of what it answers. */
export interface ApiOperation<Request> {
  schema: z.ZodObject;
  answers: Answers;
  handle(request: Request): Promise<ApiAnswer | void>;
}

/** A path of the API: its pattern is anchored and in Go's notation, as help shows it. */
export interface ApiPath<Request> {
  pattern: string;
  synopsis: string;
  description: string;
  operations: Partial<Record<Operation, ApiOperation<Request>>>;
  /** HEAD is answered as a read without its body; on every other path it is 405. */
  answersHead?: boolean;
  /** Answers also while the system is sealed: what tells of that, and what ends it. */
  answersSealed?: boolean;
  /** An update takes from its query what its body lacks: hvac's PUT of `sts` sends no body (contract.md 2.5). */
  readsQuery?: boolean;
  /** What is sent are no fields: nothing of it is unknown. */
  takesAnything?: boolean;
  /** A write of what is absent needs the capability `create` (contract.md 1.9). */
  creates?: {
    isAbsent(
      request: Omit<Request, 'params' | 'fields' | 'sent'> & { params: Record<string, string> },
    ): Promise<boolean>;
    /** `update` is enough for it, too. */
    byUpdateToo?: boolean;
  };
}

/** A part of the API: the paths it answers. */
export interface ApiPart<Request> {
  paths(): ApiPath<Request>[];
}

/** Ties a handler to its schema, so that its fields have their types, and to what it answers when it does not throw. */
export function operation<Schema extends z.ZodObject, Request extends ApiRequest<unknown>>(
  schema: Schema,
  handle: (request: Omit<Request, 'fields'> & { fields: z.output<Schema> }) => Promise<ApiAnswer | void>,
  answers: Answers,
): ApiOperation<Request> {
  return { schema, answers, handle: handle as (request: Request) => Promise<ApiAnswer | void> };
}

/** The pattern as this platform's regular expression. */
export function expressionOf(pattern: string): RegExp {
  return new RegExp(`^${pattern.replaceAll('(?P<', '(?<')}$`);
}
