import { goQuote, InvalidRequest } from '#libs/contracts';
import { parseArn } from './arn.js';
import { legacyRole } from './legacy-role.js';
import { compactJson } from './policy-document.js';

/** How a role's credentials are made at AWS; Vault's `session_token` is not served. */
export type CredentialType = 'iam_user' | 'assumed_role' | 'federation_token';

/** What a role lends. A list or map is null until a write supplies it, and empty when one supplied it empty. */
export interface RoleDefinition {
  /** One entry, or the two that a legacy JSON policy stands for (contract.md 2.4, legacy translation). */
  credentialTypes: CredentialType[];
  roleArns: string[] | null;
  policyArns: string[] | null;
  /** Compacted JSON text, or empty. */
  policyDocument: string;
  iamGroups: string[] | null;
  iamTags: Record<string, string> | null;
  sessionTags: Record<string, string> | null;
  /** 0 means not set. */
  defaultStsTtlSeconds: number;
  /** 0 means not set. */
  maxStsTtlSeconds: number;
  permissionsBoundaryArn: string;
  userPath: string;
  externalId: string;
  /** How many leases that have not ended the role may have at once; absent = any number. Not of Vault's. */
  maxLeases?: number;
  /** Which of the 0.6 fields shows this role, when it was last written through one of them. */
  legacy: 'policy' | 'arn' | null;
}

/** The body of a role write with its fields already converted; undefined means that the caller did not send it. */
export interface RoleWrite {
  credentialType?: string;
  roleArns?: string[];
  policyArns?: string[];
  policyDocument?: string;
  iamGroups?: string[];
  iamTags?: Record<string, string>;
  sessionTags?: Record<string, string>;
  defaultStsTtlSeconds?: number;
  maxStsTtlSeconds?: number;
  permissionsBoundaryArn?: string;
  userPath?: string;
  externalId?: string;
  /** 0 takes the limit away. */
  maxLeases?: number;
  /** Legacy; null and empty count as not sent, since hvac sends both legacy keys and one of them null. */
  policy?: string | null;
  /** Legacy, as `policy`: what the value is decides, not under which of the two names it came. */
  arn?: string | null;
}

/** A role before its credential types are known to be ours. */
type Draft = Omit<RoleDefinition, 'credentialTypes' | 'maxLeases'> & { credentialTypes: string[] };

const credentialTypes: readonly string[] = ['iam_user', 'assumed_role', 'federation_token'] satisfies CredentialType[];

/** PostgreSQL's largest integer. */
const largestMaxLeases = 2_147_483_647;

const userPathPattern = '^\\/([\\x21-\\x7F]{0,510}\\/)?$';
const userPathForm = new RegExp(userPathPattern);

/** The modern fields that cannot stand beside a legacy one, in the order in which Vault looks at them. */
const modernFields: [keyof RoleWrite, string][] = [
  ['credentialType', 'an explicit credential_type'],
  ['roleArns', 'role_arns'],
  ['policyArns', 'policy_arns'],
  ['policyDocument', 'policy_document'],
  ['defaultStsTtlSeconds', 'default_sts_ttl'],
  ['maxStsTtlSeconds', 'max_sts_ttl'],
  ['userPath', 'user_path'],
  ['permissionsBoundaryArn', 'permissions_boundary_arn'],
  ['sessionTags', 'session_tags'],
  ['externalId', 'external_id'],
];

/**
 * The role after a write (contract.md 2.4). A modern write changes what it supplies and the merged role is checked; a
 * legacy write replaces the whole role, and drops `iam_groups` and `iam_tags` sent beside it, as Vault does. It leaves
 * `max_leases` alone: the clients of that age, which write the whole role every time, know nothing of it.
 * @throws InvalidRequest with all faults of the merged role at once.
 */
export function writeRole(existing: RoleDefinition | null, write: RoleWrite): RoleDefinition {
  const maxLeases = mostLeases(write.maxLeases ?? existing?.maxLeases ?? 0);
  if (write.policy && write.arn) throw new InvalidRequest('only one of policy or arn should be provided');
  const legacy = write.policy || write.arn;
  if (legacy) {
    const beside = modernFields.find(([field]) => write[field] !== undefined);
    if (beside) {
      throw new InvalidRequest(`cannot supply deprecated role or policy parameters with ${beside[1]}`);
    }
    return { ...legacyRole(legacy), maxLeases };
  }
  const draft = merge(existing, write);
  const faults = faultsOf(draft);
  if (faults.length > 0) {
    throw new InvalidRequest(`error(s) validating supplied role data: ${goQuote(multiError(faults))}`);
  }
  return { ...draft, maxLeases, credentialTypes: draft.credentialTypes.filter(isCredentialType) };
}

function mostLeases(asked: number): number | undefined {
  if (asked < 0 || asked > largestMaxLeases) {
    throw new InvalidRequest(`max_leases must be a number from 0, which means no limit, to ${largestMaxLeases}`);
  }
  return asked || undefined;
}

function merge(existing: RoleDefinition | null, write: RoleWrite): Draft {
  return {
    credentialTypes: write.credentialType === undefined ? (existing?.credentialTypes ?? []) : [write.credentialType],
    roleArns: write.roleArns ?? existing?.roleArns ?? null,
    policyArns: write.policyArns ?? existing?.policyArns ?? null,
    policyDocument:
      write.policyDocument === undefined ? (existing?.policyDocument ?? '') : compactPolicy(write.policyDocument),
    iamGroups: write.iamGroups ?? existing?.iamGroups ?? null,
    iamTags: write.iamTags ?? existing?.iamTags ?? null,
    sessionTags: write.sessionTags ?? existing?.sessionTags ?? null,
    defaultStsTtlSeconds: write.defaultStsTtlSeconds ?? existing?.defaultStsTtlSeconds ?? 0,
    maxStsTtlSeconds: write.maxStsTtlSeconds ?? existing?.maxStsTtlSeconds ?? 0,
    permissionsBoundaryArn: write.permissionsBoundaryArn ?? existing?.permissionsBoundaryArn ?? '',
    userPath: write.userPath ?? existing?.userPath ?? '',
    externalId: write.externalId ?? existing?.externalId ?? '',
    legacy: null,
  };
}

function compactPolicy(document: string): string {
  if (document === '') return '';
  const compacted = compactJson(document);
  if (compacted === null) throw new InvalidRequest(`cannot parse policy document: ${goQuote(document)}`);
  return compacted;
}

/** Every fault of a merged role, in Vault's order. Vault lets a bad boundary hide the faults before it; here none is. */
function faultsOf(role: Draft): string[] {
  const types = role.credentialTypes;
  const isIamUser = types.includes('iam_user');
  const isAssumedRole = types.includes('assumed_role');
  const isSts = isAssumedRole || types.includes('federation_token');
  const { defaultStsTtlSeconds: defaultTtl, maxStsTtlSeconds: maxTtl } = role;
  const faults: string[] = [];
  const refuse = (wrong: boolean, fault: string) => {
    if (wrong) faults.push(fault);
  };

  refuse(types.length === 0, 'did not supply credential_type');
  for (const type of types) refuse(!isCredentialType(type), `unrecognized credential type: ${type}`);
  const stsOnly = 'parameter only valid for assumed_role and federation_token credential types';
  refuse(defaultTtl !== 0 && !isSts, `default_sts_ttl ${stsOnly}`);
  refuse(maxTtl !== 0 && !isSts, `max_sts_ttl ${stsOnly}`);
  refuse(
    maxTtl > 0 && defaultTtl > maxTtl,
    '"default_sts_ttl" value must be less than or equal to "max_sts_ttl" value',
  );
  if (role.userPath !== '') {
    refuse(!isIamUser, 'user_path parameter only valid for iam_user credential type');
    refuse(
      !userPathForm.test(role.userPath),
      `The specified value for user_path is invalid. It must match ${goQuote(userPathPattern)} regexp`,
    );
  }
  if (role.permissionsBoundaryArn !== '') {
    refuse(!isIamUser, "cannot supply permissions_boundary_arn when credential_type isn't iam_user");
    const fault = boundaryFault(role.permissionsBoundaryArn);
    refuse(fault !== null, `invalid permissions_boundary_arn parameter: ${fault}`);
  }
  const assumedRoleOnly = "when credential_type isn't assumed_role";
  refuse(!isEmpty(role.roleArns) && !isAssumedRole, `cannot supply role_arns ${assumedRoleOnly}`);
  refuse(!isEmpty(role.sessionTags) && !isAssumedRole, `cannot supply session_tags ${assumedRoleOnly}`);
  refuse(role.externalId !== '' && !isAssumedRole, `cannot supply external_id ${assumedRoleOnly}`);
  return faults;
}

function boundaryFault(text: string): string | null {
  const arn = parseArn(text);
  if ('fault' in arn) return arn.fault;
  if (arn.service !== 'iam') return `expected a service of iam but got ${arn.service}`;
  if (!arn.resource.startsWith('policy/')) return `expected a resource type of policy but got ${arn.resource}`;
  return null;
}

/** Faults as HashiCorp's go-multierror prints them, which is what callers of Vault have learnt to read. */
function multiError(faults: string[]): string {
  const count = faults.length === 1 ? '1 error' : `${faults.length} errors`;
  return `${count} occurred:\n\t${faults.map((fault) => `* ${fault}`).join('\n\t')}\n\n`;
}

function isEmpty(value: string[] | Record<string, string> | null): boolean {
  return value === null || Object.keys(value).length === 0;
}

function isCredentialType(type: string): type is CredentialType {
  return credentialTypes.includes(type);
}
