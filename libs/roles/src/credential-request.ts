import { type CredentialType, goQuote, InvalidRequest, type TtlCut } from '#libs/contracts';
import { normaliseName } from './iam-name.js';
import type { RoleDefinition } from './role-definition.js';

/** The path under which credentials are asked for; legacy roles answer differently on the two. */
export type CredentialPath = 'creds' | 'sts';

const defaultStsTtlSeconds = 3600;
const longestSessionName = 64;

/**
 * Which credential type a request gets (contract.md 2.5). A role written through the 0.6 fields is tied to its paths:
 * `sts` must not become a way to an IAM user, which may do more at AWS than a session can.
 * @throws InvalidRequest when the path is not for this role.
 */
export function credentialTypeFor(role: RoleDefinition, path: CredentialPath): CredentialType {
  const [only, ...others] = role.credentialTypes;
  const type = only && others.length === 0 ? only : path === 'creds' ? 'iam_user' : 'federation_token';
  if (!role.credentialTypes.includes(type)) {
    const allowed = `[]string{${role.credentialTypes.map(goQuote).join(', ')}}`;
    throw new InvalidRequest(`requested credential type ${goQuote(type)} not in allowed credential types ${allowed}`);
  }
  const allowedPath = type === 'iam_user' ? 'creds' : 'sts';
  if (role.legacy && path !== allowedPath) {
    throw new InvalidRequest(
      `attempted to retrieve ${type} credentials through the ${path} path; this is not allowed for legacy roles`,
    );
  }
  return type;
}

/** What a caller may ask of an STS credential; undefined, 0 and empty all mean that the role decides. */
export interface StsWish {
  ttlSeconds?: number;
  iamRoleArn?: string;
  sessionName?: string;
  mfaCode?: string;
}

/**
 * The lifetime of an STS credential, and what has cut it; AWS's own limits are left to AWS (contract.md 2.5, STS TTL rule).
 * @param ownerLeftMs until the end of the token that asks, where that is the end of its leases; else Infinity.
 */
export function stsTtl(
  role: RoleDefinition,
  wish: StsWish,
  mountMaxTtlSeconds: number,
  ownerLeftMs = Infinity,
): { seconds: number; cut?: TtlCut } {
  const asked = wish.ttlSeconds || role.defaultStsTtlSeconds || defaultStsTtlSeconds;
  const max = role.maxStsTtlSeconds || mountMaxTtlSeconds;
  const ownerLeft = Math.floor(ownerLeftMs / 1000);
  const seconds = Math.min(asked, max, ownerLeft);
  if (seconds === asked) return { seconds };
  const by = ownerLeft < max ? 'token' : role.maxStsTtlSeconds ? 'max_sts_ttl' : undefined;
  return { seconds, cut: { wantedMs: asked * 1000, limitMs: seconds * 1000, ...(by && { by }) } };
}

/**
 * What AWS is told of an MFA device for a session token: nothing where the role names none.
 * @throws InvalidRequest when the code is missing, cannot be one, or nothing asks for it.
 */
export function mfaOf(
  { mfaSerialNumber }: RoleDefinition,
  { mfaCode }: StsWish,
): { serialNumber: string; code: string } | undefined {
  if (!mfaSerialNumber) {
    if (mfaCode) throw new InvalidRequest('mfa_code is of no use here: the role has no mfa_serial_number');
    return undefined;
  }
  if (!mfaCode) throw new InvalidRequest('did not supply mfa_code, which a role with an mfa_serial_number asks for');
  if (!/^\d{6}$/.test(mfaCode)) throw new InvalidRequest('mfa_code must be the six digits that the MFA device shows');
  return { serialNumber: mfaSerialNumber, code: mfaCode };
}

/**
 * The IAM role that an `assumed_role` credential assumes: the one asked for, or the only one there is.
 * @throws InvalidRequest when it cannot be determined or is not one of the role's.
 */
export function chooseIamRoleArn(role: RoleDefinition, name: string, wish: StsWish): string {
  const allowed = role.roleArns ?? [];
  if (wish.iamRoleArn) {
    if (allowed.includes(wish.iamRoleArn)) return wish.iamRoleArn;
    throw new InvalidRequest(
      `role_arn ${goQuote(wish.iamRoleArn)} not in allowed role arns for Vault role ${goQuote(name)}`,
    );
  }
  const [only, ...others] = allowed;
  if (only === undefined || others.length > 0) {
    throw new InvalidRequest('did not supply a role_arn parameter and unable to determine one');
  }
  return only;
}

/** The session name asked for, in IAM's characters and length (contract.md 8.12); null means: generate one. */
export function askedSessionName(wish: StsWish): string | null {
  return wish.sessionName ? normaliseName(wish.sessionName).slice(0, longestSessionName) : null;
}
