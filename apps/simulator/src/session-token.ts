import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';

/** What temporary credentials stand for. Nothing is stored for them: the token itself carries it, sealed. */
export interface Session {
  accessKeyId: string;
  account: string;
  kind: 'assumed_role' | 'federated_user' | 'user_session';
  /** Id of the role assumed, or of the user who asked. */
  principalId: string;
  /** RoleSessionName, or the Name of a federated user; empty for GetSessionToken. */
  name: string;
  /** Session policies: an inline document, ARNs of managed ones. */
  policy?: string;
  policyArns: string[];
  /** Asked for with a code of the user's MFA device. */
  mfa?: true;
  /** Milliseconds. */
  expiresAt: number;
}

/** The secret access key of a session, derived from the sealing key, so that it need not be kept either. */
export function sessionSecret(sealingKey: Buffer, accessKeyId: string): string {
  return createHmac('sha256', sealingKey).update(accessKeyId).digest('base64').slice(0, 40);
}

export function sealSession(sealingKey: Buffer, session: Session): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', sealingKey, nonce);
  const sealed = Buffer.concat([cipher.update(JSON.stringify(session), 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64');
}

/** The session that a token carries; undefined when it was not sealed with this key. */
export function openSession(sealingKey: Buffer, token: string): Session | undefined {
  const bytes = Buffer.from(token, 'base64');
  if (bytes.length < 29) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', sealingKey, bytes.subarray(0, 12), { authTagLength: 16 });
  decipher.setAuthTag(bytes.subarray(12, 28));
  try {
    return JSON.parse(Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString()) as Session;
  } catch {
    return undefined;
  }
}
