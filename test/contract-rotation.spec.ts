import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { rootEvent } from '#libs/contracts';
import { checkDocumentedEvent } from './support/documented.js';
import { everything } from './support/everything.js';
import { lentBy, rowOf } from './support/lease-life.js';
import { giveTokens } from './support/tokens.js';
import { keysOf, mountRooted, type Rooted, rootKeyOf, rotations, rotationsRest } from './support/rotation.js';
import { eventually, usualWeather, World } from './support/world.js';

const neverAccepted = { propagationMs: 3_600_000 };

describe('the rotation of a root key', () => {
  let world: World;
  let mounts = 0;

  beforeAll(async () => {
    world = await World.start({ timing: { propagationMs: 20_000, callerWaitMs: 6_000 } });
  });
  afterAll(() => world.close());
  afterEach(() => world.simulator.faults.clear(usualWeather));

  const newMount = (policies?: { rotation: boolean }) => mountRooted(world, `aws${(mounts += 1)}`, policies);
  const rotate = ({ path }: Rooted) => world.http.call('POST', `${path}/config/rotate-root`);
  const mustRotate = async (mount: Rooted) =>
    (await world.http.must(200, 'POST', `${mount.path}/config/rotate-root`)).body.data.access_key as string;
  const lend = async ({ path }: Rooted) => lentBy(await world.http.must(200, 'GET', `${path}/creds/deploy`));
  const whoIs = ({ key }: Rooted) => world.whoIs({ access_key: key.accessKeyId, secret_key: key.secretAccessKey });
  const sql = async (text: string, values: unknown[] = []) => (await world.database.query(text, values)).rows;

  /** Sends what must be refused, and changes nothing; earlier rotations of other mounts may come to their ends meanwhile. */
  async function refusal(mount: Rooted) {
    const [{ id }] = (await sql('select id from mounts where path = $1', [`${mount.path}/`])) as [{ id: string }];
    const found = async () => {
      const {
        calls: _,
        root_configs,
        rotations: begun,
        ...rows
      } = (await everything(world)) as Record<string, string[]>;
      const ofRoots = [...root_configs!, ...begun!];
      return { rows, own: ofRoots.filter((line) => line.includes(id)), ofRoots };
    };
    const before = await found();
    const answer = await rotate(mount);
    const { rows, own, ofRoots } = await found();
    expect({ rows, own }).toEqual({ rows: before.rows, own: before.own });
    expect(before.ofRoots).toEqual(expect.arrayContaining(ofRoots));
    return [answer.status, answer.body.errors[0]];
  }

  it('gives the id of a new key, works with that, and removes the one before', async () => {
    const mount = await newMount();
    const before = await lend(mount);
    const answer = await rotate(mount);
    expect([answer.status, answer.body.warnings]).toEqual([200, null]);
    const { access_key: id, ...rest } = answer.body.data;
    expect([rest, id === mount.key.accessKeyId]).toEqual([{}, false]);
    expect(await rootKeyOf(world, mount)).toBe(id);
    await lend(mount);
    await rotationsRest(world);
    expect(keysOf(world, mount.userName)).toEqual([id]);
    expect(await whoIs(mount)).toBe('InvalidClientTokenId');
    // What was lent with the key before is taken back with the one of today.
    await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: before.leaseId, sync: true });
    expect(await rowOf(world, before.leaseId)).toMatchObject({ state: 'ended', end_reason: 'revoked' });
    await lend(mount);
  });

  it('is told of once, without the key', async () => {
    const mount = await newMount();
    const { body } = await world.http.must(200, 'POST', `${mount.path}/config/rotate-root`);
    const told = () => world.log.filter((line) => line.includes('"root.rotated"') && line.includes(`"${mount.path}/"`));
    await eventually(() => told().length > 0);
    await rotationsRest(world);
    const [event, ...more] = told().map((line) => rootEvent.parse(JSON.parse(line)));
    expect([event, more]).toEqual([
      expect.objectContaining({ mount: `${mount.path}/`, accountId: '000000000000', requestId: body.request_id }),
      [],
    ]);
    checkDocumentedEvent(event);
    expect(told()[0]).not.toContain(body.data.access_key);
  });

  it('begins from what was rotated before', async () => {
    const mount = await newMount();
    const first = await mustRotate(mount);
    await rotationsRest(world);
    const second = await mustRotate(mount);
    await rotationsRest(world);
    expect([keysOf(world, mount.userName), second === first]).toEqual([[second], false]);
  });

  it('is followed by patience with the young key, which a part of AWS may not know yet', async () => {
    const mount = await newMount();
    await mustRotate(mount);
    const unknown = { code: 'InvalidClientTokenId', status: 403, times: 2 };
    world.simulator.faults.fail({ action: 'CreateUser', userName: 'vault-*', ...unknown });
    await lend(mount);
  });

  it.each([
    ['nothing is configured', {}, 500, '1 error occurred:\n\t* no configuration found for config/root\n\n'],
    [
      'the keys come from the environment',
      { region: 'eu-west-1' },
      400,
      'Cannot call config/rotate-root when either access_key or secret_key is empty',
    ],
    [
      'half a pair is configured',
      { access_key: 'AKIAHALF' },
      400,
      'Cannot call config/rotate-root when either access_key or secret_key is empty',
    ],
  ])('is refused where %s', async (_, config, status, text) => {
    const path = `plain${(mounts += 1)}`;
    await world.http.must(204, 'POST', `sys/mounts/${path}`, { type: 'aws' });
    if (Object.keys(config).length > 0) await world.http.must(204, 'PUT', `${path}/config/root`, config);
    expect(await refusal({ path } as Rooted)).toEqual([status, text]);
  });

  it('says what AWS refuses, and leaves everything as it was', async () => {
    const mount = await newMount({ rotation: false });
    expect(await refusal(mount)).toEqual([
      500,
      expect.stringMatching(/^1 error occurred:\n\t\* error calling GetUser: AccessDenied: .* iam:GetUser on .*\n\n$/s),
    ]);
    const full = await newMount();
    world.simulator.account().createAccessKey(world.simulator.account().existingUser(full.userName));
    const before = keysOf(world, full.userName);
    expect(await refusal(full)).toEqual([
      500,
      expect.stringMatching(
        /^1 error occurred:\n\t\* error calling CreateAccessKey: LimitExceeded: Cannot exceed quota/,
      ),
    ]);
    expect(keysOf(world, full.userName)).toEqual(before);
  });

  it('is for whoever may update its path, and a POST alone', async () => {
    const mount = await newMount();
    const policy = `path "${mount.path}/config/root" { capabilities = ["update"] }`;
    await world.http.must(204, 'PUT', 'sys/policies/acl/other', { policy });
    const [token] = await giveTokens(world, { policies: ['other'] });
    const answer = await world.http.call('POST', `${mount.path}/config/rotate-root`, undefined, { token });
    expect(answer.status).toBe(403);
    for (const method of ['GET', 'DELETE', 'LIST']) {
      expect((await world.http.call(method, `${mount.path}/config/rotate-root`)).status).toBe(405);
    }
    expect(keysOf(world, mount.userName)).toEqual([mount.key.accessKeyId]);
  });

  it('is one, however many ask at once', async () => {
    const mount = await newMount();
    const answers = await Promise.all([1, 2, 3].map(() => rotate(mount)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(new Set(answers.map(({ body }) => body.data.access_key)).size).toBe(1);
    await rotationsRest(world);
    expect(keysOf(world, mount.userName)).toEqual([answers[0]!.body.data.access_key]);
  });

  it('says when to come again while the key before is not removed', async () => {
    const mount = await newMount();
    const hold = world.simulator.faults.hold('DeleteAccessKey', 'before', { userName: mount.userName });
    await mustRotate(mount);
    const answer = await rotate(mount);
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
    expect(answer.body.errors[0]).toContain('ask again later');
    hold.release();
    await rotationsRest(world);
    await mustRotate(mount);
  });

  it('is answered in time, and switched to by itself, when AWS is slow to accept the key', async () => {
    const mount = await newMount();
    world.simulator.faults.set(neverAccepted);
    const answer = await rotate(mount);
    expect([answer.status, answer.body.warnings]).toEqual([200, [expect.stringContaining('by itself')]]);
    expect(await rootKeyOf(world, mount)).toBe(mount.key.accessKeyId);
    world.simulator.faults.clear(usualWeather);
    await rotationsRest(world);
    const { access_key: id } = answer.body.data;
    expect([await rootKeyOf(world, mount), keysOf(world, mount.userName)]).toEqual([id, [id]]);
  });

  describe('that an operator meddles with', () => {
    /** A rotation that waits for AWS to accept its key. */
    async function halfWay(): Promise<Rooted> {
      const mount = await newMount();
      world.simulator.faults.set(neverAccepted);
      void rotate(mount);
      await eventually(async () => (await rotations(world)).some(({ state }) => state === 'trying'));
      expect(keysOf(world, mount.userName)).toHaveLength(2);
      return mount;
    }

    it('yields to a key that is written meanwhile, and removes its own', async () => {
      const mount = await halfWay();
      const other = await newMount();
      await world.http.must(204, 'PUT', `${mount.path}/config/root`, {
        access_key: other.key.accessKeyId,
        secret_key: other.key.secretAccessKey,
      });
      world.simulator.account().putUserPolicy(
        world.simulator.account().existingUser(other.userName),
        'rotate',
        JSON.stringify({
          Version: '2012-10-17',
          Statement: { Effect: 'Deny', Action: 'iam:DeleteAccessKey', Resource: '*' },
        }),
      );
      world.simulator.faults.clear(usualWeather);
      await rotationsRest(world);
      expect(await rootKeyOf(world, mount)).toBe(other.key.accessKeyId);
      expect(keysOf(world, mount.userName)).toEqual([mount.key.accessKeyId]);
    });

    it('goes on under a write that changes other things, and keeps those', async () => {
      const mount = await halfWay();
      await world.http.must(204, 'PUT', `${mount.path}/config/root`, { max_retries: 2 });
      world.simulator.faults.clear(usualWeather);
      await rotationsRest(world);
      expect((await world.http.must(200, 'GET', `${mount.path}/config/root`)).body.data).toMatchObject({
        access_key: keysOf(world, mount.userName)[0],
        max_retries: 2,
      });
      expect(keysOf(world, mount.userName)).not.toContain(mount.key.accessKeyId);
    });

    it('ends with its mount, and leaves no key of its own', async () => {
      const mount = await halfWay();
      await world.http.must(204, 'DELETE', `sys/mounts/${mount.path}`);
      world.simulator.faults.clear(usualWeather);
      await rotationsRest(world);
      expect(keysOf(world, mount.userName)).toEqual([mount.key.accessKeyId]);
    });

    it('removes its key again when the one before is put back', async () => {
      const mount = await newMount();
      await sql(`insert into workers (id, name, root_versions, seen_at)
        select gen_random_uuid(), 'a worker', array_agg(version), now() + interval '1 hour' from root_configs`);
      await mustRotate(mount);
      await world.http.must(204, 'PUT', `${mount.path}/config/root`, {
        access_key: mount.key.accessKeyId,
        secret_key: mount.key.secretAccessKey,
      });
      await sql(`delete from workers where name = 'a worker'`);
      await rotationsRest(world);
      expect(keysOf(world, mount.userName)).toEqual([mount.key.accessKeyId]);
      await lend(mount);
    });
  });

  it('removes no key that a worker is still at work with', async () => {
    const mount = await newMount();
    const made = world.simulator.faults.hold('CreateUser', 'after');
    const lending = lend(mount);
    await made.reached;
    const id = await mustRotate(mount);
    const waits = await eventually(async () => (await rotations(world)).find(({ last_error }) => last_error));
    expect(waits).toMatchObject({
      state: 'retiring',
      last_error: expect.stringMatching(/is used: worker issuer \d+ on /),
    });
    expect(keysOf(world, mount.userName)).toContain(mount.key.accessKeyId);
    made.release();
    // Made with both keys' help, and whole.
    await world.whoIs((await lending).keys);
    await rotationsRest(world);
    expect(keysOf(world, mount.userName)).toEqual([id]);
  });

  it('removes no key that another mount is configured with', async () => {
    const mount = await newMount();
    const twin = await newMount();
    await world.http.must(204, 'PUT', `${twin.path}/config/root`, {
      access_key: mount.key.accessKeyId,
      secret_key: mount.key.secretAccessKey,
    });
    await mustRotate(mount);
    const waits = await eventually(async () => (await rotations(world)).find(({ last_error }) => last_error));
    expect(waits.last_error).toContain(`mount ${twin.path}/`);
    await lend(twin);
    await world.http.must(204, 'DELETE', `sys/mounts/${twin.path}`);
    await rotationsRest(world);
    expect(keysOf(world, mount.userName)).toHaveLength(1);
  });

  describe('by period', () => {
    const rotatesIn = async ({ path }: Rooted) => {
      const [row] = await sql(
        `select extract(epoch from rotates_at - now())::float8 as seconds from root_configs
         where superseded_at is null and mount_id = (select id from mounts where path = $1)`,
        [`${path}/`],
      );
      const { seconds } = row as { seconds: number | null };
      return seconds === null ? null : Math.round(seconds / 60);
    };
    const write = (mount: Rooted, body: object) => world.http.must(204, 'PUT', `${mount.path}/config/root`, body);
    const becomesDue = ({ path }: Rooted) =>
      sql(
        `update root_configs set rotates_at = now() where superseded_at is null and rotates_at is not null
           and mount_id = (select id from mounts where path = $1)`,
        [`${path}/`],
      );

    it('comes when it is due, by PostgreSQL’s clock, and then a period later', async () => {
      const mount = await newMount();
      await write(mount, { rotation_period: '1h' });
      expect((await world.http.must(200, 'GET', `${mount.path}/config/root`)).body.data.rotation_period).toBe(3600);
      expect(await rotatesIn(mount)).toBe(60);
      await becomesDue(mount);
      await eventually(async () => (await rootKeyOf(world, mount)) !== mount.key.accessKeyId);
      await rotationsRest(world);
      expect([await rotatesIn(mount), keysOf(world, mount.userName)]).toEqual([60, [await rootKeyOf(world, mount)]]);
      await lend(mount);
    });

    it('is not put off by writes of other things, and begins anew with a key of the operator’s', async () => {
      const mount = await newMount();
      await write(mount, { rotation_period: '1h' });
      await sql(`update root_configs set rotates_at = now() + interval '5 minutes' where rotates_at is not null`);
      await write(mount, { max_retries: 3 });
      expect(await rotatesIn(mount)).toBe(5);
      await write(mount, { access_key: mount.key.accessKeyId, secret_key: mount.key.secretAccessKey });
      expect(await rotatesIn(mount)).toBe(60);
    });

    it('is given up, where AWS refuses it, when it is disabled', async () => {
      const mount = await newMount({ rotation: false });
      await write(mount, { rotation_period: 60 });
      await becomesDue(mount);
      await eventually(async () => (await rotations(world)).some(({ attempts }) => Number(attempts) > 0));
      await write(mount, { disable_automated_rotation: true });
      await rotationsRest(world);
    });

    it('stops while it is disabled, and without a period', async () => {
      const mount = await newMount();
      await write(mount, { rotation_period: 120, disable_automated_rotation: true });
      expect(await rotatesIn(mount)).toBeNull();
      await write(mount, { disable_automated_rotation: false });
      expect(await rotatesIn(mount)).toBe(2);
      await write(mount, { rotation_period: 0 });
      expect(await rotatesIn(mount)).toBeNull();
    });

    it('is tried again by itself when AWS refuses', async () => {
      const mount = await newMount({ rotation: false });
      await write(mount, { rotation_period: 60 });
      await becomesDue(mount);
      const refused = await eventually(async () =>
        (await rotations(world)).find(({ attempts }) => Number(attempts) > 0),
      );
      expect(refused).toMatchObject({
        state: 'creating',
        last_error: expect.stringContaining('error calling GetUser'),
      });
      const { simulator } = world;
      simulator
        .account()
        .putUserPolicy(
          simulator.account().existingUser(mount.userName),
          'rotate',
          JSON.stringify({ Version: '2012-10-17', Statement: { Effect: 'Allow', Action: 'iam:*', Resource: '*' } }),
        );
      await rotationsRest(world);
      expect(keysOf(world, mount.userName)).toEqual([await rootKeyOf(world, mount)]);
      expect(await rootKeyOf(world, mount)).not.toBe(mount.key.accessKeyId);
    });
  });

  describe('whose CreateAccessKey has no answer', () => {
    it.each([
      ['was done', 'loseReply'],
      ['failed inside AWS', 'fail'],
    ] as const)('and %s ends with one key, which we know', async (_, fault) => {
      const mount = await newMount();
      const pattern = { action: 'CreateAccessKey', userName: mount.userName, times: 1 };
      if (fault === 'loseReply') world.simulator.faults.loseReply(pattern);
      else world.simulator.faults.fail({ ...pattern, code: 'ServiceFailure', status: 500 });
      const id = await mustRotate(mount);
      await eventually(async () => (await rotations(world)).every(({ state }) => state === 'watching'));
      expect(keysOf(world, mount.userName)).toEqual([id]);
      // It has looked until nothing can appear any more.
      await rotationsRest(world);
      expect(keysOf(world, mount.userName)).toEqual([id]);
    });

    it('and is not in AWS’s list yet is found, and another one is made', async () => {
      world.simulator.faults.set({ listingLagMs: 700 });
      const mount = await newMount();
      world.simulator.faults.loseReply({ action: 'CreateAccessKey', userName: mount.userName, times: 1 });
      const id = await mustRotate(mount);
      await rotationsRest(world);
      expect(keysOf(world, mount.userName)).toEqual([id]);
    });
  });

  it('gives up on a key that AWS never accepts, and removes it', async () => {
    const impatient = await World.start({ timing: { propagationMs: 400 } });
    try {
      const mount = await mountRooted(impatient, 'aws');
      impatient.simulator.faults.set(neverAccepted);
      const answer = await impatient.http.call('POST', 'aws/config/rotate-root');
      expect([answer.status, answer.body.errors]).toEqual([
        500,
        [expect.stringContaining('came to nothing: ask again')],
      ]);
      await rotationsRest(impatient);
      expect(keysOf(impatient, mount.userName)).toEqual([mount.key.accessKeyId]);
      expect(await rootKeyOf(impatient, mount)).toBe(mount.key.accessKeyId);
    } finally {
      await impatient.close();
    }
  });
});
