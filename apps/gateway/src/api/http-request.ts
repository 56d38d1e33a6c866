import { CodedError, InvalidRequest, NotFound } from '#libs/contracts';
import type { Operation } from './api-path.js';

/** An HTTP request as the API understands it, before anybody is asked who is calling. */
export interface VaultRequest {
  operation: Operation | 'head';
  /** Without `/v1/`, decoded, single slashes, without a closing slash. */
  path: string;
  endsInSlash: boolean;
  /** Fields as they came: from the query for read, list and delete, from the body for update. */
  raw: Record<string, unknown>;
  /** The query of an update, which counts on few paths only (contract.md 1.1, 2.5). */
  query: Record<string, unknown>;
  /** `?help=` with any value. */
  help: boolean;
}

/** The method is none of the API's (contract.md 1.1). */
export class UnknownMethod extends CodedError {
  constructor() {
    super('unsupported_operation', '');
  }
}

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
};

/**
 * Reads method, path, query and body (contract.md 1.1, 1.2).
 * @param url path and query as they were sent.
 * @param isListVerb the method was `LIST`.
 * @throws InvalidRequest, UnknownMethod, NotFound before anything else is looked at.
 */
export function readRequest(
  method: string,
  url: string,
  isListVerb: boolean,
  body: Buffer | undefined,
  contentType: string | undefined,
): VaultRequest {
  const asked = isListVerb ? 'list' : methods[method];
  if (!asked) throw new UnknownMethod();
  const mark = url.indexOf('?');
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  const decoded = decodePath(mark < 0 ? url : url.slice(0, mark));
  const operation = asked === 'read' && isList(query) ? 'list' : asked;
  const asFields = readQuery(query);
  return {
    operation,
    path: decoded.replace(/\/$/, ''),
    endsInSlash: decoded.endsWith('/'),
    raw: operation === 'update' ? readBody(body, contentType) : asFields,
    query: operation === 'update' ? asFields : {},
    help: Boolean(query.get('help')),
  };
}

function decodePath(path: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    throw new InvalidRequest('the path is not valid percent-encoding');
  }
  if (/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(decoded)) {
    throw new InvalidRequest('path cannot contain non-printable characters');
  }
  const [, version, ...segments] = decoded.replace(/\/+/g, '/').split('/');
  if (version !== 'v1') throw new NotFound();
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    throw new InvalidRequest('relative paths not supported');
  }
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
  const names = [...new Set(query.keys())].filter((name) => name !== 'list' && name !== 'help');
  return Object.fromEntries(
    names.map((name) => {
      const values = query.getAll(name);
      return [name, values.length === 1 ? values[0] : values];
    }),
  );
}

function readBody(body: Buffer | undefined, contentType: string | undefined): Record<string, unknown> {
  const text = body?.toString('utf8').trim() ?? '';
  if (text === '' || text === 'null') return {};
  if (contentType?.startsWith(formType) && !/^[{[]/.test(text)) {
    const form = new URLSearchParams(text);
    return Object.fromEntries([...new Set(form.keys())].map((name) => [name, form.getAll(name).join(',')]));
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidRequest(`failed to decode JSON input: ${withoutQuotes((error as Error).message)}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InvalidRequest('failed to decode JSON input: the body must be a JSON object');
  }
  return value as Record<string, unknown>;
}

/** V8 quotes what it could not read, and that may be a secret. */
function withoutQuotes(message: string): string {
  return message.replace(/,? ?(\.\.\.)?["'].*$/s, '').trim();
}
