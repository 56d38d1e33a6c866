import { Injectable } from '@nestjs/common';
import { AuditTrail } from '#libs/audit';
import { InvalidRequest } from '#libs/contracts';
import { z } from 'zod';
import { noContent, withFlatData } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { boolField, keyValueField, stringField } from '../wire/fields.js';

const device = z.object({
  type: stringField().describe('The kind of device: file.'),
  description: stringField().describe('For people.'),
  options: keyValueField().describe('file_path (an absolute path, or stdout), mode, prefix, hmac_accessor, format.'),
  local: boolField().describe('Kept and shown; there is no replication.'),
});
const hashing = z.object({ input: stringField().describe('The text to hash.') });

const listed = z.record(
  z.string(),
  z.strictObject({
    path: z.string(),
    type: z.string(),
    description: z.string(),
    options: z.record(z.string(), z.string()),
    local: z.boolean(),
  }),
);
const hashed = z.strictObject({ hash: z.string() });

/** `sys/audit` and `sys/audit-hash`: who asked for what is written to these (contract.md 3.6). */
@Injectable()
export class AuditPath implements ApiPart<TokenRequest<unknown>> {
  constructor(private readonly trail: AuditTrail) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/audit',
        synopsis: 'List the audit devices.',
        description: 'Path, type and options of every device that this server writes to.',
        operations: { read: operation(z.object({}), () => this.list(), withFlatData(listed)) },
      },
      {
        pattern: 'sys/audit/(?P<path>.+)',
        synopsis: 'Enable or disable an audit device.',
        description:
          'An enabled device gets a record of every request and of every answer; when none can be written, nothing is\n' +
          'answered. A device takes effect on every server at once, and each writes its own file. What the environment\n' +
          'names cannot be disabled here.',
        operations: {
          update: operation(device, ({ params, fields }) => this.enable(slashed(params.path!), fields), noContent),
          delete: operation(z.object({}), ({ params }) => this.trail.disable(slashed(params.path!)), noContent),
        },
      },
      {
        pattern: 'sys/audit-hash/(?P<path>.+)',
        synopsis: 'Hash a text as an audit device does.',
        description: 'With it a known value, such as an access key id, is found in the records.',
        operations: {
          update: operation(
            hashing,
            ({ params, fields }) => this.hash(slashed(params.path!), fields.input),
            withFlatData(hashed),
          ),
        },
      },
    ];
  }

  private async list(): Promise<ApiAnswer> {
    const devices = await this.trail.list();
    const data = Object.fromEntries(
      devices.map(({ path, type, description, options, local }) => [path, { path, type, description, options, local }]),
    );
    return { data, flat: true };
  }

  private enable(path: string, fields: z.output<typeof device>): Promise<void> {
    if (!fields.type) throw new InvalidRequest('backend type must be specified as a string');
    return this.trail.enable({
      path,
      type: fields.type,
      description: fields.description ?? '',
      options: fields.options ?? {},
      local: fields.local ?? false,
    });
  }

  private async hash(path: string, input: string | undefined): Promise<ApiAnswer> {
    if (!input) throw new InvalidRequest('the "input" parameter is empty');
    return { data: { hash: await this.trail.hash(path, input) }, flat: true };
  }
}

const slashed = (path: string) => `${path.replace(/\/+$/, '')}/`;
