import { readFileSync } from 'node:fs';
import { Ajv, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';

interface Document {
  paths: Record<string, Record<string, { responses: Record<string, DocumentedResponse> }>>;
}
interface DocumentedResponse {
  content?: Record<string, { schema: object }>;
}

const document = JSON.parse(readFileSync('docs/openapi.json', 'utf8')) as Document;

const ajv = new Ajv({ strict: false, allErrors: true });
(addFormats as unknown as (to: Ajv) => void)(ajv);
ajv.addSchema({ ...document, $id: 'openapi' });

/** Templates as expressions; what is more literal comes first. */
const templates = Object.keys(document.paths)
  .map((template) => ({
    template,
    literal: template.replaceAll(/\{\w+\}/g, '').length,
    expression: new RegExp(`^${template.replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&').replaceAll(/\{\w+\}/g, '.+?')}$`),
  }))
  .sort((one, other) => other.literal - one.literal);

const validators = new Map<string, ValidateFunction>();

/**
 * Fails when an answer with a JSON body is not as `docs/openapi.json` describes it; what the document has no path or method
 * for must be an error. Help has a form of its own.
 * @param path without `/v1/`; it may have a query
 */
export function checkDocumented(
  method: string,
  path: string,
  answer: { status: number; headers: Headers; text: string },
): void {
  const { pathname, searchParams } = new URL(`http://host/${path.replace(/^\/+/, '')}`);
  if (searchParams.get('help') || method === 'HELP' || method === 'HEAD') return;
  if (answer.text === '' || answer.headers.get('content-type') !== 'application/json') return;
  const isList = method === 'LIST' || /^(1|t|true)$/i.test(searchParams.get('list') ?? '');
  const found = responseTo(method, decoded(pathname), isList, answer.status);
  const name = found?.name ?? 'an error';
  let validate = validators.get(name);
  if (!validate) {
    validate = found ? ajv.compile({ $ref: `openapi#${found.pointer}` }) : ajv.compile(errors);
    validators.set(name, validate);
  }
  if (validate(JSON.parse(answer.text))) return;
  throw new Error(
    `${method} ${path} answered ${answer.status}, which docs/openapi.json does not describe (${name}; ` +
      `after a change of the API: npm run documents): ${ajv.errorsText(validate.errors)}`,
  );
}

const events = JSON.parse(readFileSync('docs/asyncapi.json', 'utf8')) as {
  components: { messages: Record<'leaseEvent' | 'rootEvent', { payload: object }> };
};
const { leaseEvent, rootEvent } = events.components.messages;
const validateEvent = ajv.compile({ anyOf: [leaseEvent.payload, rootEvent.payload] });

/** Fails when an event is not as `docs/asyncapi.json` describes it. */
export function checkDocumentedEvent(event: unknown): void {
  if (validateEvent(event)) return;
  throw new Error(`an event that docs/asyncapi.json does not describe: ${ajv.errorsText(validateEvent.errors)}`);
}

const errors = { $ref: 'openapi#/components/schemas/Errors' };

function responseTo(method: string, path: string, isList: boolean, status: number) {
  const verb = method === 'PUT' ? 'post' : method === 'LIST' ? 'get' : method.toLowerCase();
  const bare = path.replace(/\/+$/, '');
  // A template with a closing slash is a list beside a read of the same path.
  const found = templates.find(({ template, expression }) => {
    const asked = isList && template.endsWith('/') ? `${bare}/` : bare;
    return expression.test(asked) && document.paths[template]![verb];
  });
  if (!found) return undefined;
  const { responses } = document.paths[found.template]![verb]!;
  const key = responses[status] ? String(status) : 'default';
  if (!responses[key]!.content?.['application/json']) return undefined;
  const pointer = ['paths', found.template, verb, 'responses', key, 'content', 'application/json', 'schema']
    .map((part) => `/${encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))}`)
    .join('');
  return { name: `${verb} ${found.template} ${key}`, pointer };
}

function decoded(pathname: string): string {
  try {
    return decodeURIComponent(pathname);
  } catch {
    return pathname; // broken on purpose
  }
}
