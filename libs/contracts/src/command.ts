import { z } from 'zod';

/**
 * An intent is abandoned when its asker's wait is over: were that far away, nothing would take back what a dead issuer
 * left. Within 15 minutes, for which AWS takes a signature.
 */
const longestWaitMs = 600_000;

/** A text that PostgreSQL can store: without NUL and without half a surrogate pair. */
export const text = z
  .string()
  .refine(
    (value) => !value.includes('\u0000') && !/\p{Surrogate}/u.test(value),
    'must be text without a NUL or broken Unicode',
  );

/** What every command carries, whatever it asks for (design.md, Messages). */
export const command = {
  /** Unique per command; whatever is delivered twice under one id is one request. */
  id: z.uuid(),
  /** How long the asker still waits, in milliseconds: a duration, because clocks differ. */
  waitMs: z.int().positive().max(longestWaitMs),
  /** Runs from the HTTP request to every log line. */
  requestId: text,
  token: text,
};

/** What a gateway adds to a command that it sends for a caller over HTTP; an internal service leaves it out. */
export const fromGateway = {
  /**
   * What the caller sent beside the path, in the words of the HTTP API and in its own spelling: policies are about these.
   * Where they say otherwise than the command's own fields, those count; absent, they are made from those.
   */
  parameters: z.record(text, z.json()).optional(),
  /**
   * A gateway's word that it checked the address of this command's caller and spent a use of its token: a keyed hash, which only
   * who has the keyring can make. The issuer does neither again.
   */
  admission: text.optional(),
  /** The gateway's word, which it alone can give, that it audits the request that this command is for. */
  audited: text.optional(),
  /**
   * The gateway's word, which it alone can give, that it wraps the answer, and for how long: policies may ask for that. Without it
   * a command is one whose answer is not wrapped.
   */
  wrapping: text.optional(),
};

/**
 * A TTL that was cut: what was wanted and what was left, both in milliseconds. `by`: what has cut it, where that is not the
 * longest life that mount and engine give.
 */
export const ttlCut = z.object({
  wantedMs: z.number(),
  limitMs: z.number(),
  by: z.enum(['max_sts_ttl', 'token']).optional(),
});
export type TtlCut = z.infer<typeof ttlCut>;

/** How a credential is made at AWS. */
export const credentialType = z.enum(['iam_user', 'assumed_role', 'federation_token', 'session_token']);
export type CredentialType = z.infer<typeof credentialType>;
