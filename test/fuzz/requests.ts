import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { nastyText, type Schema, valueOf } from './values.js';

interface Parameter {
  name: string;
  in: 'path' | 'query';
  schema: Schema;
}
interface Operation {
  parameters?: Parameter[];
  requestBody?: { content: { 'application/json': { schema: Schema } } };
}
type Path = { parameters?: Parameter[] } & Record<string, unknown>;

/** A request as it is sent. */
export interface Request {
  method: string;
  /** With `/v1/`; printable ASCII. */
  path: string;
  headers: Record<string, string>;
  body: string | undefined;
}

const { paths } = JSON.parse(readFileSync('docs/openapi.json', 'utf8')) as { paths: Record<string, Path> };

const verbs = ['get', 'post', 'delete'] as const;

const operations = Object.entries(paths).flatMap(([template, path]) =>
  verbs.flatMap((verb) => (path[verb] ? [{ template, verb, operation: path[verb] as Operation }] : [])),
);

const wellFormed = (text: string) => text.replaceAll(/\p{Surrogate}/gu, '\ufffd');

/** How a part of a path is written: as a client does, or as one who tries. */
const written = (value: string) =>
  fc.constantFrom(
    encodeURIComponent(wellFormed(value)),
    encodeURI(wellFormed(value)).replaceAll(/[?#]/g, ''),
    value.replaceAll(/[^!-~]|[?#]/g, '%00'),
  );

/**
 * Requests that the OpenAPI document describes, most of them nearly right.
 * @param token the one that may do everything
 * @param known values by the name of a parameter or field, so that what is asked for is there
 */
export function requests(token: string, known: Record<string, string[]>): fc.Arbitrary<Request> {
  const partOf = (name: string) =>
    fc
      .oneof({ weight: 6, arbitrary: fc.constantFrom(...(known[name] ?? ['x'])) }, { weight: 1, arbitrary: nastyText })
      .chain(written);
  const one = ({ template, verb, operation }: (typeof operations)[number]): fc.Arbitrary<Request> => {
    const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
    const query = (operation.parameters ?? []).filter((parameter) => parameter.in === 'query');
    return fc
      .record({
        parts: fc.tuple(...names.map(partOf)),
        query: fc.tuple(
          ...query.map(({ name, schema }) =>
            fc.option(valueOf(schema, known, name), { nil: undefined, freq: name === 'list' ? 9 : 1 }),
          ),
        ),
        body: bodyOf(operation, known),
        method: fc.oneof(
          { weight: 12, arbitrary: fc.constant(verb === 'post' ? 'PUT' : verb.toUpperCase()) },
          { weight: 1, arbitrary: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'LIST', 'PATCH', 'HEAD', 'OPTIONS') },
        ),
        token: fc.oneof(
          { weight: 15, arbitrary: fc.constant(token) },
          { weight: 1, arbitrary: fc.constantFrom('', 'nobody', 'hvs.'.padEnd(4_000, 'x'), ' ', `${token}x`) },
        ),
        extra: fc.oneof(
          { weight: 10, arbitrary: fc.constant({}) },
          { weight: 1, arbitrary: fc.constantFrom(...nastyHeaders) },
        ),
      })
      .map(({ parts, query: values, ...asked }) => {
        const path = names.reduce((whole, name, index) => whole.replace(`{${name}}`, () => parts[index]!), template);
        const search = query.flatMap(({ name }, index) =>
          values[index] === undefined ? [] : [`${name}=${encodeURIComponent(asText(values[index]))}`],
        );
        return {
          method: asked.method,
          path: `/v1${path}${search.length > 0 ? `?${search.join('&')}` : ''}`,
          headers: { 'X-Vault-Token': asked.token, ...asked.extra },
          body: asked.method === 'GET' || asked.method === 'HEAD' ? undefined : asked.body,
        };
      });
  };
  return fc.constantFrom(...operations).chain(one);
}

const nastyHeaders: Record<string, string>[] = [
  { 'Content-Type': 'application/x-www-form-urlencoded' },
  { 'Content-Type': 'text/xml; charset=utf-16' },
  { 'Idempotency-Key': 'k' },
  { 'Idempotency-Key': 'x'.repeat(300) },
  { 'X-Vault-Wrap-TTL': '-1' },
  { 'X-Vault-Wrap-TTL': 'x' },
  { 'X-Vault-Wrap-TTL': '60' },
  { 'X-Vault-Namespace': 'elsewhere' },
  { Authorization: 'Basic Zm9vOmJhcg==' },
  { 'X-Forwarded-For': '256.0.0.1, ::1' },
  { Accept: 'application/openmetrics-text' },
  { Expect: '100-continue' },
];

const brokenBodies = ['{', '[]', '"x"', 'null', '{"a":1}{"b":2}', '{"a":\u0001}', '\ufeff{}', '[', 'ttl=1h', '1e999'];

function bodyOf(operation: Operation, known: Record<string, string[]>): fc.Arbitrary<string | undefined> {
  const schema = operation.requestBody?.content['application/json'].schema;
  if (!schema) return fc.constantFrom(undefined, undefined, undefined, '{}', '{"x":1}');
  return fc.oneof(
    { weight: 12, arbitrary: valueOf(schema, known).map((value) => JSON.stringify(value)) },
    { weight: 1, arbitrary: fc.constantFrom(...brokenBodies) },
  );
}

function asText(value: unknown): string {
  return wellFormed(typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
}
