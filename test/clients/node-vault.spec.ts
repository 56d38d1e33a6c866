import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type NodeVault from 'node-vault';
import { seedAssumeRolePolicy, seedFederationPolicy, seedTrustPolicy } from '../../apps/simulator/src/index.js';
import { AuditFolder, recordsIn } from '../support/audit-file.js';
import { everything } from '../support/everything.js';
import { comesToRest, policyDocument } from '../support/lease-life.js';
import { functionsOf, nodeVault, type NodeVaultError } from '../support/node-vault.js';
import { eventually, World } from '../support/world.js';

const readOnly = 'arn:aws:iam::aws:policy/ReadOnlyAccess';
const lender = 'path "aws/creds/deploy" { capabilities = ["read"] }';

/** What node-vault can ask of engines and auth methods that are not here, or of a seal with shares: refused, nothing done. */
const elsewhere: [name: string, args: object][] = [
  // With arguments it fails in its own schema.
  ['addKubernetesRole', {}],
  ['getKubernetesRole', { role_name: 'x' }],
  ['deleteKubernetesRole', { role_name: 'x' }],
  ['kubernetesLogin', { role: 'x', jwt: 'y' }],
  ['gcpLogin', { role: 'x', jwt: 'y' }],
  ['githubLogin', { token: 'x' }],
  [
    'awsIamLogin',
    {
      role: 'x',
      iam_http_request_method: 'POST',
      iam_request_url: 'x',
      iam_request_body: 'x',
      iam_request_headers: 'x',
    },
  ],
  ['userpassLogin', { username: 'x', password: 'y' }],
  ['ldapLogin', { username: 'x', password: 'y' }],
  ['oktaLogin', { username: 'x', password: 'y' }],
  ['radiusLogin', { username: 'x', password: 'y' }],
  ['certLogin', {}],
  ['jwtLogin', { role: 'x', jwt: 'y' }],
  ['enableAuth', { mount_point: 'github', type: 'github' }],
  ['disableAuth', { mount_point: 'approle' }],
  ['encryptData', { name: 'x', plaintext: 'y' }],
  ['decryptData', { name: 'x', ciphertext: 'y' }],
  ['rewrapData', { name: 'x', ciphertext: 'y' }],
  ['transitCreateKey', { name: 'x' }],
  ['transitReadKey', { name: 'x' }],
  ['transitListKeys', {}],
  ['transitDeleteKey', { name: 'x' }],
  ['generateDatabaseCredentials', { databasePath: 'database', name: 'x' }],
  ['destroySecretVersions', { path: 'x', versions: [1] }],
  ['generateRootInit', { otp: 'x' }],
  ['generateRootUpdate', { key: 'x', nonce: 'y' }],
  ['generateRootCancel', {}],
  ['stepDown', {}],
];

describe('node-vault', () => {
  const used = new Set<string>();
  let world: World;
  let vault: NodeVault.client;
  let folder: AuditFolder;
  let iamRoleArn: string;

  beforeAll(async () => {
    folder = new AuditFolder();
    world = await World.start({ weather: {} });
    vault = client();
    const account = world.simulator.account();
    const root = account.existingUser('leasehold-root');
    iamRoleArn = account.arn('role', '/', 'RoleNameToAssume');
    account.createRole('RoleNameToAssume', seedTrustPolicy(account.arn('user', '/', 'leasehold-root')));
    account.putUserPolicy(root, 'federate', seedFederationPolicy());
    account.putUserPolicy(root, 'assume', seedAssumeRolePolicy(iamRoleArn));
    await vault.mount({ mount_point: 'aws', type: 'aws' });
    await vault.write('aws/config/root', rootKeys());
    await vault.write('aws/roles/deploy', { policy: policyDocument });
    await vault.addPolicy({ name: 'lender', policy: lender });
  });
  afterAll(async () => {
    vault?.stopAllRenewals();
    await world?.close();
    folder.remove();
  });
  afterEach(async () => {
    vault.stopAllRenewals();
    await vault.revokePrefix({ path_prefix: 'aws' });
    await comesToRest(world);
  });

  const client = (options: NodeVault.VaultOptions = {}) => nodeVault(world, options, used);
  const as = (token: string) => client({ token });
  const rootKeys = () => ({
    access_key: world.root.accessKeyId,
    secret_key: world.root.secretAccessKey,
    region: 'us-east-1',
  });
  /** The status and the message that a call was refused with. */
  const refusal = (asked: Promise<unknown>): Promise<[number | undefined, string]> =>
    asked.then(
      (answer) => Promise.reject(new Error(`It was answered: ${JSON.stringify(answer)}`)),
      (error: NodeVaultError) => [error.response?.statusCode, error.message],
    );
  /** A token of these policies, whose maker stays as it is: node-vault goes on with what it makes. */
  const tokenOf = async (wish: object) => (await client().tokenCreate(wish)).auth as Made;
  interface Made {
    client_token: string;
    accessor: string;
    policies: string[];
    lease_duration: number;
  }

  it('mounts an engine, tunes it, lists it and takes it down with all that it lent', async () => {
    await vault.mount({
      mount_point: 'team/aws',
      type: 'aws',
      description: 'for the team',
      config: { default_lease_ttl: '30m' },
    });
    const mounts = await vault.mounts();
    expect(mounts['team/aws/']).toEqual(mounts.data['team/aws/']);
    expect(mounts.data['team/aws/']).toMatchObject({
      type: 'aws',
      description: 'for the team',
      config: { default_lease_ttl: 1800 },
    });
    await vault.write('sys/mounts/team/aws/tune', { max_lease_ttl: '2h', description: 'tuned' });
    expect((await vault.read('sys/mounts/team/aws/tune')).data).toMatchObject({
      description: 'tuned',
      default_lease_ttl: 1800,
      max_lease_ttl: 7200,
    });
    await vault.write('team/aws/config/root', rootKeys());
    await vault.write('team/aws/roles/deploy', { policy: policyDocument });
    const lent = await vault.read('team/aws/creds/deploy');
    expect(lent.lease_duration).toBe(1800);
    expect(await world.whoIs(lent.data)).toMatch(/:user\/vault-root-deploy-/);
    await vault.unmount({ mount_point: 'team/aws' });
    expect(Object.keys((await vault.mounts()).data)).not.toContain('team/aws/');
    expect(await world.whoIs(lent.data)).toBe('InvalidClientTokenId');
    expect(await refusal(vault.read('team/aws/creds/deploy'))).toEqual([
      404,
      'no handler for route "team/aws/creds/deploy". route entry not found.',
    ]);
    expect(await refusal(vault.mount({ mount_point: 'aws', type: 'aws' }))).toEqual([
      400,
      'path is already in use at aws/',
    ]);
  });

  it('moves an engine with its roles to another path, and takes back what was lent at the old one', async () => {
    await vault.mount({ mount_point: 'from/here', type: 'aws' });
    await vault.write('from/here/config/root', rootKeys());
    await vault.write('from/here/roles/deploy', { policy: policyDocument });
    const lent = await vault.read('from/here/creds/deploy');
    const { migration_id } = (await vault.remount({ from: 'from/here', to: 'to/there' })).data;
    await eventually(async () => {
      const { status } = (await vault.read(`sys/remount/status/${migration_id}`)).data.migration_info;
      return status === 'success';
    });
    expect(await world.whoIs(lent.data)).toBe('InvalidClientTokenId');
    const moved = await vault.read('to/there/creds/deploy');
    expect(await world.whoIs(moved.data)).toMatch(/:user\/vault-root-deploy-/);
    expect(Object.keys((await vault.mounts()).data)).not.toContain('from/here/');
    await vault.unmount({ mount_point: 'to/there' });
  });

  it('configures the engine, and reads all of it but the secret', async () => {
    await vault.write('aws/config/root', { max_retries: 2 });
    const { data } = await vault.read('aws/config/root');
    expect(data).toMatchObject({ access_key: world.root.accessKeyId, region: 'us-east-1', max_retries: 2 });
    expect(JSON.stringify(data)).not.toContain(world.root.secretAccessKey);
    await vault.write('aws/config/lease', { lease: '30m', lease_max: '12h' });
    expect((await vault.read('aws/config/lease')).data).toEqual({ lease: '30m0s', lease_max: '12h0m0s' });
    expect((await vault.read('aws/creds/deploy')).lease_duration).toBe(1800);
    await vault.write('aws/config/lease', { lease: '1h', lease_max: '24h' });
  });

  it('writes roles of the old and of the new form, lists, reads and deletes them', async () => {
    await vault.write('aws/roles/managed', { arn: readOnly });
    await vault.write('aws/roles/modern', {
      credential_type: 'iam_user',
      policy_document: policyDocument,
      policy_arns: [readOnly],
      iam_tags: { team: 'a' },
      user_path: '/lent/',
    });
    const keys = ['deploy', 'managed', 'modern'];
    expect((await vault.list('aws/roles')).data).toEqual({ keys });
    expect((await vault.list('aws/roles/')).data).toEqual({ keys });
    expect((await client({ noCustomHTTPVerbs: true }).list('aws/roles')).data).toEqual({ keys });
    expect((await vault.read('aws/roles/deploy')).data).toMatchObject({ policy: policyDocument });
    expect((await vault.read('aws/roles/managed')).data).toMatchObject({ arn: readOnly, policy_arns: [readOnly] });
    expect((await vault.read('aws/roles/modern')).data).toMatchObject({
      credential_type: 'iam_user',
      policy_document: policyDocument,
      iam_tags: { team: 'a' },
      user_path: '/lent/',
    });
    for (const name of ['managed', 'modern']) await vault.delete(`aws/roles/${name}`);
    expect((await vault.list('aws/roles')).data).toEqual({ keys: ['deploy'] });
    expect(await refusal(vault.read('aws/roles/modern'))).toEqual([404, 'Status 404']);
    // It has a function for PATCH, which no path of the engine answers.
    expect(await refusal(vault.update('aws/roles/deploy', { user_path: '/x/' }))).toEqual([
      405,
      '1 error occurred:\n\t* unsupported operation\n\n',
    ]);
  });

  it('lends users, federation tokens and assumed roles, by reading and by writing', async () => {
    await vault.write('aws/roles/cross', { arn: iamRoleArn });
    for (const lent of [await vault.read('aws/creds/deploy'), await vault.write('aws/creds/deploy', {})]) {
      expect(lent).toMatchObject({ renewable: true, lease_duration: 3600, data: { security_token: null } });
      expect(await world.whoIs(lent.data)).toMatch(/:user\/vault-root-deploy-/);
    }
    for (const [path, who] of [
      ['aws/sts/deploy', /:federated-user\/vault-/],
      ['aws/sts/cross', /:assumed-role\/RoleNameToAssume\//],
    ] as const) {
      const [read, written] = [await vault.read(path), await vault.write(path, { ttl: '15m' })];
      expect([read.renewable, written.renewable]).toEqual([false, false]);
      expect([899, 900]).toContain(written.lease_duration);
      for (const { data } of [read, written]) expect(await world.whoIs(data)).toMatch(who);
    }
    await vault.delete('aws/roles/cross');
  });

  it('looks leases up, lists them and renews them', async () => {
    const { lease_id } = await vault.read('aws/creds/deploy');
    expect(await vault.renew({ lease_id, increment: 7200 })).toMatchObject({
      lease_id,
      renewable: true,
      lease_duration: 7200,
    });
    const found = (await vault.write('sys/leases/lookup', { lease_id })).data;
    expect(found).toMatchObject({ id: lease_id, renewable: true });
    expect(found.ttl).toBeGreaterThan(7000);
    const below = await vault.list('sys/leases/lookup/aws/creds/deploy');
    expect(below.data.keys).toEqual([lease_id.slice('aws/creds/deploy/'.length)]);
    expect(await refusal(vault.renew({ lease_id: `${lease_id}x` }))).toEqual([400, 'lease not found']);
  });

  const revoking: [how: string, revoke: (leaseId: string) => Promise<unknown>][] = [
    ['by its id', (lease_id) => vault.revoke({ lease_id })],
    ['with a prefix', () => vault.revokePrefix({ path_prefix: 'aws/creds/deploy' })],
    ['with a prefix and its closing slash', () => vault.revokePrefix({ path_prefix: 'aws/creds/deploy/' })],
    ['with a prefix, by force', () => vault.write('sys/revoke-force/aws/creds/deploy', {})],
    ['at the old path', (leaseId) => vault.write(`sys/revoke/${leaseId}`, {})],
  ];
  it.each(revoking)('takes a key back %s', async (_how, revoke) => {
    const lent = await vault.read('aws/creds/deploy');
    expect(await world.whoIs(lent.data)).toMatch(/:user\//);
    await revoke(lent.lease_id);
    expect(await world.whoIs(lent.data)).toBe('InvalidClientTokenId');
    expect(world.lentUsers()).toEqual([]);
    expect(await refusal(vault.write('sys/leases/lookup', { lease_id: lent.lease_id }))).toEqual([
      400,
      'invalid lease',
    ]);
  });

  it('goes on renewing leases and its token by itself, and says when there is nothing left to renew', async () => {
    const lent = await vault.read('aws/creds/deploy');
    const gone = await vault.read('aws/creds/deploy');
    const { client_token } = await tokenOf({ policies: ['lender'], ttl: '10m' });
    const service = as(client_token);
    const renewed = once(vault as never, 'lease:renewed');
    const refused = once(vault as never, 'lease:error:renew');
    const tokenRenewed = once(service as never, 'token:renewed');
    await vault.revoke({ lease_id: gone.lease_id });
    // It waits for a second at least before it renews.
    vault.startLeaseRenewal(lent.lease_id, 1, { increment: 5400 });
    vault.startLeaseRenewal(gone.lease_id, 1);
    await service.startTokenRenewal({ ttl: 1, increment: '20m' });
    expect(await renewed).toMatchObject([{ leaseId: lent.lease_id, result: { lease_duration: 5400 } }]);
    expect(await refused).toMatchObject([{ leaseId: gone.lease_id, error: { message: 'lease not found' } }]);
    expect(await tokenRenewed).toMatchObject([{ auth: { lease_duration: 1200 } }]);
    const { ttl } = (await vault.write('sys/leases/lookup', { lease_id: lent.lease_id })).data;
    expect(ttl).toBeGreaterThan(4000);
    vault.stopLeaseRenewal(lent.lease_id);
    service.stopTokenRenewal();
    await vault.tokenRevoke({ token: client_token });
  });

  it('makes tokens, looks them up and renews them', async () => {
    const service = client();
    const made = (
      await service.tokenCreate({ policies: ['lender'], ttl: '30m', display_name: 'ci', meta: { team: 'a' } })
    ).auth;
    expect(made).toMatchObject({ policies: ['default', 'lender'], lease_duration: 1800, renewable: true });
    // From here on it is that token.
    expect((await service.tokenLookupSelf()).data).toMatchObject({
      id: made.client_token,
      display_name: 'token-ci',
      meta: { team: 'a' },
    });
    const lent = await service.read('aws/creds/deploy');
    expect(await world.whoIs(lent.data)).toMatch(/:user\/vault-token-ci-deploy-/);
    expect(await refusal(service.read('aws/roles/deploy'))).toEqual([
      403,
      '1 error occurred:\n\t* permission denied\n\n',
    ]);
    expect((await service.tokenRenewSelf({ increment: '40m' })).auth.lease_duration).toBe(2400);
    expect((await service.tokenRenewSelf()).auth.lease_duration).toBe(1800);
    expect((await vault.tokenLookup({ token: made.client_token })).data.accessor).toBe(made.accessor);
    expect((await vault.tokenLookupAccessor({ accessor: made.accessor })).data).toMatchObject({
      id: '',
      display_name: 'token-ci',
    });
    expect((await vault.tokenAccessors()).data.keys).toContain(made.accessor);
    expect((await client().tokenRenew({ token: made.client_token, increment: 600 })).auth.lease_duration).toBe(600);
    await service.tokenRevokeSelf();
    expect((await refusal(service.read('aws/creds/deploy')))[0]).toBe(403);
    await eventually(async () => (await world.whoIs(lent.data)) === 'InvalidClientTokenId');
  });

  const ending: [how: string, end: (token: Made) => Promise<unknown>][] = [
    ['by itself', ({ client_token }) => vault.tokenRevoke({ token: client_token })],
    ['by its accessor', ({ accessor }) => vault.tokenRevokeAccessor({ accessor })],
  ];
  it.each(ending)('ends a token %s, and with it what was lent to it and below it', async (_how, end) => {
    const parent = await tokenOf({ policies: ['root'] });
    const child = (await as(parent.client_token).tokenCreate({ policies: ['lender'] })).auth as Made;
    const orphan = (await as(parent.client_token).tokenCreateOrphan({ policies: ['lender'] })).auth as Made;
    const [lent, kept] = [
      await as(child.client_token).read('aws/creds/deploy'),
      await as(orphan.client_token).read('aws/creds/deploy'),
    ];
    await end(parent);
    await eventually(async () => (await world.whoIs(lent.data)) === 'InvalidClientTokenId');
    expect((await refusal(as(child.client_token).tokenLookupSelf()))[0]).toBe(403);
    expect(await world.whoIs(kept.data)).toMatch(/:user\//);
    await vault.tokenRevoke({ token: orphan.client_token });
  });

  it('ends a token alone, and its children live on as orphans', async () => {
    const parent = await tokenOf({ policies: ['root'] });
    const child = (await as(parent.client_token).tokenCreate({ policies: ['lender'] })).auth as Made;
    await vault.tokenRevokeOrphan({ token: parent.client_token });
    expect((await refusal(as(parent.client_token).tokenLookupSelf()))[0]).toBe(403);
    expect((await as(child.client_token).tokenLookupSelf()).data.orphan).toBe(true);
    await vault.tokenRevoke({ token: child.client_token });
  });

  it('makes tokens as token roles say', async () => {
    await vault.addTokenRole({ role_name: 'ci', allowed_policies: 'lender', orphan: true, explicit_max_ttl: 3600 });
    expect((await vault.tokenRoles()).data).toEqual({ keys: ['ci'] });
    expect((await vault.getTokenRole({ role_name: 'ci' })).data).toMatchObject({
      allowed_policies: ['lender'],
      orphan: true,
      explicit_max_ttl: 3600,
    });
    const { auth } = await client().tokenCreateRole({ role_name: 'ci', policies: ['lender'] });
    expect(auth).toMatchObject({ orphan: true, lease_duration: 3600, policies: ['default', 'lender'] });
    expect((await refusal(client().tokenCreateRole({ role_name: 'ci', policies: ['other'] })))[0]).toBe(400);
    await vault.removeTokenRole({ role_name: 'ci' });
    expect(await refusal(vault.getTokenRole({ role_name: 'ci' }))).toEqual([404, 'Status 404']);
    await vault.tokenRevoke({ token: auth.client_token });
  });

  it('logs services in with AppRole, and they lend', async () => {
    const role_name = 'ci';
    await vault.addApproleRole({ role_name, policies: 'lender', token_ttl: 1200, secret_id_num_uses: 2 });
    expect((await vault.approleRoles()).data).toEqual({ keys: ['ci'] });
    expect((await vault.getApproleRole({ role_name })).data).toMatchObject({
      token_policies: ['lender'],
      token_ttl: 1200,
    });
    await vault.updateApproleRoleId({ role_name, role_id: 'the-pipeline' });
    const { role_id } = (await vault.getApproleRoleId({ role_name })).data;
    expect(role_id).toBe('the-pipeline');
    const given = (await vault.getApproleRoleSecret({ role_name, metadata: '{"build":"7"}' })).data;
    expect((await vault.approleSecretAccessors({ role_name })).data).toEqual({ keys: [given.secret_id_accessor] });
    expect((await vault.approleSecretLookup({ role_name, secret_id: given.secret_id })).data.metadata).toEqual({
      build: '7',
    });
    expect(
      (await vault.approleSecretAccessorLookup({ role_name, secret_id_accessor: given.secret_id_accessor })).data,
    ).toMatchObject({ secret_id_accessor: given.secret_id_accessor });

    const service = client({ token: 'none' });
    const { auth } = await service.approleLogin({ role_id, secret_id: given.secret_id });
    expect(auth).toMatchObject({ lease_duration: 1200, metadata: { role_name, build: '7' } });
    const lent = await service.read('aws/creds/deploy');
    expect(await world.whoIs(lent.data)).toMatch(/:user\/vault-approle-deploy-/);
    await service.tokenRevokeSelf();

    await vault.approleSecretDestroy({ role_name, secret_id: given.secret_id });
    const logIn = (secret_id: string) => refusal(client({ token: '' }).approleLogin({ role_id, secret_id }));
    expect(await logIn(given.secret_id)).toEqual([400, 'invalid role or secret ID']);
    const other = (await vault.getApproleRoleSecret({ role_name })).data;
    await vault.approleSecretAccessorDestroy({ role_name, secret_id_accessor: other.secret_id_accessor });
    expect(await logIn(other.secret_id)).toEqual([400, 'invalid role or secret ID']);
    await vault.deleteApproleRole({ role_name });
    expect(await refusal(vault.approleRoles())).toEqual([404, 'Status 404']);
  });

  it('writes policies under the old path, and they count from the next request on', async () => {
    await vault.addPolicy({ name: 'passing', rules: lender });
    expect((await vault.getPolicy({ name: 'passing' })).rules).toBe(lender);
    expect((await vault.policies()).policies).toEqual(['default', 'lender', 'passing', 'root']);
    const service = as((await tokenOf({ policies: ['passing'] })).client_token);
    const capabilities = async () =>
      (await service.write('sys/capabilities-self', { paths: ['aws/creds/deploy'] })).data;
    expect(await capabilities()).toMatchObject({ 'aws/creds/deploy': ['read'], capabilities: ['read'] });
    expect(
      (await vault.write('sys/capabilities', { token: service.token, path: 'aws/creds/deploy' })).capabilities,
    ).toEqual(['read']);
    const lent = await service.read('aws/creds/deploy');
    await vault.removePolicy({ name: 'passing' });
    expect(await capabilities()).toMatchObject({ capabilities: ['deny'] });
    expect((await refusal(service.read('aws/creds/deploy')))[0]).toBe(403);
    expect(await world.whoIs(lent.data)).toMatch(/:user\//);
    await service.tokenRevokeSelf();
  });

  it('lists the ways in, and the keys under which all is kept', async () => {
    expect(Object.keys((await vault.auths()).data)).toEqual(['approle/', 'token/']);
    const term = async () => (await vault.read('sys/key-status')).data.term as number;
    const before = await term();
    await vault.rotate();
    expect(await term()).toBe(before + 1);
    expect((await vault.read('aws/config/root')).data.access_key).toBe(world.root.accessKeyId);
  });

  it('enables audit, which records what it does, and disables it', async () => {
    const file = folder.file('audit.log');
    await vault.enableAudit({ name: 'file', type: 'file', description: 'for a test', options: { file_path: file } });
    expect((await vault.audits()).data['file/']).toMatchObject({ type: 'file', options: { file_path: file } });
    const lent = await vault.read('aws/creds/deploy');
    await vault.disableAudit({ name: 'file' });
    expect((await vault.audits()).data).toEqual({});
    const of = recordsIn(file).filter(({ request }) => request.path === 'aws/creds/deploy');
    expect(of.map(({ type }) => type)).toEqual(['request', 'response']);
    expect(JSON.stringify(of)).not.toContain(lent.data.secret_key);
  });

  it('asks how the system is, seals it and opens it again', async () => {
    expect(await vault.initialized()).toEqual({ initialized: true });
    expect(await vault.status()).toMatchObject({ sealed: false, t: 1, n: 1, progress: 0 });
    expect(await vault.health()).toMatchObject({ initialized: true, sealed: false, standby: false });
    expect(await vault.leader()).toMatchObject({ ha_enabled: false });
    expect(await refusal(vault.init({ secret_shares: 1, secret_threshold: 1 }))).toEqual([
      400,
      'Vault is already initialized',
    ]);
    await vault.seal();
    try {
      // 503 or whatever is asked for: of its health it takes any answer.
      expect(await vault.health()).toMatchObject({ sealed: true });
      expect(await vault.health({ sealedcode: 299, standbyok: true })).toMatchObject({ sealed: true });
      expect(await vault.status()).toMatchObject({ sealed: true });
      expect(await refusal(vault.read('aws/creds/deploy'))).toEqual([503, 'Vault is sealed']);
    } finally {
      expect(await vault.unseal({ key: world.options.masterKey.toString('base64') })).toMatchObject({ sealed: false });
    }
    await vault.read('aws/creds/deploy');
  });

  it('wraps what it asks for, and opens a wrap once', async () => {
    const wrapped = async () =>
      (await vault.read('aws/creds/deploy', { headers: { 'X-Vault-Wrap-TTL': '60s' } })).wrap_info;
    const one = await wrapped();
    expect(one).toMatchObject({ ttl: 60, creation_path: 'aws/creds/deploy' });
    expect((await vault.write('sys/wrapping/lookup', { token: one.token })).data.creation_path).toBe(
      'aws/creds/deploy',
    );
    const lent = await vault.unwrap({ token: one.token });
    expect(await world.whoIs(lent.data)).toMatch(/:user\//);
    const opened = [400, 'wrapping token is not valid or does not exist'];
    expect(await refusal(vault.unwrap({ token: one.token }))).toEqual(opened);

    const two = await wrapped();
    const again = (await vault.write('sys/wrapping/rewrap', { token: two.token })).wrap_info;
    expect(await refusal(vault.unwrap({ token: two.token }))).toEqual(opened);
    // Whoever has nothing but the wrap opens it as the caller.
    const other = await as(again.token).unwrap();
    expect(await world.whoIs(other.data)).toMatch(/:user\//);

    const own = await vault.write('sys/wrapping/wrap', { a: '1' }, { headers: { 'X-Vault-Wrap-TTL': '60s' } });
    expect((await vault.unwrap({ token: own.wrap_info.token })).data).toEqual({ a: '1' });
  });

  it('shows help of the engine and of its paths', async () => {
    expect((await vault.help('aws')).help).toContain('^config/lease$');
    expect((await vault.help('aws/creds/deploy')).help).toContain('Request:        creds/deploy');
    expect((await vault.help('sys/leases/renew')).help).toContain('Renew a lease.');
  });

  it('has the first error as the message of its own', async () => {
    expect(await refusal(vault.read('aws/creds/nobody'))).toEqual([400, 'Role "nobody" not found']);
    expect(await refusal(vault.write('aws/roles/x', { policy: '{' }))).toEqual([
      400,
      expect.stringContaining('unable to parse supplied data'),
    ]);
    expect(await refusal(vault.read('nowhere/at/all'))).toEqual([
      404,
      'no handler for route "nowhere/at/all". route entry not found.',
    ]);
    expect((await refusal(as('none').read('aws/creds/deploy')))[1]).toContain('permission denied');
    const stranger = await refusal(client({ namespace: 'team' }).read('sys/mounts'));
    expect(stranger).toEqual([404, 'namespace not found']);
    expect(world.lentUsers()).toEqual([]);
  });

  it('asks by templates of its users, whose slashes arrive as such', async () => {
    const own = client() as NodeVault.client & Record<'lend' | 'roleOf', (args: object) => Promise<Lent>>;
    own.generateFunction('lend', { method: 'GET', path: '/{{mount}}{{^mount}}aws{{/mount}}/creds/{{role}}' });
    own.generateFunction('roleOf', { method: 'GET', path: '/{{{path}}}' });
    await vault.mount({ mount_point: 'team/a/aws', type: 'aws' });
    await vault.write('team/a/aws/config/root', rootKeys());
    await vault.write('team/a/aws/roles/first.last@example.com', { policy: policyDocument });
    const lent = await own.lend({ mount: 'team/a/aws', role: 'first.last@example.com' });
    expect(lent.lease_id).toMatch(/^team\/a\/aws\/creds\/first\.last@example\.com\//);
    expect((await own.lend({ role: 'deploy' })).lease_id).toMatch(/^aws\/creds\/deploy\//);
    expect((await own.roleOf({ path: 'aws/roles/deploy' })).data).toMatchObject({ policy: policyDocument });
    await vault.unmount({ mount_point: 'team/a/aws' });
  });
  interface Lent {
    lease_id: string;
    data: object;
  }

  it.each(elsewhere)('is refused what is not here: %s', async (name, args) => {
    const before = await everything(world);
    const ask = (vault as unknown as Record<string, (args: object) => Promise<unknown>>)[name]!;
    const [status, message] = await refusal(ask(args));
    expect([400, 404, 405]).toContain(status);
    expect(message).toMatch(/unsupported|no handler for route|Status 404|cannot write to a path ending in/);
    expect(await everything(world)).toEqual(before);
  });

  it('was asked for everything that it can do', () => {
    const functions = functionsOf(vault).map(([name]) => name);
    expect(functions.length).toBeGreaterThan(80);
    expect(functions.filter((name) => !used.has(name))).toEqual([]);
  });
});
