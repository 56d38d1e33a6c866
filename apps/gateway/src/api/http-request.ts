import { CodedError, InvalidRequest, NotFound } from '#libs/contracts';
import type { Operation } from './api-path.js';
import { requireAbsolute, requirePrintable } from './paths.js';

/** An HTTP request as the API understands it, before anybody is asked who is calling. */
export interface VaultRequest {
  operation: Operation | 'head' | 'patch';
  /** Without `/v1/`, decoded, single slashes, without a closing slash. */
  path: string;
  endsInSlash: boolean;
  /** Fields as they came: from the query for read, list and delete, from the body for update. */
  raw: Record<string, unknown>;
  /** The query of an update, which counts on few paths only (contract.md 1.1, 2.5). */
  query: Record<string, unknown>;
  /** `?help=` with any value, or the verb `HELP`. */
  help: boolean;
  /** As in `ApiRequest`. */
  remoteAddress?: string;
  /** The headers of these names. */
  accept?: string;
  idempotencyKey?: string;
  /** As in `ApiRequest`. */
  wrapTtlMs?: number;
  /** What is wrong with its body, so that it must be refused before anybody asks who is calling; it is recorded as any other. */
  fault?: CodedError;
}

/** The method is none of the API's (contract.md 1.1). */
export class UnknownMethod extends CodedError {
  constructor() {
    super('unsupported_operation', '');
  }
}

/** `PATCH` takes merge patches alone (contract.md 1.2). */
class NoMergePatch extends CodedError {
  constructor(provided: string) {
    super('unsupported_media_type', `PATCH requires Content-Type of ${mergePatchType}, provided ${provided || 'none'}`);
  }
}

const mergePatchType = 'application/merge-patch+json';

/** The one Content-Type that changes how a body is read (contract.md 1.2). */
export const formType = 'application/x-www-form-urlencoded';

const goBools = new Map([
  ...['1', 't', 'T', 'TRUE', 'true', 'True'].map((word) => [word, true] as const),
  ...['0', 'f', 'F', 'FALSE', 'false', 'False'].map((word) => [word, false] as const),
]);

const methods: Record<string, VaultRequest['operation']> = {
  GET: 'read',
  HEAD: 'head',
  POST: 'update',
  PUT: 'update',
  DELETE: 'delete',
  PATCH: 'patch',
  LIST: 'list',
  HELP: 'read',
};

/** Operations that bring a body; all others bring their fields in the query. */
const withBody = new Set<VaultRequest['operation']>(['update', 'patch']);

/**
 * Reads method, path, query and body (contract.md 1.1, 1.2).
 * @param method as it was sent, `LIST` and `HELP` included.
 * @param url path and query as they were sent.
 * @throws InvalidRequest, UnknownMethod, NotFound for what names no path of the API; a body that cannot be read is its `fault`.
 */
export function readRequest(
  method: string,
  url: string,
  body: Buffer | undefined,
  contentType: string | undefined,
): VaultRequest {
  const asked = methods[method];
  if (!asked) throw new UnknownMethod();
  const mark = url.indexOf('?');
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  const decoded = decodePath(mark < 0 ? url : url.slice(0, mark));
  const operation = asked === 'read' && isList(query) ? 'list' : asked;
  const asFields = readQuery(query);
  const hasBody = withBody.has(operation);
  const line: VaultRequest = {
    operation,
    path: decoded.replace(/\/$/, ''),
    endsInSlash: decoded.endsWith('/'),
    raw: hasBody ? {} : asFields,
    query: hasBody ? asFields : {},
    help: method === 'HELP' || Boolean(query.get('help')),
  };
  if (!hasBody) return line;
  try {
    if (operation === 'patch') refuseUnlessMergePatch(contentType);
    return { ...line, raw: readBody(body, contentType) };
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return { ...line, fault: error };
  }
}

function refuseUnlessMergePatch(contentType = ''): void {
  const type = contentType.split(';')[0]!.trim().toLowerCase();
  if (type !== mergePatchType) throw new NoMergePatch(type);
}

function decodePath(path: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    throw new InvalidRequest('the path is not valid percent-encoding');
  }
  requirePrintable(decoded);
  const [, version, ...segments] = decoded.replace(/\/+/g, '/').split('/');
  if (version !== 'v1') throw new NotFound();
  requireAbsolute(segments);
  return segments.join('/');
}

function isList(query: URLSearchParams): boolean {
  const value = query.get('list');
  if (!value) return false;
  const list = goBools.get(value);
  if (list === undefined) throw new InvalidRequest('');
  return list;
}

function readQuery(query: URLSearchParams): Record<string, unknown> {
  const found = byName(query);
  found.delete('list');
  found.delete('help');
  return Object.fromEntries(
    [...found].map(([name, values]) => [name, values.length === 1 ? values[0] : values] as const),
  );
}

function byName(pairs: URLSearchParams): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [name, value] of pairs) {
    const values = found.get(name);
    if (values) values.push(value);
    else found.set(name, [value]);
  }
  return found;
}

/** Whether a body is fields of a form and not JSON (contract 1.2). */
export function isForm(body: Buffer, contentType: string | undefined): boolean {
  if (!contentType?.startsWith(formType)) return false;
  let at = 0;
  while (isBlank(body[at])) at += 1;
  return body[at] !== 0x7b && body[at] !== 0x5b;
}

/** JSON's own white space alone: a byte order mark is none. */
function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function readBody(body: Buffer | undefined, contentType: string | undefined): Record<string, unknown> {
  if (!body || body.every(isBlank)) return {};
  const text = body.toString('utf8');
  if (isForm(body, contentType)) {
    return Object.fromEntries([...byName(new URLSearchParams(text))].map(([name, values]) => [name, values.join(',')]));
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidRequest(`failed to decode JSON input: ${faultOfJson((error as Error).message)}`);
  }
  if (value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new InvalidRequest('failed to decode JSON input: the body must be a JSON object');
  }
  return value as Record<string, unknown>;
}

/**
 * What V8 says of a text that is no JSON, as far as it says it in words of its own: what it quotes of the text, always
 * behind a double quote, may be a secret.
 */
function faultOfJson(message: string): string {
  const [ofItsOwn] =
    /^Unexpected end of JSON input$|^[^"]* JSON at position \d+( \(line \d+ column \d+\))?/.exec(message) ?? [];
  return ofItsOwn ?? 'Unexpected token in JSON';
}
