import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ambientCredentials, ambientRegion } from './ambient-credentials.js';

const secret = randomBytes(20).toString('hex');
const server = { close: () => Promise.resolve() };
let before: NodeJS.ProcessEnv;
let folder: string;

beforeEach(async () => {
  before = { ...process.env };
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  folder = await mkdtemp(join(tmpdir(), 'aws-spec-'));
  process.env.AWS_SHARED_CREDENTIALS_FILE = join(folder, 'credentials');
  process.env.AWS_CONFIG_FILE = join(folder, 'config');
});

afterEach(async () => {
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
  await server.close();
  server.close = () => Promise.resolve();
  await rm(folder, { recursive: true });
});

async function serve(listener: RequestListener): Promise<string> {
  const http: Server = createServer(listener);
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  server.close = async () => {
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
  };
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
}

const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString();
const metadata = () =>
  JSON.stringify({
    Code: 'Success',
    AccessKeyId: 'ASIAMETADATA',
    SecretAccessKey: secret,
    Token: 'metadata-token',
    Expiration: inAnHour(),
  });

describe('the credentials of the surroundings', () => {
  it.each([
    ['long', { AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: 'token' }],
    ['short', { AWS_ACCESS_KEY: 'AKIAENV', AWS_SECRET_KEY: secret, AWS_SESSION_TOKEN: 'token' }],
    ['mixed', { AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_KEY: secret, AWS_SESSION_TOKEN: 'token' }],
  ])('come from the environment first, in the %s spelling', async (_, env) => {
    process.env.AWS_PROFILE = 'other';
    expect(await ambientCredentials(env)()).toEqual({
      accessKeyId: 'AKIAENV',
      secretAccessKey: secret,
      sessionToken: 'token',
    });
  });

  it('come from the shared file next', async () => {
    const file = join(folder, 'credentials');
    await writeFile(file, `[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = ${secret}\n`);
    process.env.AWS_EC2_METADATA_DISABLED = 'true';
    const found = await ambientCredentials(process.env)();
    expect(found).toMatchObject({ accessKeyId: 'AKIAFILE', secretAccessKey: secret });
  });

  it('come from the container next', async () => {
    const url = await serve((request, response) => {
      const allowed = request.headers.authorization === 'Basic container' && request.url === '/creds';
      response.writeHead(allowed ? 200 : 403, { 'content-type': 'application/json' }).end(allowed ? metadata() : '{}');
    });
    process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI = `${url}/creds`;
    process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN = 'Basic container';
    const found = await ambientCredentials(process.env)();
    expect(found).toMatchObject({ accessKeyId: 'ASIAMETADATA', sessionToken: 'metadata-token' });
  });

  it('come from the instance last', async () => {
    const url = await serve((request, response) => {
      const role = '/latest/meta-data/iam/security-credentials/';
      if (request.method === 'PUT') return response.end('session');
      if (request.headers['x-aws-ec2-metadata-token'] !== 'session') return response.writeHead(401).end();
      return response.end(request.url === role ? 'instance-role' : metadata());
    });
    process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT = url;
    const found = await ambientCredentials(process.env)();
    expect(found).toMatchObject({ accessKeyId: 'ASIAMETADATA', sessionToken: 'metadata-token' });
  });

  it('are missed only when nothing has any', async () => {
    process.env.AWS_EC2_METADATA_DISABLED = 'true';
    await expect(ambientCredentials({ AWS_ACCESS_KEY_ID: 'AKIAHALF' })()).rejects.toThrow();
  });
});

it('the region of the surroundings has an order, too', () => {
  expect(ambientRegion({ AWS_REGION: 'eu-west-1', AWS_DEFAULT_REGION: 'eu-west-2' })).toBe('eu-west-1');
  expect(ambientRegion({ AWS_DEFAULT_REGION: 'eu-west-2' })).toBe('eu-west-2');
  expect(ambientRegion({})).toBe('us-east-1');
});
