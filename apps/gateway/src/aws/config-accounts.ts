import { Injectable } from '@nestjs/common';
import { NotFound } from '#libs/contracts';
import { AccountIdentities } from '#libs/roles';
import { z } from 'zod';
import { noContent, withData, withKeys } from '../api/answers.js';
import { type ApiPart, type ApiPath, type EngineRequest, operation } from '../api/api-path.js';
import { stringField } from '../wire/fields.js';

const body = z.object({
  access_key: stringField().describe('Access key id of an identity in this account that manages IAM.'),
  secret_key: stringField().describe('Secret access key of that identity; never read back.'),
  role_arn: stringField().describe(
    'In the place of keys: a role of this account that the credentials of config/root assume.',
  ),
  external_id: stringField().describe('External id for assuming role_arn.'),
});

const shown = z.strictObject({
  account_id: z.string(),
  access_key: z.string(),
  role_arn: z.string(),
  external_id: z.string(),
});

/** `config/accounts`: the identities of an engine in other accounts than its root's (docs/decisions/0025). Not of Vault's. */
@Injectable()
export class ConfigAccounts implements ApiPart<EngineRequest<unknown>> {
  constructor(private readonly identities: AccountIdentities) {}

  paths(): ApiPath<EngineRequest<unknown>>[] {
    return [
      {
        pattern: 'config/accounts',
        synopsis: 'List the AWS accounts in which this engine has credentials of its own.',
        description: 'Lists account ids; config/root is none of them.',
        operations: { list: operation(z.object({}), ({ mount }) => this.list(mount.id), withKeys) },
      },
      {
        pattern: String.raw`config/accounts/(?P<account_id>\w+)`,
        synopsis: 'Configure the credentials of this engine in one AWS account.',
        description:
          'Roles that name the account lend with these credentials, and so do roles that assume IAM roles of it: keys of an\n' +
          'identity in the account, or a role there that the credentials of config/root assume. A write replaces the whole;\n' +
          'what was lent with former ones is still taken back with them, also after they are deleted.',
        operations: {
          read: operation(
            z.object({}),
            ({ mount, params }) => this.read(mount.id, params.account_id!),
            withData(shown),
          ),
          update: operation(
            body,
            ({ mount, params, fields }) => this.write(mount.id, params.account_id!, fields),
            noContent,
          ),
          delete: operation(
            z.object({}),
            ({ mount, params }) => this.identities.delete(mount.id, params.account_id!),
            noContent,
          ),
        },
      },
    ];
  }

  private async list(mountId: string) {
    const keys = await this.identities.accounts(mountId);
    if (keys.length === 0) throw new NotFound();
    return { data: { keys } };
  }

  private async read(mountId: string, accountId: string) {
    const found = await this.identities.read(mountId, accountId);
    if (!found) throw new NotFound();
    const { accessKey, roleArn, externalId } = found;
    return { data: { account_id: accountId, access_key: accessKey, role_arn: roleArn, external_id: externalId } };
  }

  private async write(mountId: string, accountId: string, fields: z.output<typeof body>): Promise<void> {
    await this.identities.write(mountId, accountId, {
      accessKey: fields.access_key ?? '',
      secretKey: fields.secret_key ?? '',
      roleArn: fields.role_arn ?? '',
      externalId: fields.external_id ?? '',
    });
  }
}
