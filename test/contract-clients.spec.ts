import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { AuditFolder } from './support/audit-file.js';
import { checkDocumented } from './support/documented.js';
import { rawRequest } from './support/raw-request.js';
import { eventually, World } from './support/world.js';

const policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}';
const quoted = JSON.stringify(policy);
const readOnly = 'arn:aws:iam::aws:policy/ReadOnlyAccess';

/**
 * What is sent, byte for byte. `<lease>`, `<token>`, `<accessor>`, `<wrap>`, `<role id>`, `<secret id>` and `<migration>` stand for
 * what this client was given last, `<key>` and `<secret>` for root's, `<own>` for its own token, `<master>` for the master key.
 */
type Sent = [status: number, method: string, path: string, body?: string, how?: How];
interface How {
  /** The token that it is sent with, where it is another one. */
  as?: string;
  /** How long the answer is to be wrapped. */
  wrap?: string;
  /** What it is refused with. */
  error?: string;
  /** Asked again until this is in the answer. */
  until?: string;
}

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
  [200, 'POST', 'auth/token/lookup-accessor', '{"accessor":"<accessor>"}\n'],
  [200, 'GET', 'auth/token/lookup-self', undefined, { as: '<token>' }],
  [200, 'PUT', 'auth/token/renew', '{"increment":0,"token":"<token>"}\n'],
  [200, 'PUT', 'auth/token/renew-self', '{"increment":3600}\n', { as: '<token>' }],
  [200, 'POST', 'auth/token/renew-accessor', '{"accessor":"<accessor>","increment":0}\n'],
  [200, 'POST', 'sys/capabilities', '{"path":"<mount>/creds/deploy","token":"<token>"}\n'],
  [200, 'POST', 'sys/capabilities-self', '{"path":"<mount>/creds/deploy","token":"<own>"}\n'],
  [204, 'PUT', 'auth/token/revoke', '{"token":"<token>"}\n'],
  [204, 'PUT', 'auth/token/roles/ci', '{"allowed_policies":"deploy"}\n'],
  [200, 'POST', 'auth/token/create/ci', '{"policies":["deploy"],"ttl":"0s","num_uses":0,"renewable":true}\n'],
  [204, 'PUT', 'auth/token/revoke-orphan', '{"token":"<token>"}\n'],
  [200, 'POST', 'auth/token/create', '{"policies":["deploy"],"ttl":"0s","renewable":true,"type":"service"}\n'],
  [204, 'POST', 'auth/token/revoke-accessor', '{"accessor":"<accessor>"}\n'],
  [200, 'POST', 'auth/token/create', '{"policies":["deploy"],"ttl":"0s","renewable":true,"type":"service"}\n'],
  [204, 'PUT', 'auth/token/revoke-self', undefined, { as: '<token>' }],
  [200, 'POST', 'auth/token/create', '{"policies":["deploy"],"ttl":"20m0s","renewable":true,"type":"batch"}\n'],
  [204, 'PUT', 'sys/leases/revoke-prefix/auth/token/create'],
  [204, 'DELETE', 'auth/token/roles/ci'],
  [
    400,
    'PUT',
    'sys/init',
    '{"secret_shares":5,"secret_threshold":3,"stored_shares":0,"pgp_keys":null,"recovery_shares":0,"recovery_threshold":0,"recovery_pgp_keys":null,"root_token_pgp_key":""}\n',
    { error: 'Vault is already initialized' },
  ],
  [200, 'GET', 'sys/key-status'],
  [204, 'PUT', 'sys/rotate'],
  [204, 'PUT', 'sys/seal'],
  [503, 'GET', '<mount>/creds/deploy', undefined, { error: 'Vault is sealed' }],
  [200, 'PUT', 'sys/unseal', '{"key":"<master>","reset":false,"migrate":false}\n'],
  [200, 'GET', 'sys/auth'],
  [204, 'PUT', 'auth/approle/role/ci', '{"token_policies":"deploy","token_ttl":"20m"}\n'],
  [200, 'GET', 'auth/approle/role/ci/role-id'],
  [200, 'PUT', 'auth/approle/role/ci/secret-id', 'null\n'],
  [200, 'PUT', 'auth/approle/login', '{"role_id":"<role id>","secret_id":"<secret id>"}\n'],
  [204, 'PUT', 'sys/policies/acl/deploy', '{"policy":"path \\"<mount>/*\\" { capabilities = [\\"read\\"] }"}\n'],
  [200, 'GET', 'sys/policies/acl?list=true'],
  [200, 'GET', 'sys/policies/acl/deploy'],
  [204, 'DELETE', 'sys/policies/acl/deploy'],
  [200, 'GET', '<mount>/creds/modern', undefined, { wrap: '300s' }],
  [200, 'POST', 'sys/wrapping/lookup', '{"token":"<wrap>"}\n'],
  [200, 'PUT', 'sys/wrapping/unwrap', '{"token":"<wrap>"}\n'],
  [200, 'GET', '<mount>/creds/modern', undefined, { wrap: '300s' }],
  [200, 'PUT', 'sys/wrapping/unwrap', 'null\n', { as: '<wrap>' }],
  [200, 'PUT', 'sys/wrapping/wrap', '{"a":"b"}\n', { wrap: '5m' }],
  [200, 'PUT', 'sys/wrapping/rewrap', '{"token":"<wrap>"}\n'],
  [204, 'PUT', 'sys/audit/file', '{"type":"file","description":"","options":{"file_path":"<file>"},"local":false}\n'],
  [200, 'GET', 'sys/audit'],
  [204, 'DELETE', 'sys/audit/file'],
  [200, 'GET', 'sys/seal-status'],
  [200, 'GET', 'sys/leader'],
  // Leases of it live on, and that is said.
  [200, 'DELETE', '<mount>/roles/deploy'],
  [200, 'POST', 'sys/remount', '{"from":"<mount>","to":"moved"}\n'],
  [200, 'GET', 'sys/remount/status/<migration>', undefined, { until: '"success"' }],
  [204, 'DELETE', 'sys/mounts/moved'],
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
  [204, 'PUT', '<mount>/config/lease', '{"lease":"1h","lease_max":"24h"}\n'],
  [204, 'PUT', '<mount>/roles/deploy', `{"policy":${quoted}}\n`],
  [200, 'GET', '<mount>/roles/?list=true'],
  [200, 'GET', '<mount>/roles/deploy'],
  [200, 'GET', '<mount>?help=1'],
  [200, 'GET', '<mount>/creds/deploy'],
  [200, 'PUT', 'sys/renew/<lease>', '{"increment":0}\n'],
  [200, 'PUT', 'sys/renew', '{"increment":3600,"lease_id":"<lease>"}\n'],
  [204, 'PUT', 'sys/revoke/<lease>'],
  [204, 'PUT', 'sys/revoke-prefix/<mount>/creds/deploy'],
  [204, 'PUT', 'sys/revoke-force/<mount>/creds'],
  [200, 'POST', 'auth/token/create', '{"policies":["old"],"display_name":"","num_uses":0,"renewable":true}\n'],
  [200, 'GET', 'auth/token/lookup-self', undefined, { as: '<token>' }],
  [200, 'POST', 'auth/token/lookup', '{"token":"<token>"}\n'],
  [200, 'PUT', 'auth/token/renew', '{"increment":0,"token":"<token>"}\n'],
  [204, 'PUT', 'auth/token/revoke', '{"token":"<token>"}\n'],
  [200, 'PUT', 'sys/policy/old', '{"rules":"path \\"<mount>/*\\" { policy = \\"read\\" }"}\n'],
  [200, 'GET', 'sys/policy'],
  [200, 'GET', 'sys/policy/old'],
  [204, 'DELETE', 'sys/policy/old'],
  [200, 'GET', '<mount>/creds/deploy', undefined, { wrap: '300' }],
  [200, 'GET', 'cubbyhole/response', undefined, { as: '<wrap>' }],
  [204, 'PUT', 'sys/revoke-prefix/<mount>'],
  [200, 'GET', 'sys/auth'],
  [204, 'PUT', 'sys/audit/file', '{"type":"file","description":"","options":{"file_path":"<file>"}}\n'],
  [200, 'GET', 'sys/audit'],
  [204, 'DELETE', 'sys/audit/file'],
  [200, 'GET', 'sys/init'],
  [200, 'GET', 'sys/seal-status'],
  [200, 'GET', 'sys/leader'],
  [204, 'PUT', 'sys/seal'],
  [200, 'PUT', 'sys/unseal', '{"key":"<master>"}\n'],
  [204, 'DELETE', '<mount>/roles/deploy'],
  [200, 'POST', 'sys/remount', '{"from":"<mount>","to":"moved"}\n'],
  [200, 'GET', 'sys/remount/status/<migration>', undefined, { until: '"success"' }],
  [204, 'DELETE', 'sys/mounts/moved'],
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
  [
    200,
    'POST',
    'auth/token/create',
    '{"policies": ["deploy"], "no_parent": false, "no_default_policy": false, "renewable": true, "ttl": "1h", "display_name": "token", "num_uses": 0}',
  ],
  [200, 'GET', 'auth/token/lookup-self', undefined, { as: '<token>' }],
  [200, 'POST', 'auth/token/lookup', '{"token": "<token>"}'],
  [200, 'POST', 'auth/token/lookup-accessor', '{"accessor": "<accessor>"}'],
  [200, 'POST', 'auth/token/renew', '{"token": "<token>"}'],
  [200, 'POST', 'auth/token/renew-self', '{"increment": "2h"}', { as: '<token>' }],
  [200, 'POST', 'auth/token/renew-accessor', '{"accessor": "<accessor>"}'],
  [200, 'LIST', 'auth/token/accessors'],
  [204, 'POST', 'auth/token/revoke-accessor', '{"accessor": "<accessor>"}'],
  [
    200,
    'POST',
    'auth/token/create-orphan',
    '{"policies": ["deploy"], "no_default_policy": false, "renewable": true, "display_name": "token", "num_uses": 0}',
  ],
  [204, 'POST', 'auth/token/revoke-orphan', '{"token": "<token>"}'],
  [200, 'POST', 'auth/token/create', '{"no_parent": false, "renewable": true, "display_name": "token"}'],
  [204, 'POST', 'auth/token/revoke-self', undefined, { as: '<token>' }],
  // hvac 0 sends null for all that it was not told; what it gets can be renewed.
  [
    200,
    'POST',
    'auth/token/create',
    '{"id": null, "policies": ["deploy"], "meta": null, "no_parent": false, "display_name": null, "num_uses": null, "no_default_policy": false, "renewable": null, "ttl": null, "explicit_max_ttl": null}',
  ],
  [200, 'POST', 'auth/token/renew', '{"token": "<token>", "increment": null}'],
  [204, 'POST', 'auth/token/roles/ci', '{"name": "ci", "allowed_policies": ["deploy"], "orphan": true}'],
  [200, 'LIST', 'auth/token/roles'],
  [200, 'GET', 'auth/token/roles/ci'],
  [200, 'POST', 'auth/token/create/ci', '{"policies": ["deploy"], "renewable": true, "num_uses": 0}'],
  [204, 'POST', 'auth/token/revoke', '{"token": "<token>"}'],
  [204, 'DELETE', 'auth/token/roles/ci'],
  [204, 'POST', 'auth/approle/role/ci', '{"token_policies": "deploy", "token_ttl": "20m"}'],
  [200, 'LIST', 'auth/approle/role'],
  [200, 'GET', 'auth/approle/role/ci/role-id'],
  [200, 'POST', 'auth/approle/role/ci/secret-id', '{"metadata": "{\\"a\\": \\"b\\"}"}'],
  [200, 'POST', 'auth/approle/login', '{"role_id": "<role id>", "secret_id": "<secret id>"}'],
  [204, 'DELETE', 'auth/approle/role/ci'],
  [204, 'PUT', 'sys/policy/deploy', '{"policy": "{\\"path\\": {\\"<mount>/*\\": {\\"policy\\": \\"read\\"}}}"}'],
  [200, 'GET', 'sys/policy'],
  [200, 'GET', 'sys/policy/deploy'],
  [204, 'DELETE', 'sys/policy/deploy'],
  [204, 'PUT', 'sys/policies/acl/deploy', '{"policy": "path \\"<mount>/*\\" { capabilities = [\\"read\\"] }"}'],
  [200, 'LIST', 'sys/policies/acl'],
  [200, 'GET', 'sys/policies/acl/deploy'],
  [204, 'DELETE', 'sys/policies/acl/deploy'],
  [200, 'POST', 'sys/capabilities-self', '{"paths": ["<mount>/creds/deploy"]}'],
  [200, 'GET', '<mount>/creds/deploy?name=deploy', undefined, { wrap: '60s' }],
  [200, 'POST', 'sys/wrapping/unwrap', '{"token": "<wrap>"}'],
  [200, 'POST', 'sys/wrapping/wrap', '{"a": "b"}', { wrap: '60' }],
  [200, 'POST', 'sys/wrapping/unwrap', undefined, { as: '<wrap>' }],
  [204, 'PUT', 'sys/leases/revoke-prefix/<mount>', '{"prefix": "<mount>"}'],
  [204, 'POST', 'sys/audit/file', '{"type": "file", "description": null, "options": {"file_path": "<file>"}}'],
  [200, 'GET', 'sys/audit'],
  [200, 'POST', 'sys/audit-hash/file', '{"input": "text"}'],
  [204, 'DELETE', 'sys/audit/file'],
  [200, 'GET', 'sys/mounts'],
  [200, 'GET', 'sys/auth'],
  [200, 'GET', 'sys/init'],
  [200, 'GET', 'sys/seal-status'],
  [200, 'GET', 'sys/leader'],
  [200, 'GET', 'sys/key-status'],
  [204, 'PUT', 'sys/rotate'],
  [204, 'PUT', 'sys/seal'],
  [200, 'PUT', 'sys/unseal', '{"migrate": false, "key": "<master>"}'],
  [200, 'HEAD', 'sys/health?standbyok=True&activecode=200'],
  [200, 'GET', 'sys/mounts/<mount>/tune'],
  [204, 'POST', 'sys/mounts/<mount>/tune', '{"default_lease_ttl": "3600s", "max_lease_ttl": "7200s"}'],
  [204, 'DELETE', '<mount>/roles/deploy'],
  [200, 'POST', 'sys/remount', '{"from":"<mount>","to":"moved"}\n'],
  [200, 'GET', 'sys/remount/status/<migration>', undefined, { until: '"success"' }],
  [204, 'DELETE', 'sys/mounts/moved'],
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
  let folder: AuditFolder;

  beforeAll(async () => {
    folder = new AuditFolder();
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
  afterAll(async () => {
    await world?.close();
    folder.remove();
  });

  it.each([
    ['the command line', 'aws', commandLine, {}],
    ['the command line of 0.6', 'aws', oldCommandLine, {}],
    ['hvac', 'team/aws', hvac, { 'Content-Type': 'application/json', 'User-Agent': 'python-requests/2.32' }],
    ['node-vault', 'aws', nodeVault, { 'Content-Type': 'application/json', Accept: 'application/json' }],
  ] as [string, string, Sent[], Record<string, string>][])('%s is answered', async (_name, mount, sent, own) => {
    const given: Record<string, string> = {
      mount,
      key: world.root.accessKeyId,
      secret: world.root.secretAccessKey,
      own: world.http.token,
      master: world.options.masterKey.toString('base64'),
      file: folder.file('audit.log'),
    };
    const filled = (text: string) => text.replaceAll(/<([a-z ]+)>/g, (_, name: string) => given[name]!);
    for (const [status, method, path, body, { as = '<own>', wrap, error, until = '' } = {}] of sent) {
      const headers = {
        ...own,
        'X-Vault-Token': filled(as),
        'X-Vault-Request': 'true',
        'Accept-Encoding': 'gzip',
        ...(wrap ? { 'X-Vault-Wrap-TTL': wrap } : {}),
      };
      const request = { headers, ...(body === undefined ? {} : { body: filled(body) }) };
      const answer = await eventually(async () => {
        const found = await rawRequest(world.http.url, method, `/v1/${filled(path)}`, request);
        return found.text.includes(until) && found;
      });
      expect([method, path, answer.status, answer.errors ?? []]).toEqual([method, path, status, error ? [error] : []]);
      // A client that asks for JSON reads it, or nothing.
      expect(answer.headers['content-type']).toBe('application/json');
      checkDocumented(method, filled(path), {
        ...answer,
        headers: new Headers(answer.headers as Record<string, string>),
      });
      if (status === 204 || method === 'HEAD') expect(answer.text).toBe('');
      const isKey = method === 'GET' && /\/creds\/deploy(\?name|$)/.test(path);
      Object.assign(given, answer.text === '' ? {} : givenBy(JSON.parse(answer.text) as Given, isKey));
    }
    expect(world.lentUsers()).toEqual([]);
  });
});

/** What a client of these goes on with. */
interface Given {
  lease_id?: string;
  auth?: { client_token: string; accessor: string } | null;
  wrap_info?: { token: string } | null;
  data?: { role_id?: string; secret_id?: string; migration_id?: string } | null;
}

function givenBy({ lease_id, auth, wrap_info, data }: Given, isKey: boolean): Record<string, string> {
  return {
    ...(isKey && lease_id ? { lease: lease_id } : {}),
    ...(auth?.client_token ? { token: auth.client_token, accessor: auth.accessor } : {}),
    ...(wrap_info ? { wrap: wrap_info.token } : {}),
    ...(data?.role_id ? { 'role id': data.role_id } : {}),
    ...(data?.secret_id ? { 'secret id': data.secret_id } : {}),
    ...(data?.migration_id ? { migration: data.migration_id } : {}),
  };
}
