import { Injectable } from '@nestjs/common';
import { credentialType, InvalidRequest } from '#libs/contracts';
import { z } from 'zod';
import { withData } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, type EngineRequest, operation } from '../api/api-path.js';
import { IssuerClient } from '../issuer-client.js';
import { ttlCutWarning } from '../lease-texts.js';
import { TakeBack } from '../sys/take-back.js';
import { stringField } from '../wire/fields.js';
import { wish } from './credentials-path.js';
import { parametersFor } from './parameters.js';
import { rolePattern } from './roles-path.js';

// Nobody is given what is tried, so there is nothing to be ready.
const body = wish.omit({ ready: true }).extend({
  path: stringField().describe('creds or sts: the path that it is asked by, which decides for legacy roles; creds.'),
});

const tried = z.strictObject({
  credential_type: credentialType,
  /** The AWS account that it was made in. */
  account_id: z.string(),
  /** Seconds that it would have been lent for. */
  ttl: z.int(),
  /** Whether it is gone from AWS. What STS gives AWS alone can end, at its time; nobody has it. */
  taken_back: z.boolean(),
});

/** `roles/<name>/trial`: does AWS give what a role says? (docs/decisions/0022) */
@Injectable()
export class RoleTrial implements ApiPart<EngineRequest<unknown>> {
  constructor(
    private readonly issuers: IssuerClient,
    private readonly takeBack: TakeBack,
  ) {}

  paths(): ApiPath<EngineRequest<unknown>>[] {
    return [
      {
        pattern: `roles/${rolePattern}/trial`,
        synopsis: 'Have a credential of a stored role made, and taken back at once.',
        description:
          'Takes what a request for a credential takes, and asks AWS for one as that would: the same limits, the same\n' +
          "refusals, in AWS's own words. The credential is shown to nobody and is taken back before the answer, which is\n" +
          'refused as well when AWS does not let it be taken back.',
        operations: { update: operation(body, (request) => this.try(request), withData(tried)) },
      },
    ];
  }

  private async try(
    request: Omit<EngineRequest<unknown>, 'fields'> & { fields: z.output<typeof body> },
  ): Promise<ApiAnswer> {
    const { fields, params, mount, token, caller, sent, id, hangUp } = request;
    const made = await this.issuers.try(
      {
        requestId: id,
        token,
        mount: mount.path,
        door: doorOf(fields.path),
        role: params.name!,
        ttlSeconds: fields.ttl,
        roleArn: fields.role_arn,
        roleSessionName: fields.role_session_name,
        mfaCode: fields.mfa_code,
        parameters: parametersFor(caller, sent),
        wrapTtlMs: request.wrapTtlMs,
      },
      caller,
      hangUp,
    );
    const isUser = made.credentialType === 'iam_user';
    const takenBack = isUser && (await this.takeBack.ofTrial(made.leaseId));
    const warnings = made.ttlCut ? [ttlCutWarning(made.ttlCut)] : [];
    if (isUser && !takenBack) warnings.push('the user is still being taken back; it continues by itself');
    return {
      data: {
        credential_type: made.credentialType,
        account_id: made.accountId,
        ttl: made.leaseDuration,
        taken_back: takenBack,
      },
      warnings,
    };
  }
}

/** @throws InvalidRequest */
function doorOf(path: string | undefined): 'creds' | 'sts' {
  if (path === undefined || path === '' || path === 'creds') return 'creds';
  if (path === 'sts') return 'sts';
  throw new InvalidRequest('path must be creds or sts: by which of the two the role is to be tried');
}
