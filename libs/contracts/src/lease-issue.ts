import { z } from 'zod';
import { command, credentialType, fromGateway, text, ttlCut } from './command.js';
import { idempotencyKey } from './idempotency-key.js';

/** The credential itself: exists in the AWS reply, in memory, in this message and in one HTTP response. */
const credential = z.object({
  accessKeyId: z.string(),
  secretAccessKey: z.string(),
  /** Absent for a key of an IAM user. */
  sessionToken: z.string().optional(),
  /** The assumed role's session ARN. */
  arn: z.string().optional(),
});

/** What a credential is asked for, and the gateway's words about who asks. */
export const credentialWish = {
  /** Path of the mount with its slash, such as `aws/`. */
  mount: text,
  role: text,
  /** Which path was asked: legacy roles give another type through each (contract.md 2.5). */
  door: z.enum(['creds', 'sts']),
  ttlSeconds: z.int().nonnegative().optional(),
  roleArn: text.optional(),
  roleSessionName: text.optional(),
  /** What the MFA device of the mount's identity shows, where the role names one (`session_token`). */
  mfaCode: text.optional(),
  ...fromGateway,
};

/** Asks an issuer to make one credential for a role. The asker must accept the lease before it hands the credential on. */
export const issueLease = {
  pattern: 'lease.issue',
  request: z.object({
    ...command,
    ...credentialWish,
    /**
     * Whether the answer waits, a part of the wait at most, until AWS accepts the key of an IAM user; absent: as the role says.
     * Credentials of STS work at once.
     */
    ready: z.boolean().optional(),
    /**
     * Who asks again under the same key for the same thing, with the same token, is given the same credential, for a short
     * while. The acceptance of one that was asked for with a key must name the command.
     */
    idempotencyKey: idempotencyKey.optional(),
  }),
  reply: z.object({
    leaseId: z.string(),
    credentialType,
    /** Seconds, rounded to the nearest. */
    leaseDuration: z.int(),
    /** The same truncated, which is what is shown beside a credential of STS; absent for a key of an IAM user. */
    stsTtl: z.int().optional(),
    renewable: z.boolean(),
    /** False where nothing in AWS must be taken back, so there is nothing to accept. */
    acceptRequired: z.boolean(),
    credential,
    /** Set when the TTL was cut. */
    ttlCut: ttlCut.optional(),
    /**
     * Set when AWS had accepted the key several times in a row before the answer, which waited for that; or when the user is of a
     * pool, older than AWS needs to know a key.
     */
    ready: z.literal(true).optional(),
    /** Set when the answer waited in vain: from then on the key should work everywhere. */
    usableFrom: z.iso.datetime().optional(),
    /** Set when the credential was made for an earlier command with the same idempotency key. */
    replayed: z.literal(true).optional(),
    /** Set when the role has a pool: who asks `lease.hand-out` first, the next time, may not have to wait for AWS. */
    hasPool: z.literal(true).optional(),
  }),
};

export type IssueLeaseRequest = z.infer<typeof issueLease.request>;
export type IssueLeaseReply = z.infer<typeof issueLease.reply>;
export type IssuedCredential = z.infer<typeof credential>;

/** A credential as the HTTP API shows it (contract.md 2.5). */
export function httpCredential(issued: IssueLeaseReply): Record<string, unknown> {
  const { credentialType: type, credential: lent, leaseDuration, stsTtl } = issued;
  const token = lent.sessionToken ?? null;
  return {
    access_key: lent.accessKeyId,
    secret_key: lent.secretAccessKey,
    // Old readers know the first name, today's the second.
    security_token: token,
    session_token: token,
    ...(type === 'assumed_role' ? { arn: lent.arn } : {}),
    ...(type === 'iam_user' ? {} : { ttl: stsTtl ?? leaseDuration }),
  };
}
