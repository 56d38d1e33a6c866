import { InvalidRequest } from '#libs/contracts';
import { AwsFailure } from './aws-failure.js';

/** Temporary credentials; AWS ends them by itself at `expiration`. */
export interface StsCredential {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string;
  expiration: Date;
}

/**
 * STS takes no session shorter than 15 minutes; the text is the one clients know (contract.md 2.5).
 * @throws {InvalidRequest}
 */
export function refuseTooShort(durationSeconds: number, prefix: string, input: string): void {
  if (durationSeconds >= 900) return;
  throw new InvalidRequest(
    `${prefix}: InvalidParameter: 1 validation error(s) found.\n- minimum field value of 900, ${input}.DurationSeconds.\n`,
  );
}

/** The credentials of an STS reply. @throws {AwsFailure} when the reply lacks any part of them */
export function credentialOf(
  reply: {
    AccessKeyId?: string;
    SecretAccessKey?: string;
    SessionToken?: string;
    Expiration?: Date;
  } = {},
): StsCredential {
  const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = reply;
  if (!AccessKeyId || !SecretAccessKey || !SessionToken || !Expiration) throw AwsFailure.unreadable();
  return {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    sessionToken: SessionToken,
    expiration: Expiration,
  };
}
