import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { seedRootPolicy } from '../apps/simulator/src/index.js';
import { comesToRest, keysInAws, lend, lentBy, policyDocument, rowOf, writeRole } from './support/lease-life.js';
import { eventually, World } from './support/world.js';

/** The seed's rights, and the one to ask which user a key belongs to. */
const mayFollowKeys = (accountId: string) =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      ...(JSON.parse(seedRootPolicy(accountId)) as { Statement: object[] }).Statement,
      { Effect: 'Allow', Action: ['iam:GetAccessKeyLastUsed', 'iam:*AccessKey*', 'iam:Delete*'], Resource: '*' },
    ],
  });

describe('a lease among the faults of its neighbours', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {}, rootPolicy: mayFollowKeys, timing: { retryBaseMs: 20, maxAttempts: 3 } });
    await world.mount();
    await writeRole(world, 'deploy');
  });
  afterEach(() => world.simulator.faults.clear());
  afterAll(() => world.close());

  /** As if the lease had been issued an hour ago: what AWS says of its user is no lag any more. */
  const aged = (leaseId: string) =>
    world.database.query(`update leases set created_at = created_at - interval '1 hour' where id = $1`, [leaseId]);
  const intentInFlight = async () => (await world.leases()).find((row) => row.state === 'issuing')!;

  it("leaves a stranger's user alone that has the wanted name", async () => {
    const hold = world.simulator.faults.hold('CreateUser', 'before');
    const asked = world.http.call('GET', 'aws/creds/deploy');
    await hold.reached;
    const { id, user_name: wanted } = await intentInFlight();
    const account = world.simulator.account();
    const stranger = account.createUser(wanted!);
    const key = account.createAccessKey(stranger);
    hold.release();
    const refused = await asked;
    expect(refused.status).toBe(400);
    expect(refused.body.errors[0]).toContain('EntityAlreadyExists');
    expect(await rowOf(world, id)).toMatchObject({ state: 'ended', end_reason: 'issue_failed', due_at: null });
    expect(world.lentUsers()).toEqual([wanted]);
    expect(keysInAws(world)).toEqual([key.id]);
    account.deleteAccessKey(stranger, key.id);
    account.deleteUser(stranger);
  });

  it('goes on with its own user when only the answer to CreateUser was lost', async () => {
    world.simulator.faults.loseReply({ action: 'CreateUser', times: 1 });
    const lent = await lend(world, 'deploy');
    await comesToRest(world, [lent]);
    await world.http.must(204, 'PUT', `sys/revoke/${lent.leaseId}`);
  });

  it('leaves no key that nobody knows when the answer to CreateAccessKey was lost, and still lends one', async () => {
    world.simulator.faults.loseReply({ action: 'CreateAccessKey', times: 1 });
    const lent = await lend(world, 'deploy');
    expect(await rowOf(world, lent.leaseId)).toMatchObject({ attempt: 2, state: 'active' });
    await comesToRest(world, [lent]);
    expect(await world.whoIs(lent.keys)).toMatch(/^arn:/);
    await world.http.must(204, 'PUT', `sys/revoke/${lent.leaseId}`);
  });

  it('takes back what a caller who hung up had asked for', async () => {
    const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
    const hangUp = new AbortController();
    const asked = world.http.call('GET', 'aws/creds/deploy', undefined, { signal: hangUp.signal });
    await hold.reached;
    hangUp.abort();
    await expect(asked).rejects.toThrow();
    // The mark is there before the issuer offers.
    await eventually(async () => {
      const { rows } = await world.database.query('select 1 from commands where withdrawn_at is not null');
      return rows.length > 0;
    });
    hold.release();
    await comesToRest(world);
  });

  it('takes back what was accepted for a caller who left before its turn to be answered', async () => {
    const hold = world.simulator.faults.hold('CreateUser', 'before');
    const { hostname, port } = new URL(world.http.url);
    const caller = connect(Number(port), hostname);
    const ask = () =>
      caller.write(`GET /v1/aws/creds/deploy HTTP/1.1\r\nHost: vault\r\nX-Vault-Token: ${world.http.token}\r\n\r\n`);
    ask();
    await hold.reached;
    ask();
    const isActive = async () => (await world.leases()).find((row) => row.state === 'active');
    const { id } = await eventually(isActive);
    caller.destroy();
    await eventually(async () => (await rowOf(world, id)).end_reason === 'not_received');
    hold.release();
    await comesToRest(world);
  });

  it('is refused at its acceptance when its token ends while it is being made', async () => {
    const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
    const asked = world.http.call('GET', 'aws/creds/deploy');
    await hold.reached;
    await world.database.query('update tokens set ended_at = now()');
    hold.release();
    expect((await asked).status).toBe(503);
    await world.database.query('update tokens set ended_at = null');
    await comesToRest(world);
  });

  it('tells that AWS refuses to let it go, keeps trying, gives up visibly, and can be forced out', async () => {
    const lent = await lend(world, 'deploy');
    const other = await lend(world, 'deploy');
    const { user_name: userName } = await rowOf(world, lent.leaseId);
    world.simulator.faults.fail({ action: 'DeleteUser', userName: userName!, code: 'AccessDenied', status: 403 });
    const refused = await world.http.call('PUT', `sys/revoke/${lent.leaseId}`);
    expect(refused.status).toBe(400);
    expect(refused.body.errors[0]).toMatch(/^failed to revoke entry: resp: .* err: .*AccessDenied/);
    await eventually(async () => (await rowOf(world, lent.leaseId)).state === 'irrevocable');
    const { data } = (await world.http.must(200, 'PUT', 'sys/leases/lookup', { lease_id: lent.leaseId })).body;
    expect(data).toMatchObject({
      renewable: false,
      revoke_error: expect.stringMatching(/^out of retries: .*AccessDenied/),
    });
    const renewal = await world.http.call('PUT', 'sys/leases/renew', { lease_id: lent.leaseId });
    expect(renewal.body.errors).toEqual(['lease is expired and has failed previous revocation attempts']);
    expect(await world.whoIs(lent.keys)).toBe('InvalidClientTokenId');

    // One poisoned lease holds up no other one.
    await world.http.must(204, 'PUT', `sys/revoke/${other.leaseId}`);
    await world.http.must(204, 'PUT', 'sys/leases/revoke-force/aws/creds/deploy');
    expect((await rowOf(world, lent.leaseId)).state).toBe('ended');
    world.simulator.faults.clear();
    await comesToRest(world);
  });

  it('leaves nothing of an issue whose group it may not use, and may not leave either', async () => {
    await writeRole(world, 'grouped', { iam_groups: 'admins' });
    world.simulator.account().createGroup('admins', {});
    const refused = await world.http.call('GET', 'aws/creds/grouped');
    expect(refused.status).toBe(400);
    expect(refused.body.errors[0]).toMatch(/^Error adding user to group: AccessDenied/);
    await comesToRest(world);
    expect(world.lentUsers()).toEqual([]);
  });

  it('does not make who revokes a prefix wait for what nobody was given', async () => {
    world.simulator.faults.fail({ action: 'CreateUser', code: 'ServiceFailure', status: 500 });
    expect((await world.http.call('GET', 'aws/creds/deploy')).status).toBe(400);
    world.simulator.faults.clear();
    const halfMade = (await world.leases()).find((row) => row.state === 'revoking')!;
    expect(halfMade.accepted_at).toBeNull();
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws/creds/deploy');
    expect((await rowOf(world, halfMade.id)).state).toBe('revoking');
    await comesToRest(world);
  });

  it('shows a person what was never handed over and cannot be taken back', async () => {
    world.simulator.faults.fail({ action: 'PutUserPolicy', code: 'MalformedPolicyDocument' });
    world.simulator.faults.fail({ action: 'DeleteUser', code: 'AccessDenied', status: 403 });
    expect((await world.http.call('GET', 'aws/creds/deploy')).status).toBe(400);
    await eventually(async () => (await world.leases()).some((row) => row.state === 'irrevocable'));
    const { id } = (await world.leases()).find((row) => row.state === 'irrevocable')!;
    const { data } = (await world.http.must(200, 'PUT', 'sys/leases/lookup', { lease_id: id })).body;
    expect(data).toMatchObject({ revoke_error: expect.stringContaining('AccessDenied') });
    world.simulator.faults.clear();
    await world.http.must(204, 'PUT', `sys/revoke/${id}`);
    await comesToRest(world);
  });

  it('is not forced out by a moment in which AWS asks to slow down', async () => {
    const lent = await lend(world, 'deploy');
    world.simulator.faults.fail({ action: 'DeleteAccessKey', code: 'Throttling', times: 6 });
    await world.http.must(204, 'PUT', 'sys/leases/revoke-force/aws/creds/deploy');
    expect(await world.whoIs(lent.keys)).toBe('InvalidClientTokenId');
    await comesToRest(world);
  });

  it('is taken back when whoever unmounted died before it said so', async () => {
    await world.mount('left/');
    await world.http.must(204, 'PUT', 'left/roles/deploy', {
      policy_document: policyDocument,
      credential_type: 'iam_user',
    });
    const lent = lentBy(await world.http.must(200, 'GET', 'left/creds/deploy'));
    await world.database.query(`update mounts set tainted_at = now() where path = 'left/'`);
    const renewal = await world.http.call('PUT', 'sys/leases/renew', { lease_id: lent.leaseId });
    expect(renewal.status).toBe(400);
    await eventually(async () => (await rowOf(world, lent.leaseId)).state === 'ended');
    expect(await rowOf(world, lent.leaseId)).toMatchObject({ end_reason: 'unmounted' });
    await comesToRest(world);
  });

  it('goes on by itself when AWS throttles, and does not count it', async () => {
    const lent = await lend(world, 'deploy');
    world.simulator.faults.fail({ action: 'Delete*', code: 'Throttling', status: 400, times: 12 });
    await world.http.must(202, 'PUT', 'sys/leases/revoke', { lease_id: lent.leaseId, sync: false });
    await eventually(async () => (await rowOf(world, lent.leaseId)).state === 'ended');
    expect(await rowOf(world, lent.leaseId)).toMatchObject({ attempts: 0, end_reason: 'revoked' });
    await comesToRest(world);
  });

  it('ends as user_missing when its holder removed the user', async () => {
    const lent = await lend(world, 'deploy');
    const account = world.simulator.account();
    const user = account.existingUser((await rowOf(world, lent.leaseId)).user_name!);
    account.deleteAccessKey(user, lent.keys.access_key);
    user.inlinePolicies.length = 0;
    account.deleteUser(user);
    await aged(lent.leaseId);
    await world.http.must(204, 'PUT', `sys/revoke/${lent.leaseId}`);
    expect(await rowOf(world, lent.leaseId)).toMatchObject({ state: 'ended', end_reason: 'user_missing' });
  });

  it('follows the key to a user that its holder renamed, where that may be asked', async () => {
    const lent = await lend(world, 'deploy');
    const account = world.simulator.account();
    account.renameUser(account.existingUser((await rowOf(world, lent.leaseId)).user_name!), {
      name: 'vault-elsewhere',
    });
    await aged(lent.leaseId);
    await world.http.must(204, 'PUT', `sys/revoke/${lent.leaseId}`);
    expect(await world.whoIs(lent.keys)).toBe('InvalidClientTokenId');
    await comesToRest(world);
  });

  it('is taken back when its holder renamed the user to the name of one that is long gone', async () => {
    const [gone, renamed] = [await lend(world, 'deploy'), await lend(world, 'deploy')];
    const oldName = (await rowOf(world, gone.leaseId)).user_name!;
    await world.http.must(204, 'PUT', `sys/revoke/${gone.leaseId}`);
    const account = world.simulator.account();
    account.renameUser(account.existingUser((await rowOf(world, renamed.leaseId)).user_name!), { name: oldName });
    await aged(renamed.leaseId);
    await world.http.must(204, 'PUT', `sys/revoke/${renamed.leaseId}`);
    await comesToRest(world);
  });

  it('follows a renamed user to its end, also when the first try stopped half way', async () => {
    const lent = await lend(world, 'deploy');
    const account = world.simulator.account();
    account.renameUser(account.existingUser((await rowOf(world, lent.leaseId)).user_name!), { name: 'vault-half-way' });
    await aged(lent.leaseId);
    world.simulator.faults.fail({
      action: 'DeleteUser',
      userName: 'vault-half-way',
      code: 'AccessDenied',
      status: 403,
      times: 1,
    });
    await world.http.must(202, 'PUT', 'sys/leases/revoke', { lease_id: lent.leaseId, sync: false });
    await eventually(async () => (await rowOf(world, lent.leaseId)).state === 'ended');
    await comesToRest(world);
  });

  it('looks after a lease that was forced out a few times more, and then no more', async () => {
    const lent = await lend(world, 'deploy');
    world.simulator.faults.fail({ action: 'Delete*', code: 'AccessDenied', status: 403 });
    await world.http.must(204, 'PUT', `sys/leases/revoke-force/${lent.leaseId}`);
    await eventually(async () => (await rowOf(world, lent.leaseId)).due_at === null);
    world.simulator.faults.clear();
    const account = world.simulator.account();
    const user = account.existingUser((await rowOf(world, lent.leaseId)).user_name!);
    expect(user.accessKeys).toHaveLength(1);
    account.deleteAccessKey(user, lent.keys.access_key);
    user.inlinePolicies.length = 0;
    account.deleteUser(user);
  });

  it('is shown to a person when AWS refuses the last look at what may have been made after its end', async () => {
    const lent = await lend(world, 'deploy');
    await world.http.must(204, 'PUT', `sys/revoke/${lent.leaseId}`);
    const { user_name: userName } = await rowOf(world, lent.leaseId);
    const account = world.simulator.account();
    account.createUser(userName!);
    world.simulator.faults.fail({ action: 'DeleteUser', code: 'AccessDenied', status: 403 });
    await world.database.query(`update leases set looks_left = 1, due_at = now() where id = $1`, [lent.leaseId]);
    await eventually(async () => (await rowOf(world, lent.leaseId)).state === 'irrevocable');
    expect((await rowOf(world, lent.leaseId)).last_error).toContain('AccessDenied');
    world.simulator.faults.clear();
    await world.http.must(204, 'PUT', `sys/revoke/${lent.leaseId}`);
    await comesToRest(world);
  });

  it('is not given up over one conflict that may be the lag of our own removal', async () => {
    const lent = await lend(world, 'deploy');
    await aged(lent.leaseId);
    const { user_name: userName } = await rowOf(world, lent.leaseId);
    const conflict = { action: 'DeleteUser', userName: userName!, code: 'DeleteConflict', status: 409 };
    world.simulator.faults.fail({ ...conflict, times: 2 });
    // Rights that its root lacks are what makes a conflict final.
    world.simulator.faults.fail({ action: 'ListSSHPublicKeys', code: 'AccessDenied', status: 403 });
    expect((await world.http.call('PUT', `sys/revoke/${lent.leaseId}`)).status).toBe(400);
    await eventually(async () => (await rowOf(world, lent.leaseId)).state === 'ended', 3_000);
    await comesToRest(world);
  });

  it('holds up no other one when it cannot even be looked at', async () => {
    await world.mount('broken');
    await world.http.must(204, 'PUT', 'broken/roles/deploy', {
      credential_type: 'iam_user',
      policy_document: policyDocument,
    });
    const { body } = await world.http.must(200, 'GET', 'broken/creds/deploy');
    const other = await lend(world, 'deploy');
    await world.database.query(
      `update root_configs set sealed_secret_key = 'broken' from mounts
       where mounts.id = mount_id and path = 'broken/'`,
    );
    await world.database.query(`update leases set due_at = now(), expires_at = now() where state = 'active'`);
    await eventually(async () => (await rowOf(world, other.leaseId)).state === 'ended');
    await eventually(() =>
      world.log.some((line) => line.includes('could not be taken back') && line.includes(body.lease_id)),
    );
    expect(world.log.filter((line) => line.includes('sweep could not take back'))).toEqual([]);
  });

  it('keeps the root that a mount had for what may still slip past its end', async () => {
    const roots = async () => {
      const { rows } = await world.database.query(
        `select path from root_configs join mounts on id = mount_id where removed_at is not null and path like '%gone/' order by path`,
      );
      return rows.map((row) => row.path as string);
    };
    const age = (path: string, by: string) =>
      world.database.query(`update mounts set removed_at = removed_at - $2::interval where path = $1`, [path, by]);
    for (const path of ['half-hour-gone', 'hours-gone']) {
      await world.mount(path);
      await world.http.must(204, 'DELETE', `sys/mounts/${path}`);
    }
    expect(await roots()).toEqual(['half-hour-gone/', 'hours-gone/']);
    // An issuer that stood still may tell of a user for as long as AWS takes its signature, and tombstones are looked at after it.
    await age('half-hour-gone/', '40 minutes');
    await age('hours-gone/', '2 hours');
    await eventually(async () => !(await roots()).includes('hours-gone/'));
    expect(await roots()).toEqual(['half-hour-gone/']);
    await age('half-hour-gone/', '80 minutes');
    await eventually(async () => (await roots()).length === 0);
  });

  it('is taken back by the previous root after config/root was pointed at another account', async () => {
    const lent = await lend(world, 'deploy');
    const elsewhere = world.simulator.provisionRootIdentity({ userName: 'leasehold-root', account: '111111111111' });
    await world.http.must(204, 'PUT', 'aws/config/root', {
      access_key: elsewhere.accessKeyId,
      secret_key: elsewhere.secretAccessKey,
    });
    const there = lentBy(await world.http.must(200, 'GET', 'aws/creds/deploy'));
    expect(await world.whoIs(there.keys)).toContain('111111111111');
    await world.http.must(204, 'PUT', `sys/revoke/${lent.leaseId}`);
    expect(await world.whoIs(lent.keys)).toBe('InvalidClientTokenId');
    await world.http.must(204, 'PUT', `sys/revoke/${there.leaseId}`);
    expect(world.simulator.account('111111111111').users()).toHaveLength(1);
  });
});

describe('an issuer that is late, while no revoker sweeps', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start({ weather: {}, timing: { sweepEveryMs: 600_000 } });
    await world.mount();
    await writeRole(world, 'deploy');
  });
  afterAll(() => world.close());

  it('leaves no user that AWS does not know yet when its old intent is taken back', async () => {
    const { faults } = world.simulator;
    const call = faults.hold('CreateUser', 'before');
    for (const action of ['PutUserPolicy', 'CreateAccessKey'])
      faults.fail({ action, code: 'LimitExceeded', status: 409, times: 1 });
    const takenBack = faults.hold('ListAccessKeys', 'before');
    const asked = world.http.call('GET', 'aws/creds/deploy');
    await call.reached;
    await world.database.query(
      `update leases set created_at = now() - interval '1 hour', due_at = now() where state = 'issuing'`,
    );
    call.release();
    await takenBack.reached;
    faults.set({ youngNoSuchEntity: { count: 3 } });
    takenBack.release();
    await asked;
    await comesToRest(world);
  });
});

describe('a mount whose AWS never answers', () => {
  let world: World;
  let silence: Server;

  beforeAll(async () => {
    silence = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silence, 'listening');
    world = await World.start({ weather: {}, surroundings: { requestTimeoutMs: 4_000 } });
    await world.mount();
    await writeRole(world, 'deploy');
  });
  afterAll(async () => {
    await world.close();
    silence.close();
  });

  it('holds up no lease of another, however many of its own are due', async () => {
    const stuck = await lend(world, 'deploy');
    const lent = await lend(world, 'deploy');
    const { port } = silence.address() as AddressInfo;
    await world.mount('silent');
    await world.http.must(204, 'PUT', 'silent/config/root', { iam_endpoint: `http://127.0.0.1:${port}` });
    // 300 leases of the silent mount that all end in a moment, and each has its alarm.
    await world.database.query(
      `insert into leases (id, command_id, state, credential_type, mount_id, mount_version, role_name, role_version,
         root_version, account_id, token_id, request_id, user_name, made, access_key_id, renewable, issued_at, accepted_at,
         expires_at, due_at)
       select 'silent/creds/deploy/' || n, gen_random_uuid(), 'active', credential_type, m.id, mount_version, role_name,
         role_version, r.version, leases.account_id, token_id, request_id, 'silent-' || n, made, access_key_id, true, now(), now(),
         now() + interval '1 s', now() + interval '1 s'
       from leases, generate_series(1, 300) n, mounts m join root_configs r on r.mount_id = m.id and superseded_at is null
       where leases.id = $1 and m.path = 'silent/'`,
      [stuck.leaseId],
    );
    await eventually(async () => (await world.leases()).filter((row) => row.claim_id).length > 4);
    await world.http.must(204, 'PUT', `sys/revoke/${lent.leaseId}`);
    expect(await world.whoIs(lent.keys)).toBe('InvalidClientTokenId');
  });
});
