import { z } from 'zod';
import { codedErrorWire } from './coded-error-wire.js';
import { commandQueues, queueing } from './command-queues.js';
import { acceptLease } from './lease-accept.js';
import { leaseEvent } from './lease-events.js';
import { handOutLease } from './lease-hand-out.js';
import { issueLease } from './lease-issue.js';
import { renewLease } from './lease-renew.js';
import { revokeLease } from './lease-revoke.js';
import { withdrawLease } from './lease-withdraw.js';
import { tryRole } from './role-try.js';
import { rootEvent } from './root-events.js';
import { rotateRoot } from './root-rotate.js';
import { deleteStaticRole, writeStaticRole } from './static-role.js';

type Json = Record<string, unknown>;

const commands = {
  issueLease: { ...issueLease, summary: 'Make a credential for a role. Accept its lease before you hand it on.' },
  handOutLease: { ...handOutLease, summary: "Give a user of the role's pool. Accept its lease before you hand it on." },
  tryRole: { ...tryRole, summary: 'Make a credential for a role, show it to nobody and take it back.' },
  acceptLease: { ...acceptLease, summary: 'An offered credential is about to be handed on.' },
  withdrawLease: { ...withdrawLease, summary: 'Nobody waits for an issue any more.' },
  renewLease: { ...renewLease, summary: 'Let a lease last longer.' },
  revokeLease: { ...revokeLease, summary: 'End a lease now.' },
  rotateRoot: { ...rotateRoot, summary: 'Put a new root key in the place of the one of today.' },
  writeStaticRole: { ...writeStaticRole, summary: 'Make a static role, or change its period.' },
  deleteStaticRole: { ...deleteStaticRole, summary: 'Remove a static role and its keys.' },
};

/**
 * Commands and events over AMQP as an AsyncAPI 3.0 document, made of the schemas that check them. Of what is sealed
 * it describes the content as well, as `x-content` (docs/decisions/0010).
 */
export function asyncApi(): Json {
  const names = Object.keys(commands) as (keyof typeof commands)[];
  const parameters = { namespace: { default: 'leasehold', description: 'LEASEHOLD_NAMESPACE of the system.' } };
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Leasehold over AMQP',
      version: '1.0.0',
      description: 'Internal services ask issuers for credentials, and hear of the life of leases.',
    },
    defaultContentType: 'application/json',
    channels: {
      ...Object.fromEntries(
        Object.entries(commandQueues('{namespace}')).map(([queue, address]) => [
          queue,
          {
            address,
            parameters,
            description:
              'A durable queue. Messages are not persistent, carry correlation id and reply-to (direct reply-to), and expire ' +
              `${expiry[queue as keyof typeof expiry]}.`,
            messages: Object.fromEntries(
              names
                .filter((name) => queueOf(name) === queue)
                .map((name) => [name, { $ref: `#/components/messages/${name}` }]),
            ),
          },
        ]),
      ),
      answers: {
        address: null,
        description: "The asker's direct reply-to.",
        messages: Object.fromEntries(names.map((name) => [`${name}Answer`, { $ref: answerRef(name) }])),
      },
      events: {
        address: '{namespace}.events',
        parameters,
        description: 'A durable topic exchange; the routing key is the name. At least once, in any order.',
        messages: {
          leaseEvent: { $ref: '#/components/messages/leaseEvent' },
          rootEvent: { $ref: '#/components/messages/rootEvent' },
        },
      },
    },
    operations: {
      ...Object.fromEntries(
        names.map((name) => [
          name,
          {
            action: 'receive',
            summary: commands[name].summary,
            channel: { $ref: `#/channels/${queueOf(name)}` },
            messages: [{ $ref: `#/channels/${queueOf(name)}/messages/${name}` }],
            reply: {
              channel: { $ref: '#/channels/answers' },
              messages: [{ $ref: `#/channels/answers/messages/${name}Answer` }],
            },
          },
        ]),
      ),
      tellLeaseEvent: {
        action: 'send',
        summary: 'Tell what became of a lease.',
        channel: { $ref: '#/channels/events' },
        messages: [{ $ref: '#/channels/events/messages/leaseEvent' }],
      },
      tellRootEvent: {
        action: 'send',
        summary: 'Tell that the root key of a mount was rotated.',
        channel: { $ref: '#/channels/events' },
        messages: [{ $ref: '#/channels/events/messages/rootEvent' }],
      },
    },
    components: {
      messages: {
        ...Object.fromEntries(names.flatMap((name) => [command(name), answer(name)])),
        leaseEvent: { name: 'lease.*', payload: toSchema(leaseEvent) },
        rootEvent: { name: 'root.*', payload: toSchema(rootEvent) },
      },
    },
  };
}

const queueOf = (name: keyof typeof commands) => queueing(commands[name].pattern).queue;

const expiry = { issues: "at half of their caller's wait", held: "with their caller's wait" };

const answerRef = (name: string) => `#/components/messages/${name}Answer`;

function command(name: keyof typeof commands): [string, Json] {
  const { pattern, request, summary } = commands[name];
  const content = z.strictObject({
    pattern: z.literal(pattern),
    body: request,
    answerKey: z.string().describe('32 random bytes, base64url: what the answer is sealed under.'),
  });
  const sealed = jwe(
    'Under a key of the sender\'s own, for many commands: alg dir, enc A256GCM. Its header "key" is those 32 random bytes as a JWE to ' +
      "the issuers' public key: alg ECDH-ES, enc A256GCM.",
    toSchema(content, 'input'),
  );
  const payload = object({
    pattern: { type: 'string', description: 'Not read.' },
    data: object({ sealed }),
    id: { type: 'string' },
  });
  return [name, { name: pattern, summary, payload }];
}

function answer(name: keyof typeof commands): [string, Json] {
  const { pattern, reply } = commands[name];
  const content = z.union([z.strictObject({ reply }), z.strictObject({ error: codedErrorWire })]);
  const sealed = jwe(
    'Under answerKey: alg dir, enc A256GCM. Its header "answers" is the SHA-256 of the JWE of the command, base64url.',
    toSchema(content),
  );
  const unopened = {
    ...object({ error: toSchema(codedErrorWire) }),
    description: 'In the clear, where the command could not be opened; do not believe it.',
  };
  const response = { oneOf: [object({ sealed }), unopened] };
  const payload = object({ id: { type: 'string' }, response, isDisposed: { const: true } });
  return [`${name}Answer`, { name: `${pattern} answered`, payload }];
}

function object(properties: Json): Json {
  return { type: 'object', properties, required: Object.keys(properties), additionalProperties: false };
}

function jwe(description: string, content: Json): Json {
  return { type: 'string', contentMediaType: 'application/jose', description, 'x-content': content };
}

function toSchema(schema: z.ZodType, io: 'input' | 'output' = 'output'): Json {
  return z.toJSONSchema(schema, { target: 'draft-7', io });
}
