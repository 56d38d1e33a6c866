import type { Call } from '../action.js';
import { AwsError, noSuchEntity } from '../aws-error.js';
import { isAwsManaged } from '../aws-managed-policies.js';
import { accessKeyIdentifier } from '../identifiers.js';
import { rules } from '../parameters.js';
import { readPolicy } from '../policy-document.js';
import { sealSession, sessionSecret, type Session } from '../session-token.js';
import type { XmlElements } from '../xml.js';

export interface SessionPolicy {
  policy?: string;
  policyArns: string[];
  /** How much of AWS's limit on the packed form is used, in percent; unset without session policies. */
  packedPercent?: number;
}

const textLimit = 2_048;

/**
 * Policy and PolicyArns of a call that makes a session.
 * @throws AwsError ValidationError, MalformedPolicyDocument, PackedPolicyTooLarge.
 */
export function readSessionPolicy({ account, parameters }: Call): SessionPolicy {
  const policy = parameters.optional('Policy', rules.sessionPolicy);
  const policyArns = parameters.list('PolicyArns', 'arn');
  if (policy !== undefined) readPolicy(policy);
  if (policyArns.length > 10) throw new AwsError('ValidationError', 'The number of policy ARNs exceeds 10.');
  for (const arn of policyArns) {
    if (isAwsManaged(arn) || account.policyDocument(arn) !== undefined) continue;
    throw noSuchEntity(`Policy ${arn} does not exist or is not attachable.`);
  }
  const length = (policy ?? '').length + policyArns.join('').length;
  const packedPercent = Math.ceil((length / textLimit) * 100);
  if (packedPercent > 100) {
    throw new AwsError(
      'PackedPolicyTooLarge',
      `Packed policy consumes ${packedPercent}% of allotted space, please use smaller policy.`,
    );
  }
  return { ...(policy === undefined ? {} : { policy }), policyArns, ...(length > 0 ? { packedPercent } : {}) };
}

export interface IssuedSession {
  session: Session;
  secret: string;
  token: string;
}

/** Makes temporary credentials that end `seconds` from now. They work at once: STS is not eventually consistent. */
export function issueSession(
  { world, now }: Call,
  wanted: Omit<Session, 'accessKeyId' | 'expiresAt'> & { seconds: number },
): IssuedSession {
  const { account, kind, principalId, name, policy, policyArns, mfa, seconds } = wanted;
  const accessKeyId = accessKeyIdentifier('ASIA');
  // AWS gives the expiration in whole seconds, and so does the answer.
  const expiresAt = (Math.floor(now / 1000) + seconds) * 1000;
  const session: Session = {
    accessKeyId,
    account,
    kind,
    principalId,
    name,
    policyArns,
    expiresAt,
    ...(policy === undefined ? {} : { policy }),
    ...(mfa && { mfa }),
  };
  const { sealingKey } = world.journal;
  return { session, secret: sessionSecret(sealingKey, accessKeyId), token: sealSession(sealingKey, session) };
}

export const credentialsXml = ({ session, secret, token }: IssuedSession): XmlElements => ({
  AccessKeyId: session.accessKeyId,
  SecretAccessKey: secret,
  SessionToken: token,
  Expiration: new Date(session.expiresAt),
});
