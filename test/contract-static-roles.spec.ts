import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { everything } from './support/everything.js';
import { keysOf, mountRooted, rotations, rotationsRest, staticCreds } from './support/rotation.js';
import { giveTokens } from './support/tokens.js';
import { eventually, usualWeather, World } from './support/world.js';

describe('static roles', () => {
  let world: World;
  let users = 0;
  let rootUser = '';

  beforeAll(async () => {
    world = await World.start({ timing: { propagationMs: 20_000, callerWaitMs: 6_000, maxAttempts: 4 } });
    rootUser = (await mountRooted(world, 'aws')).userName;
  });
  afterAll(() => world.close());
  afterEach(() => world.simulator.faults.clear(usualWeather));

  const call = (method: string, path: string, body?: object) => world.http.call(method, `aws/${path}`, body);
  const sql = async (text: string, values: unknown[] = []) => (await world.database.query(text, values)).rows;
  const aws = () => world.simulator.account();

  /** A user that somebody made, with so many keys. */
  function newUser(keys = 0): string {
    const name = `service-${(users += 1)}`;
    const user = aws().createUser(name);
    for (let made = 0; made < keys; made += 1) aws().createAccessKey(user);
    return name;
  }

  /** A static role of a user of its own. */
  async function newRole(keys = 0): Promise<{ role: string; username: string }> {
    const username = newUser(keys);
    const role = `role-${users}`;
    await world.http.must(200, 'POST', `aws/static-roles/${role}`, { username, rotation_period: '1h' });
    return { role, username };
  }

  const becomesDue = (role: string) => sql(`update static_roles set next_rotation_at = now() where name = $1`, [role]);
  const periodLeft = async (role: string) => {
    const [row] = await sql(
      `select round(extract(epoch from next_rotation_at - now()) / 60)::int as minutes from static_roles where name = $1`,
      [role],
    );
    return (row as { minutes: number }).minutes;
  };

  /** Sends what must be refused; nothing is stored, and no key is made or removed. */
  async function refusal(method: string, path: string, body?: object) {
    const { calls: _, ...before } = await everything(world);
    const answer = await call(method, path, body);
    const { calls: __, ...after } = await everything(world);
    expect(after).toEqual(before);
    return [answer.status, answer.body.errors[0]];
  }
  const wrapped = (text: string) => `1 error occurred:\n\t* ${text}\n\n`;

  it('are written, read and listed with IAM’s id of the user, and give a key that works', async () => {
    const username = newUser();
    const { id } = aws().existingUser(username);
    const written = await call('POST', 'static-roles/app', { username, rotation_period: '90m' });
    const shown = { name: 'app', id, username, rotation_period: 5400 };
    expect([written.status, written.body.data, written.body.warnings]).toEqual([200, shown, null]);
    expect((await call('GET', 'static-roles/app')).body.data).toEqual(shown);
    expect((await call('LIST', 'static-roles')).body.data).toEqual({ keys: ['app'] });

    const answer = await call('GET', 'static-creds/app');
    const { access_key, secret_key, expiration, ...rest } = answer.body.data as Record<string, string>;
    expect([rest, answer.body.lease_id, answer.body.renewable]).toEqual([{}, '', false]);
    expect(await world.whoIs({ access_key: access_key!, secret_key: secret_key! })).toBe(
      `arn:aws:iam::000000000000:user/${username}`,
    );
    expect(Math.round((Date.parse(expiration!) - Date.now()) / 60_000)).toBe(90);
    expect(expiration).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    // Everybody gets the same one.
    expect((await staticCreds(world, 'aws', 'app')).access_key).toBe(access_key);
    expect(keysOf(world, username)).toEqual([access_key]);
    expect(JSON.stringify(await everything(world))).not.toContain(secret_key);
    await rotationsRest(world);
  });

  it.each([
    ['GET', 'static-roles/absent'],
    ['GET', 'static-creds/absent'],
  ])('are not found where there are none: %s %s', async (method, path) => {
    const answer = await call(method, path);
    expect([answer.status, answer.body]).toEqual([404, { errors: [] }]);
  });

  it('are an empty list before there is one', async () => {
    await mountRooted(world, 'empty');
    expect((await world.http.call('LIST', 'empty/static-roles')).status).toBe(404);
  });

  it.each([
    [{ rotation_period: 60 }, 400, 'missing "username" parameter'],
    [{ username: '', rotation_period: 60 }, 400, 'missing "username" parameter'],
    [
      { username: 'nobody' },
      500,
      expect.stringMatching(
        /^1 error occurred:\n\t\* unable to validate username "nobody": NoSuchEntity: .*nobody cannot be/,
      ),
    ],
    [{ username: 'service-known' }, 400, 'missing "rotation_period" parameter'],
    [
      { username: 'service-known', rotation_period: 59 },
      500,
      wrapped('role rotation period out of range: must be greater than 60.00 seconds'),
    ],
    [
      { username: 'service-known', rotation_period: 0 },
      500,
      wrapped('role rotation period out of range: must be greater than 60.00 seconds'),
    ],
    [
      { username: 'service-known', rotation_period: -5 },
      400,
      `Field validation failed: error converting input for field "rotation_period": cannot provide negative value '-5'`,
    ],
    [
      { username: 'service-known', rotation_period: 60, assume_role_arn: 'arn:aws:iam::1:role/x' },
      500,
      wrapped('cross-account static roles are only supported in Vault Enterprise'),
    ],
    [
      { username: 'leasehold-root-of-aws', rotation_period: 60 },
      400,
      '"leasehold-root-of-aws" is the user of config/root: config/rotate-root rotates its key',
    ],
  ])('are refused in the engine’s words, in its order: %j', async (body, status, text) => {
    if (!aws().user('service-known')) aws().createUser('service-known');
    expect(await refusal('POST', 'static-roles/refused', body)).toEqual([status, text]);
    expect([keysOf(world, 'service-known'), keysOf(world, rootUser)]).toEqual([[], [expect.any(String)]]);
  });

  it('say when AWS names another user than was asked for', async () => {
    const username = newUser();
    expect(
      await refusal('POST', 'static-roles/refused', { username: username.toUpperCase(), rotation_period: 60 }),
    ).toEqual([500, expect.stringContaining('unable to validate username')]);
  });

  it('are one for a user', async () => {
    const { role, username } = await newRole();
    expect(await refusal('POST', 'static-roles/second', { username, rotation_period: 60 })).toEqual([
      400,
      `the keys of "${username}" are those of static role "${role}" of aws/ already: two roles of one user would take each other’s keys away`,
    ]);
  });

  it('change their period without asking AWS, and begin it anew', async () => {
    const { role, username } = await newRole();
    world.simulator.calls.clear();
    const before = await staticCreds(world, 'aws', role);
    const { body } = await world.http.must(200, 'POST', `aws/static-roles/${role}`, { rotation_period: 7200 });
    expect(body.data).toMatchObject({ username, rotation_period: 7200 });
    expect(await periodLeft(role)).toBe(120);
    expect((await staticCreds(world, 'aws', role)).access_key).toBe(before.access_key);
    expect(world.simulator.calls.list({ userName: username })).toEqual([]);
    // Nothing given is nothing changed.
    expect((await world.http.must(200, 'POST', `aws/static-roles/${role}`, {})).body.data.rotation_period).toBe(7200);
    expect(await refusal('POST', `static-roles/${role}`, { rotation_period: 5 })).toEqual([
      500,
      wrapped('role rotation period out of range: must be greater than 60.00 seconds'),
    ]);
  });

  it('stay with their user', async () => {
    const { role, username } = await newRole();
    await world.http.must(200, 'POST', `aws/static-roles/${role}`, { username, rotation_period: 60 });
    const other = newUser();
    const { id } = aws().existingUser(username);
    const { id: otherId } = aws().existingUser(other);
    expect(await refusal('POST', `static-roles/${role}`, { username: other })).toEqual([
      500,
      wrapped(
        `AWS GetUser returned a user, but the ID did not match: "${id}" was requested, but "${otherId}" was returned`,
      ),
    ]);
  });

  it('remove the oldest key of a user that has two, when they are made', async () => {
    const username = newUser(2);
    const [oldest, newer] = aws()
      .existingUser(username)
      .accessKeys.map(({ id }) => id);
    aws().existingUser(username).accessKeys[0]!.createdAt -= 60_000;
    await world.http.must(200, 'POST', 'aws/static-roles/full', { username, rotation_period: 60 });
    const { access_key } = await staticCreds(world, 'aws', 'full');
    expect(keysOf(world, username)).toEqual([newer, access_key].sort());
    expect(keysOf(world, username)).not.toContain(oldest);
  });

  it('never remove a key that a mount is configured with', async () => {
    const { userName } = await mountRooted(world, 'neighbour');
    aws().createAccessKey(aws().existingUser(userName));
    aws().existingUser(userName).accessKeys[0]!.createdAt -= 60_000;
    const before = keysOf(world, userName);
    const answer = await call('POST', 'static-roles/greedy', { username: userName, rotation_period: 60 });
    expect([answer.status, answer.body.errors[0]]).toEqual([
      500,
      expect.stringContaining('mount neighbour/ is configured with it'),
    ]);
    expect(keysOf(world, userName)).toEqual(before);
    await world.http.must(204, 'DELETE', 'aws/static-roles/greedy');
    expect(keysOf(world, userName)).toEqual(before);
  });

  it('are kept when AWS refuses the first key, which comes by itself once it does not', async () => {
    const username = newUser();
    world.simulator.faults.fail({ action: 'CreateAccessKey', userName: username, code: 'AccessDenied', status: 403 });
    const answer = await call('POST', 'static-roles/later', { username, rotation_period: '1h' });
    expect([answer.status, answer.body.errors[0]]).toEqual([
      500,
      expect.stringMatching(
        /^1 error occurred:\n\t\* failed to create new credentials for role "later": unable to create new access keys for user "service-\d+": AccessDenied/,
      ),
    ]);
    expect((await call('GET', 'static-roles/later')).status).toBe(200);
    expect((await call('GET', 'static-creds/later')).status).toBe(404);
    world.simulator.faults.clear(usualWeather);
    await eventually(async () => (await call('GET', 'static-creds/later')).status === 200);
    await rotationsRest(world);
    expect(keysOf(world, username)).toHaveLength(1);
  });

  it('say that the first key is not accepted yet, and serve none until it is', async () => {
    const username = newUser();
    world.simulator.faults.set({ propagationMs: 3_600_000 });
    const answer = await call('POST', 'static-roles/slow', { username, rotation_period: '1h' });
    expect([answer.status, answer.body.warnings]).toEqual([
      200,
      [expect.stringContaining('static-creds answers as soon')],
    ]);
    expect((await call('GET', 'static-creds/slow')).status).toBe(404);
    world.simulator.faults.clear(usualWeather);
    await eventually(async () => (await call('GET', 'static-creds/slow')).status === 200);
  });

  describe('when their period is over', () => {
    it('get another key, which works from the moment it is served, and lose the one before later', async () => {
      const { role, username } = await newRole();
      const before = await staticCreds(world, 'aws', role);
      const removal = world.simulator.faults.hold('DeleteAccessKey', 'before', { userName: username });
      await becomesDue(role);
      const after = await eventually(async () => {
        const found = await staticCreds(world, 'aws', role);
        // Whatever is served works, before and after.
        expect(await world.whoIs(found)).toContain(`:user/${username}`);
        return found.access_key !== before.access_key && found;
      });
      expect(await world.whoIs(before)).toContain(`:user/${username}`);
      removal.release();
      await rotationsRest(world);
      expect([keysOf(world, username), await periodLeft(role)]).toEqual([[after.access_key], 60]);
      expect(await world.whoIs(before)).toBe('InvalidClientTokenId');
    });

    it('make room by removing the key that is not theirs', async () => {
      const { role, username } = await newRole();
      const before = await staticCreds(world, 'aws', role);
      const foreign = aws().createAccessKey(aws().existingUser(username));
      await becomesDue(role);
      await eventually(async () => (await staticCreds(world, 'aws', role)).access_key !== before.access_key);
      await rotationsRest(world);
      const { access_key } = await staticCreds(world, 'aws', role);
      expect(keysOf(world, username)).toEqual([access_key]);
      expect(access_key).not.toBe(foreign.id);
    });

    it('go on serving the key before while AWS refuses another', async () => {
      const { role, username } = await newRole();
      const before = await staticCreds(world, 'aws', role);
      world.simulator.faults.fail({ action: 'CreateAccessKey', userName: username, code: 'AccessDenied', status: 403 });
      await becomesDue(role);
      await eventually(async () => (await rotations(world)).some(({ attempts }) => Number(attempts) > 1));
      expect(await world.whoIs(await staticCreds(world, 'aws', role))).toContain(`:user/${username}`);
      expect((await staticCreds(world, 'aws', role)).access_key).toBe(before.access_key);
      world.simulator.faults.clear(usualWeather);
      await rotationsRest(world);
      expect(keysOf(world, username)).toEqual([(await staticCreds(world, 'aws', role)).access_key]);
    });
  });

  describe('that are deleted', () => {
    it('are gone with their key, and the user stays', async () => {
      const { role, username } = await newRole();
      expect((await call('DELETE', `static-roles/${role}`)).status).toBe(204);
      expect([keysOf(world, username), aws().user(username)?.name]).toEqual([[], username]);
      expect((await call('GET', `static-roles/${role}`)).status).toBe(404);
      expect((await call('GET', `static-creds/${role}`)).status).toBe(404);
      expect((await call('DELETE', `static-roles/${role}`)).status).toBe(204);
      // The user is free for another one.
      await world.http.must(200, 'POST', 'aws/static-roles/another', { username, rotation_period: 60 });
    });

    it('leave no key of a rotation that is under way', async () => {
      const { role, username } = await newRole();
      world.simulator.faults.set({ propagationMs: 3_600_000 });
      await becomesDue(role);
      await eventually(() => keysOf(world, username).length === 2);
      await eventually(async () => (await rotations(world)).some(({ state }) => state === 'trying'));
      await world.http.must(204, 'DELETE', `aws/static-roles/${role}`);
      expect(keysOf(world, username)).toEqual([]);
      await rotationsRest(world);
    });

    it('stay, with a key that works, when AWS refuses', async () => {
      const { role, username } = await newRole();
      const before = await staticCreds(world, 'aws', role);
      world.simulator.faults.fail({ action: 'DeleteAccessKey', userName: username, code: 'AccessDenied', status: 403 });
      const answer = await call('DELETE', `static-roles/${role}`);
      expect([answer.status, answer.body.errors[0]]).toEqual([
        500,
        expect.stringMatching(
          /^1 error occurred:\n\t\* failed to clean credentials while deleting role "role-\d+": couldn't delete from IAM: AccessDenied/,
        ),
      ]);
      expect(await staticCreds(world, 'aws', role)).toEqual(before);
      expect(await world.whoIs(before)).toContain(`:user/${username}`);
      world.simulator.faults.clear(usualWeather);
      await world.http.must(204, 'DELETE', `aws/static-roles/${role}`);
      expect(keysOf(world, username)).toEqual([]);
    });

    it('go with a key that somebody has removed, or with the user', async () => {
      const { role, username } = await newRole();
      const { access_key } = await staticCreds(world, 'aws', role);
      aws().deleteAccessKey(aws().existingUser(username), access_key);
      aws().deleteUser(aws().existingUser(username));
      await world.http.must(204, 'DELETE', `aws/static-roles/${role}`);
    });
  });

  it('end with their mount, and so do their keys', async () => {
    await mountRooted(world, 'brief');
    const username = newUser();
    await world.http.must(200, 'POST', 'brief/static-roles/app', { username, rotation_period: 60 });
    await world.http.must(204, 'DELETE', 'sys/mounts/brief');
    expect(keysOf(world, username)).toEqual([]);
    expect(await sql(`select 1 from static_roles where user_name = $1`, [username])).toEqual([]);
    await rotationsRest(world);
  });

  it('move with their mount', async () => {
    await mountRooted(world, 'here');
    const username = newUser();
    await world.http.must(200, 'POST', 'here/static-roles/app', { username, rotation_period: 60 });
    const before = await staticCreds(world, 'here', 'app');
    await world.http.must(200, 'POST', 'sys/remount', { from: 'here', to: 'there' });
    await eventually(async () => (await world.http.call('GET', 'there/static-creds/app')).status === 200);
    expect((await staticCreds(world, 'there', 'app')).access_key).toBe(before.access_key);
    expect(await world.whoIs(before)).toContain(`:user/${username}`);
    await sql(`update static_roles set next_rotation_at = now() where user_name = $1`, [username]);
    await eventually(async () => (await staticCreds(world, 'there', 'app')).access_key !== before.access_key);
  });

  it('hold no mount back whose AWS refuses, and are given up after the last try', async () => {
    await mountRooted(world, 'stubborn');
    const username = newUser();
    await world.http.must(200, 'POST', 'stubborn/static-roles/app', { username, rotation_period: 60 });
    world.simulator.faults.fail({ action: 'DeleteAccessKey', userName: username, code: 'AccessDenied', status: 403 });
    await world.http.must(204, 'DELETE', 'sys/mounts/stubborn');
    await world.http.must(204, 'POST', 'sys/mounts/stubborn', { type: 'aws' });
    await rotationsRest(world, 20_000);
    expect(world.log.some((line) => line.includes('are left in AWS: remove them there'))).toBe(true);
    expect(await sql(`select 1 from static_roles where user_name = $1`, [username])).toEqual([]);
  });

  it('go on in the account of their user when config/root is pointed to another', async () => {
    await mountRooted(world, 'moving');
    const username = newUser();
    await world.http.must(200, 'POST', 'moving/static-roles/app', { username, rotation_period: '1h' });
    const { simulator } = world;
    const elsewhere = simulator.provisionRootIdentity({ userName: 'root-elsewhere', account: '111122223333' });
    await world.http.must(204, 'PUT', 'moving/config/root', {
      access_key: elsewhere.accessKeyId,
      secret_key: elsewhere.secretAccessKey,
    });
    const before = await staticCreds(world, 'moving', 'app');
    await sql(`update static_roles set next_rotation_at = now() where user_name = $1`, [username]);
    await eventually(async () => (await staticCreds(world, 'moving', 'app')).access_key !== before.access_key);
    await rotationsRest(world);
    expect(keysOf(world, username)).toHaveLength(1);
  });

  it('are for whoever may', async () => {
    const { role, username } = await newRole();
    const policy = `path "aws/static-creds/${role}" { capabilities = ["read"] }
      path "aws/static-roles/allowed" { capabilities = ["update"] allowed_parameters = { "rotation_period" = ["60"] "username" = [] } }`;
    await world.http.must(204, 'PUT', 'sys/policies/acl/reader', { policy });
    const [token] = await giveTokens(world, { policies: ['reader'] });
    const as = (method: string, path: string, body?: object) => world.http.call(method, `aws/${path}`, body, { token });
    expect((await as('GET', `static-creds/${role}`)).status).toBe(200);
    for (const [method, path, body] of [
      ['GET', `static-roles/${role}`],
      ['DELETE', `static-roles/${role}`],
      ['POST', `static-roles/${role}`, { rotation_period: 60 }],
      ['LIST', 'static-roles'],
      ['POST', 'static-roles/allowed', { username: newUser(), rotation_period: 61 }],
    ] as const) {
      expect([path, (await as(method, path, body)).status]).toEqual([path, 403]);
    }
    expect((await as('POST', 'static-roles/allowed', { username: newUser(), rotation_period: 60 })).status).toBe(200);
    expect(keysOf(world, username)).toHaveLength(1);
  });

  it('have keys that a new term of the keyring seals again', async () => {
    const { role, username } = await newRole();
    const before = await staticCreds(world, 'aws', role);
    const sealed = async () =>
      (await sql(`select sealed_secret_key as sealed from static_roles where name = $1`, [role]))[0];
    const was = await sealed();
    await world.http.must(204, 'PUT', 'sys/rotate');
    await eventually(async () => JSON.stringify(await sealed()) !== JSON.stringify(was));
    expect(await staticCreds(world, 'aws', role)).toEqual(before);
    expect(keysOf(world, username)).toEqual([before.access_key]);
  });
});
