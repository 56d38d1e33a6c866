import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Account, Hold, User } from '../../apps/simulator/src/index.js';
import { comesToRest, type Lent, lend, lentBy, policyDocument, rowOf, writeRole } from '../support/lease-life.js';
import { eventually, World } from '../support/world.js';

const tell = (line: string) => process.stderr.write(`    ${line}\n`);

const policyArn = 'arn:aws:iam::aws:policy/ReadOnlyAccess';
const timing = { callerWaitMs: 4_000, syncOneMs: 2_000, retryBaseMs: 50 };
/** What an answer may take beyond the wait, on a machine that does other things too. */
const grace = 2_000;

const allBut = (denied: string[]) =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      { Effect: 'Allow', Action: ['iam:*', 'sts:*'], Resource: '*' },
      ...(denied.length > 0 ? [{ Effect: 'Deny', Action: denied, Resource: '*' }] : []),
    ],
  });

const creating = ['CreateUser', 'PutUserPolicy', 'AttachUserPolicy', 'AddUserToGroup', 'CreateAccessKey'];
const destroying = ['DeleteAccessKey', 'DeleteUserPolicy', 'DetachUserPolicy', 'RemoveUserFromGroup', 'DeleteUser'];

describe('services whose AWS misbehaves', () => {
  let world: World;
  let account: Account;

  async function setUp(): Promise<void> {
    world = await World.start({ weather: {}, timing, rootPolicy: () => allBut([]) });
    account = world.simulator.account();
    account.createGroup('admins', {});
    await world.mount();
    await writeRole(world, 'deploy');
  }
  beforeAll(setUp, 60_000);
  afterEach(async () => {
    world.simulator.faults.clear();
    world.simulator.provisionRootIdentity({ userName: 'leasehold-root', policy: allBut([]) });
    await world.http.call('PUT', 'sys/leases/revoke-prefix/aws', { sync: false });
    await comesToRest(world, [], 20_000);
  }, 30_000);
  afterAll(() => world.close());

  /** What may be wrong with one call; `lasts`: until it is cleared. */
  interface Fault {
    name: string;
    lasts?: boolean;
    arm(call: { action: string; userName: string }): Hold | void;
  }
  const fail = (code: string, status: number, times?: number): Fault['arm'] => {
    return (call) => world.simulator.faults.fail({ ...call, code, status, ...(times ? { times } : {}) });
  };
  const hold: Fault['arm'] = ({ action, userName }) => world.simulator.faults.hold(action, 'after', { userName });
  const faults: Fault[] = [
    { name: 'answers near the end of the wait', arm: hold },
    { name: 'answers after the wait', arm: hold },
    { name: 'answers 500 twice', arm: fail('ServiceFailure', 500, 2) },
    { name: 'answers 500 on and on', lasts: true, arm: fail('ServiceFailure', 500) },
    { name: 'loses two replies', arm: (call) => world.simulator.faults.loseReply({ ...call, times: 2 }) },
    { name: 'loses every reply', lasts: true, arm: (call) => world.simulator.faults.loseReply(call) },
    // Last: from then on all calls share a pace, and some are refused for it.
    { name: 'throttles twice', arm: fail('Throttling', 400, 2) },
    { name: 'throttles on and on', lasts: true, arm: fail('Throttling', 400) },
  ];
  const grid = (actions: string[]) =>
    faults.map((fault, row) => actions.map((action, column) => ({ fault, action, role: `case-${row}-${column}` })));

  type Case = ReturnType<typeof grid>[number][number];
  const timed = async <T>(step: Promise<T>): Promise<{ answer: T; ms: number }> => {
    const startedAt = performance.now();
    return { answer: await step, ms: performance.now() - startedAt };
  };
  const after = (ms: number, step: () => void) => setTimeout(step, ms);

  /** A line for each fault: what the callers of each action were answered. */
  function tellGrid(answers: { fault: Fault; action: string; status: number; ms: number }[]): void {
    for (const { name } of faults) {
      const row = answers.filter((each) => each.fault.name === name);
      const cells = row.map(({ action, status, ms }) => `${action} ${status} (${Math.round(ms)} ms)`);
      tell(`AWS ${name}: ${cells.join(', ')}`);
    }
  }

  const weathers = {
    'a young user is not known for a second': {
      youngNoSuchEntity: { ms: 1_000, probability: 0.8 },
      propagationMs: 1_000,
    },
    'a third of all writes meets ConcurrentModification': { concurrentModification: { rate: 0.33 } },
    'lists lag behind by a second': { listingLagMs: 1_000 },
  };
  it.each(Object.entries(weathers))(
    'lend and take back all the same while %s',
    async (name, weather) => {
      world.simulator.faults.set(weather);
      const asked = await Promise.all(
        Array.from({ length: 12 }, () => timed(world.http.must(200, 'GET', 'aws/creds/deploy'))),
      );
      const lent = asked.map(({ answer }) => lentBy(answer));
      await comesToRest(world, lent);
      const revoked = await Promise.all(
        lent.map(({ leaseId }) => timed(world.http.call('PUT', `sys/revoke/${leaseId}`))),
      );
      // Refused on and on it says so; it goes on by itself.
      const refused = revoked.filter(({ answer }) => ![202, 204].includes(answer.status));
      expect(refused.filter(({ answer }) => !/ConcurrentModification/.test(answer.text))).toEqual([]);
      const { ms } = await timed(comesToRest(world, [], 20_000));
      const longest = (steps: { ms: number }[]) => Math.round(Math.max(...steps.map((step) => step.ms)));
      tell(
        `${name}: lent in ${longest(asked)} ms, revoked in ${longest(revoked)} ms, at rest ${Math.round(ms)} ms later`,
      );
      for (const { leaseId } of lent) expect(await rowOf(world, leaseId)).toMatchObject({ end_reason: 'revoked' });
    },
    60_000,
  );

  /** The nine kinds that DeleteUser wants gone first (aws-facts.md, "Limits"), as a holder adds them; the right to list each. */
  const additions: Record<string, { right: string | null; add(user: User): void }> = {
    'a login profile': {
      right: null,
      add: (user) => (user.loginProfile = { createdAt: Date.now(), resetRequired: false }),
    },
    'a second access key': { right: 'iam:ListAccessKeys', add: (user) => account.createAccessKey(user) },
    'a signing certificate': {
      right: 'iam:ListSigningCertificates',
      add: (user) => user.certificates.push(credential('ASCA')),
    },
    'an SSH key': { right: 'iam:ListSSHPublicKeys', add: (user) => user.sshKeys.push(credential('APKA')) },
    'a service-specific credential': {
      right: 'iam:ListServiceSpecificCredentials',
      add: (user) => user.serviceCredentials.push(credential('ACCA')),
    },
    'an MFA device': {
      right: 'iam:ListMFADevices',
      add: (user) => {
        const id = account.arn('mfa', '/', user.name);
        account.saveMfaDevice({ id, createdAt: Date.now(), userId: user.id, enabledAt: Date.now() });
      },
    },
    'an inline policy': {
      right: 'iam:ListUserPolicies',
      add: (user) => account.putUserPolicy(user, 'holder', policyDocument),
    },
    'a managed policy': {
      right: 'iam:ListAttachedUserPolicies',
      add: (user) => account.attachUserPolicy(user, policyArn),
    },
    'a group': { right: 'iam:ListGroupsForUser', add: (user) => account.addUserToGroup(user, 'admins') },
  };
  const credential = (prefix: string) => {
    const id = `${prefix}${Math.random().toString(36).slice(2, 12).toUpperCase().padEnd(16, 'A')}`;
    return { id, createdAt: Date.now(), active: true, text: 'of the holder' };
  };
  const userOf = async (lent: Lent) => account.existingUser((await rowOf(world, lent.leaseId)).user_name!);

  it('take back a user to whom its holder added any of the nine attachments, or all', async () => {
    const kinds = Object.entries(additions);
    const lent = await Promise.all([...kinds, 'all'].map(() => lend(world, 'deploy')));
    for (const [index, [, { add }]] of kinds.entries()) {
      add(await userOf(lent[index]!));
      add(await userOf(lent.at(-1)!));
    }
    const before = world.simulator.calls.count();
    const { ms } = await timed(
      Promise.all(lent.map(({ leaseId }) => world.http.must(204, 'PUT', `sys/revoke/${leaseId}`))),
    );
    const calls = world.simulator.calls.count() - before;
    tell(`ten users with what their holders had added were gone within ${Math.round(ms)} ms, in ${calls} calls`);
    expect(world.lentUsers()).toEqual([]);
    for (const { leaseId } of lent) expect(await rowOf(world, leaseId)).toMatchObject({ state: 'ended', attempts: 0 });
  }, 30_000);

  it('name the right that is missing where an attachment cannot be listed, and finish once it is given', async () => {
    const kinds = Object.entries(additions);
    const lent = await Promise.all(kinds.map(() => lend(world, 'deploy')));
    const plain = await lend(world, 'deploy');
    for (const [index, [, { add }]] of kinds.entries()) add(await userOf(lent[index]!));
    world.simulator.provisionRootIdentity({ userName: 'leasehold-root', policy: allBut(['iam:List*']) });
    for (const { leaseId } of [plain, ...lent])
      await world.http.must(202, 'PUT', 'sys/leases/revoke', { lease_id: leaseId, sync: false });
    const settled = await eventually(async () => {
      const rows = await Promise.all([plain, ...lent].map(({ leaseId }) => rowOf(world, leaseId)));
      return rows.every((row) => ['ended', 'irrevocable'].includes(row.state)) && rows;
    }, 20_000);
    expect(settled[0]).toMatchObject({ state: 'ended' });
    for (const [index, [name, { right }]] of kinds.entries()) {
      const row = settled[index + 1]!;
      tell(`${name}, no right to list: ${row.state} ${(row.last_error ?? '').replace(/\s+/g, ' ').slice(-110)}`);
      if (right === null) expect(row.state).toBe('ended');
      else {
        expect(row.state).toBe('irrevocable');
        const { data } = (await world.http.must(200, 'PUT', 'sys/leases/lookup', { lease_id: row.id })).body;
        expect(data.revoke_error).toContain(right);
      }
      expect(await world.whoIs(lent[index]!.keys)).toBe('InvalidClientTokenId');
    }
    world.simulator.provisionRootIdentity({ userName: 'leasehold-root', policy: allBut([]) });
    for (const { leaseId } of lent) await world.http.must(204, 'PUT', `sys/revoke/${leaseId}`);
    await comesToRest(world);
  }, 60_000);

  it('take every user back in its own account when config/root is pointed at another one under load', async () => {
    const elsewhere = world.simulator.provisionRootIdentity({
      userName: 'leasehold-root',
      account: '111111111111',
      policy: allBut([]),
    });
    const here = { access_key: world.root.accessKeyId, secret_key: world.root.secretAccessKey };
    const there = { access_key: elsewhere.accessKeyId, secret_key: elsewhere.secretAccessKey };
    const held: Lent[] = [];
    for (const root of [there, here, there]) {
      const asked = Array.from({ length: 12 }, () => lend(world, 'deploy'));
      await world.http.must(204, 'PUT', 'aws/config/root', root);
      held.push(...(await Promise.all(asked)));
    }
    const owners = await Promise.all(held.map((lent) => world.whoIs(lent.keys)));
    const count = (id: string) => owners.filter((arn) => arn.includes(`::${id}:`)).length;
    tell(
      `36 leases while config/root moved thrice: ${count('000000000000')} in one account, ${count('111111111111')} in the other`,
    );
    expect(count('000000000000') + count('111111111111')).toBe(36);
    const halves = [held.slice(0, 18), held.slice(18)];
    await Promise.all(halves[0]!.map(({ leaseId }) => world.http.must(204, 'PUT', `sys/revoke/${leaseId}`)));

    // The root of the first account is gone: what it lent cannot be taken back, and says so, until it is given again.
    const rootUser = account.existingUser('leasehold-root');
    account.deleteAccessKey(rootUser, world.root.accessKeyId);
    await world.http.must(202, 'PUT', 'sys/leases/revoke-prefix/aws', { sync: false });
    const stuck = await eventually(async () => {
      const rows = (await world.leases()).filter((row) => halves[1]!.some(({ leaseId }) => leaseId === row.id));
      return rows.every((row) => ['ended', 'irrevocable'].includes(row.state)) && rows;
    }, 20_000);
    expect(world.simulator.account('111111111111').users()).toHaveLength(1);
    const irrevocable = stuck.filter((row) => row.state === 'irrevocable');
    expect(irrevocable.map((row) => row.user_name).sort()).toEqual(world.lentUsers().sort());
    tell(
      `… without the root of the first: ${irrevocable.length} irrevocable, such as: ${irrevocable[0]?.last_error?.slice(0, 120)}`,
    );
    const renewed = account.createAccessKey(rootUser);
    await world.http.must(204, 'PUT', 'aws/config/root', { access_key: renewed.id, secret_key: renewed.secret });
    await Promise.all(irrevocable.map(({ id }) => world.http.must(204, 'PUT', `sys/revoke/${id}`)));
    await comesToRest(world);
  }, 60_000);

  it('lend or say what is wrong within the wait, whichever creating call goes wrong and however', async () => {
    const rows = grid(creating);
    for (const { role } of rows.flat()) await writeRole(world, role, { policy_arns: policyArn, iam_groups: 'admins' });
    const held: Lent[] = [];
    const holds: Hold[] = [];
    const askWith = async ({ fault, action, role }: Case) => {
      const armed = fault.arm({ action, userName: `*-${role}-*` });
      if (armed && fault.name.includes('near')) after(timing.callerWaitMs - 1_000, armed.release);
      else if (armed) holds.push(armed);
      const { answer, ms } = await timed(world.http.call('GET', `aws/creds/${role}`));
      if (answer.status === 200) held.push(lentBy(answer));
      return { fault, action, status: answer.status, error: answer.body.errors?.[0], ms };
    };
    // What waits, waits together; what does not comes fault by fault, so that no caller waits for the others.
    const answers: Awaited<ReturnType<typeof askWith>>[] = [];
    for (const row of [rows.slice(0, 2).flat(), ...rows.slice(2)])
      answers.push(...(await Promise.all(row.map(askWith))));
    for (const each of holds) each.release();
    tellGrid(answers);
    expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(timing.callerWaitMs + grace);
    expect(answers.filter(({ status, error }) => status !== 200 && !error)).toEqual([]);
    expect(answers.filter(({ status }) => ![200, 400, 429, 502, 503].includes(status))).toEqual([]);
    // What passes is no reason to refuse anybody.
    const passing = answers.filter(({ fault }) => !fault.lasts && !fault.name.includes('wait'));
    expect(passing.filter(({ status }) => status !== 200)).toEqual([]);
    const throttled = answers.filter(({ fault }) => fault.name === 'throttles on and on');
    expect(throttled.filter(({ status }) => ![429, 502, 503].includes(status))).toEqual([]);
    expect(
      answers.filter(({ fault, status }) => status === 429 && !throttled.some((each) => each.fault === fault)),
    ).toEqual([]);
    world.simulator.faults.clear();
    const { ms } = await timed(comesToRest(world, held, 20_000));
    tell(
      `… ${held.length} of ${answers.length} were lent; AWS holds these and nothing else ${Math.round(ms)} ms later`,
    );
  }, 60_000);

  describe('and that have not been asked to slow down', () => {
    beforeAll(async () => {
      await world.close();
      await setUp();
    }, 60_000);

    it('finish every revocation, the key first, whichever destroying call goes wrong and however', async () => {
      const cases = grid(destroying).flat();
      for (const { role } of cases) await writeRole(world, role, { policy_arns: policyArn, iam_groups: 'admins' });
      const lent: Lent[] = [];
      while (lent.length < cases.length) {
        const next = cases.slice(lent.length, lent.length + 8);
        lent.push(...(await Promise.all(next.map(({ role }) => lend(world, role)))));
      }
      const answers = await Promise.all(
        cases.map(async ({ fault, action, role }, index) => {
          const armed = fault.arm({ action, userName: `*-${role}-*` });
          if (armed) after(fault.name.includes('near') ? 1_000 : timing.syncOneMs + 500, armed.release);
          const { answer, ms } = await timed(world.http.call('PUT', `sys/revoke/${lent[index]!.leaseId}`));
          return { fault, action, status: answer.status, error: answer.body.errors?.[0], ms };
        }),
      );
      tellGrid(answers);
      expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(timing.syncOneMs + grace);
      expect(answers.filter(({ status, error }) => ![202, 204].includes(status) && !error)).toEqual([]);
      expect(answers.filter(({ status }) => ![202, 204, 400].includes(status))).toEqual([]);
      // What comes after the key may fail for ever: the key does not work any more.
      for (const [index, { action }] of cases.entries()) {
        if (action === 'DeleteAccessKey') continue;
        await eventually(async () => (await world.whoIs(lent[index]!.keys)) === 'InvalidClientTokenId', 15_000);
      }
      world.simulator.faults.clear();
      const { ms } = await timed(comesToRest(world, [], 20_000));
      tell(`… all ${cases.length} users were gone ${Math.round(ms)} ms after AWS was well again`);
      for (const { leaseId } of lent) expect(await rowOf(world, leaseId)).toMatchObject({ end_reason: 'revoked' });
    }, 90_000);
  });
});
