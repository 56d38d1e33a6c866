import { CodedError } from '#libs/contracts';
import { faultOfIamArn } from './arn.js';
import { iamName } from './iam-name.js';
import { faultsOfTemplates, withShortestValues } from './identity-template.js';
import type { RoleDefinition } from './role-definition.js';
import { actsTemporarily, type RoleSetting } from './role-setting.js';
import { checkTemplateFor } from './username-template.js';

/** A role, also one whose credential type is none of ours. */
type Limited = Omit<RoleDefinition, 'credentialTypes'> & { credentialTypes: string[] };

/** AWS's limits (aws-facts.md, Limits). */
const limits = {
  userPolicyCharacters: 2_048,
  sessionPolicyCharacters: 2_048,
  sessionArns: 10,
  userArns: 20,
  usualUserArns: 10,
  groups: 10,
  tags: 50,
  tagKey: 128,
  tagValue: 256,
  policyName: 128,
  chainedSeconds: 3_600,
};

/** A session's shortest and longest life by its type, seconds. */
const spans: Record<string, [least: number, most: number]> = {
  assumed_role: [900, 43_200],
  federation_token: [900, 129_600],
  session_token: [900, 129_600],
};

const tagText = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;

/**
 * What AWS would refuse of a role, whoever asks, as far as that is known without asking it. Its policies and tags may be
 * templates: then this is about the shortest of what they can become.
 */
export function faultsOfLimits(role: Limited, setting: RoleSetting): string[] {
  const [only = ''] = role.credentialTypes;
  return [
    ...faultsOfTemplates(role),
    ...faultsOfSizes(role),
    ...faultsOfNames(role, setting),
    ...faultsOfArns(role, setting.partition),
    ...faultsOfIdentity(role, setting),
    ...(only === 'session_token' ? [] : faultsOfUsernames(role, setting)),
  ];
}

/** What AWS would refuse of a role's texts: checked when it is written, and again when its templates have been filled in. */
export function faultsOfSizes(given: Limited): string[] {
  const role = withShortestValues(given);
  const [type = ''] = role.credentialTypes;
  const faults: string[] = [];
  const refuse = (wrong: boolean, fault: string) => {
    if (wrong) faults.push(fault);
  };
  // A legacy policy may be lent both ways: what is too much for one may do for the other.
  if (type === 'iam_user') {
    // IAM does not count them (aws-facts.md).
    const counted = role.policyDocument.replace(/\s/g, '').length;
    refuse(
      counted > limits.userPolicyCharacters,
      `policy_document has ${counted} characters without white space; the inline policies of a user may have ${limits.userPolicyCharacters}`,
    );
    faults.push(...faultsOfTags('iam_tags', role.iamTags));
  } else if (type === 'assumed_role' || type === 'federation_token') {
    const arns = role.policyArns ?? [];
    const counted = role.policyDocument.length + arns.join('').length;
    refuse(
      counted > limits.sessionPolicyCharacters,
      `policy_document and policy_arns have ${counted} characters; the policies of a session may have ${limits.sessionPolicyCharacters}`,
    );
    refuse(
      arns.length > limits.sessionArns,
      `policy_arns has ${arns.length} entries; a session takes ${limits.sessionArns}`,
    );
  }
  if (type === 'assumed_role') faults.push(...faultsOfTags('session_tags', role.sessionTags));
  return faults;
}

/** What is doubtful about a role, for whoever wrote it: it is stored, and some of its requests AWS will refuse. */
export function doubtsOfLimits(role: Limited, setting: RoleSetting): string[] {
  const [type = ''] = role.credentialTypes;
  const doubts: string[] = [];
  const attached = role.policyArns?.length ?? 0;
  if (type === 'iam_user' && attached > limits.usualUserArns) {
    doubts.push(
      `policy_arns has ${attached} entries: AWS lets a user have ${limits.usualUserArns}, unless the account's quota was raised`,
    );
  }
  const [least, most] = spans[type] ?? [0, Infinity];
  for (const [field, seconds] of [
    ['default_sts_ttl', role.defaultStsTtlSeconds],
    ['max_sts_ttl', role.maxStsTtlSeconds],
  ] as const) {
    if (seconds !== 0 && (seconds < least || (field === 'default_sts_ttl' && seconds > most))) {
      doubts.push(`${field} is ${seconds} s, and AWS gives ${type} from ${least} to ${most} s`);
    }
  }
  // Of an ARN in a 0.6 field only the kind of its resource is looked at (contract.md 2.4).
  if (role.legacy) doubts.push(...faultsOfArns(role, setting.partition));
  return doubts;
}

function faultsOfTags(field: string, tags: Record<string, string> | null): string[] {
  const faults: string[] = [];
  const keys = Object.keys(tags ?? {});
  if (keys.length > limits.tags) faults.push(`${field} has ${keys.length} tags; AWS takes ${limits.tags}`);
  const folded = new Set<string>();
  for (const [key, value] of Object.entries(tags ?? {})) {
    const name = `${field}: the key ${JSON.stringify(key.slice(0, limits.tagKey))}`;
    if (key.length < 1 || key.length > limits.tagKey) faults.push(`${name} must have 1 to ${limits.tagKey} characters`);
    if (/^aws:/i.test(key)) faults.push(`${name} begins with "aws:", which AWS keeps for itself`);
    if (folded.has(key.toLowerCase())) faults.push(`${name} is there twice: AWS's keys are one whatever their case`);
    folded.add(key.toLowerCase());
    if (value.length > limits.tagValue) {
      faults.push(`${name} has a value of ${value.length} characters; AWS takes ${limits.tagValue}`);
    }
    if (!tagText.test(key) || !tagText.test(value)) {
      faults.push(`${name} or its value has characters other than letters, digits, blanks and _.:/=+-@`);
    }
  }
  return faults;
}

function faultsOfNames(role: Limited, { roleName }: RoleSetting): string[] {
  const types = role.credentialTypes;
  const faults: string[] = [];
  const isUser = types.includes('iam_user');
  if (isUser && !role.legacy && role.policyDocument !== '' && roleName.length > limits.policyName) {
    faults.push(
      `the role's name has ${roleName.length} characters; it is the name of the user's inline policy, which may have ${limits.policyName}`,
    );
  }
  const groups = role.iamGroups ?? [];
  if (isUser && groups.length > limits.groups) {
    faults.push(`iam_groups has ${groups.length} entries; a user may be in ${limits.groups} groups`);
  }
  for (const group of groups) {
    if (group === '' || group.length > 128 || !iamName.test(group)) {
      faults.push(`iam_groups: ${JSON.stringify(group.slice(0, 128))} is not the name of a group`);
    }
  }
  if (types.includes('assumed_role') && role.externalId !== '' && !/^[\w+=,.@:/-]{2,1224}$/.test(role.externalId)) {
    faults.push('external_id must have 2 to 1224 letters, digits and characters of _+=,.@:/-');
  }
  const { mfaSerialNumber = '' } = role;
  if (types.includes('session_token') && mfaSerialNumber !== '' && !/^[\w+=/:,.@-]{9,256}$/.test(mfaSerialNumber)) {
    faults.push('mfa_serial_number must be the ARN or the serial number of an MFA device (9 to 256 characters)');
  }
  return faults;
}

function faultsOfArns(role: Limited, partition: string | undefined): string[] {
  const types = role.credentialTypes;
  const faults: string[] = [];
  const look = (field: string, arns: string[], kind: 'policy' | 'role') => {
    for (const arn of arns) {
      const fault = faultOfIamArn(arn, kind, partition);
      if (fault) faults.push(`invalid ${field} entry ${JSON.stringify(arn.slice(0, 256))}: ${fault}`);
    }
  };
  if (!types.includes('session_token')) look('policy_arns', role.policyArns ?? [], 'policy');
  if (types.includes('assumed_role')) look('role_arns', role.roleArns ?? [], 'role');
  if (types.includes('iam_user') && (role.policyArns?.length ?? 0) > limits.userArns) {
    faults.push(
      `policy_arns has ${role.policyArns!.length} entries; AWS attaches ${limits.userArns} to a user at most`,
    );
  }
  return faults;
}

function faultsOfIdentity(role: Limited, setting: RoleSetting): string[] {
  if (!actsTemporarily(role, setting)) return [];
  const works = `this mount works with temporary credentials${role.accountId ? ` in account ${role.accountId}` : ''}`;
  const [type = ''] = role.credentialTypes;
  if (type === 'federation_token' || type === 'session_token') {
    return [`a ${type} is given for the long-term keys of an IAM user only, and ${works}`];
  }
  if (type !== 'assumed_role') return [];
  return (
    [
      ['default_sts_ttl', role.defaultStsTtlSeconds],
      ['max_sts_ttl', role.maxStsTtlSeconds],
    ] as const
  )
    .filter(([, seconds]) => seconds > limits.chainedSeconds)
    .map(
      ([field, seconds]) =>
        `${field} of ${seconds} s cannot be had: ${works}, and a role that is assumed ` +
        `with those of another one ends after ${limits.chainedSeconds} s at most (role chaining)`,
    );
}

function faultsOfUsernames(role: Limited, { usernameTemplate, roleName }: RoleSetting): string[] {
  const [type = ''] = role.credentialTypes;
  if (!(type in spans) && type !== 'iam_user') return [];
  try {
    checkTemplateFor(usernameTemplate, type === 'federation_token' ? 'STS' : 'IAM', roleName);
    return [];
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return [`the username_template of config/root does not go with this role: ${error.message}`];
  }
}
