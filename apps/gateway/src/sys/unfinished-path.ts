import { Injectable } from '@nestjs/common';
import { InvalidRequest, NotFound } from '#libs/contracts';
import { Unfinished, type UnfinishedKind, unfinishedKinds } from '#libs/leases';
import { z } from 'zod';
import { withData } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { boolField, stringField } from '../wire/fields.js';

/** Leases in one answer unless it is said otherwise (contract.md 3.2). */
const usualLimit = 10_000;

const type = stringField().describe(`Which leases: ${unfinishedKinds.join(', ')}.`);
const counting = z.object({
  type,
  include_child_namespaces: boolField().describe('Taken and not needed: there are no namespaces.'),
});
const listing = z.object({
  type,
  limit: stringField().describe(`Leases at most, or "none"; ${usualLimit} unless it is given.`),
  include_child_namespaces: counting.shape.include_child_namespaces,
});

const counted = z.strictObject({ lease_count: z.int(), counts: z.record(z.string(), z.int()) });
const listed = z.strictObject({
  lease_count: z.int(),
  leases: z.array(
    z.strictObject({
      lease_id: z.string(),
      mount_id: z.string(),
      error: z.string(),
      account_id: z.string(),
      user_name: z.string().nullable(),
      access_key_tail: z.string().nullable(),
      next_look: z.iso.datetime().nullable(),
    }),
  ),
});

/** `sys/leases`: revocations that are not finished (contract.md 3.2; the types other than `irrevocable` are ours). */
@Injectable()
export class UnfinishedPath implements ApiPart<TokenRequest<unknown>> {
  constructor(private readonly unfinished: Unfinished) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/leases/count',
        synopsis: 'Count the leases whose revocation is not finished.',
        description: 'By the accessor of their mount. The types are those of sys/leases.',
        operations: { read: operation(counting, ({ fields }) => this.count(fields), withData(counted)) },
      },
      {
        pattern: 'sys/leases',
        synopsis: 'List the leases whose revocation is not finished.',
        description:
          'revoking: under way, it continues by itself. irrevocable: AWS refused to the last try, and is asked again\n' +
          'daily. left-behind: dropped by force while AWS refused or gave no answer; the user may still exist there.',
        operations: { read: operation(listing, ({ fields }) => this.list(fields), withData(listed)) },
      },
    ];
  }

  private async count(fields: z.output<typeof counting>): Promise<ApiAnswer> {
    const counts = await this.unfinished.count(kindOf(fields.type));
    return { data: { lease_count: Object.values(counts).reduce((sum, count) => sum + count, 0), counts } };
  }

  private async list(fields: z.output<typeof listing>): Promise<ApiAnswer> {
    const kind = kindOf(fields.type);
    const found = await this.unfinished.list(kind, limitOf(fields.limit));
    const leases = found.map((lease) => ({
      lease_id: lease.id,
      mount_id: lease.mountAccessor,
      error: lease.error ?? '',
      account_id: lease.accountId,
      user_name: lease.userName,
      access_key_tail: lease.keyTail,
      next_look: lease.nextLookAt?.toISOString() ?? null,
    }));
    const counts = await this.unfinished.count(kind);
    return { data: { lease_count: Object.values(counts).reduce((sum, count) => sum + count, 0), leases } };
  }
}

/** @throws NotFound as the peers do for a type they do not know */
function kindOf(asked: string | undefined): UnfinishedKind {
  const kind = unfinishedKinds.find((each) => each === asked);
  if (!kind) throw new NotFound();
  return kind;
}

function limitOf(text: string | undefined): number | null {
  if (!text) return usualLimit;
  if (text === 'none') return null;
  if (!/^-?\d+$/.test(text)) throw new InvalidRequest(`invalid 'limit' provided: ${text} is not a number`);
  const limit = Number(text);
  if (limit < 1 || !Number.isSafeInteger(limit)) throw new InvalidRequest("limit must be 'none' or a positive integer");
  return limit;
}
