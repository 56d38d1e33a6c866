import { InvalidRequest, type TtlCut } from '#libs/contracts';

/** What bounds a lease's time; every value in milliseconds, 0 or less = not set (contract.md 4.2). */
export interface TtlRules {
  /** The role's own, else `lease` of config/lease. */
  engineTtlMs: number;
  /** The role's own, else `lease_max` of config/lease. */
  engineMaxMs: number;
  /** The mount's tune. */
  mountDefaultMs: number;
  mountMaxMs: number;
  /** What is left of the token whose end is the lease's; absent = it does not bound it. */
  ownerLeftMs?: number;
}

/** A TTL in milliseconds and, where it was cut, by what. */
export interface Ttl {
  ttlMs: number;
  cut?: TtlCut;
}

const systemMaxMs = 768 * 3_600_000;

/** A `creds` lease that nobody configured lasts an hour, as the seed document shows (contract.md 4.2, S figure). */
const untouchedTtlMs = 3_600_000;

/** The longest life of a lease from its issue, in milliseconds: the mount's max, or the engine's where that is lower. */
export function effectiveMaxMs(rules: TtlRules): number {
  const mountMax = rules.mountMaxMs > 0 ? rules.mountMaxMs : systemMaxMs;
  return rules.engineMaxMs > 0 ? Math.min(mountMax, rules.engineMaxMs) : mountMax;
}

/**
 * The TTL of a lease that is `ageMs` old, asked for `incrementMs` (0 = no wish). The max counts from the issue, so an
 * old lease may get less than it asks for.
 * @throws InvalidRequest when the lease is past its max TTL.
 */
export function ttl(rules: TtlRules, incrementMs: number, ageMs: number): Ttl {
  const { ownerLeftMs = Infinity } = rules;
  const maxLeftMs = effectiveMaxMs(rules) - ageMs;
  const limitMs = Math.min(maxLeftMs, ownerLeftMs);
  if (limitMs <= 0) throw new InvalidRequest('past the max TTL, cannot renew');
  const wantedMs = firstSet(incrementMs, rules.engineTtlMs, rules.mountDefaultMs) ?? untouchedTtlMs;
  if (wantedMs <= limitMs) return { ttlMs: wantedMs };
  return { ttlMs: limitMs, cut: { wantedMs, limitMs, ...(ownerLeftMs < maxLeftMs && { by: 'token' }) } };
}

function firstSet(...candidates: number[]): number | undefined {
  return candidates.find((candidate) => candidate > 0);
}
