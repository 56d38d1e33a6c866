import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { LentCredential } from '#libs/client';
import {
  acceptLease,
  issueLease,
  openAnswer,
  renewLease,
  revokeLease,
  type SealedCommand,
  sealCommand,
  newIssuerKeys,
  parseIssuerPublicKey,
  withdrawLease,
} from '#libs/contracts';
import type { Fleet } from '../../apps/cluster/src/fleet.js';
import { AmqpWorld, prefetch, waitMs, role, publicKey, queue, heldQueue } from '../support/amqp-world.js';
import { BrokerConnection, brokerLine, type BrokerOwner } from '../support/broker-owner.js';
import { comesToRest, lend } from '../support/lease-life.js';
import { ready, writePooled } from '../support/pools.js';
import { eventually, type World } from '../support/world.js';

describe('commands in their queues', () => {
  const amqp = new AmqpWorld();
  const { client, issue, heldAs, ask, askIssue, open, url } = amqp;
  let world: World;
  let fleet: Fleet;
  let owner: BrokerOwner;

  beforeAll(async () => {
    await amqp.start();
    ({ world, fleet, owner } = amqp);
  }, 120_000);
  afterAll(() => amqp.close());
  afterEach(() => amqp.tidy());

  it('do not hold up an acceptance or a withdrawal while AWS keeps every place of the issuers', async () => {
    const { leaseId, credential } = await askIssue();
    await world.database.query(`update leases set due_at = now() + interval '1 minute' where id = $1`, [leaseId]);
    const places = prefetch * fleet.running('issuer').length;
    const hold = world.simulator.faults.hold('CreateUser', 'before', { times: places });
    const asked = Array.from({ length: places + 1 }, () => askIssue());
    await eventually(async () => (await owner.waiting(queue)) === 1);

    expect(await ask(acceptLease.pattern, { leaseId })).toEqual({ leaseId });
    const commandId = randomUUID();
    expect(await ask(withdrawLease.pattern, { commandId })).toEqual({ commandId });
    expect(await owner.waiting(queue)).toBe(1);
    hold.release();
    await Promise.all(asked);
    await comesToRest(world, [heldAs({ leaseId, credential })]);
    await client().revoke(leaseId);
    await comesToRest(world);
  });

  describe('of a role with a pool', () => {
    const pooledRole = 'pooled';
    beforeAll(() => writePooled(world, pooledRole, 4));
    afterAll(() => writePooled(world, pooledRole, 0));

    const intents = async () => {
      const { rows } = await world.database.query(
        `select 1 from leases where state = 'issuing' and token_id is not null and role_name = $1`,
        [role],
      );
      return rows.length;
    };
    const doors: Record<string, () => Promise<string>> = {
      'over HTTP': async () => (await lend(world, pooledRole)).leaseId,
      'over AMQP': async () => (await client().issue({ mount: 'aws', role: pooledRole })).leaseId,
    };
    for (const [door, once] of Object.entries(doors)) {
      it(`are answered ${door} while AWS is silent and keeps every place of the issuers`, async () => {
        const made = (await ready(world, pooledRole, 4)).map((row) => row.id);
        const places = prefetch * fleet.running('issuer').length;
        const hold = world.simulator.faults.hold('CreateUser', 'before', { times: places + 10 });
        const asked = Array.from({ length: places }, () => askIssue());
        await eventually(async () => (await intents()) === places);
        asked.push(askIssue());
        await eventually(async () => (await owner.waiting(queue)) === 1);

        expect(made).toContain(await once());
        expect(made).toContain(await once());
        expect(await owner.waiting(queue)).toBe(1);
        hold.release();
        await Promise.all(asked);
        await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
      });
    }

    it('and go to AWS when the pool has nothing to give, as one request: one use of a counted token is spent', async () => {
      const made = (await ready(world, pooledRole, 4)).map((row) => row.id);
      await world.database.query(`update leases set pooled_at = now() + interval '1 hour' where id = any($1)`, [made]);
      const created = await world.http.must(200, 'PUT', 'auth/token/create', { num_uses: 3 });
      const token = (created.body.auth as { client_token: string }).client_token;
      const lent = await client({ token }).issue({ mount: 'aws', role: pooledRole });
      expect(made).not.toContain(lent.leaseId);
      const { body } = await world.http.must(200, 'PUT', 'auth/token/lookup', { token });
      expect(body.data.num_uses).toBe(2);
      await client().revoke(lent.leaseId);
    });

    it('are refused with the same words as an issue', async () => {
      const created = await world.http.must(200, 'PUT', 'auth/token/create', { num_uses: 1 });
      const token = (created.body.auth as { client_token: string }).client_token;
      const words = /Secret cannot be returned; token had one use left/;
      await expect(client({ token }).issue({ mount: 'aws', role: pooledRole })).rejects.toThrow(words);
    });
  });

  describe('bad commands', () => {
    interface Bad {
      content: string | Buffer;
      sealed?: SealedCommand;
      replyTo?: string | null;
    }
    const packet = (data: unknown, rest: object = { pattern: 'sealed', id: '1' }) => JSON.stringify({ ...rest, data });
    const sealedAs = async (pattern: string, body: unknown, key = publicKey): Promise<Bad> => {
      const sealed = await sealCommand(key, pattern, body);
      return { content: packet({ sealed: sealed.sealed }), sealed };
    };
    const sealedText = async (change: (sealed: string) => string): Promise<Bad> => ({
      content: packet({ sealed: change((await sealCommand(publicKey, issueLease.pattern, {})).sealed) }),
    });
    const command = () => ({ id: randomUUID(), waitMs, requestId: 'r', token: world.options.rootToken });
    const elsewhere = async (replyTo: string): Promise<Bad> => ({ ...(await sealedAs('lease.steal', 1)), replyTo });
    const stranger = parseIssuerPublicKey(newIssuerKeys().publicKey);

    const kinds: Record<string, () => Bad | Promise<Bad>> = {
      'no JSON': () => ({ content: '{"pattern"' }),
      'no bytes': () => ({ content: '' }),
      null: () => ({ content: 'null' }),
      'random bytes': () => ({ content: randomBytes(300) }),
      'not sealed': () => ({ content: packet({ ...command(), mount: 'aws/', role, door: 'creds' }) }),
      'in the clear, by its pattern': () => ({ content: packet(command(), { pattern: issueLease.pattern, id: '1' }) }),
      'no text where the seal belongs': () => ({ content: packet({ sealed: { length: 3 } }) }),
      'sealed to another key': () => sealedAs(issueLease.pattern, command(), stranger),
      'a seal cut short': () => sealedText((sealed) => sealed.slice(0, -9)),
      'a seal changed on its way': () => sealedText((sealed) => `${sealed.slice(0, -30)}${'A'.repeat(30)}`),
      'unknown pattern': () => sealedAs('lease.steal', command()),
      'inherited pattern': () => sealedAs('__proto__', command()),
      'schema-invalid': () => sealedAs(issueLease.pattern, { ...command(), mount: 5 }),
      'endless wait': () => sealedAs(acceptLease.pattern, { ...command(), leaseId: 'x', waitMs: 600_001 }),
      'null body': () => sealedAs(renewLease.pattern, null),
      'no body': () => sealedAs(revokeLease.pattern, undefined),
      'a body of text': () => sealedAs(withdrawLease.pattern, 'x'),
      'no way back': async () => ({ ...(await sealedAs(issueLease.pattern, null)), replyTo: null }),
      'a way back to nobody': () => elsewhere('absent'),
      'a way back that is none': () => elsewhere('amq.rabbitmq.reply-to.none'),
      'a way back to the issuers': () => elsewhere(queue),
    };

    it(`are answered with a coded error, ten times prefetch of each kind, and a good one is served`, async () => {
      const sender = await BrokerConnection.open(url);
      open.push(sender);
      const replies = await sender.replyQueue();
      const sent: { kind: string; id: string; bad: Bad }[] = [];
      for (const [kind, make] of Object.entries(kinds)) {
        for (let nth = 0; nth < 10 * prefetch; nth += 1) {
          const bad = await make();
          const id = `${kind} ${nth}`;
          const { replyTo = replies.name } = bad;
          sender.publish(queue, bad.content, { correlationId: id, ...(replyTo === null ? {} : { replyTo }) });
          if (bad.replyTo === undefined) sent.push({ kind, id, bad });
        }
      }
      await eventually(() => replies.answers.size === sent.length);
      const codes = new Map<string, Set<string>>();
      for (const { kind, id, bad } of sent) {
        const answers = replies.answers.get(id)!;
        expect([id, answers.length]).toEqual([id, 1]);
        codes.set(kind, (codes.get(kind) ?? new Set()).add(await codeIn(answers[0]!, bad.sealed)));
      }
      expect([...codes].filter(([, found]) => [...found].join() !== 'invalid_request')).toEqual([]);

      const lent = await issue(client());
      await client().revoke(lent.leaseId);
      await comesToRest(world);
      expect(fleet.running('issuer')).toHaveLength(2);
    });

    it('do not hold a place when what names the answer is no text', async () => {
      const line = await brokerLine(url);
      const sender = await BrokerConnection.open(line.url);
      open.push(line, sender);
      const { name } = await sender.replyQueue();
      line.corrupt(0x7e, 0xff); // ~ becomes a byte that UTF-8 does not have, and three bytes when it is written again
      for (let nth = 0; nth < 10 * prefetch; nth += 1)
        sender.publish(queue, 'null', { correlationId: '~'.repeat(200), replyTo: name });
      await eventually(async () => (await owner.waiting(queue)) === 0);
      const lent = await issue(client());
      await client().revoke(lent.leaseId);
      await comesToRest(world);
    });

    async function codeIn(answer: Buffer, sealed?: SealedCommand): Promise<string> {
      const { response } = JSON.parse(answer.toString()) as {
        response: { sealed?: string; error?: { code: string } };
      };
      if (response.error) return response.error.code;
      return openAnswer(sealed!, response.sealed!).then(
        () => 'none',
        (error: { code: string }) => error.code,
      );
    }
  });

  it('come again when the queues were deleted under the issuers', async () => {
    for (const each of [queue, heldQueue]) await owner.delete(each);
    const lent: LentCredential = await eventually(() => issue(client()).catch(() => null));
    // The other queue may come a moment later.
    const revoked = () => client({ waitMs: 1_000 }).revoke(lent.leaseId);
    await eventually(() =>
      revoked().then(
        () => true,
        () => false,
      ),
    );
    await comesToRest(world);
  });

  describe('while no issuer runs', () => {
    beforeAll(() => Promise.all(fleet.running('issuer').map((issuer) => issuer.end())));

    it('nothing comes back to the queue: whatever was delivered had been acknowledged', async () => {
      expect(await owner.waiting(queue)).toBe(0);
    });

    it('a command expires at half of its asker’s wait, and an issuer that comes later makes nothing', async () => {
      const before = world.simulator.calls.list({ action: 'CreateUser' }).length;
      let waits = true;
      // With a key, so that no pool is asked first.
      const wish = { mount: 'aws', role, idempotencyKey: randomUUID() };
      const refused = client({ waitMs: 3_000 })
        .issue(wish)
        .catch((error: unknown) => error);
      void refused.then(() => (waits = false));
      await eventually(async () => (await owner.waiting(queue)) === 1);
      await eventually(async () => (await owner.waiting(queue)) === 0);
      expect(waits).toBe(true);
      expect(await refused).toMatchObject({ code: 'out_of_time' });
      await fleet.start('issuer').serves();
      const lent = await issue(client());
      expect(world.simulator.calls.list({ action: 'CreateUser' })).toHaveLength(before + 1);
      await client().revoke(lent.leaseId);
      await comesToRest(world);
    });
  });
});
