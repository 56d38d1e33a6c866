import { type CredentialType, goQuote, InvalidRequest } from '#libs/contracts';
import { faultOfIamArn, isAccountId } from './arn.js';
import { waysToOutlive } from './iam-power.js';
import { faultsOfTemplates, isTemplated } from './identity-template.js';
import { legacyRole } from './legacy-role.js';
import { compactJson } from './policy-document.js';
import { doubtsOfLimits, faultsOfLimits, faultsOfSizes } from './role-limits.js';
import { type RoleSetting, settingOf } from './role-setting.js';

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
  /** Of the MFA device of the identity that a session token is asked for with; absent = none is asked for. */
  mfaSerialNumber?: string;
  /** TTL and longest life of a user's keys, seconds; absent = what config/lease says. Not of Vault's. */
  defaultUserTtlSeconds?: number;
  maxUserTtlSeconds?: number;
  /** How many leases that have not ended the role may have at once; absent = any number. Not of Vault's. */
  maxLeases?: number;
  /** How many users are made ahead and kept; absent = none. Not of Vault's. */
  poolSize?: number;
  /** Whether answers wait until AWS accepts the new key of an IAM user, where who asks does not say. Not of Vault's. */
  ready?: boolean;
  /** The account whose own identity, of `config/accounts`, lends; absent = the mount's root. Not of Vault's. */
  accountId?: string;
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
  mfaSerialNumber?: string;
  /** 0 takes it away. */
  defaultUserTtlSeconds?: number;
  maxUserTtlSeconds?: number;
  /** 0 takes the limit away. */
  maxLeases?: number;
  /** 0 takes it away. */
  poolSize?: number;
  ready?: boolean;
  /** Empty takes it away. */
  accountId?: string;
  /** Legacy; null and empty count as not sent, since hvac sends both legacy keys and one of them null. */
  policy?: string | null;
  /** Legacy, as `policy`: what the value is decides, not under which of the two names it came. */
  arn?: string | null;
}

/** A role before its credential types are known to be ours. */
type Draft = Omit<RoleDefinition, 'credentialTypes'> & { credentialTypes: string[] };

/** What Vault's roles do not have: a write in the 0.6 form, whose clients write the whole role every time, leaves it alone. */
type OwnFields = Pick<
  RoleDefinition,
  'maxLeases' | 'poolSize' | 'defaultUserTtlSeconds' | 'maxUserTtlSeconds' | 'ready' | 'accountId'
>;

/** Something wrong with a write; `bare`: where nothing else is wrong it is told without the words around a list. */
interface Fault {
  text: string;
  bare?: true;
}

const credentialTypes: readonly string[] = [
  'iam_user',
  'assumed_role',
  'federation_token',
  'session_token',
] satisfies CredentialType[];

/** Where no write says into what: the default template, and nothing known of the mount. */
const anywhere = settingOf(null, 'role');

/** How many faults are told: a caller may send thousands of ARNs. */
const mostFaults = 100;

/** A tenth of the users that an AWS account may have: what one role keeps must leave the others their places. */
const largestPoolSize = 500;

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
 * legacy write replaces the whole role, and drops `iam_groups` and `iam_tags` sent beside it, as Vault does.
 * @param setting what it is written into: what AWS would refuse there is refused here.
 * @throws InvalidRequest with all faults of the merged role at once.
 */
export function writeRole(
  existing: RoleDefinition | null,
  write: RoleWrite,
  setting: RoleSetting = anywhere,
): RoleDefinition {
  if (write.policy && write.arn) throw new InvalidRequest('only one of policy or arn should be provided');
  const legacy = write.policy || write.arn;
  const { own, faults } = ownFields(existing, write);
  if (legacy) {
    const beside = modernFields.find(([field]) => write[field] !== undefined);
    if (beside) {
      throw new InvalidRequest(`cannot supply deprecated role or policy parameters with ${beside[1]}`);
    }
    const { defaultUserTtlSeconds, maxUserTtlSeconds, poolSize, ...whatever } = own;
    const given = legacyRole(legacy);
    const ofUsers = { defaultUserTtlSeconds, maxUserTtlSeconds, ...(poolSize && { poolSize }) };
    const role = { ...given, ...(given.credentialTypes.includes('iam_user') && ofUsers), ...whatever };
    refuseAny([...faults, ...listed([...faultsOfTemplates(role), ...faultsOfSizes(role), ...faultsOfPool(role)])]);
    return role;
  }
  const draft = { ...merge(existing, write), ...own };
  const compacted = compactPolicy(draft.policyDocument);
  if (compacted === null) {
    faults.push({ text: `cannot parse policy document: ${goQuote(draft.policyDocument)}`, bare: true });
  }
  // Of a document that cannot be read nothing more can be said.
  const role = { ...draft, policyDocument: compacted ?? '' };
  refuseAny([
    ...faults,
    ...listed([...faultsOf(draft, setting), ...faultsOfLimits(role, setting), ...faultsOfPool(role)]),
  ]);
  return { ...role, credentialTypes: role.credentialTypes.filter(isCredentialType) };
}

/** What whoever writes such a role should know of it, though it is stored. */
export function warningsOf(role: RoleDefinition, setting: RoleSetting): string[] {
  return [...waysToOutlive(role), ...doubtsOfLimits(role, setting)];
}

const listed = (texts: string[]): Fault[] => texts.map((text) => ({ text }));

/** @throws InvalidRequest unless there are none. */
function refuseAny(faults: Fault[]): void {
  const [only, ...others] = faults;
  if (!only) return;
  if (only.bare && others.length === 0) throw new InvalidRequest(only.text);
  const texts = faults.slice(0, mostFaults).map(({ text }) => text);
  if (faults.length > mostFaults) texts.push(`and ${faults.length - mostFaults} more`);
  const list = multiError(texts);
  throw new InvalidRequest(`error(s) validating supplied role data: ${goQuote(list)}`);
}

function ownFields(existing: RoleDefinition | null, write: RoleWrite): { own: OwnFields; faults: Fault[] } {
  const valueOf = (field: 'maxLeases' | 'poolSize' | 'defaultUserTtlSeconds' | 'maxUserTtlSeconds') =>
    write[field] ?? existing?.[field] ?? 0;
  const poolSize = valueOf('poolSize');
  const [most, ttl, maxTtl] = [valueOf('maxLeases'), valueOf('defaultUserTtlSeconds'), valueOf('maxUserTtlSeconds')];
  const faults: Fault[] = [];
  if (most < 0 || most > largestMaxLeases) {
    const text = `max_leases must be a number from 0, which means no limit, to ${largestMaxLeases}`;
    faults.push({ text, bare: true });
  }
  if (poolSize < 0 || poolSize > largestPoolSize) {
    const text =
      `pool_size must be a number from 0, which means no pool, to ${largestPoolSize}: an AWS account may have few thousand users, ` +
      'and those of a pool take the places of others';
    faults.push({ text, bare: true });
  }
  if (maxTtl > 0 && ttl > maxTtl) {
    faults.push({ text: '"default_user_ttl" value must be less than or equal to "max_user_ttl" value' });
  }
  const accountId = write.accountId ?? existing?.accountId ?? '';
  if (accountId !== '' && !isAccountId(accountId)) {
    faults.push({ text: 'account_id must be the twelve digits of an AWS account, or empty', bare: true });
  }
  const own = {
    ...((write.ready ?? existing?.ready) && { ready: true }),
    ...(accountId !== '' && { accountId }),
    ...(most !== 0 && { maxLeases: most }),
    ...(poolSize !== 0 && { poolSize }),
    ...(ttl !== 0 && { defaultUserTtlSeconds: ttl }),
    ...(maxTtl !== 0 && { maxUserTtlSeconds: maxTtl }),
  };
  return { own, faults };
}

function merge(existing: RoleDefinition | null, write: RoleWrite): Draft {
  const mfaSerialNumber = write.mfaSerialNumber ?? existing?.mfaSerialNumber ?? '';
  return {
    credentialTypes: write.credentialType === undefined ? (existing?.credentialTypes ?? []) : [write.credentialType],
    roleArns: write.roleArns ?? existing?.roleArns ?? null,
    policyArns: write.policyArns ?? existing?.policyArns ?? null,
    policyDocument: write.policyDocument ?? existing?.policyDocument ?? '',
    iamGroups: write.iamGroups ?? existing?.iamGroups ?? null,
    iamTags: write.iamTags ?? existing?.iamTags ?? null,
    sessionTags: write.sessionTags ?? existing?.sessionTags ?? null,
    defaultStsTtlSeconds: write.defaultStsTtlSeconds ?? existing?.defaultStsTtlSeconds ?? 0,
    maxStsTtlSeconds: write.maxStsTtlSeconds ?? existing?.maxStsTtlSeconds ?? 0,
    permissionsBoundaryArn: write.permissionsBoundaryArn ?? existing?.permissionsBoundaryArn ?? '',
    userPath: write.userPath ?? existing?.userPath ?? '',
    externalId: write.externalId ?? existing?.externalId ?? '',
    ...(mfaSerialNumber !== '' && { mfaSerialNumber }),
    legacy: null,
  };
}

/** Why users of this role cannot be made before it is known who asks for them. */
function faultsOfPool(role: Draft): string[] {
  if (role.poolSize === undefined) return [];
  if (!role.credentialTypes.includes('iam_user')) {
    return [
      'pool_size parameter only valid for iam_user credential type: what STS gives ends by itself and is not kept',
    ];
  }
  if (!isTemplated(role)) return [];
  return [
    'pool_size cannot be given to a role that is templated from its caller: its users are made before anybody asks for them; ' +
      'take the templates or pool_size away',
  ];
}

/** Null when it is not JSON. */
function compactPolicy(document: string): string | null {
  return document === '' ? '' : compactJson(document);
}

/** Every fault of a merged role, in Vault's order. Vault lets a bad boundary hide the faults before it; here none is. */
function faultsOf(role: Draft, { partition }: RoleSetting): string[] {
  const types = role.credentialTypes;
  const isIamUser = types.includes('iam_user');
  const isAssumedRole = types.includes('assumed_role');
  const isSessionToken = types.includes('session_token');
  const isSts = isAssumedRole || isSessionToken || types.includes('federation_token');
  const { defaultStsTtlSeconds: defaultTtl, maxStsTtlSeconds: maxTtl } = role;
  const faults: string[] = [];
  const refuse = (wrong: boolean, fault: string) => {
    if (wrong) faults.push(fault);
  };

  refuse(types.length === 0, 'did not supply credential_type');
  for (const type of types) refuse(!isCredentialType(type), `unrecognized credential type: ${type}`);
  const stsOnly = 'parameter only valid for assumed_role, federation_token, and session_token credential types';
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
    const fault = faultOfIamArn(role.permissionsBoundaryArn, 'policy', partition);
    refuse(fault !== null, `invalid permissions_boundary_arn parameter: ${fault}`);
  }
  const assumedRoleOnly = "when credential_type isn't assumed_role";
  refuse(!isEmpty(role.roleArns) && !isAssumedRole, `cannot supply role_arns ${assumedRoleOnly}`);
  refuse(!isEmpty(role.sessionTags) && !isAssumedRole, `cannot supply session_tags ${assumedRoleOnly}`);
  refuse(role.externalId !== '' && !isAssumedRole, `cannot supply external_id ${assumedRoleOnly}`);
  const hasPolicyOrRole = role.policyDocument !== '' || !isEmpty(role.policyArns) || !isEmpty(role.roleArns);
  refuse(isSessionToken && hasPolicyOrRole, 'cannot supply a policy or role when using credential_type session_token');
  for (const [field, ttl] of [
    ['default_user_ttl', role.defaultUserTtlSeconds],
    ['max_user_ttl', role.maxUserTtlSeconds],
  ] as const) {
    refuse(ttl !== undefined && !isIamUser, `${field} parameter only valid for iam_user credential type`);
  }
  return faults;
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
