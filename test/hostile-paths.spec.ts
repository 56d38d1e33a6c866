import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { everything } from './support/everything.js';
import { lentBy } from './support/lease-life.js';
import { rawRequest } from './support/raw-request.js';
import { giveTokens } from './support/tokens.js';
import { World } from './support/world.js';

/** A word that stands in everything that the caller may not see. */
const forbiddenWord = 'forbidden-word';
const document = (sid: string) =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: { Sid: sid, Effect: 'Allow', Action: 'ec2:*', Resource: '*' },
  });

const verbs = ['GET', 'LIST', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'HELP'] as const;
type Verb = (typeof verbs)[number];

/** The caller's only policy; what it means is said once more, by hand, in `isGranted`. */
const policy = `
path "aws/creds/deploy" { capabilities = ["read"] }
path "aws/roles/deploy" { capabilities = ["read"] }
path "sys/leases/revoke/aws/creds/deploy/*" { capabilities = ["update"] }
path "auth/approle/role/mine/secret-id" { capabilities = ["update"] }
path "sys/policies/acl/mine" { capabilities = ["read", "update"] }
path "sys/policies/acl/k" { capabilities = ["deny"] }
`;

function isGranted(operation: string, path: string): boolean {
  const readable = ['aws/creds/deploy', 'aws/roles/deploy', 'sys/policies/acl/mine'];
  const writable = ['auth/approle/role/mine/secret-id', 'sys/policies/acl/mine'];
  if (operation === 'help') return true; // whoever has a token, about whatever: it says nothing of what there is
  if (operation === 'read') return readable.includes(path);
  if (operation === 'update')
    return writable.includes(path) || /^sys\/leases\/revoke\/aws\/creds\/deploy\/./.test(path);
  return false;
}

/**
 * What a request line means: percent-decoded once, empty segments left out, and nothing else done to it. Null for what means
 * nothing at all. Names of policies and of AppRole's roles are the same in capitals.
 */
function meaning(verb: Verb, line: string): { operation: string; path: string } | null {
  const at = line.indexOf('?');
  if (/%(?![0-9a-fA-F]{2})/.test(at < 0 ? line : line.slice(0, at))) return null;
  const bytes = (at < 0 ? line : line.slice(0, at)).replaceAll(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  );
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(bytes, 'latin1'));
  } catch {
    return null;
  }
  const [version, ...segments] = text.split('/').filter((segment) => segment !== '');
  if (version !== 'v1' || segments.includes('.') || segments.includes('..') || /\p{C}/u.test(text)) return null;
  const query = new URLSearchParams(at < 0 ? '' : line.slice(at));
  const isList =
    verb === 'LIST' || (verb === 'GET' && ['1', 't', 'true', 'T', 'TRUE', 'True'].includes(query.get('list') ?? ''));
  const operations = { GET: 'read', PUT: 'update', POST: 'update', HELP: 'help' } as Record<Verb, string>;
  const operation = query.get('help') ? 'help' : isList ? 'list' : (operations[verb] ?? verb.toLowerCase());
  const path = segments
    .join('/')
    .replace(/^sys\/policies\/acl\/.*|^auth\/approle\/role\/[^/]*/, (name) => name.toLowerCase());
  return { operation, path };
}

describe('a caller with narrow policies', () => {
  let world: World;
  let token: string;
  let mine: string;
  let theirs: string;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    const must = (method: string, path: string, body: object) => world.http.must(204, method, path, body);
    for (const mount of ['aws', 'other']) {
      await world.mount(mount);
      await must('PUT', `${mount}/roles/secret`, { policy: document(forbiddenWord) });
      await must('PUT', `${mount}/roles/deploy`, { policy: document(mount === 'aws' ? 'open' : forbiddenWord) });
    }
    for (const name of ['theirs', 'k']) {
      await must('PUT', `sys/policies/acl/${name}`, {
        policy: `# ${forbiddenWord}\npath "x" { capabilities = ["read"] }`,
      });
      await must('POST', `auth/approle/role/${name}`, { token_policies: forbiddenWord });
    }
    await must('POST', 'auth/approle/role/mine', {});
    await must('PUT', 'sys/policies/acl/mine', { policy: '# mine' });
    await must('PUT', 'sys/policies/acl/narrow', { policy });
    [token] = (await giveTokens(world, { policies: ['narrow'] })) as [string];
    theirs = lentBy(await world.http.must(200, 'GET', 'aws/creds/secret')).leaseId;
    mine = lentBy(await world.http.must(200, 'GET', 'aws/creds/deploy')).leaseId;
  });
  afterAll(async () => {
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    await world.close();
  });

  const raw = (verb: string, line: string, body?: string) =>
    rawRequest(world.http.url, verb, line, {
      headers: {
        'X-Vault-Token': token,
        ...(verb === 'PATCH' ? { 'Content-Type': 'application/merge-patch+json' } : {}),
      },
      body,
    });
  const bodyOf = (verb: string) => (['PUT', 'POST', 'PATCH'].includes(verb) ? '{}' : undefined);
  /** Of everything, what nobody but its owner may touch: all but the caller's own policy, secret ids, and leases of its role. */
  function theirsOf(found: Record<string, unknown>): Record<string, string[]> {
    const rows = (table: string, isTheirs: (row: string) => boolean = () => true) =>
      (found[table] as string[]).filter(isTheirs);
    return {
      ...Object.fromEntries(
        ['mounts', 'root_configs', 'roles', 'tokens', 'app_roles'].map((table) => [table, rows(table)]),
      ),
      policies: rows('policies', (row) => !row.startsWith('(mine,')),
      leases: rows('leases', (row) => row.includes(theirs)),
    };
  }

  /** Sends one line with every verb, and holds what comes of it against what the line means. */
  async function tryEveryVerb(line: string): Promise<{ granted: number; refused: number }> {
    const before = await everything(world);
    const counts = { granted: 0, refused: 0 };
    for (const verb of verbs) {
      const { status, text } = await raw(verb, line, bodyOf(verb));
      const wanted = meaning(verb, line);
      const shown = [verb, line.slice(0, 200), wanted];
      expect([...shown, text.includes(forbiddenWord)]).toEqual([...shown, false]);
      if (wanted && isGranted(wanted.operation, wanted.path)) {
        counts.granted += 1;
        expect([...shown, status < 500]).toEqual([...shown, true]);
      } else {
        counts.refused += 1;
        expect([...shown, [400, 403, 404, 405, 431].includes(status)]).toEqual([...shown, true]);
        // What is well-formed and not granted is not even told whether it is there. (HEAD is asked as a read.)
        const isRead = verb === 'HEAD' && wanted !== null && isGranted('read', wanted.path);
        if (wanted) expect([...shown, status]).toEqual([...shown, isRead ? 405 : 403]);
      }
    }
    const after = await everything(world);
    expect(theirsOf(after)).toEqual(theirsOf(before));
    const helpAlone = ['HELP'].filter((verb) => {
      const wanted = meaning(verb as Verb, line);
      return wanted && isGranted(wanted.operation, wanted.path);
    }).length;
    if (counts.granted <= helpAlone) expect(after).toEqual(before);
    return counts;
  }

  const escaped = (text: string) =>
    [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
  const lines: [string, () => string][] = [
    // The plain paths first: what the tricks are tried against.
    ['what is granted', () => '/v1/aws/roles/deploy'],
    ['a credential of another role', () => '/v1/aws/creds/secret'],
    ['another role', () => '/v1/aws/roles/secret'],
    ['another mount', () => '/v1/other/roles/deploy'],
    ['the other door', () => '/v1/aws/sts/deploy'],
    ['all roles', () => '/v1/aws/roles'],
    ['all roles, as a list', () => '/v1/aws/roles?list=true'],
    ['a role, as a list', () => '/v1/aws/roles/deploy?list=true'],
    ['a role, as a list in another word', () => '/v1/aws/roles/deploy/?list=T'],
    ['a credential, as a list', () => '/v1/aws/creds/deploy?list=1'],
    ['the mount', () => '/v1/aws'],
    ['its mount path with a slash', () => '/v1/aws/'],
    ['the root configuration', () => '/v1/aws/config/root'],
    // Up and across.
    ['up', () => '/v1/aws/roles/deploy/../secret'],
    ['up, encoded', () => '/v1/aws/roles/deploy/%2e%2e/secret'],
    ['up, in capitals', () => '/v1/aws/roles/deploy/%2E%2E/secret'],
    ['up, half encoded', () => '/v1/aws/roles/deploy/.%2e/secret'],
    ['up, encoded with its slashes', () => '/v1/aws/roles/deploy%2f..%2fsecret'],
    ['up, encoded twice', () => '/v1/aws/roles/deploy/%252e%252e/secret'],
    ['up, encoded twice with its slashes', () => '/v1/aws/roles/deploy%252f..%252fsecret'],
    ['up behind two slashes', () => '/v1/aws/roles/deploy//..//secret'],
    ['up behind a semicolon', () => '/v1/aws/roles/deploy;/../secret'],
    ['up with a parameter', () => '/v1/aws/roles/deploy/..;/secret'],
    ['up to the root', () => '/v1/aws/roles/deploy/../../../sys/mounts'],
    ['up to another mount', () => '/v1/aws/roles/deploy/../../../other/roles/deploy'],
    ['backslashes', () => '/v1/aws/roles/deploy\\..\\secret'],
    ['encoded backslashes', () => '/v1/aws/roles/deploy%5c..%5csecret'],
    ['a dot', () => '/v1/aws/./roles/secret'],
    ['three dots', () => '/v1/aws/roles/deploy/.../secret'],
    ['dots of other writing', () => `/v1/aws/roles/deploy/${escaped('․․')}/secret`],
    ['dots in full width', () => `/v1/aws/roles/deploy/${escaped('．．')}/secret`],
    ['overlong dots', () => '/v1/aws/roles/deploy/%c0%ae%c0%ae/secret'],
    // Slashes.
    ['doubled slashes', () => '/v1//aws///roles////secret'],
    ['leading slashes', () => '//v1/aws/roles/secret'],
    ['a closing slash', () => '/v1/aws/roles/secret/'],
    ['closing slashes', () => '/v1/aws/roles/secret////'],
    ['a closing slash on what is granted', () => '/v1/aws/roles/deploy/'],
    ['encoded slashes', () => '/v1/aws%2froles%2Fsecret'],
    ['all of it encoded', () => `/v1/${escaped('aws/roles/secret')}`],
    ['all of it encoded, granted', () => `/v1/${escaped('aws/roles/deploy')}`],
    ['a slash of other writing', () => `/v1/aws/roles${escaped('∕')}secret`],
    ['a slash in full width', () => `/v1/aws${escaped('／')}roles/secret`],
    ['an overlong slash', () => '/v1/aws%c0%afroles/secret'],
    // Spelling.
    ['capitals', () => '/v1/AWS/roles/secret'],
    ['capitals of the granted mount', () => '/v1/AWS/roles/deploy'],
    ['capitals of the granted role', () => '/v1/aws/roles/DEPLOY'],
    ['capitals of the version', () => '/V1/aws/roles/secret'],
    ['a letter of another alphabet', () => `/v1/${escaped('аws')}/roles/secret`],
    ['letters in full width', () => `/v1/aws/roles/${escaped('ｓｅｃｒｅｔ')}`],
    ['a combining mark', () => `/v1/aws/roles/secre${escaped('t\u0301')}`],
    ['a letter that small letters make another', () => `/v1/sys/policies/acl/${escaped('\u212a')}`],
    ['the same letter in a role of AppRole', () => `/v1/auth/approle/role/${escaped('\u212a')}/secret-id`],
    ['a name in capitals, granted', () => '/v1/sys/policies/acl/MINE'],
    ['a name in capitals, another', () => '/v1/sys/policies/acl/THEIRS'],
    ['a role of AppRole in capitals, another', () => '/v1/auth/approle/role/Theirs/secret-id'],
    ['a dotless letter', () => `/v1/sys/policies/acl/m${escaped('ı')}ne`],
    ['an invisible letter', () => `/v1/aws/roles/secret${escaped('\u200b')}`],
    ['a mark of direction', () => `/v1/aws/roles/${escaped('\u202e')}secret`],
    ['a NUL', () => '/v1/aws/roles/secret%00'],
    ['a NUL behind what is granted', () => '/v1/aws/roles/deploy%00/../secret'],
    ['a line feed', () => '/v1/aws/roles/secret%0a'],
    ['a blank', () => '/v1/aws/roles/secret%20'],
    ['a tabulator', () => '/v1/aws/roles/secret%09'],
    ['an ending', () => '/v1/aws/roles/secret.json'],
    ['broken encoding', () => '/v1/aws/roles/secret%'],
    ['broken encoding within', () => '/v1/aws/roles/%zzsecret'],
    ['broken UTF-8', () => '/v1/aws/roles/secret%ff'],
    // Queries that would be paths, parameters and fragments.
    ['a question mark', () => '/v1/aws/roles/deploy%3f/../secret'],
    ['a query that is a path', () => '/v1/aws/roles/secret?/../deploy'],
    ['a fragment', () => '/v1/aws/roles/secret%23/aws/roles/deploy'],
    ['a parameter', () => '/v1/aws/roles/secret;x=/aws/roles/deploy'],
    ['an authority', () => '/v1/@aws/roles/secret'],
    ['a name in the query', () => '/v1/aws/roles/secret?name=deploy'],
    ['help', () => '/v1/aws/roles/secret?help=1'],
    ['help and a list', () => '/v1/aws/roles?help=1&list=true'],
    ['no help', () => '/v1/aws/roles/secret?help='],
    // Length.
    ['a long path', () => `/v1/aws/roles/secret/${'a/'.repeat(3_000)}`],
    ['a long name', () => `/v1/aws/roles/${'s'.repeat(9_000)}`],
    ['a long way round', () => `/v1/${'/'.repeat(9_000)}aws/roles/secret`],
    ['a long way up', () => `/v1/aws/roles/deploy/${'../'.repeat(2_500)}aws/roles/secret`],
    // Names of leases, and both spellings of their paths.
    ["another one's lease", () => `/v1/sys/leases/revoke/${theirs}`],
    ["another one's lease, encoded", () => `/v1/sys/leases/revoke/${encodeURIComponent(theirs)}`],
    ["another one's lease, in the old spelling", () => `/v1/sys/revoke/${theirs}`],
    ['the own lease, in the old spelling', () => `/v1/sys/revoke/${mine}`],
    ['the own lease, to be renewed', () => `/v1/sys/leases/renew/${mine}`],
    ['the own lease, to be looked up', () => `/v1/sys/leases/lookup/${mine}`],
    [
      'a lease up from the own ones',
      () => `/v1/sys/leases/revoke/aws/creds/deploy/../secret/${theirs.split('/').at(-1)}`,
    ],
    ['a lease up, encoded', () => `/v1/sys/leases/revoke/aws/creds/deploy%2f..%2fsecret%2f${theirs.split('/').at(-1)}`],
    ['a whole lease behind the own ones', () => `/v1/sys/leases/revoke/aws/creds/deploy/${theirs}`],
    [
      "another one's tail behind the own ones",
      () => `/v1/sys/leases/revoke/aws/creds/deploy/${theirs.split('/').at(-1)}`,
    ],
    ['all of the own role', () => '/v1/sys/leases/revoke/aws/creds/deploy'],
    ['all of the own role, with a slash', () => '/v1/sys/leases/revoke/aws/creds/deploy/'],
    ['the own prefix', () => '/v1/sys/leases/revoke-prefix/aws/creds/deploy'],
    ['the own prefix, in the old spelling', () => '/v1/sys/revoke-prefix/aws/creds/deploy/'],
    ['the own prefix, by force', () => '/v1/sys/leases/revoke-force/aws/creds/deploy'],
    ['a prefix within the verb', () => '/v1/sys/leases/revoke%2dprefix/aws'],
  ];

  it.each(lines)('is granted what the plain path is, and nothing by a trick: %s', async (_name, line) => {
    await tryEveryVerb(line());
  });

  it.each([
    ['LIST', '/v1/aws/roles'],
    ['LIST', '/v1/aws/roles/'],
    ['LIST', '/v1/aws/roles/deploy'],
    ['LIST', '/v1/sys/policies/acl'],
    ['LIST', '/v1/sys/leases/lookup/aws/creds/deploy'],
    ['GET', '/v1/sys/policies/acl?list=true'],
    ['GET', '/v1/sys/mounts'],
    ['PUT', '/v1/sys/leases/lookup'],
    ['PUT', '/v1/sys/remount'],
    ['PUT', '/v1/sys/leases/tidy'],
    ['POST', '/v1/auth/token/create'],
    ['POST', '/v1/auth/token/lookup'],
    ['PUT', '/v1/auth/token/revoke-self'],
    ['PUT', '/v1/sys/capabilities-self'],
  ])('is refused what stands beside what it may: %s %s', async (verb, line) => {
    const before = await everything(world);
    expect((await raw(verb, line, bodyOf(verb))).status).toBe(403);
    expect(await everything(world)).toEqual(before);
  });

  describe('reaches no other object by a field that names it', () => {
    const must = async (status: number, verb: string, path: string, body: object) => {
      const answer = await raw(verb, `/v1/${path}`, JSON.stringify(body));
      expect([path, answer.status, answer.text.includes(forbiddenWord)]).toEqual([path, status, false]);
      return JSON.parse(answer.text || '{}') as { data: Record<string, string>; lease_id: string; warnings: string[] };
    };
    const keeping = async (work: () => Promise<unknown>) => {
      const before = theirsOf(await everything(world));
      await work();
      expect(theirsOf(await everything(world))).toEqual(before);
    };

    it("another one's lease in the body of a revocation of the own one", () =>
      keeping(async () => {
        for (const lease_id of [theirs, `${theirs}/`, `/${theirs}`, `//${theirs}`, encodeURIComponent(theirs)]) {
          await must(403, 'PUT', `sys/leases/revoke/${mine}`, { lease_id });
        }
        // Of an id nothing is read but what it says: this is none.
        const within = `aws/creds/deploy/../secret/${theirs.split('/').at(-1)}`;
        await must(204, 'PUT', `sys/leases/revoke/${mine}`, { lease_id: within });
        for (const prefix of ['aws', theirs]) {
          await must(204, 'PUT', 'sys/leases/revoke/aws/creds/deploy/nobody', {
            prefix,
            url_lease_id: theirs,
            sync: true,
          });
        }
        expect((await world.leases()).find((row) => row.id === mine)!.state).toBe('active');
      }));

    it('another policy in the body of a write of the own one', () =>
      keeping(async () => {
        const { warnings } = await must(204, 'PUT', 'sys/policies/acl/mine', {
          policy: '# mine still',
          name: 'theirs',
        });
        expect(warnings).toBeUndefined();
        expect((await world.http.must(200, 'GET', 'sys/policies/acl/mine')).body.data.policy).toBe('# mine still');
      }));

    it('another role in the body of a secret id of the own one', () =>
      keeping(async () => {
        const { data } = await must(200, 'POST', 'auth/approle/role/mine/secret-id', {
          role_name: 'theirs',
          role_id: 'x',
        });
        const found = await world.http.call('POST', 'auth/approle/role/theirs/secret-id/lookup', {
          secret_id: data.secret_id,
        });
        expect(found.status).toBe(204);
      }));

    it('another role, mount or door in the query of a credential', () =>
      keeping(async () => {
        const asked = await raw('GET', '/v1/aws/creds/deploy?name=secret&door=sts&mount=other&path=aws/creds/secret');
        const lent = JSON.parse(asked.text) as { lease_id: string };
        expect(lent.lease_id).toMatch(/^aws\/creds\/deploy\/[^/]+$/);
        await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: lent.lease_id });
      }));

    it('another token, path or caller in headers that are none of ours', () =>
      keeping(async () => {
        const headers = {
          'X-Vault-Token': token,
          'X-HTTP-Method-Override': 'PUT',
          'X-Original-URL': '/v1/aws/roles/secret',
          'X-Rewrite-URL': '/v1/aws/roles/secret',
          'X-Forwarded-Prefix': '/v1/other',
          'X-Vault-Policy-Override': 'true',
          Authorization: `Bearer ${world.http.token}`,
        };
        const role = await rawRequest(world.http.url, 'GET', '/v1/aws/roles/deploy', { headers });
        expect([role.status, role.text.includes(forbiddenWord)]).toEqual([200, false]);
        expect((await rawRequest(world.http.url, 'GET', '/v1/aws/roles/secret', { headers })).status).toBe(403);
      }));
  });

  it('may still do all that it may', async () => {
    expect((await raw('GET', '/v1/aws/roles/deploy')).status).toBe(200);
    expect((await raw('PUT', `/v1/sys/leases/revoke/${encodeURIComponent(mine)}`, '{}')).status).toBe(204);
    expect((await world.leases()).find((row) => row.id === mine)!.state).toBe('ended');
    expect((await world.leases()).find((row) => row.id === theirs)!.state).toBe('active');
  });
});
