import { z } from 'zod';
import type { Answers, AnswerShape } from '../api/answers.js';
import type { ApiOperation, ApiPath, Operation } from '../api/api-path.js';
import { apiVersion } from '../api/api-version.js';
import { needsSudo } from '../api/permission.js';
import { describeFields, type FieldType } from '../wire/fields.js';
import { templatesOf } from './path-templates.js';

type Json = Record<string, unknown>;

/** Paths of one part of the API, and where it is. */
export interface Documented {
  paths: ApiPath<never>[];
  /** What stands before each path, such as `aws/`; a template of OpenAPI, so `{aws_mount_path}/` too. */
  prefix: string;
  /** Served to who has no token. */
  isOpen: boolean;
}

/**
 * The API as an OpenAPI 3.0 document (contract.md 3.6), made of the schemas that convert what comes and of the shapes that
 * the operations name for what they answer. Objects of answers are closed.
 */
export function openApi(parts: Documented[]): Json {
  const paths: Record<string, Json> = {};
  for (const part of parts) {
    for (const path of part.paths) {
      for (const template of templatesOf(path.pattern)) addPath(paths, `/${part.prefix}${template}`, path, part);
    }
  }
  return {
    openapi: '3.0.2',
    info: {
      title: 'Leasehold',
      description: "Lends AWS credentials on a lease, over the HTTP API of HashiCorp Vault's AWS secrets engine.",
      version: apiVersion,
    },
    servers: [{ url: '/v1' }],
    paths: Object.fromEntries(Object.entries(paths).sort(([one], [other]) => (one < other ? -1 : 1))),
    components: { schemas, securitySchemes: { token: { type: 'apiKey', in: 'header', name: 'X-Vault-Token' } } },
    security: [{ token: [] }],
  };
}

function addPath(paths: Record<string, Json>, template: string, path: ApiPath<never>, part: Documented): void {
  const { read, update, delete: remove, list } = path.operations;
  const told = (operation: ApiOperation<never>, name: Operation) => describe(template, path, part, operation, name);
  const methods: Json = {
    ...(read && { get: told(read, 'read') }),
    ...(update && { post: told(update, 'update') }),
    ...(remove && { delete: told(remove, 'delete') }),
  };
  // One template has one `get`; the core takes a closing slash for a list anyway.
  if (list && read) merge(paths, `${template}/`, { get: told(list, 'list') }, path, part);
  else if (list) methods.get = told(list, 'list');
  if (Object.keys(methods).length > 0) merge(paths, template, methods, path, part);
}

function merge(
  paths: Record<string, Json>,
  template: string,
  methods: Json,
  path: ApiPath<never>,
  part: Documented,
): void {
  const parameters = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  // A template that two patterns give is served by the first of them, as the API does.
  paths[template] = {
    description: path.synopsis,
    ...(part.isOpen && { 'x-vault-unauthenticated': true }),
    ...(needsSudo(template.slice(1)) && { 'x-vault-sudo': true }),
    ...(path.creates && { 'x-vault-createSupported': true }),
    ...(parameters.length > 0 && { parameters }),
    ...methods,
    ...paths[template],
  };
}

function describe(
  template: string,
  path: ApiPath<never>,
  part: Documented,
  operation: ApiOperation<never>,
  name: Operation,
): Json {
  const fields = describeFields(operation.schema).map(({ name: field, type, description, deprecated }) => ({
    name: field,
    schema: { ...typeSchemas[type], description, ...(deprecated && { deprecated }) },
  }));
  const inQuery = fields.map((field) => ({ name: field.name, in: 'query', schema: field.schema }));
  const listing = { name: 'list', in: 'query', required: true, schema: { type: 'string', enum: ['true'] } };
  return {
    operationId: operationId(template, name),
    summary: path.synopsis,
    description: path.description,
    tags: [part.prefix === '' ? template.split('/')[1] : 'secrets'],
    ...(part.isOpen && { security: [] }),
    ...(name === 'update'
      ? (fields.length > 0 || path.takesAnything) && {
          requestBody: {
            content: {
              'application/json': {
                schema: {
                  type: 'object',
                  properties: Object.fromEntries(fields.map((field) => [field.name, field.schema])),
                },
              },
            },
          },
        }
      : (inQuery.length > 0 || name === 'list') && {
          parameters: [...(name === 'list' ? [listing] : []), ...inQuery],
        }),
    responses: responsesOf(operation.answers, !path.answersSealed),
  };
}

/** Unique, since templates are; `sys/leases/renew/{id}` becomes `update-sys-leases-renew-id`. */
function operationId(template: string, name: Operation): string {
  const words = template.replace(/\/$/, '/list').replaceAll(/[^A-Za-z0-9]+/g, '-');
  return `${name}${words}`.replace(/-+$/, '');
}

/** What a client sends; what is converted is wider (contract.md 1.5). */
const typeSchemas: Record<FieldType, Json> = {
  string: { type: 'string' },
  int: { type: 'integer' },
  bool: { type: 'boolean' },
  slice: { type: 'array', items: { type: 'string' } },
  keypair: { type: 'object', additionalProperties: { type: 'string' } },
  map: { type: 'object' },
  'duration (sec)': { type: 'string', format: 'duration, such as "90s", or seconds' },
};

function responsesOf({ any, ...answers }: Answers, mayBeWrapped: boolean): Json {
  const responses: Json = Object.fromEntries(
    Object.entries(answers).map(([status, shape]) => [status, responseOf(shape as AnswerShape, mayBeWrapped)]),
  );
  return {
    ...responses,
    default: any
      ? { description: 'Served, or refused.', content: { 'application/json': { schema: eitherOr(any) } } }
      : { description: 'Refused.', content: { 'application/json': { schema: ref('Errors') } } },
  };
}

/** Whatever has a body may come wrapped, where its path serves only while the system is not sealed. */
function responseOf(shape: AnswerShape, mayBeWrapped: boolean): Json {
  const orWrapped = (schema: Json) => (mayBeWrapped ? { anyOf: [schema, ref('Wrapped')] } : schema);
  const json = (schema: Json) => ({ 'application/json': { schema } });
  switch (shape.kind) {
    case 'nothing':
      return { description: 'Done.' };
    case 'wrap':
      return { description: 'Wrapped.', content: json(ref('Wrapped')) };
    case 'anything':
      return { description: 'As it was wrapped.', content: json({}) };
    case 'text': {
      const text = { [shape.type]: { schema: { type: 'string' } } };
      return { description: 'Served.', content: { ...text, ...(mayBeWrapped && json(ref('Wrapped'))) } };
    }
    default:
      return {
        description: shape.kind === 'data' && shape.orNothing ? 'Accepted; the body may be empty.' : 'Served.',
        content: json(orWrapped(schemaOf(shape))),
      };
  }
}

function eitherOr(shape: AnswerShape): Json {
  return { oneOf: [schemaOf(shape), ref('Errors')] };
}

function schemaOf(shape: AnswerShape): Json {
  if (shape.kind === 'bare') return toSchema(shape.schema);
  if (shape.kind === 'data')
    return enveloped(toSchema(shape.schema), shape.flat ?? false, shape.auth && toSchema(shape.auth));
  return {};
}

/** The envelope of contract.md 1.6 about these data. */
function enveloped(data: Json, isFlat: boolean, auth?: Json): Json {
  const { required, properties, additionalProperties } = envelope;
  return {
    type: 'object',
    required: isFlat ? [...required, ...((data.required as string[] | undefined) ?? [])] : required,
    properties: { ...(isFlat && (data.properties as Json)), ...properties, data, ...(auth && { auth }) },
    additionalProperties: (isFlat && data.additionalProperties) || additionalProperties,
  };
}

function toSchema(schema: z.ZodType): Json {
  return z.toJSONSchema(schema, {
    target: 'openapi-3.0',
    io: 'output',
    // The bounds of JavaScript are none of the API.
    override: ({ jsonSchema }) => {
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    },
  }) as Json;
}

const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });

const emptyEnvelope = z.strictObject({
  request_id: z.string(),
  lease_id: z.string(),
  renewable: z.boolean(),
  lease_duration: z.int(),
  wrap_info: z.null(),
  warnings: z.array(z.string()).nullable(),
  auth: z.null(),
});

const wrapInfo = z.strictObject({
  token: z.string(),
  accessor: z.string(),
  ttl: z.int(),
  creation_time: z.iso.datetime(),
  creation_path: z.string(),
  wrapped_accessor: z.string().optional(),
});

const { properties: envelopeProperties, required: envelopeRequired } = toSchema(emptyEnvelope) as {
  properties: Json;
  required: string[];
};

const envelope = {
  properties: envelopeProperties,
  required: [...envelopeRequired, 'data'],
  additionalProperties: false as unknown,
};

const schemas = {
  Wrapped: toSchema(emptyEnvelope.extend({ data: z.null(), wrap_info: wrapInfo, warnings: z.null() })),
  Errors: toSchema(z.strictObject({ errors: z.array(z.string()), data: z.unknown().optional() })),
};
