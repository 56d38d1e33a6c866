import { createHmac, randomUUID } from 'node:crypto';
import type { INestApplicationContext } from '@nestjs/common';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { CallerSeal, Keyring } from '#libs/access';
import { type IssueLeaseReply, OutOfTime } from '#libs/contracts';
import { Accepting } from '#libs/leases';
import { IssueLease } from '../apps/issuer/src/issue-lease.js';
import { startSystem } from '../apps/standalone/src/system.js';
import { commandFor, issuerBeside } from './support/beside.js';
import { cuttingProxy, type CuttingProxy } from './support/cutting-proxy.js';
import { comesToRest, lentBy, rowOf, writeRole } from './support/lease-life.js';
import { eventually, World } from './support/world.js';

/** What only these statements say: storing the answer, noting who holds it, the acceptance. */
const statements = {
  claim: 'insert into idempotent_answers',
  keep: 'sealed_answer = $4',
  hold: 'array_append',
  acceptance: `set state = 'active', accepted_at`,
};

describe('a credential that was asked for with an idempotency key', () => {
  let world: World;
  let issuer: INestApplicationContext;
  let proxy: CuttingProxy;

  beforeAll(async () => {
    world = await World.start({
      weather: {},
      run: async (options) => {
        proxy ??= await cuttingProxy(options.databaseUrl);
        return startSystem({ ...options, databaseUrl: proxy.url });
      },
    });
    await world.mount();
    await writeRole(world, 'deploy');
    issuer = await issuerBeside(world);
  });
  afterAll(async () => {
    await issuer.close();
    await world.close();
    await proxy.close();
  });
  afterEach(async () => {
    world.simulator.faults.clear();
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    await comesToRest(world);
  });

  const asking = (idempotencyKey: string, rest: object = {}) =>
    commandFor(world, 'deploy', { idempotencyKey, ...rest });
  const issue = (command: ReturnType<typeof asking>) => issuer.get(IssueLease).execute(command);
  const accept = ({ leaseId }: IssueLeaseReply, { id }: { id: string }) => issuer.get(Accepting).accept(leaseId, id);
  const undo = ({ leaseId }: IssueLeaseReply, { id }: { id: string }) => issuer.get(Accepting).undo(leaseId, id);
  const lentOf = ({ leaseId, credential }: IssueLeaseReply) => ({
    leaseId,
    keys: { access_key: credential.accessKeyId, secret_key: credential.secretAccessKey },
  });

  describe('is given again', () => {
    it('to a command that is delivered again after its issuer died with the answer', async () => {
      const command = asking('delivered again');
      const first = await issue(command);
      const again = await issue(command);
      expect(again).toEqual({ ...first, leaseDuration: expect.any(Number), replayed: true });
      await accept(again, command);
      await comesToRest(world, [lentOf(first)]);
    });

    it('while nobody has accepted it, and for the whole hand-over time from then on', async () => {
      const first = await issue(asking('offered'));
      await world.database.query(`update leases set due_at = now() + interval '200 ms' where id = $1`, [first.leaseId]);
      const second = asking('offered');
      const again = await issue(second);
      const { due_at: due } = await rowOf(world, first.leaseId);
      const { rows } = await world.database.query<{ now: Date }>('select now()');
      expect(due!.getTime() - rows[0]!.now.getTime()).toBeGreaterThan(world.options.timing.handOverMs / 2);
      await accept(again, second);
      await comesToRest(world, [lentOf(first)]);
    });
  });

  it('is made anew once nobody accepted it in time', async () => {
    const first = await issue(asking('lapsed'));
    await eventually(async () => (await rowOf(world, first.leaseId)).state !== 'offered');
    const command = asking('lapsed');
    const second = await issue(command);
    expect(second.leaseId).not.toBe(first.leaseId);
    await accept(second, command);
    await comesToRest(world, [lentOf(second)]);
  });

  describe('whose first issuer stopped half way', () => {
    it('is made by the next, and never offered by the first when that goes on', async () => {
      const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
      const paused = issue(asking('paused'));
      const refused = expect(paused).rejects.toThrow(OutOfTime);
      await hold.reached;
      // Its claim has lapsed; its intent has not, as far as anybody can see.
      await world.database.query('update idempotent_answers set ends_at = now()');
      const command = asking('paused');
      const second = await issue(command);
      hold.release();
      await refused;
      await accept(second, command);
      await comesToRest(world, [lentOf(second)]);
      expect(await issue(asking('paused'))).toMatchObject({ leaseId: second.leaseId, replayed: true });
    });

    it('is made once, when its command is delivered again while the first goes on', async () => {
      const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
      const command = asking('delivered twice');
      const first = expect(issue(command)).rejects.toThrow(OutOfTime);
      await hold.reached;
      const second = await issue(command);
      hold.release();
      await first;
      await accept(second, command);
      await comesToRest(world, [lentOf(second)]);
    });

    it('is made once, when the first fails after its command was delivered again', async () => {
      const holds = [1, 2].map(() => world.simulator.faults.hold('PutUserPolicy', 'before'));
      world.simulator.faults.fail({ action: 'PutUserPolicy', code: 'AccessDenied', status: 403, times: 1 });
      const command = asking('first fails late');
      const first = expect(issue(command)).rejects.toThrow();
      await holds[0]!.reached;
      const second = issue(command);
      await holds[1]!.reached;
      holds[0]!.release();
      await first;
      // The claim is the second delivery's: the first gave up its own alone.
      const third = issue(asking('first fails late'));
      holds[1]!.release();
      expect(await third).toEqual({ ...(await second), leaseDuration: expect.any(Number), replayed: true });
      await accept(await second, command);
      await comesToRest(world, [lentOf(await second)]);
    });

    it('keeps nobody longer than its own wait', async () => {
      const hold = world.simulator.faults.hold('CreateUser', 'before');
      const first = issue(asking('too slow'));
      await hold.reached;
      const refusal = issue(asking('too slow', { waitMs: 300 }));
      await expect(refusal).rejects.toMatchObject({
        code: 'out_of_time',
        retryable: true,
        message: 'The first request with this Idempotency-Key is still under way: ask again.',
      });
      hold.release();
      await first;
    });
  });

  describe('of two who were given it', () => {
    it('is taken back when neither has it, and not before', async () => {
      const [one, two] = [asking('two'), asking('two')];
      const lent = await issue(one);
      await issue(two);
      for (const command of [one, two, one]) await accept(lent, command);
      await undo(lent, one);
      await undo(lent, one);
      await comesToRest(world, [lentOf(lent)]);
      await undo(lent, two);
      await comesToRest(world);
      expect(await rowOf(world, lent.leaseId)).toMatchObject({ end_reason: 'not_received' });
    });

    it('is refused to the second when the first undid it just before, and made anew', async () => {
      const [one, two, three] = [asking('undone'), asking('undone'), asking('undone')];
      const lent = await issue(one);
      await accept(lent, one);
      await issue(two);
      await undo(lent, one);
      await expect(accept(lent, two)).rejects.toThrow(OutOfTime);
      const next = await issue(three);
      await accept(next, three);
      await comesToRest(world, [lentOf(next)]);
    });

    it('is held by one of them, or by none, whichever of undoing and accepting comes first', async () => {
      for (let round = 0; round < 20; round += 1) {
        const [one, two] = [asking(`race ${round}`), asking(`race ${round}`)];
        const lent = await issue(one);
        await accept(lent, one);
        await issue(two);
        const [, accepted] = await Promise.allSettled([undo(lent, one), accept(lent, two)]);
        const { state } = await rowOf(world, lent.leaseId);
        expect(state === 'active').toBe(accepted.status === 'fulfilled');
      }
    });
  });

  describe('when PostgreSQL does not answer', () => {
    const ask = (key: string) =>
      world.http.call('GET', 'aws/creds/deploy', undefined, { headers: { 'Idempotency-Key': key } });
    afterEach(() => {
      for (const statement of Object.values(statements)) proxy.cut(statement, 0);
    });

    it.each(Object.entries(statements))(
      'to the statement of the %s, once: exactly one is alive',
      async (name, text) => {
        proxy.cut(text, 1);
        await ask(`once ${name}`);
        expect(proxy.left(text)).toBe(0);
        const lent = await eventually(async () => {
          const answer = await ask(`once ${name}`);
          return answer.status === 200 && lentBy(answer);
        }, 20_000);
        await comesToRest(world, [lent]);
      },
    );

    it('to any acceptance: it is taken back, and made anew for who asks again', async () => {
      proxy.cut(statements.acceptance, 1_000);
      expect((await ask('never')).status).toBe(503);
      proxy.cut(statements.acceptance, 0);
      const lent = await eventually(async () => {
        const answer = await ask('never');
        return answer.status === 200 && lentBy(answer);
      });
      await comesToRest(world, [lent]);
    });
  });

  describe('is sealed under keys', () => {
    const purpose = 'a test';
    const known = ['hvs.token', 'path', 'key'];
    const keyring = () => issuer.get(Keyring);

    it('that take all that the caller knows', async () => {
      const seal = CallerSeal.of(keyring(), purpose, known);
      const sealed = await seal.seal('secret');
      expect(await CallerSeal.of(keyring(), purpose, known).open(sealed)).toBe('secret');
      expect(CallerSeal.of(keyring(), purpose, known).hash('body')).toEqual(seal.hash('body'));
      for (const other of [['hvs.token', 'path', 'kez'], ['hvs.token', 'pathkey'], ['hvs.tokem', 'path', 'key'], []]) {
        const stranger = CallerSeal.of(keyring(), purpose, other);
        expect(stranger.id.equals(seal.id)).toBe(false);
        expect(stranger.hash('body').equals(seal.hash('body'))).toBe(false);
        await expect(stranger.open(sealed)).rejects.toThrow();
      }
      await expect(CallerSeal.of(keyring(), 'another', known).open(sealed)).rejects.toThrow();
    });

    it('that what is stored of tokens does not give', () => {
      const material = keyring().derive(purpose, known, 32);
      for (const token of [known[0]!, JSON.stringify(known)]) {
        // What is stored of a token is the outcome of HKDF's first step; this is the second.
        const derived = createHmac('sha256', keyring().hashToken(token)).update(`${purpose}\x01`).digest();
        expect(derived.equals(material)).toBe(false);
      }
      // The same with the zero byte, which no header can bring.
      const asToken = keyring().hashToken(`\0${JSON.stringify(known)}`);
      expect(createHmac('sha256', asToken).update(`${purpose}\x01`).digest()).toEqual(material);
    });
  });

  it('is no acceptance of a lease that was asked for without one', async () => {
    const reply = await issue(commandFor(world, 'deploy'));
    await expect(accept(reply, { id: randomUUID() })).rejects.toThrow(OutOfTime);
  });
});
