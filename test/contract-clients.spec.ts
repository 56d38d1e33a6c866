import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { rawRequest } from './support/raw-request.js';
import { World } from './support/world.js';

const policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}';
const quoted = JSON.stringify(policy);
const readOnly = 'arn:aws:iam::aws:policy/ReadOnlyAccess';

/** What is sent, byte for byte; `<lease>` and `<token>` stand for this client's own, `<key>` and `<secret>` for root's. */
type Sent = [status: number, method: string, path: string, body?: string];

/** The command line and the Go client (contract.md 6): JSON without a Content-Type. */
const commandLine: Sent[] = [
  [
    204,
    'POST',
    'sys/mounts/<mount>',
    '{"type":"aws","description":"","config":{"options":null,"default_lease_ttl":"0s","max_lease_ttl":"0s","force_no_cache":false},"local":false,"seal_wrap":false,"external_entropy_access":false,"options":null}\n',
  ],
  [200, 'GET', 'sys/mounts'],
  [204, 'POST', 'sys/mounts/<mount>/tune', '{"default_lease_ttl":"","max_lease_ttl":"24h","force_no_cache":false}\n'],
  [204, 'PUT', '<mount>/config/root', '{"access_key":"<key>","region":"us-east-1","secret_key":"<secret>"}\n'],
  [204, 'PUT', '<mount>/config/lease', '{"lease":"30m","lease_max":"12h"}\n'],
  [204, 'PUT', '<mount>/roles/deploy', `{"policy":${quoted}}\n`],
  [204, 'PUT', '<mount>/roles/managed', `{"arn":"${readOnly}"}\n`],
  [204, 'PUT', '<mount>/roles/modern', `{"credential_type":"iam_user","policy_document":${quoted}}\n`],
  [204, 'PUT', '<mount>/roles/many', `{"credential_type":"iam_user","policy_arns":["${readOnly}","${readOnly}2"]}\n`],
  [200, 'GET', '<mount>/roles?list=true'],
  [200, 'GET', '<mount>/roles/deploy'],
  [200, 'GET', '<mount>/creds/deploy'],
  [200, 'PUT', '<mount>/creds/modern', 'null\n'],
  [200, 'PUT', '<mount>/sts/deploy', '{"ttl":"60m"}\n'],
  [200, 'GET', '<mount>/sts/deploy?ttl=60m'],
  [200, 'PUT', 'sys/leases/lookup', '{"lease_id":"<lease>"}\n'],
  [200, 'PUT', 'sys/leases/renew', '{"increment":0,"lease_id":"<lease>"}\n'],
  [200, 'PUT', 'sys/leases/renew', '{"increment":3600,"lease_id":"<lease>"}\n'],
  [202, 'PUT', 'sys/leases/revoke/<lease>', '{"sync":false}\n'],
  [204, 'PUT', 'sys/leases/revoke/<lease>', '{"sync":true}\n'],
  [204, 'PUT', 'sys/leases/revoke', '{"lease_id":"<lease>"}\n'],
  [204, 'PUT', 'sys/leases/revoke-prefix/<mount>/creds/modern', '{"sync":true}\n'],
  [204, 'PUT', 'sys/leases/revoke-force/<mount>/creds/modern'],
  [200, 'GET', '<mount>?help=1'],
  [200, 'GET', '<mount>/creds/deploy?help=1'],
  [200, 'GET', 'auth/token/lookup-self'],
  [
    200,
    'POST',
    'auth/token/create',
    '{"policies":["deploy"],"ttl":"0s","explicit_max_ttl":"0s","period":"0s","display_name":"","num_uses":0,"renewable":true,"type":"service","entity_alias":""}\n',
  ],
  [
    200,
    'POST',
    'auth/token/create',
    '{"policies":["deploy"],"ttl":"30m0s","no_parent":true,"num_uses":0,"renewable":true}\n',
  ],
  [200, 'GET', 'auth/token/accessors?list=true'],
  [200, 'POST', 'auth/token/lookup', '{"token":"<token>"}\n'],
  [200, 'PUT', 'auth/token/renew', '{"increment":0,"token":"<token>"}\n'],
  [204, 'PUT', 'auth/token/revoke', '{"token":"<token>"}\n'],
  [200, 'GET', 'sys/auth'],
  [204, 'PUT', 'auth/approle/role/ci', '{"token_policies":"deploy","token_ttl":"20m"}\n'],
  [200, 'GET', 'auth/approle/role/ci/role-id'],
  [200, 'PUT', 'auth/approle/role/ci/secret-id', 'null\n'],
  [200, 'GET', 'sys/seal-status'],
  [200, 'GET', 'sys/leader'],
  // Leases of it live on, and that is said.
  [200, 'DELETE', '<mount>/roles/deploy'],
  [204, 'DELETE', 'sys/mounts/<mount>'],
];

/** The 0.6 command line. */
const oldCommandLine: Sent[] = [
  [
    204,
    'POST',
    'sys/mounts/<mount>',
    '{"type":"aws","description":"","config":{"default_lease_ttl":"","max_lease_ttl":""}}\n',
  ],
  [200, 'GET', 'sys/mounts'],
  [204, 'PUT', '<mount>/config/root', '{"access_key":"<key>","region":"us-east-1","secret_key":"<secret>"}\n'],
  [204, 'PUT', '<mount>/roles/deploy', `{"policy":${quoted}}\n`],
  [200, 'GET', '<mount>/creds/deploy'],
  [200, 'PUT', 'sys/renew/<lease>', '{"increment":0}\n'],
  [200, 'PUT', 'sys/renew', '{"increment":3600,"lease_id":"<lease>"}\n'],
  [204, 'PUT', 'sys/revoke/<lease>'],
  [204, 'PUT', 'sys/revoke-prefix/<mount>/creds/deploy'],
  [204, 'PUT', 'sys/revoke-force/<mount>/creds'],
  [204, 'DELETE', 'sys/mounts/<mount>'],
];

/** hvac 1 and 2: LIST, PUT with a query, nulls, and fields that the path says already. */
const hvac: Sent[] = [
  [
    204,
    'POST',
    'sys/mounts/<mount>',
    '{"type": "aws", "description": null, "config": null, "options": null, "local": false, "seal_wrap": false}',
  ],
  [
    204,
    'POST',
    '<mount>/config/root',
    '{"access_key": "<key>", "secret_key": "<secret>", "region": "us-east-1", "iam_endpoint": null, "sts_endpoint": null, "max_retries": null}',
  ],
  [204, 'POST', '<mount>/config/lease', '{"lease": "60s", "lease_max": "120s"}'],
  [200, 'GET', '<mount>/config/lease'],
  [204, 'POST', '<mount>/roles/deploy', `{"policy": ${quoted}, "arn": null}`],
  [
    204,
    'POST',
    '<mount>/roles/modern',
    `{"name": "modern", "credential_type": "federation_token", "policy_document": ${quoted}, "default_sts_ttl": null, "max_sts_ttl": null, "role_arns": null, "policy_arns": null}`,
  ],
  [200, 'GET', '<mount>/roles/deploy'],
  [200, 'LIST', '<mount>/roles'],
  [200, 'GET', '<mount>/creds/deploy?name=deploy'],
  [200, 'PUT', '<mount>/sts/modern?name=modern&ttl=3600s'],
  [200, 'PUT', 'sys/leases/lookup', '{"lease_id": "<lease>"}'],
  [200, 'LIST', 'sys/leases/lookup/<mount>/creds/'],
  [200, 'PUT', 'sys/leases/renew', '{"lease_id": "<lease>", "increment": null}'],
  [204, 'PUT', 'sys/leases/revoke', '{"lease_id": "<lease>"}'],
  [204, 'PUT', 'sys/leases/revoke-prefix/<mount>/creds/deploy', '{"prefix": "<mount>/creds/deploy"}'],
  [204, 'PUT', 'sys/leases/revoke-force/<mount>/creds/deploy', '{"prefix": "<mount>/creds/deploy"}'],
  [200, 'HEAD', 'sys/health?standbyok=True&activecode=200'],
  [200, 'GET', 'sys/mounts/<mount>/tune'],
  [204, 'POST', 'sys/mounts/<mount>/tune', '{"default_lease_ttl": "3600s", "max_lease_ttl": "7200s"}'],
  [204, 'DELETE', '<mount>/roles/deploy'],
  [204, 'DELETE', 'sys/mounts/<mount>'],
];

/** node-vault 0.12: it takes 200 and 204 for success and nothing else. */
const nodeVault: Sent[] = [
  [204, 'POST', 'sys/mounts/<mount>', '{"type":"aws","description":"lends keys"}'],
  [200, 'GET', 'sys/mounts'],
  [204, 'POST', '<mount>/config/root', '{"access_key":"<key>","secret_key":"<secret>","region":"us-east-1"}'],
  [204, 'POST', '<mount>/roles/deploy', `{"policy":${quoted}}`],
  [200, 'LIST', '<mount>/roles'],
  [200, 'GET', '<mount>/roles?list=1'],
  [200, 'GET', '<mount>/creds/deploy'],
  [200, 'PUT', 'sys/leases/renew', '{"lease_id":"<lease>","increment":3600}'],
  [200, 'PUT', 'sys/leases/renew', '{"lease_id":"<lease>"}'],
  [204, 'PUT', 'sys/leases/revoke', '{"lease_id":"<lease>"}'],
  [204, 'PUT', 'sys/revoke-prefix/<mount>/creds/deploy/', '{}'],
  [204, 'PUT', 'sys/revoke-prefix/<mount>/creds/deploy', '{"path_prefix":"<mount>/creds/deploy"}'],
  [200, 'GET', '<mount>/creds/deploy?help=1'],
  [200, 'GET', 'sys/health?standbyok=true'],
  [200, 'GET', 'sys/init'],
  [200, 'GET', 'sys/seal-status'],
  [200, 'GET', 'auth/token/lookup-self'],
  [204, 'DELETE', '<mount>/roles/deploy'],
  [204, 'DELETE', 'sys/mounts/<mount>'],
];

describe('what the clients send', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    const root = world.simulator.account().existingUser('leasehold-root');
    world.simulator
      .account()
      .putUserPolicy(
        root,
        'federate',
        '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["ec2:*","sts:GetFederationToken"],"Resource":"*"}}',
      );
  });
  afterAll(() => world.close());

  it.each([
    ['the command line', 'aws', commandLine, {}],
    ['the command line of 0.6', 'aws', oldCommandLine, {}],
    ['hvac', 'team/aws', hvac, { 'Content-Type': 'application/json', 'User-Agent': 'python-requests/2.32' }],
    ['node-vault', 'aws', nodeVault, { 'Content-Type': 'application/json', Accept: 'application/json' }],
  ] as [string, string, Sent[], Record<string, string>][])('%s is answered', async (_name, mount, sent, own) => {
    const headers = { ...own, 'X-Vault-Token': world.http.token, 'X-Vault-Request': 'true', 'Accept-Encoding': 'gzip' };
    let lease = '';
    let token = '';
    const filled = (text: string) =>
      text
        .replaceAll('<mount>', mount)
        .replaceAll('<lease>', lease)
        .replaceAll('<token>', token)
        .replaceAll('<key>', world.root.accessKeyId)
        .replaceAll('<secret>', world.root.secretAccessKey);
    for (const [status, method, path, body] of sent) {
      const request = { headers, ...(body === undefined ? {} : { body: filled(body) }) };
      const answer = await rawRequest(world.http.url, method, `/v1/${filled(path)}`, request);
      expect([method, path, answer.status, answer.errors ?? []]).toEqual([method, path, status, []]);
      // A client that asks for JSON reads it, or nothing.
      expect(answer.headers['content-type']).toBe('application/json');
      if (status === 204 || method === 'HEAD') expect(answer.text).toBe('');
      const isKey = method === 'GET' && /\/creds\/deploy(\?name|$)/.test(path);
      if (path === 'auth/token/create')
        token = (JSON.parse(answer.text) as { auth: { client_token: string } }).auth.client_token;
      if (isKey) lease = (JSON.parse(answer.text) as { lease_id: string }).lease_id;
    }
    expect(world.lentUsers()).toEqual([]);
  });
});
