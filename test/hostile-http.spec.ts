import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { ChildSystem } from './support/child-system.js';
import { everything } from './support/everything.js';
import { rawRequest } from './support/raw-request.js';
import { eventually, World } from './support/world.js';

const policy = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}';
const document = JSON.stringify(policy);
const mib = 1024 * 1024;

describe('a gateway among hostile callers', () => {
  const child = new ChildSystem();
  let limits: object = { headersMs: 400, receiveMs: 800 };
  let world: World;
  let token: Record<string, string>;

  beforeAll(async () => {
    world = await World.start({ weather: {}, run: (options) => child.run({ ...options, http: { limits } }) });
    await world.mount('aws');
    await world.mount('other');
    await world.http.must(204, 'PUT', 'other/roles/deploy', { policy });
    token = { 'X-Vault-Token': world.http.token };
  });
  afterAll(() => world.close());

  const raw = (method: string, path: string, body?: string | Buffer, headers: Record<string, string> = token) =>
    rawRequest(world.http.url, method, path, { headers, body });

  /** What the server says to these bytes until it ends the connection. */
  function say(bytes: string): Promise<string> {
    const { hostname, port } = new URL(world.http.url);
    return new Promise((resolve, reject) => {
      let said = '';
      const socket = connect(Number(port), hostname, () => socket.write(bytes, 'latin1'));
      socket.on('data', (chunk) => (said += chunk.toString()));
      socket.on('error', reject);
      socket.on('close', () => resolve(said));
    });
  }

  describe('names one thing by one path, however it is written', () => {
    it.each([
      '/v1/other/roles/deploy',
      '/v1//other///roles/deploy',
      '//v1/other/roles/deploy',
      '/v1/other%2Froles%2fdeploy',
      '/v1%2fother/roles/deploy',
      '/v1/%6fther/roles/dep%6Coy',
      '/v1/other/roles/deploy/',
    ])('%s', async (path) => {
      const { status, text } = await raw('GET', path);
      expect([status, (JSON.parse(text) as { data: object }).data]).toEqual([200, expect.objectContaining({ policy })]);
      expect((await raw('GET', path, undefined, {})).status).toBe(403);
    });

    it.each([
      '/v1/aws/roles/../../other/roles/deploy',
      '/v1/aws/roles/%2e%2e/%2e%2e/other/roles/deploy',
      '/v1/aws/roles/..%2f..%2fother%2froles%2fdeploy',
      '/v1/aws/%2e./%2e./v1/other/roles/deploy',
      '/v1/./other/roles/deploy',
      '/v1/other/roles/./deploy',
      '/v1/other/roles/deploy/..',
      '/v1/other/roles/deploy/%2e',
      '/v1/../v1/other/roles/deploy',
      '/x/../v1/other/roles/deploy',
      '/ui/../v1/other/roles/deploy',
      '/health/live/../../v1/other/roles/deploy',
      '/v1/other/roles/%252e%252e/deploy',
      '/v1/other/roles/deploy%00',
      '/v1/other/roles/deploy%00.txt',
      '/v1/other/roles/deploy%0a',
      '/v1/other/roles/deploy%0d%0aX-Vault-Token:%20x',
      '/v1/other/roles/deploy;a=b',
      '/v1/other/roles/deploy%3flist=true',
      '/v1/other\\roles\\deploy',
      '/v1/other%5croles%5cdeploy',
      '/v1/other/roles/..%5cdeploy',
      '/v1/other/roles/%c0%ae%c0%ae/deploy',
      '/v1/other/roles/deploy%c0%80',
      '/v1/other/roles/%ef%bc%8e%ef%bc%8e/deploy',
      '/v1/other%e2%88%95roles/deploy',
      '/v1/other/roles/d%cc%81eploy',
      '/v1/other/roles/deploy%e2%80%ae',
      '/v1/other/roles/deploy%ff',
      '/v1/other/roles/deploy%',
      '/v1/other/roles/deploy%2',
      '/v1/Other/roles/deploy',
      '/V1/other/roles/deploy',
      '/v1/other/roles',
      '/v1/sys/../other/roles/deploy',
      '/v1/__proto__/constructor',
      '/v1/other/__proto__/deploy',
      `/v1/other/roles/${'deploy/'.repeat(1_500)}`,
      `/v1/${'../'.repeat(4_000)}v1/other/roles/deploy`,
    ])('and not by %.80s', async (path) => {
      const before = await everything(world);
      for (const method of ['GET', 'PUT', 'DELETE']) {
        const { status, text, errors } = await raw(method, path, method === 'PUT' ? '{}' : undefined);
        expect([400, 404, 405]).toContain(status);
        expect(text).not.toContain('ec2:');
        if (!path.startsWith('/ui/')) expect(errors).toBeInstanceOf(Array);
      }
      expect(await everything(world)).toEqual(before);
    });
  });

  describe('refuses what would be expensive, before it looks at it', () => {
    const complex = (what: string) => [`refused JSON input due to high complexity: exceeded maximum ${what}`];

    it.each([
      ['a million arrays', '['.repeat(1_000_000), complex('depth')],
      ['a million objects', '{"a":'.repeat(1_000_000), complex('depth')],
      ['arrays as deep as they close', `{"a":${'['.repeat(200)}${']'.repeat(200)}}`, complex('depth')],
      ['a million keys', `{${'"k":1,'.repeat(1_000_000)}"k":1}`, complex('number of strings')],
      ['1,001 strings', `{"a":[${'"x",'.repeat(999)}"x"]}`, complex('number of strings')],
      ['two million numbers', `{"a":[${'1,'.repeat(2_000_000)}1]}`, complex('estimated memory limits')],
      ['a byte order mark', '\ufeff{"policy":""}', ['failed to decode JSON input: Unexpected token in JSON']],
      [
        'a space that is none of JSON',
        '\u00a0{"policy":""}',
        ['failed to decode JSON input: Unexpected token in JSON'],
      ],
    ])('%s', async (_, body, errors) => {
      for (const headers of [token, {}] as Record<string, string>[]) {
        expect(await raw('PUT', '/v1/other/roles/deploy', body, headers)).toMatchObject({ status: 400, errors });
      }
    });

    it('a form of a million fields', async () => {
      const headers = { ...token, 'Content-Type': 'application/x-www-form-urlencoded' };
      const form = Array.from({ length: 1_000_000 }, (_, at) => `${at}=`).join('&');
      expect(await raw('PUT', '/v1/other/roles/deploy', form, headers)).toMatchObject({
        status: 400,
        errors: ['refused form input due to high complexity: exceeded maximum number of strings'],
      });
    });

    it('and takes what is as large as it may be', async () => {
      const body = JSON.stringify({
        policy,
        note: ['x'.repeat(20 * mib)],
        more: Array.from({ length: 990 }, () => 'y'),
      });
      expect((await raw('PUT', '/v1/other/roles/large', body)).status).toBe(204);
    });
  });

  it.each([
    [
      '__proto__',
      `{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}},"policy":${document}}`,
      204,
    ],
    ['__proto__ alone', `{"__proto__":{"policy":${document}}}`, 400],
    ['__proto__ as a form', '__proto__[policy]=x&constructor=1', 400],
    ['the same key twice', `{"policy":"x","policy":${document}}`, 204],
    [
      'a number without end',
      `{"credential_type":"federation_token","policy_document":${document},"default_sts_ttl":1e999}`,
      400,
    ],
    ['a number of a million digits', `{"policy":${'9'.repeat(1_000_000)}}`, 400],
    [
      'a negative zero',
      `{"credential_type":"federation_token","policy_document":${document},"default_sts_ttl":-0}`,
      204,
    ],
    ['a NUL', `{"policy":"\\u0000"}`, 400],
    ['half a character', `{"policy":"\\ud800"}`, 400],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]), 400],
  ])('is not confused by %s', async (name, body, status) => {
    const answer = await raw('PUT', '/v1/other/roles/odd', body);
    expect([name, answer.status, answer.text]).toEqual([name, status, expect.any(String)]);
    const role = await world.http.must(200, 'GET', 'other/roles/deploy');
    expect(role.body.data).not.toHaveProperty('isAdmin');
    await raw('DELETE', '/v1/other/roles/odd');
  });

  describe('bears with nobody', () => {
    const head = 'PUT /v1/other/roles/slow HTTP/1.1\r\nHost: vault\r\n';

    it.each([
      ['headers that stop', head],
      ['a LIST that stops', 'LIST /v1/oth'],
      ['a body that stops', `${head}Content-Length: 100\r\n\r\n{"pol`],
      ['chunks that stop', `${head}Transfer-Encoding: chunked\r\n\r\n5\r\n{"pol\r\n`],
      ['nothing', ''],
    ])('who sends %s', async (_, bytes) => {
      expect(await say(bytes)).toMatch(/^HTTP\/1\.1 408 [^]*\{"errors":\[\]\}$/);
    });

    it('who sends a byte now and then', async () => {
      const { hostname, port } = new URL(world.http.url);
      const socket = connect(Number(port), hostname);
      let said = '';
      socket.on('data', (chunk) => (said += chunk.toString()));
      socket.on('error', () => undefined);
      socket.write(`${head}Content-Length: 100000\r\n\r\n`);
      const dripping = setInterval(() => socket.write('x'), 20);
      await eventually(() => socket.destroyed || socket.readableEnded);
      clearInterval(dripping);
      expect(said).toMatch(/^HTTP\/1\.1 408 /);
    });

    it.each([
      ['101 headers', 'X: y\r\n'.repeat(101), 431],
      ['4,000 empty headers', 'a:\r\n'.repeat(4_000), 431],
      ['a header of 20 KiB', `X: ${'y'.repeat(20 * 1024)}\r\n`, 431],
    ])('who sends %s', async (_, headers, status) => {
      for (const verb of ['GET', 'LIST']) {
        const said = await say(`${verb} /v1/other/roles HTTP/1.1\r\nHost: vault\r\n${headers}\r\n`);
        expect(said).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
      }
    });
  });

  it('refuses trailers without end, and does nothing behind them', async () => {
    const trailers = 'X-Vault-Token: x\r\n'.repeat(20_000);
    const asked = `PUT /v1/other/roles/x HTTP/1.1\r\nHost: vault\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${trailers}\r\n`;
    const said = await say(`${asked}GET /v1/sys/health HTTP/1.1\r\nHost: vault\r\nConnection: close\r\n\r\n`);
    expect(said.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 431']);
  });

  it('is heard to say why by who is still sending when it refuses', async () => {
    const { hostname, port } = new URL(world.http.url);
    const socket = connect(Number(port), hostname);
    let heard = '';
    socket.on('data', (chunk) => (heard += chunk.toString()));
    const errors: Error[] = [];
    socket.on('error', (error) => errors.push(error));
    const line = `PUT /v1/other/roles/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${world.http.token}\r\n`;
    socket.write(`${line}Content-Length: ${33 * mib}\r\n\r\n`);
    // As a client does that reads only when it has sent all.
    for (let sent = 0; sent < 33; sent += 1) await new Promise((resolve) => socket.write(Buffer.alloc(mib), resolve));
    await eventually(() => heard.endsWith('too large"]}\n'));
    expect(errors).toEqual([]);
    expect(heard).toMatch(/^HTTP\/1\.1 413 [^]*\r\nconnection: close\r\n/i);
  });

  it('tells nobody what it is made of, and says how its answers are to be kept', async () => {
    const answers = await Promise.all([
      raw('GET', '/v1/other/roles/deploy'),
      raw('GET', '/v1/other/roles/nobody'),
      raw('GET', '/v1/other/roles/deploy', undefined, {}),
      raw('GET', '/v1/%zz'),
      raw('GET', '/v1/other/%00'),
      raw('GET', '/'),
      raw('GET', '/nowhere'),
      raw('PUT', '/v1/other/roles/x', '{"a'),
      raw('PUT', '/v1/other/roles/x', `{"a":"${'x'.repeat(33 * mib)}"}`),
      raw('OPTIONS', '/v1/other/roles/x'),
      raw('GET', '/health/ready'),
      raw('GET', '/v1/sys/health', undefined, {}),
      raw('GET', '/v1/sys/metrics?format=prometheus'),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([
      ...[200, 404, 403, 400, 400, 404, 404, 400, 413, 405, 200, 200, 200],
    ]);
    const made = await say('GET / SMTP\r\n\r\n');
    for (const { headers, text } of answers) {
      expect(headers).toMatchObject({
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'strict-transport-security': expect.stringMatching(/^max-age=\d+/),
      });
      for (const name of ['server', 'x-powered-by', 'via', 'etag']) expect(headers).not.toHaveProperty(name);
      if (!text.startsWith('# HELP')) expect(text).not.toMatch(/node|fastify|nest|\.js|\bat \w+ \(|\n {4}at /i);
    }
    expect(made).toMatch(/X-Content-Type-Options: nosniff\r\n[^]*\{"errors":\[\]\}$/);
  });

  it('stays within bounds while all of this comes at once, and serves afterwards', async () => {
    limits = { bodiesBytes: 64 * mib };
    await world.restart();
    const large = Buffer.from(`{"a":"${'x'.repeat(16 * mib)}"}`);
    const bombs = ['['.repeat(4 * mib), `{${'"k":1,'.repeat(mib)}"k":1}`, `[${'1,'.repeat(8 * mib)}1]`];
    const flood = [
      ...Array.from({ length: 12 }, () => raw('PUT', '/v1/other/roles/x', large, {})),
      ...Array.from({ length: 6 }, (_, at) => raw('PUT', '/v1/other/roles/x', bombs[at % 3], {})),
    ];
    const before = await peakMiB();
    const ended = await Promise.allSettled(flood);
    const statuses = ended.map((each) => (each.status === 'fulfilled' ? each.value.status : 'cut'));

    const rise = (await peakMiB()) - before;
    process.stderr.write(`hostile flood: ${statuses.length} bodies, peak memory +${Math.round(rise)} MiB\n`);
    expect(statuses).toContain(503);
    expect(new Set(statuses)).toEqual(
      new Set([...statuses].filter((status) => [400, 403, 503, 'cut'].includes(status))),
    );
    expect(rise).toBeLessThan(500);
    expect((await raw('GET', '/v1/other/roles/deploy')).status).toBe(200);
  });

  /** The most memory that the system ever had. */
  async function peakMiB(): Promise<number> {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)![1]) / 1024;
  }
});
