import { Injectable } from '@nestjs/common';
import { InvalidRequest, NotFound } from '#libs/contracts';
import { Finding } from '#libs/leases';
import { z } from 'zod';
import { withData } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { stringField } from '../wire/fields.js';

const wish = z.object({ access_key: stringField().describe('The access key id, as AWS shows it: AKIA… or ASIA….') });

const instant = z.iso.datetime();
const found = z.strictObject({
  lease_id: z.string(),
  state: z.string(),
  credential_type: z.string(),
  account_id: z.string(),
  user_name: z.string().nullable(),
  role: z.string(),
  mount_point: z.string(),
  mount_accessor: z.string(),
  token_accessor: z.string().nullable(),
  display_name: z.string(),
  request_id: z.string(),
  issue_time: instant,
  accept_time: instant.nullable(),
  last_renewal: instant.nullable(),
  expire_time: instant.nullable(),
  end_time: instant.nullable(),
  end_reason: z.string().nullable(),
});

/** `sys/leases/lookup-access-key`: whose key was that, living or ended. Ours; for operators (docs/decisions/0019). */
@Injectable()
export class LentKeyPath implements ApiPart<TokenRequest<unknown>> {
  constructor(private readonly finding: Finding) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    const lookUp = operation<typeof wish, TokenRequest<unknown>>(
      wish,
      ({ fields }) => this.lookUp(fields.access_key),
      withData(found),
    );
    return [
      {
        pattern: 'sys/leases/lookup-access-key',
        synopsis: 'Find out who was lent an access key.',
        description:
          'From an access key id, such as one in a record of CloudTrail, to its lease, role, mount and token, and to when\n' +
          'it was issued, renewed and ended, and why. Ended leases are known as long as their rows are kept.',
        operations: { read: lookUp, update: lookUp },
      },
    ];
  }

  private async lookUp(accessKeyId: string | undefined): Promise<ApiAnswer> {
    if (!accessKeyId) throw new InvalidRequest('access_key must be specified');
    const lease = await this.finding.byAccessKey(accessKeyId);
    if (!lease) throw new NotFound();
    return {
      data: {
        lease_id: lease.id,
        state: lease.state,
        credential_type: lease.credentialType,
        account_id: lease.accountId,
        user_name: lease.userName,
        role: lease.roleName,
        mount_point: lease.mountPath,
        mount_accessor: lease.mountAccessor,
        token_accessor: lease.tokenAccessor,
        display_name: lease.displayName,
        request_id: lease.requestId,
        issue_time: lease.issuedAt.toISOString(),
        accept_time: lease.acceptedAt?.toISOString() ?? null,
        last_renewal: lease.lastRenewedAt?.toISOString() ?? null,
        expire_time: lease.expiresAt?.toISOString() ?? null,
        end_time: lease.endedAt?.toISOString() ?? null,
        end_reason: lease.endReason,
      },
    };
  }
}
