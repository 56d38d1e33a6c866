import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { everything } from './support/everything.js';
import { rawRequest } from './support/raw-request.js';
import { World } from './support/world.js';

type Json = Record<string, unknown>;

describe('help', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    await world.mount('team/aws');
  });
  afterAll(() => world.close());

  const help = (path: string) => world.http.call('GET', `${path}?help=1`);

  it('shows what the engine is and every path it has, sorted', async () => {
    const { status, headers, body } = await help('team/aws');
    expect([status, headers.get('content-type')]).toEqual([200, 'application/json']);
    expect(Object.keys(body).sort()).toEqual(['help', 'openapi', 'see_also']);
    const text = String(body.help);
    expect(text).toMatch(/^## DESCRIPTION\n\n[^]+\n## PATHS\n\n/);
    expect(text.match(/^ {4}\^.*\$$/gm)).toEqual([
      String.raw`    ^(creds|sts)/(?P<name>\w(([\w-.@]+)?\w)?)$`,
      '    ^config/accounts$',
      String.raw`    ^config/accounts/(?P<account_id>\w+)$`,
      '    ^config/lease$',
      '    ^config/root$',
      '    ^config/rotate-root$',
      '    ^roles$',
      String.raw`    ^roles/(?P<name>\w(([\w-.@]+)?\w)?)$`,
      String.raw`    ^roles/(?P<name>\w(([\w-.@]+)?\w)?)/trial$`,
      String.raw`    ^roles/(?P<name>\w(([\w-.@]+)?\w)?)/validate$`,
      String.raw`    ^static-creds/(?P<name>\w(([\w-.@]+)?\w)?)$`,
      '    ^static-roles$',
      String.raw`    ^static-roles/(?P<name>\w(([\w-.@]+)?\w)?)$`,
    ]);
    expect((await help('team/aws/')).body.help).toBe(text);
  });

  it.each([
    ['config/root', '^config/root$', ['access_key (string)', 'max_retries (int)', 'sts_fallback_regions (slice)']],
    ['config/lease', '^config/lease$', ['lease (string)', 'lease_max (string)']],
    ['config/accounts', '^config/accounts$', []],
    ['config/accounts/012345678901', '^config/accounts/', ['secret_key (string)', 'role_arn (string)']],
    ['roles', '^roles$', []],
    ['roles/', '^roles$', []],
    ['roles/any', '^roles/', ['iam_tags (keypair)', 'default_sts_ttl (duration (sec))', 'arn (string) (DEPRECATED)']],
    ['roles/any/validate', '^roles/', ['mfa_serial_number (string)', 'max_user_ttl (duration (sec))']],
    ['roles/any/trial', '^roles/', ['path (string)', 'mfa_code (string)']],
    ['creds/any', '^(creds|sts)/', ['ttl (duration (sec))', 'role_arn (string)', 'ready (bool)']],
    ['sts/any', '^(creds|sts)/', ['role_session_name (string)']],
  ])('explains %s', async (path, route, parameters) => {
    const { status, body } = await help(`team/aws/${path}`);
    const text = String(body.help);
    expect(status).toBe(200);
    expect(text.split('\n')[0]).toBe(`Request:        ${path.replace(/\/$/, '')}`);
    expect(text.split('\n')[1]!.startsWith(`Matching Route: ${route}`)).toBe(true);
    expect(text).toContain('\n## DESCRIPTION\n');
    for (const parameter of parameters) expect(text).toContain(`\n    ${parameter}\n`);
  });

  it.each([
    'sys',
    'sys/mounts',
    'sys/mounts/aws',
    'sys/mounts/aws/tune',
    'sys/leases/lookup',
    'sys/leases/renew',
    'sys/leases/revoke',
    'sys/leases/revoke-prefix/aws',
    'sys/revoke-force/aws',
    'sys/health',
    'sys/seal-status',
    'sys/init',
    'sys/leader',
    'auth/token',
    'auth/token/lookup-self',
    'auth/token/create',
    'auth/token/create/any',
    'auth/token/roles/any',
    'auth/approle',
    'auth/approle/login',
    'auth/approle/role/any/secret-id',
    'sys/auth',
  ])('explains %s of the core', async (path) => {
    const { status, body } = await help(path);
    expect([status, String(body.help).includes('## DESCRIPTION')]).toEqual([200, true]);
  });

  it('explains every path of the documents, with what it takes and with a document of its own', async () => {
    const { paths } = JSON.parse(readFileSync('docs/openapi.json', 'utf8')) as { paths: Record<string, Json> };
    const templates = Object.keys(paths).map((template) => template.slice(1).replace(/\/$/, ''));
    expect(templates.length).toBeGreaterThan(100);
    for (const template of templates) {
      const path = template.replace('{aws_mount_path}', 'team/aws').replaceAll(/\{\w+\}/g, 'any');
      const { status, body } = await help(path);
      const text = String(body.help);
      const shown = path.replace(/^team\/aws\//, '');
      expect([path, status, text.split('\n')[0]]).toEqual([path, 200, `Request:        ${shown}`]);
      const [, route] = /^Matching Route: \^(.+)\$$/m.exec(text) ?? [];
      expect(shown).toMatch(new RegExp(`^${route!.replaceAll('(?P<', '(?<')}$`));
      expect(text).toMatch(
        /\$\n\n\S.*\.\n\n(## PARAMETERS\n\n( {4}\S+ \([^()]+( \(sec\))?\)( \(DEPRECATED\))?\n\n {8}\S.*\n\n?)+\n?)?## DESCRIPTION\n\n\S/,
      );
      expect(body.see_also).toBeNull();
      const own = (body.openapi as { paths: Record<string, Json> }).paths;
      expect(Object.keys(own).length).toBeGreaterThan(0);
    }
  }, 30_000);

  it.each(['sys', 'auth/token', 'auth/approle', 'cubbyhole'])('lists every path below %s', async (mount) => {
    const text = String((await help(mount)).body.help);
    const listed = [...text.matchAll(/^ {4}\^(.+)\$\n {8}\S/gm)].map(([, pattern]) => pattern!);
    expect(listed.length).toBeGreaterThan(0);
    expect(listed).toEqual([...listed].sort());
    expect(listed.every((pattern) => pattern.startsWith(`${mount}/`))).toBe(true);
  });

  it.each(['team/aws', 'team/aws/', 'team/aws/creds/any', 'sys', 'sys/mounts/aws'])(
    'is given for the verb HELP too: %s',
    async (path) => {
      const answer = await rawRequest(world.http.url, 'HELP', `/v1/${path}`, {
        headers: { 'X-Vault-Token': world.http.token },
      });
      expect([answer.status, answer.text]).toEqual([200, (await help(path)).text]);
    },
  );

  it('changes nothing, whatever the method', async () => {
    const before = await everything(world);
    for (const method of ['GET', 'PUT', 'DELETE', 'LIST']) {
      const answer = await world.http.call(method, 'sys/mounts/team/aws?help=1', method === 'PUT' ? '{}' : undefined);
      expect([method, answer.status, typeof answer.body.help]).toEqual([method, 200, 'string']);
    }
    expect(await everything(world)).toEqual(before);
  });

  it('is a normal request when the word is empty', async () => {
    expect((await world.http.call('GET', 'team/aws/roles?help=&list=true')).status).toBe(404);
  });

  it.each([
    ['nowhere', 'no handler for route "nowhere". route entry not found.'],
    ['team', 'no handler for route "team". route entry not found.'],
    ['team/aws/nowhere', '1 error occurred:\n\t* unsupported path\n\n'],
    ['team/aws/creds', '1 error occurred:\n\t* unsupported path\n\n'],
    ['sys/nowhere', '1 error occurred:\n\t* unsupported path\n\n'],
  ])('knows nothing of %s', async (path, text) => {
    const answer = await help(path);
    expect([answer.status, answer.body.errors]).toEqual([404, [text]]);
  });

  it('is for callers with a token', async () => {
    for (const path of ['team/aws', 'team/aws/creds/x', 'sys/health']) {
      const answer = await world.http.call('GET', `${path}?help=1`, undefined, { token: null });
      expect([path, answer.status, answer.body.errors]).toEqual([path, 403, ['permission denied']]);
    }
  });
});
