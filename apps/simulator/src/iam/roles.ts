import { encodedDocument, type Action, type Actions, type Call } from '../action.js';
import { noSuchEntity } from '../aws-error.js';
import type { ManagedPolicy, Role } from '../entities.js';
import { rules } from '../parameters.js';
import type { XmlElements } from '../xml.js';

const roleName = (call: Call) => call.parameters.required('RoleName', rules.userName);

const roleXml = ({ account }: Call, role: Role): XmlElements => ({
  Path: role.path,
  RoleName: role.name,
  RoleId: role.id,
  Arn: account.arn('role', role.path, role.name),
  CreateDate: new Date(role.createdAt),
  AssumeRolePolicyDocument: encodedDocument(role.trustPolicy),
  Description: role.description,
  MaxSessionDuration: role.maxSessionSeconds,
});

const onRole = (run: Action['run']): Action => ({
  resource: (call) => call.account.arn('role', call.account.role(roleName(call))?.path ?? '/', roleName(call)),
  run,
});

/** Roles and what they may do. */
export const roleActions: Actions = {
  CreateRole: {
    resource: (call) => call.account.arn('role', call.parameters.optional('Path', rules.path) ?? '/', roleName(call)),
    run: (call) => {
      const role = call.account.createRole(
        roleName(call),
        call.parameters.required('AssumeRolePolicyDocument', rules.document),
        {
          path: call.parameters.optional('Path', rules.path) ?? '/',
          maxSessionSeconds: call.parameters.integer('MaxSessionDuration', 3_600, 43_200) ?? 3_600,
          description: call.parameters.raw('Description') ?? '',
        },
      );
      return { Role: roleXml(call, role) };
    },
  },

  GetRole: onRole((call) => ({ Role: roleXml(call, call.account.existingRole(roleName(call))) })),

  PutRolePolicy: onRole((call) => {
    const name = call.parameters.required('PolicyName', rules.name);
    const document = call.parameters.required('PolicyDocument', rules.document);
    call.account.putRolePolicy(call.account.existingRole(roleName(call)), name, document);
    return {};
  }),

  AttachRolePolicy: onRole((call) => {
    const arn = call.parameters.required('PolicyArn', rules.arn);
    call.account.attachRolePolicy(call.account.existingRole(roleName(call)), arn);
    return {};
  }),
};

const policyXml = (policy: ManagedPolicy): XmlElements => ({
  PolicyName: policy.name,
  PolicyId: policy.id,
  Arn: policy.arn,
  Path: policy.path,
  DefaultVersionId: 'v1',
  IsAttachable: true,
  CreateDate: new Date(policy.createdAt),
  UpdateDate: new Date(policy.createdAt),
});

/** An account's own managed policies. */
export const policyActions: Actions = {
  CreatePolicy: {
    resource: ({ account, parameters }) =>
      account.arn(
        'policy',
        parameters.optional('Path', rules.path) ?? '/',
        parameters.required('PolicyName', rules.name),
      ),
    run: ({ account, parameters }) => {
      const name = parameters.required('PolicyName', rules.name);
      const path = parameters.optional('Path', rules.path) ?? '/';
      const document = parameters.required('PolicyDocument', rules.document);
      return { Policy: policyXml(account.createPolicy(name, document, { path })) };
    },
  },

  GetPolicy: {
    resource: ({ parameters }) => parameters.required('PolicyArn', rules.arn),
    run: ({ account, parameters }) => {
      const arn = parameters.required('PolicyArn', rules.arn);
      const policy = account.policies().find((other) => other.arn === arn);
      if (!policy) throw noSuchEntity(`Policy ${arn} was not found.`);
      return { Policy: policyXml(policy) };
    },
  },
};
