import { describe, expect, it } from '@jest/globals';
import { Acl, type AccessRequest } from './acl.js';
import { parsePolicy } from './policy.js';

/**
 * `read aws/creds/a`, and what else the request brings: parameters as JSON, `wrap` and how many seconds, `sudo` where the path
 * asks for it.
 */
type Row = string;

interface Rule {
  /** The policies of one token. */
  policies: string | string[];
  grants: Row[];
  denies: Row[];
}

const path = (name: string, ...lines: string[]) => `path "${name}" {\n${lines.join('\n')}\n}\n`;
const may = (name: string, ...capabilities: string[]) => path(name, `capabilities = ${JSON.stringify(capabilities)}`);
const all = ['create', 'read', 'update', 'patch', 'delete', 'list'];
const creds = (...lines: string[]) => path('aws/creds/a', 'capabilities = ["read", "update"]', ...lines);

/** Contract 3.4, rule by rule. */
const rules: Record<string, Rule> = {
  'no policy at all: nothing': { policies: [], grants: [], denies: all.map((each) => `${each} aws/creds/a`) },
  'a policy of comments only: nothing': {
    policies: '# nothing\n// here\n/* at all */\n',
    grants: [],
    denies: ['read aws/creds/a', 'read x'],
  },
  'no rule matches: deny': {
    policies: may('aws/creds/a', 'read'),
    grants: ['read aws/creds/a'],
    denies: ['read aws/creds/b', 'read aws/creds', 'read aws/creds/a/b', 'read xaws/creds/a', 'read AWS/creds/a'],
  },
  'capability create': {
    policies: may('x', 'create'),
    grants: ['create x'],
    denies: all.filter((each) => each !== 'create').map((each) => `${each} x`),
  },
  'capability read': {
    policies: may('x', 'read'),
    grants: ['read x'],
    denies: all.filter((each) => each !== 'read').map((each) => `${each} x`),
  },
  'capability update': {
    policies: may('x', 'update'),
    grants: ['update x'],
    denies: all.filter((each) => each !== 'update').map((each) => `${each} x`),
  },
  'capability patch': {
    policies: may('x', 'patch'),
    grants: ['patch x'],
    denies: all.filter((each) => each !== 'patch').map((each) => `${each} x`),
  },
  'capability delete': {
    policies: may('x', 'delete'),
    grants: ['delete x'],
    denies: all.filter((each) => each !== 'delete').map((each) => `${each} x`),
  },
  'capability list': {
    policies: may('x', 'list'),
    grants: ['list x/'],
    denies: all.filter((each) => each !== 'list').map((each) => `${each} x`),
  },
  'capability sudo: asked for besides the operation': {
    policies: may('sys/seal', 'update', 'sudo') + may('sys/remount', 'update') + may('sys/audit', 'sudo'),
    grants: ['update sys/seal sudo', 'update sys/seal', 'update sys/remount'],
    denies: ['update sys/remount sudo', 'read sys/seal sudo', 'read sys/audit sudo', 'read sys/audit'],
  },
  'capability deny: beats all others of its rule': {
    policies: may('x', 'read', 'deny') + may('y', 'read'),
    grants: ['read y'],
    denies: ['read x', 'update x'],
  },
  'capability scan: taken, and of no use here': {
    policies: may('x', 'scan', 'read'),
    grants: ['read x'],
    denies: ['list x/'],
  },
  'a rule without capabilities: nothing, and it hides wider ones': {
    policies: path('aws/creds/a') + may('aws/*', 'read'),
    grants: ['read aws/creds/b'],
    denies: ['read aws/creds/a'],
  },
  'legacy policy "read": read and list': {
    policies: path('x', 'policy = "read"'),
    grants: ['read x', 'list x/'],
    denies: ['create x', 'update x', 'delete x', 'patch x', 'read x sudo'],
  },
  'legacy policy "write": create, read, update, delete, list': {
    policies: path('x', 'policy = "write"'),
    grants: ['create x', 'read x', 'update x', 'delete x', 'list x/'],
    denies: ['patch x', 'update x sudo'],
  },
  'legacy policy "sudo": as write, and sudo': {
    policies: path('x', 'policy = "sudo"'),
    grants: ['update x sudo', 'delete x sudo', 'list x/ sudo'],
    denies: ['patch x', 'patch x sudo'],
  },
  'legacy policy "deny": nothing': {
    policies: path('x', 'policy = "deny"', 'capabilities = ["read"]') + may('x*', 'read'),
    grants: ['read xy'],
    denies: ['read x'],
  },
  'legacy policy and capabilities unite': {
    policies: path('x', 'policy = "read"', 'capabilities = ["delete"]'),
    grants: ['read x', 'list x', 'delete x'],
    denies: ['update x'],
  },
  'a leading slash in a path is stripped': {
    policies: may('/aws/creds/a', 'read'),
    grants: ['read aws/creds/a'],
    denies: ['read /aws/creds/a', 'read creds/a'],
  },
  'duplicate path blocks unite': {
    policies: may('x', 'read') + may('x', 'update'),
    grants: ['read x', 'update x'],
    denies: ['delete x'],
  },
  'JSON form': {
    policies: '{"path":{"aws/*":{"capabilities":["read"]}}}',
    grants: ['read aws/creds/a'],
    denies: ['update aws/creds/a', 'read sys/mounts'],
  },
  'JSON form with a doubled path: both count': {
    policies: '{"path":{"x":{"capabilities":["deny"]},"x":{"capabilities":["read"]},"y":{"capabilities":["read"]}}}',
    grants: ['read y'],
    denies: ['read x'],
  },
  'JSON form with lists of blocks': {
    policies: '{"path":[{"x":[{"capabilities":["read"]}]},{"y":{"policy":"write"}}]}',
    grants: ['read x', 'update y'],
    denies: ['update x', 'read z'],
  },
  'heredocs, comments and one-line blocks': {
    policies: [
      'name = "n" # c',
      'path "x" { capabilities = ["read"], comment = "one line" } // c',
      'path "y" {\n comment = <<EOT\npath "z" { capabilities = ["read"] }\nEOT\n capabilities = [ # c\n "read", /* c */ ]\n}',
    ].join('\n'),
    grants: ['read x', 'read y'],
    denies: ['read z', 'update x'],
  },
  'keys for other servers are taken and mean nothing': {
    policies: path(
      'x',
      'capabilities = ["read"]',
      'comment = "c"',
      'mfa_methods = ["m"]',
      'pagination_limit = 5',
      'subscribe_event_types = ["e"]',
      'control_group = { factor "ops" { identity { group_names = ["g"] approvals = 1 } } }',
    ),
    grants: ['read x'],
    denies: ['update x'],
  },
  'expiration: afterwards the rule is none': {
    policies:
      path('x', 'capabilities = ["read"]', 'expiration = "2000-01-31T12:00:00Z"') +
      path('y', 'capabilities = ["read"]', 'expiration = "2999-01-31T12:00:00+01:00"') +
      path('z', 'capabilities = ["read"]', 'expiration = 946684800'),
    grants: ['read y'],
    denies: ['read x', 'read z'],
  },
  'an identity template cannot be rendered: the path is dropped': {
    policies:
      may('own/{{identity.entity.id}}/*', 'read') + may('own/{{identity.entity.name}}', 'deny') + may('own/*', 'list'),
    grants: ['list own/'],
    denies: ['read own/{{identity.entity.id}}/x', 'read own//x', 'read own/1/x'],
  },

  'exact path before any pattern': {
    policies: may('aws/*', ...all) + may('aws/+/a', ...all) + may('aws/creds/a', 'read'),
    grants: ['read aws/creds/a', 'update aws/creds/b'],
    denies: ['update aws/creds/a'],
  },
  'exact deny before a granting pattern': {
    policies: may('aws/*', 'read') + may('aws/config/root', 'deny'),
    grants: ['read aws/config/lease'],
    denies: ['read aws/config/root'],
  },
  'a closing * stands for any text, also none': {
    policies: may('aws/creds/*', 'read') + may('sys/mount*', 'read'),
    grants: ['read aws/creds/a', 'read aws/creds/a/b', 'read aws/creds/', 'read sys/mounts', 'read sys/mount'],
    denies: ['read aws/creds', 'read sys/moun', 'read aws/sts/a'],
  },
  'a * elsewhere is a letter': {
    policies: may('aws/*/a', 'read'),
    grants: ['read aws/*/a'],
    denies: ['read aws/creds/a'],
  },
  'the path * alone: everything': {
    policies: may('*', 'read'),
    grants: ['read x', 'read aws/creds/a'],
    denies: ['update x'],
  },
  '+ is exactly one whole segment': {
    policies: may('+/creds/a', 'read') + may('aws/roles/+', 'read') + may('+', 'delete'),
    grants: ['read aws/creds/a', 'read other/creds/a', 'read aws/roles/x', 'delete anything'],
    denies: ['read a/b/creds/a', 'read creds/a', 'read aws/roles', 'read aws/roles/x/y', 'delete any/thing'],
  },
  '+ within a segment is a letter': {
    policies: may('aws/a+/x', 'read') + may('aws/+b/x', 'read'),
    grants: ['read aws/a+/x', 'read aws/+b/x'],
    denies: ['read aws/ab/x', 'read aws/a/x', 'read aws/b/x'],
  },
  '+ and a closing * together': {
    policies: may('+/creds/dev-*', 'read') + may('+/roles/+/*', 'list'),
    grants: ['read aws/creds/dev-a', 'read x/creds/dev-', 'read x/creds/dev-a/b', 'list x/roles/a/b/'],
    denies: ['read aws/creds/prod-a', 'read aws/creds', 'read a/b/creds/dev-a'],
  },
  'best: the first wildcard that comes latest': {
    policies: may('aws/+/+/x', 'read') + may('aws/creds/+/x', 'update') + may('aws/cr*', 'delete'),
    grants: ['update aws/creds/a/x', 'delete aws/creds/a/y', 'read aws/roles/a/x'],
    denies: ['read aws/creds/a/x', 'delete aws/creds/a/x'],
  },
  'best: the first wildcard that comes latest, also with a closing *': {
    policies: may('aws/creds/*', 'read') + may('aws/+/a', 'update'),
    grants: ['read aws/creds/a', 'update aws/roles/a'],
    denies: ['update aws/creds/a', 'read aws/roles/a'],
  },
  'best: the longer prefix': {
    policies: may('aws/*', 'read') + may('aws/creds/*', 'update') + may('aws/creds/prod-*', 'deny'),
    grants: ['read aws/roles/a', 'update aws/creds/dev'],
    denies: ['read aws/creds/dev', 'update aws/creds/prod-1', 'read aws/creds/prod-1'],
  },
  'best: then the one without a closing *': {
    policies: may('aws/+', 'read') + may('aws/*', 'update'),
    grants: ['read aws/a', 'update aws/a/b'],
    denies: ['update aws/a', 'delete aws/a', 'read aws/a/b'],
  },
  'best: then the one with fewer +': {
    policies: may('aws/+/b/+', 'read') + may('aws/+/+/+', 'update') + may('aws/+/b/c', 'delete'),
    grants: ['delete aws/a/b/c', 'read aws/a/b/d', 'update aws/a/c/d'],
    denies: ['read aws/a/b/c', 'update aws/a/b/d', 'read aws/a/c/d'],
  },
  'best: then the one with fewer +, also where it is shorter': {
    policies: may('+/b*', 'read') + may('+/+/*', 'update'),
    grants: ['read a/b/c', 'update a/c/d'],
    denies: ['update a/b/c', 'read a/c/d'],
  },
  'best: then the longer one': {
    policies:
      may('+/b/+', 'read') + may('+/+/cc', 'update') + may('+/creds/d*', 'list') + may('+/creds/dev*', 'delete'),
    grants: ['update a/b/cc', 'read a/b/c', 'delete aws/creds/dev1/x', 'list aws/creds/d1/x'],
    denies: ['read a/b/cc', 'list aws/creds/dev1/x'],
  },
  'best: then the later one in the alphabet': {
    policies: may('+/b/+', 'read') + may('+/+/c', 'update'),
    grants: ['read a/b/c', 'update a/x/c'],
    denies: ['update a/b/c', 'read a/x/c'],
  },
  'list: the exact path with or without its closing slash': {
    policies: may('aws/roles', 'list') + may('sys/policies/acl/', 'list'),
    grants: ['list aws/roles/', 'list sys/policies/acl/'],
    denies: ['list aws/', 'read aws/roles', 'read sys/policies/acl', 'list aws/roles/x/'],
  },
  'list: the exact path with its slash comes first': {
    policies: may('aws/roles/', 'list') + may('aws/roles', 'read'),
    grants: ['list aws/roles/', 'read aws/roles'],
    denies: ['read aws/roles/', 'list aws/creds/'],
  },
  'list: patterns, with and without the closing slash': {
    policies: may('aws/+', 'list') + may('sys/leases/lookup/*', 'list', 'sudo'),
    grants: ['list aws/roles/', 'list sys/leases/lookup/ sudo', 'list sys/leases/lookup/aws/ sudo'],
    denies: ['list aws/roles/x/', 'list sys/leases/'],
  },
  'list: the best of the patterns, whichever spelling it takes': {
    policies: may('aws/*', 'list') + may('aws/roles/*', 'deny') + may('sys/*', 'read') + may('sys/leases/*', 'list'),
    grants: ['list aws/creds/', 'list sys/leases/'],
    denies: ['list aws/roles/', 'list sys/mounts/'],
  },
  'only a list is meant without its slash': {
    policies: may('x', 'read', 'list'),
    grants: ['list x/', 'read x'],
    denies: ['read x/'],
  },

  'the same path in several policies: capabilities unite': {
    policies: [may('x', 'read'), may('x', 'update'), may('y', 'list')],
    grants: ['read x', 'update x', 'list y/'],
    denies: ['delete x', 'read y'],
  },
  'the same path in several policies: deny beats all': {
    policies: [may('x', 'read'), may('x', 'deny'), may('x', 'update'), may('y', 'read')],
    grants: ['read y'],
    denies: ['read x', 'update x'],
  },
  'the same pattern in several policies: deny beats all': {
    policies: [
      may('aws/*', 'read'),
      may('aws/*', 'deny'),
      may('aws/+/b', 'deny'),
      may('aws/+/b', 'read'),
      may('y/*', 'read'),
    ],
    grants: ['read y/a'],
    denies: ['read aws/a', 'read aws/a/b'],
  },
  'deny of one path is no deny of a better match': {
    policies: [may('aws/*', 'deny'), may('aws/creds/a', 'read')],
    grants: ['read aws/creds/a'],
    denies: ['read aws/creds/b'],
  },
  'sudo of one policy and the operation of another unite': {
    policies: [may('sys/seal', 'sudo'), may('sys/seal', 'update'), may('sys/*', 'sudo', 'update')],
    grants: ['update sys/seal sudo', 'update sys/raw sudo'],
    denies: ['read sys/seal sudo'],
  },

  'required_parameters: every one is there': {
    policies: creds('required_parameters = ["ttl", "reason"]'),
    grants: ['read aws/creds/a {"ttl":"1h","reason":"x"}', 'update aws/creds/a {"reason":"","ttl":null,"more":1}'],
    denies: [
      'read aws/creds/a',
      'read aws/creds/a {"ttl":"1h"}',
      'update aws/creds/a {"reason":"x"}',
      'update aws/creds/a {"TTL":"1h","reason":"x"}',
    ],
  },
  'required_parameters: for create, read, update and patch': {
    policies: path('x', `capabilities = ${JSON.stringify(all)}`, 'required_parameters = ["a"]'),
    grants: ['create x {"a":1}', 'patch x {"a":1}', 'delete x', 'list x/'],
    denies: ['create x', 'read x', 'update x', 'patch x'],
  },
  'required_parameters: in any case of letters': {
    policies: creds('required_parameters = ["TTL"]'),
    grants: ['read aws/creds/a {"ttl":"1h"}'],
    denies: ['read aws/creds/a {"TTL":"1h"}'],
  },
  'required_parameters of several policies unite': {
    policies: [creds('required_parameters = ["a"]'), creds('required_parameters = ["b"]')],
    grants: ['read aws/creds/a {"a":1,"b":2}'],
    denies: ['read aws/creds/a {"a":1}', 'read aws/creds/a {"b":1}'],
  },
  'denied_parameters: "*" denies any': {
    policies: creds('denied_parameters = { "*" = [] }'),
    grants: ['read aws/creds/a', 'update aws/creds/a {}'],
    denies: ['read aws/creds/a {"ttl":"1h"}', 'update aws/creds/a {"x":null}'],
  },
  'denied_parameters: an empty list denies the parameter': {
    policies: creds('denied_parameters = { "ttl" = [] }'),
    grants: ['read aws/creds/a {"role_arn":"x"}'],
    denies: [
      'read aws/creds/a {"ttl":"1h"}',
      'update aws/creds/a {"role_arn":"x","ttl":""}',
      'read aws/creds/a {"TTL":"1h"}',
    ],
  },
  'denied_parameters: a list denies these values': {
    policies: creds('denied_parameters = { "ttl" = ["12h", 7, true] }'),
    grants: ['read aws/creds/a {"ttl":"1h"}', 'read aws/creds/a {"ttl":"12"}'],
    denies: [
      'read aws/creds/a {"ttl":"12h"}',
      'update aws/creds/a {"ttl":7}',
      'update aws/creds/a {"ttl":"7"}',
      'update aws/creds/a {"ttl":true}',
      'update aws/creds/a {"ttl":["1h","12h"]}',
    ],
  },
  'denied_parameters: a glob at either end': {
    policies: creds('denied_parameters = { a = ["x*"], b = ["*x"], c = ["*x*"], d = ["*"] }'),
    grants: ['read aws/creds/a {"a":"yx","b":"xy","c":"y"}'],
    denies: [
      'read aws/creds/a {"a":"xy"}',
      'read aws/creds/a {"b":"yx"}',
      'read aws/creds/a {"c":"yxy"}',
      'read aws/creds/a {"d":"y"}',
    ],
  },
  'denied_parameters win over allowed ones': {
    policies: creds('allowed_parameters = { ttl = [], x = [] }', 'denied_parameters = { ttl = ["12h"], x = [] }'),
    grants: ['read aws/creds/a {"ttl":"1h"}'],
    denies: ['read aws/creds/a {"ttl":"12h"}', 'read aws/creds/a {"x":1}'],
  },
  'denied_parameters do not count for delete and list': {
    policies: path('x', `capabilities = ${JSON.stringify(all)}`, 'denied_parameters = { "*" = [] }'),
    grants: ['delete x {"a":1}', 'list x/ {"a":1}'],
    denies: ['create x {"a":1}', 'patch x {"a":1}'],
  },
  'allowed_parameters: only these': {
    policies: creds('allowed_parameters = { "ttl" = [] }'),
    grants: ['read aws/creds/a {"ttl":"1h"}', 'read aws/creds/a', 'read aws/creds/a {"TTL":"1h"}'],
    denies: ['read aws/creds/a {"role_arn":"x"}', 'update aws/creds/a {"ttl":"1h","role_arn":"x"}'],
  },
  'allowed_parameters: "*" opens the rest': {
    policies: creds('allowed_parameters = { "ttl" = ["1h"], "*" = [] }'),
    grants: ['read aws/creds/a {"ttl":"1h","x":1}', 'read aws/creds/a {"x":1}'],
    denies: ['read aws/creds/a {"ttl":"2h","x":1}'],
  },
  'allowed_parameters: a list allows these values': {
    policies: creds('allowed_parameters = { ttl = ["1h", 60], tags = [["a", "b"]] }'),
    grants: ['read aws/creds/a {"ttl":"1h"}', 'read aws/creds/a {"ttl":60}', 'update aws/creds/a {"tags":["a","b"]}'],
    denies: ['read aws/creds/a {"ttl":"3600"}', 'update aws/creds/a {"tags":["a"]}', 'read aws/creds/a {"ttl":null}'],
  },
  'allowed_parameters: a glob at either end': {
    policies: creds('allowed_parameters = { a = ["x*"], b = ["*x"], c = ["*x*"], d = ["x"] }'),
    grants: ['read aws/creds/a {"a":"xy","b":"yx","c":"yxy","d":"x"}'],
    denies: [
      'read aws/creds/a {"a":"yx"}',
      'read aws/creds/a {"b":"xy"}',
      'read aws/creds/a {"c":"y"}',
      'read aws/creds/a {"d":"xx"}',
    ],
  },
  'allowed_parameters that are empty say nothing': {
    policies: creds('allowed_parameters = { }'),
    grants: ['read aws/creds/a {"x":1}'],
    denies: ['delete aws/creds/a'],
  },
  'parameters as a block': {
    policies: creds('allowed_parameters {', '"ttl" = ["1h"]', '}'),
    grants: ['read aws/creds/a {"ttl":"1h"}'],
    denies: ['read aws/creds/a {"ttl":"2h"}'],
  },
  'parameter maps of several policies unite': {
    policies: [
      creds('allowed_parameters = { a = ["1"] }', 'denied_parameters = { c = ["1"] }'),
      creds('allowed_parameters = { a = ["2"], b = [] }', 'denied_parameters = { c = ["2"] }'),
    ],
    grants: ['read aws/creds/a {"a":"1","b":"x"}', 'read aws/creds/a {"a":"2"}'],
    denies: [
      'read aws/creds/a {"a":"3"}',
      'read aws/creds/a {"c":"1"}',
      'read aws/creds/a {"c":"2"}',
      'read aws/creds/a {"d":1}',
    ],
  },
  'parameter maps unite: an empty list means any value and wins': {
    policies: [
      creds('allowed_parameters = { a = ["1"], b = ["1"] }', 'denied_parameters = { b = [ ] }'),
      creds('allowed_parameters = { a = [], b = [] }', 'denied_parameters = { b = ["1"] }'),
    ],
    grants: ['read aws/creds/a {"a":"9"}'],
    denies: ['read aws/creds/a {"b":"9"}', 'read aws/creds/a {"b":"1"}'],
  },

  'max_wrapping_ttl: wrapped, and for no longer': {
    policies: creds('max_wrapping_ttl = "90s"'),
    grants: ['read aws/creds/a wrap 90', 'read aws/creds/a wrap 1'],
    denies: ['read aws/creds/a wrap 91', 'read aws/creds/a'],
  },
  'min_wrapping_ttl: wrapped, and for no shorter': {
    policies: creds('min_wrapping_ttl = 60'),
    grants: ['read aws/creds/a wrap 60', 'read aws/creds/a wrap 6000'],
    denies: ['read aws/creds/a wrap 59', 'read aws/creds/a'],
  },
  'both bounds of wrapping': {
    policies: creds('min_wrapping_ttl = "1m"', 'max_wrapping_ttl = "1h"'),
    grants: ['read aws/creds/a wrap 60', 'read aws/creds/a wrap 3600'],
    denies: ['read aws/creds/a wrap 59', 'read aws/creds/a wrap 3601', 'update aws/creds/a'],
  },
  'bounds of wrapping of several policies: the lowest of each': {
    policies: [
      creds('min_wrapping_ttl = 60', 'max_wrapping_ttl = 600'),
      creds('min_wrapping_ttl = 30', 'max_wrapping_ttl = 900'),
      creds(),
    ],
    grants: ['read aws/creds/a wrap 30', 'read aws/creds/a wrap 600'],
    denies: ['read aws/creds/a wrap 29', 'read aws/creds/a wrap 601', 'read aws/creds/a'],
  },
  'bounds of wrapping that cross when united: nothing': {
    policies: [creds('min_wrapping_ttl = 60'), creds('max_wrapping_ttl = 30'), may('x', 'read')],
    grants: ['read x'],
    denies: ['read aws/creds/a wrap 30', 'read aws/creds/a wrap 60', 'read aws/creds/a wrap 45'],
  },
};

function requestIn(row: Row): { request: AccessRequest; sudo: boolean } {
  const [, operation, asked, parameters, wrap, sudo] =
    /^(\w+) (\S+)(?: (\{.*\}))?(?: wrap (\d+))?( sudo)?$/.exec(row) ?? [];
  if (!operation) throw new Error(`This row says nothing: ${row}`);
  return {
    request: {
      operation: operation as AccessRequest['operation'],
      path: asked!,
      ...(parameters ? { parameters: JSON.parse(parameters) as Record<string, unknown> } : {}),
      ...(wrap ? { wrapTtlMs: Number(wrap) * 1000 } : {}),
    },
    sudo: sudo !== undefined,
  };
}

const aclOf = (policies: string | string[]) => Acl.of([policies].flat().flatMap(parsePolicy), Date.now());

describe.each(Object.entries(rules))('%s', (_, { policies, grants, denies }) => {
  const acl = aclOf(policies);
  const allowed = (row: Row) => {
    const { request, sudo } = requestIn(row);
    return acl.allows(request, sudo);
  };
  if (grants.length > 0) it.each(grants)('grants %s', (row) => expect(allowed(row)).toBe(true));
  it.each(denies)('denies %s', (row) => expect(allowed(row)).toBe(false));
});

describe('the table', () => {
  it('has 150 cases and more, and of every rule a grant and a denial', () => {
    const rows = Object.values(rules).flatMap(({ grants, denies }) => [...grants, ...denies]);
    expect(rows.length).toBeGreaterThanOrEqual(150);
    process.stderr.write(`Policies: ${rows.length} cases of ${Object.keys(rules).length} rules.\n`);
    const oneSided = Object.entries(rules).filter(([, { grants, denies }]) => !grants.length || !denies.length);
    expect(oneSided.map(([name]) => name)).toEqual(['no policy at all: nothing', 'a policy of comments only: nothing']);
  });
});

describe('the root policy', () => {
  it('grants everything, with sudo, whatever is sent', () => {
    for (const row of ['read x sudo', 'update sys/seal {"a":1} sudo', 'delete aws/roles/a', 'list / wrap 5']) {
      expect(Acl.root.allows(requestIn(row).request, true)).toBe(true);
    }
    expect(Acl.root.capabilities('x')).toEqual(['root']);
    expect(Acl.root.hasSudo('auth/token/create')).toBe(true);
  });
});

describe('what is told of the capabilities', () => {
  const acl = aclOf([
    may('x', 'update', 'read', 'sudo') + may('y/*', 'list') + may('z', 'deny') + may('+/w/*', 'delete') + path('v'),
  ]);

  it.each<[string, string[]]>([
    ['x', ['read', 'sudo', 'update']],
    ['/x', ['read', 'sudo', 'update']],
    ['x/', ['read', 'sudo', 'update']],
    ['y', ['deny']],
    ['y/', ['list']],
    ['z', ['deny']],
    ['v', ['deny']],
    ['a/w/b', ['delete']],
    ['nothing', ['deny']],
    ['', ['deny']],
  ])('of %j: %j', (asked, told) => expect(acl.capabilities(asked)).toEqual(told));

  it('of all rules', () => {
    expect(acl.summary()).toEqual({
      exact: { x: ['read', 'sudo', 'update'], z: ['deny'], v: ['deny'] },
      globs: { 'y/': ['list'], '+/w/*': ['delete'] },
    });
  });

  it('of sudo alone', () => {
    expect(acl.hasSudo('x')).toBe(true);
    expect(acl.hasSudo('y/a')).toBe(false);
  });
});

it('says until when it is right', () => {
  const rule = (until: string) => path('x', 'capabilities = ["read"]', `expiration = ${until}`);
  const [acl, later] = [2_000, 150_000].map((now) => Acl.of(parsePolicy(rule('100') + rule('200')), now));
  expect(acl!.validUntil).toBe(100_000);
  expect(later!.validUntil).toBe(200_000);
  expect(aclOf(may('x', 'read')).validUntil).toBe(Number.POSITIVE_INFINITY);
});
