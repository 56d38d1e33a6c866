import { Injectable } from '@nestjs/common';
import { InvalidRequest, NotFound } from '#libs/contracts';
import { type Mount, Mounts } from '#libs/roles';
import { z } from 'zod';
import { withData, noContent } from '../api/answers.js';
import { type ApiPart, type ApiPath, type EngineRequest, operation } from '../api/api-path.js';
import { stringField } from '../wire/fields.js';
import { formatDuration, parseDuration } from '../wire/go-duration.js';

const body = z.object({
  lease: stringField().describe('TTL of the keys of an IAM user, such as "30m"; 0: the mount\'s.'),
  lease_max: stringField().describe('Their longest life, renewals included, such as "24h"; 0: the mount\'s.'),
});

const shown = z.strictObject({ lease: z.string(), lease_max: z.string() });

/** `config/lease`: how long the keys of IAM users are lent (contract.md 2.2). */
@Injectable()
export class ConfigLease implements ApiPart<EngineRequest<unknown>> {
  constructor(private readonly mounts: Mounts) {}

  paths(): ApiPath<EngineRequest<unknown>>[] {
    return [
      {
        pattern: 'config/lease',
        synopsis: 'Configure the default lease information for generated credentials.',
        description:
          'Both values are durations with a suffix, such as "30m" or "24h". They apply to the keys of IAM users;\n' +
          'a renewal uses the values that are in force then.',
        operations: {
          read: operation(z.object({}), async ({ mount }) => this.read(mount), withData(shown)),
          update: operation(body, ({ mount, fields }) => this.write(mount, fields), noContent),
        },
      },
    ];
  }

  private read(mount: Mount) {
    if (mount.leaseMs === null || mount.leaseMaxMs === null) throw new NotFound();
    return { data: { lease: formatDuration(mount.leaseMs), lease_max: formatDuration(mount.leaseMaxMs) } };
  }

  private async write(mount: Mount, fields: z.output<typeof body>): Promise<void> {
    if (!fields.lease) throw new InvalidRequest("'lease' is a required parameter");
    if (!fields.lease_max) throw new InvalidRequest("'lease_max' is a required parameter");
    await this.mounts.writeLeaseConfig(mount.id, span('lease', fields.lease), span('lease_max', fields.lease_max));
  }
}

/** Milliseconds. Unlike a TTL field, a negative value is taken here: it means the mount's (contract.md 2.2). */
function span(name: string, text: string): number {
  try {
    return /^-[^-+]/.test(text) ? -parseDuration(text.slice(1)) : parseDuration(text);
  } catch (error) {
    throw new InvalidRequest(`Invalid ${name}: ${(error as Error).message}`);
  }
}
