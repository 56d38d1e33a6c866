import { goQuote, InvalidRequest } from '#libs/contracts';
import { parseArn } from './arn.js';
import { compactJson } from './policy-document.js';
import type { RoleDefinition } from './role-definition.js';

/**
 * The role that a value of the 0.6 fields `policy` and `arn` stands for (contract.md 2.4, legacy translation). Of an
 * ARN only the kind of its resource is looked at; any JSON value counts as a policy.
 * @throws InvalidRequest when the value is neither JSON nor the ARN of a policy or a role.
 */
export function legacyRole(value: string): RoleDefinition {
  const role = value.startsWith('arn:') ? fromArn(value) : fromPolicy(value);
  if (!role) throw new InvalidRequest(`unable to parse supplied data: ${goQuote(value)}`);
  return { ...blank, ...role };
}

const blank: RoleDefinition = {
  credentialTypes: [],
  roleArns: null,
  policyArns: null,
  policyDocument: '',
  iamGroups: null,
  iamTags: null,
  sessionTags: null,
  defaultStsTtlSeconds: 0,
  maxStsTtlSeconds: 0,
  permissionsBoundaryArn: '',
  userPath: '',
  externalId: '',
  legacy: null,
};

function fromArn(value: string): Partial<RoleDefinition> | null {
  const arn = parseArn(value);
  if ('fault' in arn) return null;
  const [kind] = arn.resource.split('/');
  if (kind === 'role') return { credentialTypes: ['assumed_role'], roleArns: [value], legacy: 'arn' };
  if (kind === 'policy') return { credentialTypes: ['iam_user'], policyArns: [value], legacy: 'arn' };
  return null;
}

function fromPolicy(value: string): Partial<RoleDefinition> | null {
  const policyDocument = compactJson(value);
  if (policyDocument === null) return null;
  return { credentialTypes: ['iam_user', 'federation_token'], policyDocument, legacy: 'policy' };
}
