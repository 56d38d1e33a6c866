import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { sealCommand } from '#libs/contracts';
import type { Fleet } from '../../apps/cluster/src/fleet.js';
import { AmqpWorld, role, publicKey, namespace } from '../support/amqp-world.js';
import { type BrokerOwner, type CommandInHand, passOn } from '../support/broker-owner.js';
import { comesToRest } from '../support/lease-life.js';
import { eventually, type World } from '../support/world.js';

describe('whoever owns the broker', () => {
  const amqp = new AmqpWorld();
  const { tapped, issue, heldAs, whoIs } = amqp;
  let world: World;
  let fleet: Fleet;
  let owner: BrokerOwner;

  beforeAll(async () => {
    await amqp.start();
    ({ world, fleet, owner } = amqp);
  }, 120_000);
  afterAll(() => amqp.close());
  afterEach(() => amqp.tidy());

  it('reads neither token nor role nor credential', async () => {
    owner.seen.length = 0;
    const leasehold = tapped();
    const lent = await issue(leasehold);
    await leasehold.renew(lent.leaseId, 60);
    await leasehold.revoke(lent.leaseId);
    const all = owner.seen.map((bytes) => bytes.toString('latin1')).join('\n');
    expect(owner.seen.length).toBeGreaterThanOrEqual(15); // five commands, their headers, their answers
    const { accessKeyId, secretAccessKey } = lent.credential;
    const names = { token: world.options.rootToken, role, leaseId: lent.leaseId, accessKeyId, secretAccessKey };
    for (const [name, secret] of Object.entries(names)) {
      expect([name, formsOf(secret).filter((form) => all.includes(form))]).toEqual([name, []]);
    }
    // The look itself would have found it.
    expect(formsOf(role).some((form) => Buffer.from(`1${role}2`).toString('base64').includes(form))).toBe(true);
    await comesToRest(world);
  });

  const refusal = { code: 'permission_denied', message: 'invalid token', retryable: false };
  const dir = { alg: 'dir', enc: 'A256GCM' };
  let answerToAnother: Buffer;
  let sealedByStranger: string;
  beforeAll(async () => {
    await expect(tapped().revoke('absent')).rejects.toMatchObject({ code: 'invalid_request' });
    answerToAnother = owner.seen.at(-1)!;
    sealedByStranger = (await sealCommand(publicKey, 'any', {})).sealed;
  });
  const unsealed = { lent: { accessKeyId: 'AKIA', secretAccessKey: 's' } };
  it.each<[string, (command: CommandInHand) => Buffer | object]>([
    ['an error in the clear', () => ({ response: { error: refusal }, isDisposed: true })],
    ['an error of the transport', () => ({ err: refusal, isDisposed: true })],
    ['an answer in the clear', () => ({ response: unsealed, isDisposed: true })],
    ['an answer sealed under a key of its own', () => ({ response: { sealed: sealedByStranger }, isDisposed: true })],
    ['the answer to another command', () => answerToAnother],
    ['the command itself', ({ content }) => ({ response: JSON.parse(content.toString()).data, isDisposed: true })],
    ['a seal that says it needs no key', () => ({ response: { sealed: `${b64(dir)}....` }, isDisposed: true })],
    ['nothing', () => Buffer.alloc(0)],
    ['no JSON', () => Buffer.from('{')],
    ['null', () => Buffer.from('null')],
    ['no response', () => ({ response: null, isDisposed: true })],
  ])('is not believed: %s', async (_, forge) => {
    // Of the hand-out, and of the issue that follows it.
    for (const forged of [1, 2]) {
      owner.meddle((command, nth) => (nth === forged ? command.answer(forge(command)) : passOn(command)));
      const leasehold = tapped();
      await expect(issue(leasehold)).rejects.toMatchObject({ code: 'unavailable', retryable: true });
      await leasehold.close();
    }
    await comesToRest(world);
  });

  it('makes no gateway refuse its caller', async () => {
    const gateway = await fleet.start('gateway', { LEASEHOLD_NAMESPACE: `${namespace}-tapped` }).serves();
    const asks = () =>
      fetch(`${gateway.url}/v1/aws/creds/${role}`, { headers: { 'X-Vault-Token': world.options.rootToken } });
    for (const forged of [{ response: { error: refusal } }, { err: refusal }]) {
      owner.meddle((command) => command.answer({ ...forged, isDisposed: true }));
      expect((await asks()).status).toBe(503);
    }
    await gateway.end();
    await comesToRest(world);
  });

  it('breaks no asker with an answer under a name that nobody waits for', async () => {
    owner.meddle(async (command, nth) => {
      if (nth === 1) for (const name of ['absent', 'error', '__proto__']) command.answer({}, name);
      await passOn(command);
    });
    const leasehold = tapped();
    await issue(leasehold).catch((error: unknown) => expect(error).toMatchObject({ code: 'unavailable' }));
    const lent = await eventually(() => issue(leasehold).catch(() => null));
    expect(await whoIs(lent)).toMatch(/:user\//);
    for (const { id, state } of await world.leases()) if (state === 'active') await leasehold.revoke(id);
    await comesToRest(world);
  });

  it.each<[string, (command: CommandInHand) => Promise<void>]>([
    ['at once', async (command) => command.answer((await Promise.all([command.pass(), command.pass()]))[0])],
    [
      'before the first answer is handed on',
      async (command) => {
        const first = await command.pass();
        await command.pass();
        command.answer(first);
      },
    ],
    [
      'and hands on the second answer',
      async (command) => {
        await command.pass();
        command.answer(await command.pass());
      },
    ],
  ])('never makes two credentials of one command by sending it again, %s', async (_, replay) => {
    // The hand-out, and the issue that follows it.
    owner.meddle((command, nth) => (nth <= 2 ? replay(command) : passOn(command)));
    const leasehold = tapped();
    const lent = await issue(leasehold).catch((error: { code: string }) => {
      expect(error.code).toBe('out_of_time');
      return null;
    });
    await comesToRest(world, lent ? [heldAs(lent)] : []);
    if (lent) await leasehold.revoke(lent.leaseId);
    await comesToRest(world);
  });

  it('gets nothing by sending again what was answered long ago', async () => {
    const commands: CommandInHand[] = [];
    owner.meddle((command) => {
      commands.push(command);
      return passOn(command);
    });
    const leasehold = tapped();
    const lent = await issue(leasehold);
    await Promise.all(commands.map((command) => command.pass()));
    await comesToRest(world, [heldAs(lent)]);
    await leasehold.revoke(lent.leaseId);
    await comesToRest(world);
    await Promise.all(commands.map((command) => command.pass()));
    await comesToRest(world);
  });
});

const b64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** How bytes that hold `text` somewhere may look: as they are, in hexadecimal, in base64 whatever stands before them. */
function formsOf(text: string): string[] {
  const bytes = Buffer.from(text);
  const forms = [text, bytes.toString('hex'), bytes.toString('hex').toUpperCase()];
  for (const before of [0, 1, 2]) {
    const whole = Buffer.concat([Buffer.alloc(before), bytes]);
    for (const alphabet of ['base64', 'base64url'] as const) {
      // Without the characters at either end that neighbours have a share in.
      forms.push(
        whole
          .toString(alphabet)
          .slice(before === 0 ? 0 : before + 1, Math.floor((whole.length * 8) / 6))
          .replace(/=+$/, ''),
      );
    }
  }
  return forms;
}
