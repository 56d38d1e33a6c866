import { describe, expect, it } from '@jest/globals';
import { InvalidRequest } from '#libs/contracts';
import { parsePolicy } from './policy.js';

const pathsOf = (text: string) => parsePolicy(text).map((rule) => rule.path);
const oneRule = (body: string) => parsePolicy(`path "x" {\n${body}\n}`)[0]!;

describe('a policy is taken', () => {
  it.each<[string, string, string[]]>([
    ['with nothing in it', '', []],
    ['of comments only', '# a\n// b\n/* c\n */', []],
    ['whose comment ends with the text', 'path "x" {} #', ['x']],
    ['whose comment is empty', '#\npath "x" {}\n//\npath "y" {}\n/**/', ['x', 'y']],
    ['with Windows line ends', 'path "x" {\r\n  policy = "read" # c\r\n}\r\n', ['x']],
    ['on one line', 'path "x" { capabilities = ["read"], comment = "c" } path "y" {}', ['x', 'y']],
    ['with quoted keys', '"path" "x" { "capabilities" = ["read"] }', ['x']],
    ['with an equals sign before its block', 'path = { "x" = { capabilities = ["read"] } }', ['x']],
    ['whose paths are doubled', 'path "x" {}\npath "x" {}', ['x', 'x']],
    ['with escapes in its path', 'path "a\\x41\\u0042\\"\\\\\\101" {}', ['aAB"\\A']],
    ['with braces that are no template', 'path "a/{b}/${c}" {}', ['a/{b}/${c}']],
    ['with a template, which is left out', 'path "a/{{identity.entity.id}}" {}\npath "b" {}', ['b']],
    ['with a leading slash, and only one is stripped', 'path "/x" {}\npath "//x" {}', ['x', '/x']],
    ['with a list that ends in a comma', 'path "x" { capabilities = ["read",\n"list",\n] }', ['x']],
    ['as JSON', ' {"name":"n","path":{"x":{"policy":"read"},"\\u0079\\/":{}}}', ['x', 'y/']],
    ['as JSON without a path', '{}', []],
  ])('%s', (_, text, paths) => expect(pathsOf(text)).toEqual(paths));

  it('with all that it may say', () => {
    const rule = oneRule(`
      comment = <<-END
          path "y" {}
        END
      capabilities = ["read"]
      allowed_parameters = { "TTL" = ["1h", 5, -1.5, true, false, ["a"], { a = 1 }], "*" = [] }
      denied_parameters { x = [], }
      required_parameters = ["Reason"]
      min_wrapping_ttl = "1m"
      max_wrapping_ttl = 90
      expiration = "2030-01-31T12:00:00Z"
    `);
    expect(rule).toEqual({
      path: 'x',
      capabilities: new Set(['read']),
      allowed: new Map([
        ['ttl', ['1h', 5, -1.5, true, false, ['a'], { a: 1 }]],
        ['*', []],
      ]),
      denied: new Map([['x', []]]),
      required: new Set(['reason']),
      minWrappingTtlMs: 60_000,
      maxWrappingTtlMs: 90_000,
      expiresAt: Date.UTC(2030, 0, 31, 12),
    });
  });
});

describe('a policy is refused', () => {
  it.each<[string, string, string]>([
    ['an unknown capability', 'path "x" { capabilities = ["read", "y"] }', 'path "x": invalid capability "y"'],
    [
      'an unknown capability behind deny',
      'path "x" { capabilities = ["deny", "y"] }',
      'path "x": invalid capability "y"',
    ],
    ['an unknown old word', 'path "x" { policy = "y" }', 'path "x": invalid policy "y"'],
    ['an old word of another type', 'path "x" { policy = 1 }', 'path "x": invalid policy "1"'],
    ['a plus before a star', 'path "/x/+*" {}', `path "x/+*": invalid use of wildcards ('+*' is forbidden)`],
    ['an unknown key', 'path "x" { y = 1 }', '1 error occurred:\n\t* path "x": invalid key "y" on line 1\n\n'],
    [
      'unknown keys',
      'path "x" {\n  y = 1\n\n  "z" = []\n}',
      '2 errors occurred:\n\t* path "x": invalid key "y" on line 2\n\t* path "x": invalid key "z" on line 4\n\n',
    ],
    ['an unknown key outside', 'name = "n"\ny = 1', '1 error occurred:\n\t* invalid key "y" on line 2\n\n'],
    ['an unknown block outside', 'paths "x" {}', '1 error occurred:\n\t* invalid key "paths" on line 1\n\n'],
    [
      'bounds that cross',
      'path "x" { min_wrapping_ttl = "2m" max_wrapping_ttl = "1m" }',
      'max_wrapping_ttl cannot be less than min_wrapping_ttl',
    ],
    [
      'a bound that is none',
      'path "x" { min_wrapping_ttl = "5x" }',
      'error parsing min_wrapping_ttl: time: unknown unit "x" in duration "5x"',
    ],
    [
      'a bound below zero',
      'path "x" { max_wrapping_ttl = -5 }',
      "error parsing max_wrapping_ttl: cannot provide negative value '-5'",
    ],
    [
      'an expiration that is no instant',
      'path "x" { expiration = "soon" }',
      'path "x": invalid expiration time: give an instant such as 2030-01-31T12:00:00Z',
    ],
    [
      'half a template',
      'path "x/{{identity" {}',
      'failed to validate policy templating: unbalanced templating characters',
    ],
    ['a block that is not closed', 'path "x" {\n', 'At 1:10: a block that is not closed'],
    ['a brace too many', 'path "x" { }\n }', 'At 2:2: expected a name or a quoted text'],
    ['a list that is not closed', 'path "x" { capabilities = ["read"', 'At 1:27: a list that is not closed'],
    [
      'a list without commas',
      'path "x" { capabilities = ["a" "b"] }',
      'At 1:32: expected a comma or the end of the list',
    ],
    ['a text that is not closed', 'path "x {\n}', 'At 1:6: a text that is not closed'],
    ['an escape that is none', 'path "\\q" {}', 'At 1:7: an escape that is none'],
    ['an escaped NUL', 'path "\\u0000" {}', 'At 1:7: an escape that is none'],
    ['half an escape', 'path "\\x4" {}', 'At 1:7: an escape that is none'],
    ['a comment that is not closed', '/* path', 'At 1:1: a comment that is not closed'],
    ['a heredoc that is not closed', 'name = <<EOT\npath', 'At 1:8: a heredoc that is not closed'],
    ['a heredoc without a name', 'name = <<\n', 'At 1:8: expected a heredoc: <<NAME and a line end'],
    ['an entry that breaks off', 'path "x"', 'At 1:9: the text ends within an entry'],
    ['a missing value', 'path "x" { policy = }', 'At 1:21: expected a value'],
    ['a word where a value is due', 'path "x" { policy = read }', 'At 1:21: expected a value'],
    ['a number that is none', 'path "x" { min_wrapping_ttl = 5m }', 'At 1:31: expected a value'],
    ['labels and an equals sign', 'path "x" = {}', 'At 1:10: a block with labels has no equals sign'],
    ['two labels', 'path "x" "y" {}', 'At 1:1: a path block has one label, its path'],
    ['a path that is no block', 'path = "x"', 'At 1:1: expected a block'],
    ['a name that is none', 'name = 5', 'At 1:1: name must be a text'],
    [
      'capabilities that are no list',
      'path "x" { capabilities = "read" }',
      'At 1:12: "capabilities" must be a list of texts',
    ],
    [
      'capabilities that are no texts',
      'path "x" { capabilities = [1] }',
      'At 1:12: "capabilities" must be a list of texts',
    ],
    [
      'a key that was set',
      'path "x" {\n policy = "deny"\n policy = "read"\n}',
      'At 3:2: the argument "policy" was already set',
    ],
    [
      'a key that was set, in JSON',
      '{"path":{"x":{"policy":"deny","policy":"read"}}}',
      'At 1:31: the argument "policy" was already set',
    ],
    [
      'parameters that are no map',
      'path "x" { allowed_parameters = ["a"] }',
      'At 1:12: "allowed_parameters" must be a map of lists',
    ],
    [
      'a parameter without a list',
      'path "x" { denied_parameters = { a = "b" } }',
      'At 1:34: expected a parameter and a list of values',
    ],
    [
      'a parameter that was named',
      'path "x" { denied_parameters = { a = [], "A" = [1] } }',
      'At 1:42: the parameter "a" was already named',
    ],
    ['no JSON', '{"path":{"x":{"policy":"read"},}}', 'At 1:32: the text begins like JSON, and is none'],
    ['JSON that breaks off', '{"path":\n{', 'At 2:2: the text begins like JSON, and is none'],
    ['JSON that goes on', '{} path "x" {}', 'At 1:4: the text begins like JSON, and is none'],
    ['a NUL', 'path "x" {}\n\0', 'At 2:1: a NUL character'],
    ['a character that means nothing', 'path "x" {}\n;', 'At 2:1: expected a name or a quoted text'],
  ])('%s', (_, text, refusal) => {
    const parse = () => parsePolicy(text);
    expect(parse).toThrow(InvalidRequest);
    expect(parse).toThrow(new InvalidRequest(`failed to parse policy: ${refusal}`));
  });

  it('when it nests without end, in HCL as in JSON', () => {
    const deep = 100_000;
    const hcl = `path "x" { control_group = ${'['.repeat(deep)}`;
    const json = `{"path":{"x":{"control_group":${'['.repeat(deep)}${']'.repeat(deep)}}}}`;
    for (const text of [hcl, json]) expect(() => parsePolicy(text)).toThrow(/nested too deeply|is none/);
  });
});

it('reads a policy of 5,000 paths', () => {
  const text = Array.from({ length: 5_000 }, (_, index) => `path "aws/creds/${index}" { capabilities = ["read"] } # c`);
  expect(parsePolicy(text.join('\n'))).toHaveLength(5_000);
});
