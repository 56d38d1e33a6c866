import { Injectable } from '@nestjs/common';
import { rotateRoot } from '#libs/contracts';
import { z } from 'zod';
import { withData } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, type EngineRequest, operation } from '../api/api-path.js';
import { IssuerClient } from '../issuer-client.js';

const shown = z.strictObject({ access_key: z.string().describe('Id of the new key.') });

/** `config/rotate-root`: another root key, which nobody but the engine knows (contract.md 2.3). */
@Injectable()
export class RotateRootPath implements ApiPart<EngineRequest<unknown>> {
  constructor(private readonly issuers: IssuerClient) {}

  paths(): ApiPath<EngineRequest<unknown>>[] {
    return [
      {
        pattern: 'config/rotate-root',
        synopsis: 'Rotate the root credentials.',
        description:
          'Makes a new key for the user of config/root, tries it until AWS accepts it, and puts it in the place of the one\n' +
          'of today, which is removed a minute later. Nobody ever sees its secret. Needs iam:GetUser, iam:ListAccessKeys,\n' +
          'iam:CreateAccessKey and iam:DeleteAccessKey on that user, and that it has one key.',
        operations: { update: operation(z.object({}), (request) => this.rotate(request), withData(shown)) },
      },
    ];
  }

  private async rotate(request: EngineRequest<unknown>): Promise<ApiAnswer> {
    const { accessKeyId, inUse } = await this.issuers.command(rotateRoot, { mount: request.mount.path }, request);
    const warning = `AWS does not accept ${accessKeyId} everywhere yet: the key before it is in use until it does, by itself`;
    return { data: { access_key: accessKeyId }, warnings: inUse ? [] : [warning] };
  }
}
