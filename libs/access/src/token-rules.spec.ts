import { describe, expect, it } from '@jest/globals';
import { writeTokenRole } from './token-role.js';
import { planToken, tokenTtl, type TokenWish } from './token-rules.js';
import { Token } from './token.entity.js';

const hour = 3_600_000;

const tokenWith = (given: Partial<Token>): Token =>
  Object.assign(
    new Token(),
    {
      id: 'parent',
      type: 'service',
      policies: ['a', 'b', 'default'],
      usesLeft: null,
      maxLeases: null,
      boundCidrs: [],
      expiresAt: null,
    },
    given,
  );
const wishWith = (given: Partial<TokenWish>): TokenWish => ({
  path: 'auth/token/create',
  orphan: false,
  id: '',
  policies: [],
  meta: null,
  ttlMs: 0,
  explicitMaxTtlMs: 0,
  periodMs: 0,
  noParent: false,
  noDefaultPolicy: false,
  displayName: '',
  numUses: 0,
  maxLeases: 0,
  renewable: true,
  type: '',
  entityAlias: '',
  ...given,
});
const plan = (wish: Partial<TokenWish>, parent: Partial<Token> = {}, hasSudo = false) =>
  planToken(tokenWith(parent), hasSudo, wishWith(wish), null);

describe('a token made without sudo', () => {
  it.each([
    [{ policies: ['a'] }, ['a', 'default']],
    [{ policies: ['A '] }, ['a', 'default']],
    [{ policies: ['a'], noDefaultPolicy: true }, ['a']],
    [{ policies: ['default'] }, ['default']],
    [{}, ['a', 'b', 'default']],
    [{ noDefaultPolicy: true }, ['a', 'b']],
  ])('of %j has the policies %j', (wish, policies) => {
    expect(plan(wish).policies).toEqual(policies);
  });

  it('gets no default policy that its maker lacks', () => {
    expect(plan({ policies: ['a'] }, { policies: ['a'] }).policies).toEqual(['a']);
  });

  it.each([
    [{ policies: ['c'] }, 'child policies must be subset of parent'],
    [{ policies: ['root'] }, 'child policies must be subset of parent'],
    [{ noParent: true }, 'root or sudo privileges required to create orphan token'],
    [{ id: 'x' }, 'root or sudo privileges required to specify token id'],
    [{ periodMs: hour }, 'root or sudo privileges required to create periodic token'],
  ])('is refused of %j', (wish, text) => {
    expect(() => plan(wish)).toThrow(text);
  });

  it('may be an orphan at the path for them, which policies guard', () => {
    expect(plan({ path: 'auth/token/create-orphan', orphan: true })).toMatchObject({ parentId: null });
  });
});

describe('a token made with sudo', () => {
  it('may have other policies than its maker', () => {
    expect(plan({ policies: ['c'] }, {}, true).policies).toEqual(['c', 'default']);
  });

  it('is no root token unless its maker is one', () => {
    expect(() => plan({ policies: ['root'] }, {}, true)).toThrow(
      'root tokens may not be created without parent token being root',
    );
    expect(plan({ policies: ['root'] }, { policies: ['root'] }, true).policies).toEqual(['root']);
  });

  it('never has the policy that wrapped answers are read with', () => {
    expect(() => plan({ policies: ['response-wrapping'] }, {}, true)).toThrow('cannot assign policy');
  });
});

describe('a limit of leases', () => {
  it.each([
    [0, null, null],
    [5, null, 5],
    [0, 3, 3],
    [5, 3, 3],
    [2, 3, 2],
  ])('of %s is, below a parent with %s, %s', (asked, ofParent, limit) => {
    expect(plan({ maxLeases: asked }, { maxLeases: ofParent }).maxLeases).toBe(limit);
  });
});

describe('addresses', () => {
  const bound = { boundCidrs: ['10.0.0.0/8'] };
  it('are handed down to children', () => {
    expect(plan({}, bound).boundCidrs).toEqual(['10.0.0.0/8']);
  });
  it('are those of the role where there is one', () => {
    const role = writeTokenRole('r', null, { tokenBoundCidrs: ['127.0.0.1'] });
    expect(planToken(tokenWith(bound), false, wishWith({}), role).boundCidrs).toEqual(['127.0.0.1']);
  });
});

describe('a token role', () => {
  const of = (role: Parameters<typeof writeTokenRole>[2], wish: Partial<TokenWish> = {}) =>
    planToken(tokenWith({}), false, wishWith(wish), writeTokenRole('r', null, role));

  it('gives what its maker does not have, where it allows it', () => {
    expect(of({ allowedPolicies: ['c'] }, { policies: ['c'] }).policies).toEqual(['c', 'default']);
    expect(of({ allowedPoliciesGlob: ['team-*-ro'] }, { policies: ['team-x-ro'] }).policies).toContain('team-x-ro');
    expect(() => of({ allowedPoliciesGlob: ['team-*-ro'] }, { policies: ['team-ro'] })).toThrow('must be subset');
    expect(() => of({ allowedPoliciesGlob: ['*'] }, { policies: ['root'] })).toThrow('root tokens may not be created');
  });

  it('leaves the usual rules in force where it says nothing of policies', () => {
    expect(() => of({}, { policies: ['c'] })).toThrow('child policies must be subset of parent');
  });

  it('decides the type, or what it is when nobody asks', () => {
    const batch = { orphan: true, renewable: false };
    expect(of({ ...batch, tokenType: 'batch' }, { type: 'service' }).type).toBe('batch');
    expect(of({ ...batch, tokenType: 'default-batch' }).type).toBe('batch');
    expect(of({ ...batch, tokenType: 'default-batch' }, { type: 'service' }).type).toBe('service');
  });

  it('takes the lesser of two limits, and says so', () => {
    const made = of({ tokenPeriod: 3600, tokenExplicitMaxTtl: 7200 }, { explicitMaxTtlMs: 3 * hour });
    expect(made).toMatchObject({ periodMs: hour, explicitMaxTtlMs: 2 * hour, ttlMs: hour });
    expect(made.warnings).toEqual([
      'Explicit max TTL specified both during creation call and in role; using the lesser value of 7200 seconds',
    ]);
  });
});

describe('the TTL of a token', () => {
  const spans = { ttlMs: 0, periodMs: 0, maxTtlMs: 0, explicitMaxTtlMs: 0 };
  it.each([
    ['the longest there is, when nothing is said', {}, 0, 0, 768 * hour],
    ['what it was made with', { ttlMs: hour }, 0, 0, hour],
    ['what is asked for', { ttlMs: hour }, 2 * hour, 0, 2 * hour],
    ['what is left to its max', { ttlMs: hour, maxTtlMs: 3 * hour }, 0, 2.5 * hour, 0.5 * hour],
    ['what is left to its explicit max', { explicitMaxTtlMs: 3 * hour }, 0, hour, 2 * hour],
    ['its period, however old it is', { periodMs: hour, maxTtlMs: 2 * hour }, 5 * hour, 9 * hour, hour],
    ['its period, but for the explicit max', { periodMs: hour, explicitMaxTtlMs: 2 * hour }, 0, 1.5 * hour, hour / 2],
    ['a period within the max', { periodMs: 3 * hour, maxTtlMs: 2 * hour }, 0, 0, 2 * hour],
  ])('is %s', (_what, given, incrementMs, ageMs, ttlMs) => {
    expect(tokenTtl({ ...spans, ...given }, incrementMs, ageMs).ttlMs).toBe(ttlMs);
  });

  it('ends with its max', () => {
    expect(() => tokenTtl({ ...spans, explicitMaxTtlMs: hour }, 0, hour)).toThrow('past the max TTL, cannot renew');
  });
});
