import { describe, expect, it } from '@jest/globals';
import { InvalidRequest } from '#libs/contracts';
import { checkTemplate, compileTemplate, defaultTemplate, type UsernameData } from './username-template.js';

const now = new Date('2026-02-03T16:05:06.070Z');
const iam: UsernameData = { type: 'IAM', displayName: 'token-root', policyName: 'my.role', now };
const sts: UsernameData = { ...iam, type: 'STS' };

/** Renders behind a prefix, since a name of one character would be refused. */
function render(action: string, data = iam): string {
  return compileTemplate(`n=${action}`).render(data).slice(2);
}

describe('the default template', () => {
  it('names users and sessions for display name, role and time', () => {
    expect(compileTemplate(defaultTemplate).render(iam)).toMatch(
      /^vault-token-root-my\.role-1770134706-[0-9A-Za-z]{20}$/,
    );
  });

  it('cuts the display and role names so that 20 random characters remain within 64', () => {
    const name = compileTemplate(defaultTemplate).render({
      ...iam,
      displayName: 'd'.repeat(20),
      policyName: 'r'.repeat(100),
    });
    expect(name).toMatch(/^vault-d{20}-r{5}-1770134706-[0-9A-Za-z]{20}$/);
    expect(name).toHaveLength(64);
  });

  it('names federation tokens within 32', () => {
    expect(compileTemplate(defaultTemplate).render(sts)).toMatch(/^vault-1770134706-[0-9A-Za-z]{15}$/);
  });

  it('passes its own check', () => {
    expect(() => checkTemplate(defaultTemplate)).not.toThrow();
  });

  it('never makes a name twice', () => {
    const names = Array.from({ length: 500 }, () => compileTemplate(defaultTemplate).render(sts).toLowerCase());
    expect(new Set(names).size).toBe(500);
  });
});

describe('the template language', () => {
  it.each([
    ['fields', '{{ .Type }}-{{ .DisplayName }}-{{ .PolicyName }}', 'IAM-token-root-my.role'],
    ['strings of both kinds', '{{ "a" }}{{ `b` }}{{ "+" }}', 'ab+'],
    ['braces inside strings', '{{ "a}}b" | replace "}}" "-" }}', 'a-b'],
    ['integers', '{{ 12 }}{{-3}}', '12-3'],
    ['pipes', '{{ "abcdef" | uppercase | truncate 3 }}', 'ABC'],
    ['parentheses', '{{ truncate 2 (lowercase ("ABC" | truncate 3)) }}', 'ab'],
    ['functions as arguments', '{{ truncate 4 unix_time }}', '1770'],
    ['comments', 'a{{/* "why" }} */}}b{{- /* trimmed */ -}}  c', 'abc'],
    ['trim markers', 'a  {{- "b" -}}  \n c', 'abc'],
    ['line breaks inside actions', '{{\n "a"\n}}', 'a'],
    ['if', '{{ if eq .Type "IAM" }}a{{ end }}', 'a'],
    ['if that is false', '{{ if eq .Type "STS" }}a{{ end }}b', 'b'],
    ['else', '{{ if eq .Type "STS" }}a{{ else }}b{{ end }}', 'b'],
    ['else if', '{{ if eq 1 2 }}a{{ else if .DisplayName }}b{{ else }}c{{ end }}', 'b'],
    ['if inside if', '{{ if true }}{{ if false }}a{{ else }}b{{ end }}c{{ end }}', 'bc'],
    ['what counts as false', '{{ if "" }}a{{ end }}{{ if 0 }}b{{ end }}{{ if false }}c{{ end }}d', 'd'],
    ['eq with several', '{{ eq "a" "b" "a" }}', 'true'],
    ['printf', '{{ printf "%s-%d-%v-%05d" "a" 1 true -3 }}', 'a-1-true--0003'],
    ['printf with a width and a precision', '{{ printf "%.2s" "abc" }}{{ printf "%3d" 5 | replace " " "_" }}', 'ab__5'],
    ['a pipe into printf', '{{ "b" | printf "%s-%s" "a" }}', 'a-b'],
    ['truncate', '{{ truncate 3 "abcdef" }}{{ truncate 9 "abc" }}', 'abcabc'],
    ['truncate_sha256', '{{ truncate_sha256 9 "abcdefghijklmn" }}', 'ad532b976'],
    ['replace', '{{ replace "-" "$&" "a-b-c" | replace "$&" "_" }}', 'a_b_c'],
    ['sha256', '{{ sha256 "abc" | truncate 8 }}', 'ba7816bf'],
    ['base64', '{{ base64 "vault" }}', 'dmF1bHQ='],
    ['unix_time', '{{ unix_time }}', '1770134706'],
    ['unix_time_millis', '{{ unix_time_millis }}', '1770134706070'],
    ['timestamp', '{{ timestamp "20060102T150405" }}', '20260203T160506'],
  ])('knows %s', (_, action, name) => {
    expect(render(action)).toBe(name);
  });

  it('makes random characters and uuids anew each time', () => {
    expect(render('{{ random 30 }}')).toMatch(/^[0-9A-Za-z]{30}$/);
    expect(render('{{ uuid }}')).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(render('{{ random 30 }}')).not.toBe(render('{{ random 30 }}'));
  });

  it("shows names in IAM's characters, and none to federation tokens", () => {
    const odd = { displayName: 'jörg/ops', policyName: 'a b' };
    expect(render('{{ .DisplayName }}-{{ .PolicyName }}', { ...iam, ...odd })).toBe('j_rg_ops-a_b');
    expect(render('{{ .DisplayName }}-{{ .PolicyName }}', { ...sts, ...odd })).toBe('-');
  });

  it.each([
    ['{{ foo }}', 'template: template:1: function "foo" not defined'],
    ['\n{{ foo }}', 'template: template:2: function "foo" not defined'],
    ['{{ ne 1 1 }}', 'template: template:1: function "ne" not defined'],
    ['{{ constructor }}', 'template: template:1: function "constructor" not defined'],
    ['{{ .Foo }}', 'template: template:1: field "Foo" not defined'],
    ['{{ }}', 'template: template:1: missing value for command'],
    ['{{ "a" | }}', 'template: template:1: missing value for command'],
    ['{{ (random 3 }}', 'template: template:1: unclosed left paren'],
    ['{{ random 3) }}', 'template: template:1: unexpected ")" in action'],
    ['{{ "x" "y" }}', "template: template:1: can't give argument to non-function"],
    ['{{ "x" | .Type }}', "template: template:1: can't give argument to non-function"],
    ['{{ "x" | (truncate 1) }}', "template: template:1: can't give argument to non-function"],
    ['{{ "x }}', 'template: template:1: unterminated quoted string'],
    ['{{ "\\q" }}', 'template: template:1: unsupported escape or control character in "\\q"'],
    ['{{ 010 }}', 'template: template:1: unexpected "0" in action'],
    ['{{ $x }}', 'template: template:1: unexpected "$" in action'],
    ['{{ random 3', 'template: template:1: unclosed action'],
    ['{{ end }}', 'template: template:1: unexpected {{end}}'],
    ['{{ if true }}a', 'template: template:1: unexpected EOF, an {{if}} has no {{end}}'],
    ['{{ if true }}a{{ else }}b{{ else }}c{{ end }}', 'template: template:1: expected end; found {{else}}'],
    ['{{ range .Type }}{{ end }}', 'template: template:1: "range" is not supported in a username template'],
  ])('refuses %j', (text, fault) => {
    expect(() => compileTemplate(text)).toThrow(
      new InvalidRequest(`unable to initialize username template: unable to parse template: ${fault}`),
    );
  });

  it('refuses no template and an endless one', () => {
    expect(() => compileTemplate('')).toThrow('unable to initialize username template: missing template');
    expect(() => compileTemplate('x'.repeat(2049))).toThrow('the template is longer than 2048 characters');
  });

  it('survives the deepest nesting that fits', () => {
    const depth = 1000;
    expect(render(`{{${'('.repeat(depth)}"deep"${')'.repeat(depth)}}}`)).toBe('deep');
  });

  it.each([
    ['{{ random }}', 'wrong number of args for random: got 0'],
    ['{{ random 3 4 }}', 'wrong number of args for random: got 2'],
    ['{{ random "3" }}', 'error calling random: expected int; got string'],
    ['{{ random 0 }}', 'error calling random: length must be from 1 to 256 but was 0'],
    ['{{ truncate 0 "abc" }}', 'error calling truncate: max length must be > 0 but was 0'],
    ['{{ truncate_sha256 8 "abc" }}', 'error calling truncate_sha256: max length must be > 8 but was 8'],
    ['{{ uppercase 1 }}', 'error calling uppercase: expected string; got number'],
    ['{{ eq 1 "a" }}', 'error calling eq: incompatible types for comparison'],
    ['{{ printf "%s" }}', 'error calling printf: missing argument for %s'],
    ['{{ printf "%s" 1 }}', 'error calling printf: %s does not fit or is not supported for a number'],
    ['{{ printf "%q" "a" }}', 'error calling printf: %q does not fit or is not supported for a string'],
    ['{{ printf "a" "b" }}', 'error calling printf: 1 more arguments than the format uses'],
    [
      `{{ replace "a" "${'a'.repeat(200)}" (replace "a" "${'a'.repeat(200)}" "aa") }}`,
      'error calling replace: the result is too long',
    ],
  ])('says what is wrong with %j when it is used', (text, fault) => {
    expect(() => compileTemplate(text).render(iam)).toThrow(
      new InvalidRequest(`failed to generate username: unable to apply template: ${fault}`),
    );
  });

  it.each([
    ['{{ .DisplayName }}', iam, 'd'.repeat(65), 'exceeds the IAM username length limits of 64 chars'],
    ['{{ random 33 }}', sts, '', 'exceeds the STS username length limits of 32 chars'],
    ['{{ .DisplayName }}', iam, 'd', 'is shorter than 2 chars'],
    ['a/{{ .DisplayName }}', iam, 'd', 'may hold only letters, digits and +=,.@_-'],
  ])('gives out no name that AWS would refuse: %s', (text, data, displayName, fault) => {
    expect(() => compileTemplate(text).render({ ...data, displayName })).toThrow(
      new InvalidRequest(`the username generated by the template ${fault}`),
    );
  });
});

describe('the check of a template when it is written', () => {
  it.each([
    'vault-{{ random 20 }}',
    '{{ random 12 }}',
    '{{ random 12 | uppercase }}',
    '{{ .DisplayName | truncate 20 }}-{{ .PolicyName | truncate 20 }}-{{ random 20 }}',
    '{{ printf "%s-%s" .DisplayName .PolicyName | truncate_sha256 40 }}-{{ random 20 }}',
    '{{ uuid | replace "-" "" | truncate 20 }}',
    '{{ random 20 | sha256 | truncate 32 }}',
    '{{ timestamp "Monday-January" }}{{ random 12 }}',
    '{{ random 200 | truncate 30 }}',
  ])('lets pass %j', (text) => {
    expect(() => checkTemplate(text)).not.toThrow();
  });

  it.each([
    ['does not parse', '{{ foo }}', 'unable to parse template'],
    ['fails', '{{ truncate 0 (random 20) }}', 'unable to apply template'],
    [
      'is too long for the longest names',
      'vault-{{ .PolicyName }}-{{ random 20 }}',
      'IAM username length limits of 64',
    ],
    ['is too long for a federation token', 'vault-{{ random 27 }}', 'STS username length limits of 32'],
    ['uses characters that IAM refuses', 'team/{{ random 20 }}', 'may hold only'],
    ['ends in a line break', 'vault-{{ random 20 }}\n', 'may hold only'],
    ['puts a time with colons in', '{{ timestamp "15:04" }}{{ random 20 }}', 'may hold only'],
    ['has no random part', 'vault-{{ .DisplayName | truncate 20 }}', 'only 0 random characters'],
    ['has too small a random part', 'vault-{{ random 11 }}', 'only 11 random characters'],
    [
      'loses its random part to long names',
      '{{ printf "vault-%s-%s-%s" (printf "%s-%s" .DisplayName .PolicyName | truncate 42) unix_time (random 20) | truncate 64 }}',
      'only 4 random characters',
    ],
    ['hides a small random part behind a hash', '{{ random 4 | sha256 | truncate 30 }}', 'only 4 random characters'],
    ['keeps little of a hash', '{{ random 20 | sha256 | truncate 6 }}', 'only 6 random characters'],
    ['only compares what is random', '{{ if eq (random 20) "x" }}a{{ end }}vault', 'only 0 random characters'],
    [
      'has too little for federation tokens alone',
      '{{ if eq .Type "STS" }}{{ random 8 }}{{ else }}{{ random 20 }}{{ end }}',
      'only 8 random characters',
    ],
    ['draws without end', '{{ random 200 }}{{ random 200 }}', 'more than 256 random characters'],
  ])('refuses one that %s', (_, text, fault) => {
    expect(() => checkTemplate(text)).toThrow(InvalidRequest);
    expect(() => checkTemplate(text)).toThrow(fault);
  });
});
