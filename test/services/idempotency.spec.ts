import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { LeaseholdClient, type LeaseholdClientOptions, type LentCredential } from '#libs/client';
import { newIssuerKeys } from '#libs/contracts';
import type { Fleet, Service } from '../../apps/cluster/src/fleet.js';
import { brokerLine, BrokerOwner } from '../support/broker-owner.js';
import { cuttingProxy, type CuttingProxy } from '../support/cutting-proxy.js';
import type { HttpAnswer } from '../support/http-client.js';
import { comesToRest, type Lent, lentBy, writeRole } from '../support/lease-life.js';
import { testServers } from '../support/services.js';
import { eventually, type World } from '../support/world.js';
import { worldOfServices } from '../support/world-of-services.js';

const acceptance = `set state = 'active', accepted_at`;
const keys = newIssuerKeys();
const namespace = `test-${randomBytes(6).toString('hex')}`;

describe('a retry with the same idempotency key', () => {
  let url: string;
  let world: World;
  let fleet: Fleet;
  let proxy: CuttingProxy;
  const open: { close(): Promise<void> }[] = [];

  beforeAll(async () => {
    Logger.overrideLogger(false);
    url = testServers().rabbitmqUrl;
    const env = {
      LEASEHOLD_NAMESPACE: namespace,
      LEASEHOLD_ISSUER_KEY: keys.privateKey,
      LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
    };
    ({ world, fleet } = await worldOfServices({ weather: {}, timing: { handOverMs: 2_500 } }, { env }));
    await world.mount();
    await writeRole(world, 'deploy');
    proxy = await cuttingProxy(world.options.databaseUrl);
  }, 60_000);
  afterAll(async () => {
    await world?.close();
    await proxy?.close();
  });
  afterEach(async () => {
    world.simulator.faults.clear();
    for (const each of open.splice(0).toReversed()) await each.close();
    await world.http.must(204, 'PUT', 'sys/leases/revoke-prefix/aws');
    await comesToRest(world);
  });

  const header = (key: string) => ({ headers: { 'Idempotency-Key': key } });
  const ask = (key: string): Promise<HttpAnswer> => world.http.call('GET', 'aws/creds/deploy', undefined, header(key));
  /** The same of a gateway that is about to die. */
  const askAt = (gateway: Service, key: string) =>
    fetch(`${gateway.url}/v1/aws/creds/deploy`, {
      headers: { 'X-Vault-Token': world.http.token, ...header(key).headers },
    }).then(
      (answer) => answer.status,
      () => 'cut',
    );
  const lastRow = async () => (await world.leases()).at(-1)!;

  describe('over HTTP', () => {
    it('gives the very credential whose gateway was killed between the acceptance and the answer', async () => {
      const gateway = await fleet.start('gateway', { DATABASE_URL: proxy.url }).serves();
      proxy.cut(acceptance, 1_000);
      const answer = askAt(gateway, 'accepted');
      await eventually(async () => (await world.leases()).at(-1)?.state === 'active');
      await gateway.end('SIGKILL');
      proxy.cut(acceptance, 0);
      expect(await answer).toBe('cut');
      const { id } = await lastRow();
      const lent = lentBy(await ask('accepted'));
      expect(lent.leaseId).toBe(id);
      await comesToRest(world, [lent]);
      expect(await world.whoIs(lent.keys)).toMatch(/:user\/vault-root-deploy-/);
    });

    it('waits for the one whose gateway was killed while it was made', async () => {
      const gateway = await fleet.start('gateway').serves();
      const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
      const answer = askAt(gateway, 'in flight');
      await hold.reached;
      await gateway.end('SIGKILL');
      expect(await answer).toBe('cut');
      const { id } = await lastRow();
      const again = ask('in flight');
      hold.release();
      const lent = lentBy(await again);
      expect(lent.leaseId).toBe(id);
      await comesToRest(world, [lent]);
    });

    it('gives one credential to all when the issuers were killed while they made it', async () => {
      const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
      const first = ask('issuer');
      await hold.reached;
      const second = ask('issuer');
      await Promise.all(fleet.running('issuer').map((issuer) => issuer.end('SIGKILL')));
      hold.release();
      await Promise.all([fleet.start('issuer').serves(), fleet.start('issuer').serves()]);
      const answers = await Promise.all([first, second]);
      // Whoever was not answered asks again, as a client does.
      const lent = await Promise.all(
        answers.map((answer) =>
          answer.status === 200
            ? lentBy(answer)
            : eventually(async () => {
                const again = await ask('issuer');
                return again.status === 200 && lentBy(again);
              }, 20_000),
        ),
      );
      expect(lent[1]).toEqual(lent[0]);
      await comesToRest(world, [lent[0]!]);
      process.stderr.write(`    issuers killed: the first two answers were ${answers.map((each) => each.status)}\n`);
    }, 60_000);
  });

  describe('over AMQP', () => {
    function client(options: Partial<LeaseholdClientOptions> = {}): LeaseholdClient {
      const made = new LeaseholdClient({
        rabbitmqUrl: url,
        namespace,
        issuerPublicKey: keys.publicKey,
        token: world.options.rootToken,
        waitMs: 10_000,
        ...options,
      });
      open.push(made);
      return made;
    }
    const issue = (by: LeaseholdClient, idempotencyKey: string, rest: object = {}) =>
      by.issue({ mount: 'aws', role: 'deploy', idempotencyKey, ...rest });
    const heldAs = ({ leaseId, credential }: LentCredential): Lent => ({
      leaseId,
      keys: { access_key: credential.accessKeyId, secret_key: credential.secretAccessKey },
    });

    it('gives the same credential, in a row, at once, and over HTTP', async () => {
      const first = await issue(client(), 'amqp');
      const others = await Promise.all([issue(client(), 'amqp'), issue(client(), 'amqp')]);
      for (const other of others) {
        expect(other).toEqual({ ...first, leaseDuration: expect.any(Number), replayed: true });
      }
      expect(lentBy(await ask('amqp'))).toMatchObject({ leaseId: first.leaseId, keys: heldAs(first).keys });
      await comesToRest(world, [heldAs(first)]);
    });

    it('with another wish is refused', async () => {
      const first = await issue(client(), 'other wish');
      await expect(issue(client(), 'other wish', { ttlSeconds: 60 })).rejects.toMatchObject({
        code: 'idempotency_key_reused',
        retryable: false,
      });
      await expect(issue(client(), '')).rejects.toMatchObject({
        code: 'invalid_request',
        message: expect.stringContaining('1 to 255 printable ASCII characters'),
      });
      await comesToRest(world, [heldAs(first)]);
    });

    it('is given what its asker lost with the broker', async () => {
      const line = await brokerLine(url);
      open.push(line);
      const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
      const lost = expect(issue(client({ rabbitmqUrl: line.url }), 'lost')).rejects.toMatchObject({
        code: 'unavailable',
      });
      await hold.reached;
      line.cut();
      await lost;
      const { id } = await lastRow();
      const again = issue(client(), 'lost');
      hold.release();
      const lent = await again;
      expect(lent.leaseId).toBe(id);
      await comesToRest(world, [heldAs(lent)]);
    });

    it('leaves one alive when the answers to the acceptance were lost, and none when nobody asks again', async () => {
      const owner = await BrokerOwner.between(url, `${namespace}-tapped`, namespace);
      open.push(owner);
      owner.meddle(async (command, nth) => {
        const answer = await command.pass();
        if (nth < 2 || nth > 3) command.answer(answer);
      });
      const tapped = client({ namespace: `${namespace}-tapped`, waitMs: 1_500 });
      await expect(issue(tapped, 'unanswered')).rejects.toMatchObject({ code: 'out_of_time' });
      const lent = await eventually(() => issue(client(), 'unanswered').catch(() => null));
      await comesToRest(world, [heldAs(lent)]);
      await client().revoke(lent.leaseId);

      owner.meddle(async (command, nth) => {
        const answer = await command.pass();
        if (nth < 2 || nth > 3) command.answer(answer);
      });
      await expect(issue(tapped, 'given up')).rejects.toMatchObject({ code: 'out_of_time' });
      await comesToRest(world);
      expect(await lastRow()).toMatchObject({ state: 'ended', end_reason: 'not_received' });
    });
  });
});
