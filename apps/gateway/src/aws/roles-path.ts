import { Injectable, Logger } from '@nestjs/common';
import { NotFound } from '#libs/contracts';
import { Roles, roleToWire } from '#libs/roles';
import { z } from 'zod';
import { withData, withKeys, noContent } from '../api/answers.js';
import { type ApiPart, type ApiPath, type EngineRequest, operation } from '../api/api-path.js';
import { commaListField, durationField, intField, keyValueField, stringField } from '../wire/fields.js';

/** The names that a role may have, as a group of a path (contract.md 2). */
export const rolePattern = String.raw`(?P<name>\w(([\w-.@]+)?\w)?)`;

const body = z.object({
  credential_type: stringField().describe('iam_user, assumed_role or federation_token.'),
  role_arns: commaListField().describe('ARNs of the IAM roles that may be assumed (assumed_role).'),
  policy_arns: commaListField().describe('ARNs of managed policies: attached to the user, or limits of the session.'),
  policy_document: stringField().describe('A policy as JSON: put on the user, or a limit of the session.'),
  iam_groups: commaListField().describe('IAM groups: joined by the user, or inlined into the session policy.'),
  iam_tags: keyValueField().describe('Tags of the user.'),
  session_tags: keyValueField().describe('Tags of the session (assumed_role).'),
  default_sts_ttl: durationField().describe('TTL of STS credentials where none is asked for.'),
  max_sts_ttl: durationField().describe('Longest TTL of STS credentials.'),
  permissions_boundary_arn: stringField().describe('ARN of the policy that bounds the user.'),
  user_path: stringField().describe('Path of the user, such as "/team/".'),
  external_id: stringField().describe('External id for assuming the role.'),
  max_leases: intField().describe('Most leases that it may have at once, 0 for any number; requests beyond get 429.'),
  policy: stringField().meta({ deprecated: true }).describe('A policy as JSON; use policy_document.'),
  arn: stringField()
    .meta({ deprecated: true })
    .describe('ARN of a managed policy or an IAM role; use policy_arns or role_arns.'),
});

const texts = z.array(z.string()).nullable();
const pairs = z.record(z.string(), z.string()).nullable();
const shown = z.strictObject({
  credential_type: z.string(),
  default_sts_ttl: z.int(),
  external_id: z.string(),
  iam_groups: texts,
  iam_tags: pairs,
  max_sts_ttl: z.int(),
  permissions_boundary_arn: z.string(),
  policy_arns: texts,
  policy_document: z.string(),
  role_arns: texts,
  session_tags: pairs,
  user_path: z.string(),
  max_leases: z.int().optional(),
  policy: z.string().optional(),
  arn: z.string().optional(),
});

/** `roles`: what may be lent (contract.md 2.4). */
@Injectable()
export class RolesPath implements ApiPart<EngineRequest<unknown>> {
  private readonly logger = new Logger(RolesPath.name);

  constructor(private readonly roles: Roles) {}

  paths(): ApiPath<EngineRequest<unknown>>[] {
    return [
      {
        pattern: 'roles',
        synopsis: 'List the roles of this engine.',
        description: 'Lists names; read a role to see what it lends.',
        operations: {
          list: operation(z.object({}), ({ mount }) => this.list(mount.id), withKeys),
        },
      },
      {
        pattern: `roles/${rolePattern}`,
        synopsis: 'Read, write and reference IAM policies that access keys can be made for.',
        description:
          'A role says what kind of credential is lent and what it may do. A write changes what it names; deleting a\n' +
          'role leaves its leases alone.',
        operations: {
          read: operation(z.object({}), ({ mount, params }) => this.read(mount.id, params.name!), withData(shown)),
          update: operation(
            body,
            ({ mount, params, fields, id }) => this.write(mount.id, params.name!, fields, id),
            noContent,
          ),
          delete: operation(z.object({}), ({ mount, params }) => this.roles.delete(mount.id, params.name!), noContent),
        },
      },
    ];
  }

  private async list(mountId: string) {
    const keys = await this.roles.names(mountId);
    if (keys.length === 0) throw new NotFound();
    return { data: { keys } };
  }

  private async read(mountId: string, name: string) {
    const role = await this.roles.find(mountId, name);
    if (!role) throw new NotFound();
    return { data: roleToWire(role.definition) };
  }

  private async write(mountId: string, name: string, fields: z.output<typeof body>, requestId: string): Promise<void> {
    const role = await this.roles.write(mountId, name, {
      credentialType: fields.credential_type,
      roleArns: fields.role_arns,
      policyArns: fields.policy_arns,
      policyDocument: fields.policy_document,
      iamGroups: fields.iam_groups,
      iamTags: fields.iam_tags,
      sessionTags: fields.session_tags,
      defaultStsTtlSeconds: fields.default_sts_ttl,
      maxStsTtlSeconds: fields.max_sts_ttl,
      permissionsBoundaryArn: fields.permissions_boundary_arn,
      userPath: fields.user_path,
      externalId: fields.external_id,
      maxLeases: fields.max_leases,
      policy: fields.policy,
      arn: fields.arn,
    });
    // The seed wants 204 for such a write, so the notice goes to the log alone (contract.md section 8, row 2).
    if (role.legacy)
      this.logger.log({ msg: 'role written with the legacy fields policy or arn', requestId, role: name });
  }
}
