import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Acl, type AccessRequest } from './acl.js';
import { parsePolicy } from './policy.js';

/** A rule as it is meant; the policies that are compiled are written from these. */
interface Meant {
  path: string;
  capabilities: string[];
  allowed?: Record<string, string[]>;
  denied?: Record<string, string[]>;
  required: string[];
}

const operations = ['create', 'read', 'update', 'patch', 'delete', 'list'] as const;
const segment = fc.constantFrom('a', 'b', 'ab', 'c');
const values = fc.uniqueArray(fc.constantFrom('v', 'w', 'v*', '*w'), { maxLength: 2 });
const parameters = fc.option(fc.dictionary(fc.constantFrom('p', 'q', '*'), values, { maxKeys: 2 }), {
  nil: undefined,
  freq: 2,
});

const pattern = fc
  .tuple(
    fc.array(fc.oneof({ weight: 3, arbitrary: segment }, { weight: 1, arbitrary: fc.constant('+') }), {
      minLength: 1,
      maxLength: 3,
    }),
    fc.constantFrom('', '', '*', '/*', '/'),
  )
  .map(([segments, end]) => segments.join('/') + end)
  .filter((path) => !path.includes('+*'));

const meant: fc.Arbitrary<Meant> = fc.record({
  path: pattern,
  capabilities: fc
    .tuple(fc.subarray([...operations, 'sudo']), fc.integer({ min: 0, max: 9 }))
    .map(([named, chance]) => (chance === 0 ? [...named, 'deny'] : named)),
  allowed: parameters,
  denied: parameters,
  required: fc.option(fc.constantFrom(['p'], ['q']), { nil: [], freq: 1 }),
});

const request: fc.Arbitrary<AccessRequest & { sudo: boolean }> = fc
  .record({
    operation: fc.constantFrom(...operations),
    segments: fc.array(segment, { minLength: 1, maxLength: 4 }),
    parameters: fc.dictionary(fc.constantFrom('p', 'q', 'r'), fc.constantFrom('v', 'w', 'vw', 'x'), { maxKeys: 2 }),
    sudo: fc.constantFrom(false, false, true),
  })
  .map(({ segments, ...rest }) => ({ ...rest, path: segments.join('/') + (rest.operation === 'list' ? '/' : '') }));

const asHcl = (rules: Meant[]) =>
  rules
    .map(({ path, capabilities, allowed, denied, required }) => {
      const map = (name: string, given?: object) =>
        given ? `  ${name} = ${JSON.stringify(given).replaceAll(':', '=')}\n` : '';
      return (
        `path ${JSON.stringify(path)} {\n  capabilities = ${JSON.stringify(capabilities)}\n` +
        `  required_parameters = ${JSON.stringify(required)}\n` +
        `${map('allowed_parameters', allowed)}${map('denied_parameters', denied)}}\n`
      );
    })
    .join('');

const asJson = (rules: Meant[]) =>
  JSON.stringify({
    path: rules.map(({ path, capabilities, allowed, denied, required }) => ({
      [path]: {
        capabilities,
        required_parameters: required,
        ...(allowed ? { allowed_parameters: allowed } : {}),
        ...(denied ? { denied_parameters: denied } : {}),
      },
    })),
  });

/** As one would read the rules by hand: slow, and with nothing in common with the compiled form. */
function oracle(
  rules: Meant[],
  { operation, path, parameters: sent = {}, sudo }: AccessRequest & { sudo: boolean },
): boolean {
  const spellings = operation === 'list' ? [path, path.replace(/\/$/, '')] : [path];
  const isPlain = (rule: Meant) => !/(^|\/)\+(\/|$)|\*$/.test(rule.path);
  const named = spellings.find((each) => rules.some((rule) => isPlain(rule) && rule.path === each));
  const chosen =
    named ??
    best(
      rules.filter((rule) => !isPlain(rule)).map((rule) => rule.path),
      spellings,
    );
  const counting = rules.filter((rule) => rule.path === chosen && isPlain(rule) === (named !== undefined));
  if (counting.length === 0 || counting.some((rule) => rule.capabilities.includes('deny'))) return false;
  const has = (capability: string) => counting.some((rule) => rule.capabilities.includes(capability));
  if (!has(operation) || (sudo && !has('sudo'))) return false;
  if (operation === 'delete' || operation === 'list') return true;
  if (counting.some((rule) => rule.required.some((name) => !(name in sent)))) return false;
  const listsFor = (which: 'allowed' | 'denied', name: string) =>
    counting.flatMap((rule) => (rule[which]?.[name] ? [rule[which][name]] : []));
  const names = (lists: string[][], value: string) =>
    lists.some((list) => list.length === 0) || lists.flat().some((glob) => globExpression(glob).test(value));
  const isRestricted = counting.some((rule) => Object.keys(rule.allowed ?? {}).length > 0);
  return Object.entries(sent as Record<string, string>).every(([name, value]) => {
    if (listsFor('denied', '*').length > 0 || names(listsFor('denied', name), value)) return false;
    if (!isRestricted) return true;
    const own = listsFor('allowed', name);
    return own.length > 0 ? names(own, value) : listsFor('allowed', '*').length > 0;
  });
}

function best(patterns: string[], spellings: string[]): string | undefined {
  const taking = patterns.filter((each) => spellings.some((spelling) => pathExpression(each).test(spelling)));
  return taking.reduce<string | undefined>((winner, each) => {
    if (winner === undefined) return each;
    for (const [mine, others] of zip(rankOf(each), rankOf(winner))) {
      if (mine !== others) return mine > others ? each : winner;
    }
    return winner;
  }, undefined);
}

/** First wildcard latest, then no closing *, then fewer +, then longer, then later in the alphabet: the greater, the better. */
function rankOf(given: string): (number | string)[] {
  const wild = given.search(/(^|(?<=\/))\+(?=\/|$)|\*$/);
  const plusses = given.split('/').filter((each) => each === '+').length;
  const bare = given.replace(/\*$/, '');
  return [wild, given.endsWith('*') ? 0 : 1, -plusses, bare.length, bare];
}

function zip<A>(left: A[], right: A[]): [A, A][] {
  return left.map((each, index) => [each, right[index]!]);
}

const pathExpression = (given: string) =>
  new RegExp(
    `^${given
      .replace(/\*$/, '')
      .split('/')
      .map((each) => (each === '+' ? '[^/]*' : each))
      .join('/')}${given.endsWith('*') ? '.*' : ''}$`,
  );
const globExpression = (glob: string) => new RegExp(`^${glob.replaceAll('*', '.*')}$`);

describe('a policy, against one who reads it by hand', () => {
  it('never grants what no rule of it names, and grants the rest', () => {
    let granted = 0;
    let asked = 0;
    fc.assert(
      fc.property(
        fc.array(fc.array(meant, { maxLength: 4 }), { minLength: 1, maxLength: 3 }),
        fc.array(request, { minLength: 1, maxLength: 10 }),
        fc.boolean(),
        (policies, requests, json) => {
          const acl = Acl.of(
            policies.flatMap((rules) => parsePolicy(json ? asJson(rules) : asHcl(rules))),
            Date.now(),
          );
          for (const each of requests) {
            const wanted = oracle(policies.flat(), each);
            expect([each, acl.allows(each, each.sudo)]).toEqual([each, wanted]);
            asked += 1;
            granted += wanted ? 1 : 0;
          }
        },
      ),
      { numRuns: 1_500 },
    );
    process.stderr.write(`Policies: of ${asked} requests to random policies ${granted} were granted.\n`);
    expect(granted).toBeGreaterThan(asked / 100);
  });

  it('reaches below a path where it grants anything there, and nowhere else', () => {
    const names = ['a', 'b', 'ab', 'c', 'x'];
    const below = (depth: number): string[] =>
      depth === 0
        ? ['']
        : ['', ...names.flatMap((name) => [name, ...below(depth - 1).map((rest) => `${name}/${rest}`)])];
    const prefixes = ['a/', 'b/', 'a/b/', 'ab/c/'];
    const paths = Object.fromEntries(
      prefixes.map((prefix) => [prefix, [...new Set(below(3).map((rest) => prefix + rest))]]),
    );
    let reached = 0;
    fc.assert(
      fc.property(fc.array(meant, { maxLength: 4 }), fc.constantFrom(...prefixes), (given, prefix) => {
        const rules = given.map(({ path, capabilities }) => ({ path, capabilities, required: [] }));
        const wanted = paths[prefix]!.some((path) =>
          operations.some(
            (operation) =>
              (operation !== 'list' || path.endsWith('/')) && oracle(rules, { operation, path, sudo: false }),
          ),
        );
        expect(Acl.of(parsePolicy(asHcl(rules)), Date.now()).reaches(prefix)).toBe(wanted);
        reached += wanted ? 1 : 0;
      }),
      { numRuns: 400 },
    );
    expect(reached).toBeGreaterThan(20);
  });

  it('names, of the policies, those whose own rules of the best path grant it', () => {
    fc.assert(
      fc.property(fc.array(fc.array(meant, { maxLength: 3 }), { maxLength: 3 }), request, (policies, each) => {
        const named = policies.map((rules, index) => ({ name: `p${index}`, rules }));
        const all = named.flatMap(({ name, rules }) =>
          parsePolicy(asHcl(rules)).map((rule) => ({ ...rule, policy: name })),
        );
        const plain = policies.flat().map(({ path, capabilities }) => ({ path, capabilities, required: [] }));
        const told = Acl.of(all, Date.now()).grantingPolicies([each.operation], each.path);
        const isGranted = oracle(plain, { ...each, parameters: {}, sudo: false });
        expect(told.length > 0).toBe(isGranted);
        // Without any one of them, and all others, the rest still grants it or the one alone did.
        for (const name of told) {
          const own = named.find((policy) => policy.name === name)!;
          expect(own.rules.some(({ capabilities }) => capabilities.includes(each.operation))).toBe(true);
        }
      }),
      { numRuns: 600 },
    );
  });

  it('grants nothing that no capability of any rule is about', () => {
    fc.assert(
      fc.property(fc.array(meant, { maxLength: 6 }), request, (rules, each) => {
        const acl = Acl.of(parsePolicy(asHcl(rules)), Date.now());
        const isNamed = rules.some(
          (rule) => rule.capabilities.includes(each.operation) && !rule.capabilities.includes('deny'),
        );
        if (!isNamed) expect(acl.allows(each)).toBe(false);
      }),
      { numRuns: 500 },
    );
  });
});
