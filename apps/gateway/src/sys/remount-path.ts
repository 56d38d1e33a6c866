import { Inject, Injectable } from '@nestjs/common';
import { InvalidRequest, NotFound } from '#libs/contracts';
import { LEASE_TIMING, type LeaseTiming, LeaseWatch, Revoking } from '#libs/leases';
import { Moves } from '#libs/roles';
import { z } from 'zod';
import { withData, withFlatData } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { mountPathIn } from '../api/paths.js';
import { stringField } from '../wire/fields.js';

const wish = z.object({
  from: stringField().describe('Where the engine is mounted.'),
  to: stringField().describe('Where it is to be.'),
});

const begun = z.strictObject({ migration_id: z.string() });
const standing = z.strictObject({
  migration_id: z.string(),
  migration_info: z.strictObject({
    source_mount: z.string(),
    target_mount: z.string(),
    status: z.enum(['in-progress', 'success', 'failure']),
    error: z.string().optional(),
  }),
});

/** `sys/remount`: an engine is given another path (contract.md 3.1, 4.5). */
@Injectable()
export class RemountPath implements ApiPart<TokenRequest<unknown>> {
  constructor(
    private readonly moves: Moves,
    private readonly revoking: Revoking,
    private readonly watch: LeaseWatch,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/remount',
        synopsis: 'Give a mounted engine another path.',
        description:
          'Its leases are revoked first, and nothing is issued from it until it is there. Roles and configuration go with it.\n' +
          'Where AWS does not let a lease go it stays where it is, and serves again; sys/remount/status says so.',
        operations: { update: operation(wish, ({ fields }) => this.begin(fields), withFlatData(begun)) },
      },
      {
        pattern: 'sys/remount/status/(?P<migration_id>[^/]+)',
        synopsis: 'What has become of a move.',
        description: 'In progress, success, or failure with its reason. It is told for 30 days.',
        operations: {
          read: operation(z.object({}), ({ params }) => this.look(params.migration_id!), withData(standing)),
        },
      },
    ];
  }

  /** Waits a while, since old clients take the answer for the end of it; then it goes on by itself. */
  private async begin(fields: z.output<typeof wish>): Promise<ApiAnswer> {
    const [from, to] = [mountPathIn(fields.from ?? ''), mountPathIn(fields.to ?? '')];
    if (!from || !to) throw new InvalidRequest("both 'from' and 'to' path must be specified as a string");
    const { id, mountId } = await this.moves.begin(from, to);
    const asked = await this.revoking.ask({ mountId, moveId: id }, 'unmounted');
    await this.moves.noteAsked(id);
    await this.watch.settled(asked, this.timing.syncOneMs);
    await this.moves.finish();
    return {
      data: { migration_id: id },
      flat: true,
      warnings: [
        "Mount move has been queued. Progress will be reported in Vault's server log, tagged with the returned migration_id",
      ],
    };
  }

  private async look(id: string): Promise<ApiAnswer> {
    const move = await this.moves.find(id);
    if (!move) throw new NotFound();
    const { from, to, state, error } = move;
    return {
      data: {
        migration_id: id,
        migration_info: { source_mount: from, target_mount: to, status: state, ...(error === null ? {} : { error }) },
      },
    };
  }
}
