import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { Acl } from './acl.js';
import { parsePolicy, type PolicyRule } from './policy.js';

/** Names of policies that exist, and their versions. */
export type PolicyVersions = Record<string, string>;

/**
 * The versions of a token's policies, for the `select` of a query on `tokens`: read with the token in one statement, so that
 * a policy's change counts for the very next request, whoever answers it, at no further round trip.
 */
export const policyVersions = `(
  select coalesce(json_object_agg(policies.name, policies.version::text), '{}')
  from policies where policies.name = any (tokens.policies)
)`;

/** Compilations that are kept, one per set of policies at their versions. */
const kept = 1_000;

/** The policies of tokens, compiled; a name without a policy allows nothing. */
@Injectable()
export class Acls {
  /** The one used longest ago first. */
  private readonly compiled = new Map<string, Acl>();

  constructor(private readonly manager: EntityManager) {}

  /** Of a token with these policies, of which those in `versions` exist. */
  async of(policies: string[], versions: PolicyVersions): Promise<Acl> {
    if (policies.includes('root')) return Acl.root;
    const key = keyOf(versions);
    const known = this.compiled.get(key);
    if (known && known.validUntil > Date.now()) return this.keep(key, known);
    const found = (await this.manager.query(`select name, version::text, rules from policies where name = any ($1)`, [
      Object.keys(versions),
    ])) as { name: string; version: string; rules: string }[];
    const rules = found.flatMap(({ name, rules: text }) =>
      parsePolicy(text).map((rule): PolicyRule => ({ ...rule, policy: name })),
    );
    // Under the versions that were read, which may be newer than those that were asked for.
    const read = keyOf(Object.fromEntries(found.map(({ name, version }) => [name, version])));
    return this.keep(read, Acl.of(rules, Date.now()));
  }

  private keep(key: string, acl: Acl): Acl {
    this.compiled.delete(key);
    this.compiled.set(key, acl);
    if (this.compiled.size > kept) this.compiled.delete(this.compiled.keys().next().value!);
    return acl;
  }
}

function keyOf(versions: PolicyVersions): string {
  return JSON.stringify(Object.entries(versions).sort(([a], [b]) => (a < b ? -1 : 1)));
}
