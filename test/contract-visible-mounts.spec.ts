import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { giveTokens } from './support/tokens.js';
import { World } from './support/world.js';

const listing = 'sys/internal/ui/mounts';

describe('the mounts that a caller may see', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    for (const [path, listing_visibility] of [
      ['aws', ''],
      ['team/prod', ''],
      ['public', 'unauth'],
      ['quiet', 'hidden'],
    ]) {
      await world.http.must(204, 'POST', `sys/mounts/${path}`, { type: 'aws', config: { listing_visibility } });
    }
  });
  afterAll(() => world.close());

  const ask = (path: string, token: string | null) => world.http.call('GET', path, undefined, { token });
  async function tokenWith(policy: string): Promise<string> {
    const name = `p${Math.random().toString(36).slice(2)}`;
    await world.http.must(204, 'PUT', `sys/policies/acl/${name}`, { policy });
    return (await giveTokens(world, { policies: [name] }))[0]!;
  }
  async function seen(token: string): Promise<string[]> {
    const { secret, auth } = (await world.http.must(200, 'GET', listing, undefined, { token })).body.data as Record<
      string,
      object
    >;
    return [...Object.keys(secret!), ...Object.keys(auth!).map((path) => `auth/${path}`)].sort();
  }

  it('are, without a token, those that are listed for everybody, in short', async () => {
    expect((await ask(listing, null)).body.data).toEqual({
      secret: { 'public/': { type: 'aws', description: '', options: null } },
      auth: {},
    });
    await world.http.must(204, 'POST', 'sys/mounts/public/tune', { listing_visibility: '' });
    expect((await ask(listing, null)).body.data).toEqual({ secret: {}, auth: {} });
    await world.http.must(204, 'POST', 'sys/mounts/public/tune', { listing_visibility: 'unauth' });
  });

  it('are all of them for root, as sys/mounts and sys/auth have them', async () => {
    const { body } = await world.http.must(200, 'GET', listing);
    expect(body.data).toEqual({
      secret: (await world.http.must(200, 'GET', 'sys/mounts')).body.data,
      auth: (await world.http.must(200, 'GET', 'sys/auth')).body.data,
    });
    // Nothing of sys/internal stands beside the envelope.
    expect(body).not.toHaveProperty('secret');
  });

  it.each([
    ['a role', 'path "aws/creds/deploy" { capabilities = ["read"] }', ['aws/']],
    ['a pattern below', 'path "team/prod/roles/*" { capabilities = ["list"] }', ['team/prod/']],
    ['a pattern above', 'path "team/*" { capabilities = ["read"] }', ['team/prod/']],
    [
      'a segment that may be any',
      'path "+/creds/deploy" { capabilities = ["read"] }',
      ['aws/', 'cubbyhole/', 'quiet/', 'sys/'],
    ],
    ['a segment within', 'path "team/+/creds/x" { capabilities = ["read"] }', ['team/prod/']],
    ['a beginning', 'path "a*" { capabilities = ["read"] }', ['auth/approle/', 'auth/token/', 'aws/']],
    [
      'what is denied',
      'path "*" { capabilities = ["read"] }\npath "aws/*" { capabilities = ["deny"] }\npath "quiet/*" { capabilities = [] }',
      ['auth/approle/', 'auth/token/', 'cubbyhole/', 'sys/', 'team/prod/'],
    ],
    [
      'what is denied but for one path',
      'path "aws/*" { capabilities = ["deny"] }\npath "aws/creds/x" { capabilities = ["read"] }',
      ['aws/'],
    ],
    [
      'a mount of a like name',
      'path "aw/creds/deploy" { capabilities = ["read"] }\npath "awsx/*" { capabilities = ["read"] }',
      [],
    ],
    ['nothing', '# nothing', []],
  ])('are those below which it may do anything: %s', async (_name, policy, paths) => {
    expect(await seen(await tokenWith(policy))).toEqual([...paths, 'public/'].sort());
  });

  it.each([
    ['aws', 'aws/'],
    ['aws/creds/deploy', 'aws/'],
    ['aws/nowhere/at/all', 'aws/'],
    ['team/prod/roles', 'team/prod/'],
    ['sys/mounts', 'sys/'],
    ['auth/token/create', 'auth/token/'],
  ])('are found by a path in them: %s', async (path, mount) => {
    const { body } = await world.http.must(200, 'GET', `${listing}/${path}`);
    const one = mount.startsWith('auth/')
      ? ((await world.http.must(200, 'GET', 'sys/auth')).body.data as Record<string, object>)[mount.slice(5)]
      : ((await world.http.must(200, 'GET', 'sys/mounts')).body.data as Record<string, object>)[mount];
    expect(body.data).toEqual({ ...one, path: mount });
  });

  it.each([
    ['aws/creds/deploy', 'aws/creds/deploy/'],
    ['quiet', 'quiet/'],
    ['public/creds/x', 'public/creds/x/'],
    ['nowhere/x', 'nowhere/x/'],
    ['team', 'team/'],
  ])('say the same of a path without rights as of none: %s', async (path, told) => {
    const token = await tokenWith('path "team/prod/*" { capabilities = ["read"] }');
    const answer = await ask(`${listing}/${path}`, token);
    expect([answer.status, answer.body.errors]).toEqual([
      403,
      [`preflight capability check returned 403, please ensure client's policies grant access to path "${told}"`],
    ]);
  });

  it('are shown to nobody whose token is none, and a path to nobody without one', async () => {
    for (const path of [listing, `${listing}/aws`]) {
      const answer = await ask(path, 'hvs.nobody');
      expect([answer.status, answer.body.errors[0]]).toEqual([403, expect.stringContaining('permission denied')]);
    }
    const bare = await ask(`${listing}/aws`, null);
    expect([bare.status, bare.body.errors]).toEqual([403, ['permission denied']]);
    expect((await world.http.call('DELETE', listing)).status).toBe(405);
  });

  it('cost a counted token its use', async () => {
    const { auth } = (await world.http.must(200, 'POST', 'auth/token/create', { num_uses: 2 })).body as unknown as {
      auth: { client_token: string };
    };
    const statuses = [];
    for (let turn = 0; turn < 3; turn += 1) statuses.push((await ask(listing, auth.client_token)).status);
    expect(statuses).toEqual([200, 200, 403]);
  });

  it("tell in the resultant ACL what the caller's policies say", async () => {
    const token = await tokenWith(
      'path "aws/creds/x" { capabilities = ["read"] }\npath "sys/internal/ui/resultant-acl" { capabilities = ["read"] }',
    );
    const { data } = (await world.http.must(200, 'GET', 'sys/internal/ui/resultant-acl', undefined, { token })).body;
    expect(data).toMatchObject({
      root: false,
      exact_paths: { 'aws/creds/x': { capabilities: ['read'] } },
      glob_paths: {},
    });
    expect((await ask('sys/internal/ui/resultant-acl', null)).status).toBe(403);
  });
});
