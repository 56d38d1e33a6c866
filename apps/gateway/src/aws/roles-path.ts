import { Injectable, Logger } from '@nestjs/common';
import { NotFound } from '#libs/contracts';
import { Finding } from '#libs/leases';
import { type Mount, Roles, roleToWire, type RoleWrite, type WrittenRole } from '#libs/roles';
import { z } from 'zod';
import { noContentOrWarnings, withData, withKeys } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, type EngineRequest, operation } from '../api/api-path.js';
import { boolField, commaListField, durationField, intField, keyValueField, stringField } from '../wire/fields.js';

/** The names that a role may have, as a group of a path (contract.md 2). */
export const rolePattern = String.raw`(?P<name>\w(([\w-.@]+)?\w)?)`;

const body = z.object({
  credential_type: stringField().describe('iam_user, assumed_role, federation_token or session_token.'),
  role_arns: commaListField().describe('ARNs of the IAM roles that may be assumed (assumed_role).'),
  policy_arns: commaListField().describe('ARNs of managed policies: attached to the user, or limits of the session.'),
  policy_document: stringField().describe(
    'A policy as JSON: put on the user, or a limit of the session; may be templated.',
  ),
  iam_groups: commaListField().describe('IAM groups: joined by the user, or inlined into the session policy.'),
  iam_tags: keyValueField().describe('Tags of the user; their values may be templated.'),
  session_tags: keyValueField().describe('Tags of the session (assumed_role); their values may be templated.'),
  default_sts_ttl: durationField().describe('TTL of STS credentials where none is asked for.'),
  max_sts_ttl: durationField().describe('Longest TTL of STS credentials.'),
  permissions_boundary_arn: stringField().describe('ARN of the policy that bounds the user.'),
  user_path: stringField().describe('Path of the user, such as "/team/".'),
  external_id: stringField().describe('External id for assuming the role.'),
  mfa_serial_number: stringField().describe(
    'MFA device of the root identity, whose code each request brings (session_token).',
  ),
  default_user_ttl: durationField().describe("TTL of a user's keys; 0: the one of config/lease."),
  max_user_ttl: durationField().describe('Their longest life, renewals included; 0: the one of config/lease.'),
  max_leases: intField().describe('Most leases that it may have at once, 0 for any number; requests beyond get 429.'),
  pool_size: intField().describe(
    'Users that are made ahead and kept, 0 for none: one of them is usable at once (iam_user, not templated).',
  ),
  ready: boolField().describe(
    'Whether answers wait until AWS accepts the key of an IAM user, where none says otherwise.',
  ),
  account_id: stringField().describe(
    'The AWS account whose credentials, of config/accounts, lend; empty: config/root.',
  ),
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
  mfa_serial_number: z.string(),
  permissions_boundary_arn: z.string(),
  policy_arns: texts,
  policy_document: z.string(),
  role_arns: texts,
  session_tags: pairs,
  user_path: z.string(),
  max_leases: z.int().optional(),
  pool_size: z.int().optional(),
  default_user_ttl: z.int().optional(),
  max_user_ttl: z.int().optional(),
  ready: z.literal(true).optional(),
  account_id: z.string().optional(),
  policy: z.string().optional(),
  arn: z.string().optional(),
});

/** `roles`: what may be lent (contract.md 2.4). */
@Injectable()
export class RolesPath implements ApiPart<EngineRequest<unknown>> {
  private readonly logger = new Logger(RolesPath.name);

  constructor(
    private readonly roles: Roles,
    private readonly leases: Finding,
  ) {}

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
          'A role says what kind of credential is lent and what it may do. A write changes what it names, is refused with\n' +
          'all that AWS would not have, and warns of what is doubtful. Deleting a role leaves its leases alone, and says\n' +
          'how many there are. In policy_document (values of Resource, NotResource and Condition) and in the values of\n' +
          'tags, {{ .DisplayName }} and {{ .Metadata.<key> }} stand for the display name and the metadata of the token of\n' +
          'whoever asks for a credential.',
        operations: {
          read: operation(z.object({}), ({ mount, params }) => this.read(mount.id, params.name!), withData(shown)),
          update: operation(body, (request) => this.write(request, request.fields), noContentOrWarnings),
          delete: operation(z.object({}), ({ mount, params }) => this.delete(mount, params.name!), noContentOrWarnings),
        },
      },
      {
        pattern: `roles/${rolePattern}/validate`,
        synopsis: 'Check a role without storing it.',
        description:
          'Takes what a write of the role takes, on top of what is stored of it, and answers what that would: nothing,\n' +
          'warnings, or all that is wrong. Nothing is stored, and AWS is not asked.',
        operations: {
          update: operation(
            body,
            async ({ mount, params, fields }) =>
              warned((await this.roles.check(mount.id, params.name!, toWrite(fields))).warnings),
            noContentOrWarnings,
          ),
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

  private async write(
    { mount, params, id: requestId }: Omit<EngineRequest<unknown>, 'fields'>,
    fields: z.output<typeof body>,
  ): Promise<ApiAnswer | void> {
    const name = params.name!;
    const { definition, warnings }: WrittenRole = await this.roles.write(mount.id, name, toWrite(fields));
    if (!definition.legacy) return warned(warnings);
    // The seed wants 204 for such a write, so the notices go to the log alone (contract.md section 8, row 2).
    const told = { requestId, mount: mount.path, role: name };
    this.logger.log({ msg: 'role written with the legacy fields policy or arn', ...told });
    for (const warning of warnings) this.logger.warn({ msg: warning, ...told });
  }

  private async delete({ id, path }: Mount, name: string): Promise<ApiAnswer | void> {
    if (!(await this.roles.delete(id, name))) return;
    const count = await this.leases.countOfRole(id, name);
    if (count === 0) return;
    const living = count === 1 ? '1 lease of it lives' : `${count} leases of it live`;
    return warned([
      `The role is deleted, and ${living} on until revoked or expired: see sys/leases/revoke-prefix/${path}creds/${name} ` +
        `and ${path}sts/${name}.`,
    ]);
  }
}

/** 200 with warnings, or 204 where there are none (contract.md 1.7). */
function warned(warnings: string[]): ApiAnswer | undefined {
  return warnings.length > 0 ? { data: null, warnings } : undefined;
}

function toWrite(fields: z.output<typeof body>): RoleWrite {
  return {
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
    mfaSerialNumber: fields.mfa_serial_number,
    defaultUserTtlSeconds: fields.default_user_ttl,
    maxUserTtlSeconds: fields.max_user_ttl,
    maxLeases: fields.max_leases,
    poolSize: fields.pool_size,
    ready: fields.ready,
    accountId: fields.account_id,
    policy: fields.policy,
    arn: fields.arn,
  };
}
