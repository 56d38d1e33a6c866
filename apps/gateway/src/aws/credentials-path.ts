import { Injectable } from '@nestjs/common';
import { httpCredential, idempotencyKey, InvalidRequest } from '#libs/contracts';
import { z } from 'zod';
import { withData } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, type EngineRequest, operation } from '../api/api-path.js';
import { IssuerClient } from '../issuer-client.js';
import { notReadyWarning, ttlCutWarning } from '../lease-texts.js';
import { boolField, durationField, stringField } from '../wire/fields.js';
import { parametersFor } from './parameters.js';
import { rolePattern } from './roles-path.js';

/** What a credential is asked for with. */
export const wish = z.object({
  ttl: durationField().describe('TTL of an STS credential; an IAM user has the one of config/lease.'),
  role_arn: stringField().describe('ARN of the IAM role to assume, where the role names several.'),
  role_session_name: stringField().describe('Name of the session (assumed_role).'),
  mfa_code: stringField().describe('What the MFA device shows that the role names (session_token).'),
  ready: boolField().describe(
    "Whether to wait, for some seconds, until AWS accepts the key of an IAM user; else the role's.",
  ),
});

const lent = z.strictObject({
  access_key: z.string(),
  secret_key: z.string(),
  security_token: z.string().nullable(),
  session_token: z.string().nullable(),
  /** Of the assumed role's session. */
  arn: z.string().optional(),
  /** Of a credential of STS, seconds. */
  ttl: z.int().optional(),
});

/** `creds` and `sts`: a credential for the caller alone (contract.md 2.5). */
@Injectable()
export class CredentialsPath implements ApiPart<EngineRequest<unknown>> {
  constructor(private readonly issuers: IssuerClient) {}

  paths(): ApiPath<EngineRequest<unknown>>[] {
    const issue = operation<typeof wish, EngineRequest<unknown>>(
      wish,
      (request) => this.issue(request),
      withData(lent),
    );
    return [
      {
        pattern: `(creds|sts)/${rolePattern}`,
        synopsis: 'Generate AWS credentials from a specific role.',
        description:
          'The answer holds an access key, its secret key and, for an STS credential, its token. The keys of an IAM\n' +
          'user may take some seconds until every AWS service knows them; those of STS work at once. With ready the\n' +
          'answer waits until AWS has accepted the key several times in a row, or warns from when on it should.\n' +
          'Asked again with the same Idempotency-Key header, it gives the same credential for some minutes.',
        operations: { read: issue, update: issue },
        readsQuery: true,
      },
    ];
  }

  private async issue(
    request: Omit<EngineRequest<unknown>, 'fields'> & { fields: z.output<typeof wish> },
  ): Promise<ApiAnswer> {
    const { fields, params, path, mount, token, caller, sent, id, hangUp } = request;
    const { reply: issued, undo } = await this.issuers.issue(
      {
        requestId: id,
        token,
        mount: mount.path,
        door: path.startsWith('sts/', mount.path.length) ? 'sts' : 'creds',
        role: params.name!,
        ttlSeconds: fields.ttl,
        roleArn: fields.role_arn,
        roleSessionName: fields.role_session_name,
        mfaCode: fields.mfa_code,
        ready: fields.ready,
        idempotencyKey: checkedKey(request.idempotencyKey),
        parameters: parametersFor(caller, sent),
        wrapTtlMs: request.wrapTtlMs,
      },
      caller,
      hangUp,
    );
    return {
      leaseId: issued.leaseId,
      renewable: issued.renewable,
      leaseDuration: issued.leaseDuration,
      data: httpCredential(issued),
      warnings: [
        ...(issued.ttlCut ? [ttlCutWarning(issued.ttlCut)] : []),
        ...(issued.usableFrom ? [notReadyWarning(issued.usableFrom)] : []),
      ],
      undelivered: undo,
      headers: issued.replayed ? { 'Idempotency-Replayed': 'true' } : undefined,
    };
  }
}

/** @throws InvalidRequest for a header that is there and is no key: its caller would rely on it. */
function checkedKey(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const key = idempotencyKey.safeParse(header);
  if (!key.success) throw new InvalidRequest(key.error.issues[0]!.message);
  return key.data;
}
