import type { FoundToken, MadeToken, Token, TtlCut } from '#libs/access';
import { InvalidRequest } from '#libs/contracts';
import { z } from 'zod';
import type { Answers } from '../api/answers.js';
import { ttlCutWarning } from '../lease-texts.js';
import { formatDurationShort, parseDuration } from '../wire/go-duration.js';

const names = z.array(z.string());
const texts = z.record(z.string(), z.string());
const instant = z.iso.datetime();

/** 200 with a token. */
export const withToken: Answers = {
  200: {
    kind: 'data',
    schema: z.null(),
    auth: z.strictObject({
      client_token: z.string(),
      accessor: z.string(),
      policies: names,
      token_policies: names.optional(),
      metadata: texts.nullable(),
      lease_duration: z.int(),
      renewable: z.boolean(),
      entity_id: z.string(),
      token_type: z.string(),
      orphan: z.boolean(),
      mfa_requirement: z.null(),
      num_uses: z.int(),
    }),
  },
};

/** What a look-up of a token shows. */
export const tokenShown = z.strictObject({
  id: z.string(),
  accessor: z.string(),
  policies: names,
  path: z.string(),
  meta: texts.nullable(),
  display_name: z.string(),
  num_uses: z.int(),
  orphan: z.boolean(),
  creation_time: z.int(),
  creation_ttl: z.int(),
  expire_time: instant.nullable(),
  ttl: z.int(),
  explicit_max_ttl: z.int(),
  entity_id: z.string(),
  type: z.string(),
  role: z.string().optional(),
  period: z.int().optional(),
  bound_cidrs: names.optional(),
  issue_time: instant.optional(),
  renewable: z.boolean().optional(),
  max_leases: z.int().optional(),
  last_renewal: instant.optional(),
  last_renewal_time: z.int().optional(),
});

/** The texts of spans that were cut (contract.md 4.2). */
export function cutWarnings(cuts: TtlCut[]): string[] {
  return cuts.map((cut) => {
    if (cut.of === 'TTL') return ttlCutWarning(cut);
    const [wanted, limit] = [cut.wantedMs, cut.limitMs].map((ms) => formatDurationShort(Math.round(ms / 1000) * 1000));
    return `period of "${wanted}" exceeded the effective max_ttl of "${limit}"; period value is capped accordingly`;
  });
}

/**
 * Milliseconds of a span that is read as text; empty is 0.
 * @throws InvalidRequest with the bare text of the parser (contract.md 3.3, Errors).
 */
export function spanMs(name: string, text: string | undefined): number {
  try {
    return parseDuration(text ?? '');
  } catch (error) {
    const { message } = error as Error;
    throw new InvalidRequest(message.startsWith('cannot provide negative') ? `${name} must be positive` : message);
  }
}

/** `auth` of an answer that gives a token, or the one whose `id` is known (contract.md 1.6). */
export function authToWire(id: string, { token, leftMs }: FoundToken | MadeToken): Record<string, unknown> {
  return {
    client_token: id,
    accessor: token.accessor ?? '',
    policies: token.policies,
    ...(token.policies.length > 0 ? { token_policies: token.policies } : {}),
    metadata: token.meta,
    lease_duration: wholeSeconds(leftMs ?? 0),
    renewable: token.renewable,
    entity_id: '',
    token_type: token.type,
    orphan: isOrphan(token),
    mfa_requirement: null,
    num_uses: token.usesLeft ?? 0,
  };
}

/** What is known of a token (contract.md 3.3, Lookup); `id` is '' where it was not said. */
export function tokenToWire(id: string, { token, leftMs }: FoundToken): Record<string, unknown> {
  return {
    id,
    accessor: token.accessor ?? '',
    policies: token.policies,
    path: token.path,
    meta: token.meta,
    display_name: token.displayName,
    // As the peers say it: -1 is a token whose last use asks this very question.
    num_uses: token.usesLeft === 0 ? -1 : (token.usesLeft ?? 0),
    orphan: isOrphan(token),
    creation_time: Math.floor(token.createdAt.getTime() / 1000),
    creation_ttl: wholeSeconds(token.creationTtlMs),
    expire_time: token.expiresAt?.toISOString() ?? null,
    ttl: wholeSeconds(leftMs ?? 0),
    explicit_max_ttl: wholeSeconds(token.explicitMaxTtlMs),
    entity_id: '',
    type: token.type,
    ...(token.role ? { role: token.role } : {}),
    ...(token.periodMs > 0 ? { period: wholeSeconds(token.periodMs) } : {}),
    ...(token.maxLeases === null ? {} : { max_leases: token.maxLeases }),
    ...(token.boundCidrs.length > 0 ? { bound_cidrs: token.boundCidrs } : {}),
    ...(token.expiresAt ? { issue_time: token.createdAt.toISOString(), renewable: token.renewable } : {}),
    ...(token.lastRenewedAt
      ? {
          last_renewal: token.lastRenewedAt.toISOString(),
          last_renewal_time: Math.floor(token.lastRenewedAt.getTime() / 1000),
        }
      : {}),
  };
}

function isOrphan(token: Token): boolean {
  return token.parentId === null;
}

function wholeSeconds(ms: number): number {
  return Math.round(ms / 1000);
}
