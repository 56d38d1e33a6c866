import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { LeaseholdClient, type LeaseholdClientOptions, type LentCredential } from '#libs/client';
import {
  acceptLease,
  issueLease,
  type IssueLeaseReply,
  newIssuerKeys,
  openAnswer,
  parseIssuerPublicKey,
  renewLease,
  revokeLease,
  type SealedCommand,
  sealCommand,
  withdrawLease,
} from '#libs/contracts';
import { CommandClient } from '#libs/runtime';
import { firstValueFrom } from 'rxjs';
import type { Fleet } from '../../apps/cluster/src/fleet.js';
import { seedTrustPolicy } from '../../apps/simulator/src/index.js';
import { BrokerConnection, brokerLine, BrokerOwner, type CommandInHand, passOn } from '../support/broker-owner.js';
import { everything } from '../support/everything.js';
import { comesToRest, type Lent, policyDocument, writeRole } from '../support/lease-life.js';
import { newFleet, testServers } from '../support/services.js';
import { giveTokens } from '../support/tokens.js';
import { eventually, World } from '../support/world.js';

const prefetch = 4;
/** Long enough for a busy machine; what is to be waited out says its own. */
const waitMs = 10_000;
const role = 'nobody-reads-this-role';
const arnOf = (name: string) => `arn:aws:iam::000000000000:role/${name}`;
const everythingAllowed = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: '*', Resource: '*' },
});

const keys = newIssuerKeys();
const publicKey = parseIssuerPublicKey(keys.publicKey);
const namespace = `test-${randomBytes(6).toString('hex')}`;
const queue = `${namespace}.commands`;

describe('over AMQP', () => {
  let url: string;
  let world: World;
  let fleet: Fleet;
  let owner: BrokerOwner;
  let issuers: CommandClient;
  const open: { close(): Promise<void> }[] = [];

  beforeAll(async () => {
    Logger.overrideLogger(false);
    url = testServers().rabbitmqUrl;
    world = await World.start({
      weather: {},
      timing: { handOverMs: 2_500 },
      rootPolicy: () => everythingAllowed,
      run: async ({ databaseUrl, masterKey, timing, rootToken, surroundings }) => {
        fleet = newFleet({
          databaseUrl,
          masterKey,
          timing,
          aws: { url: surroundings.defaultEndpoint, ...(await surroundings.ambientCredentials()()) },
          env: {
            LEASEHOLD_NAMESPACE: namespace,
            LEASEHOLD_ISSUER_KEY: keys.privateKey,
            LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
            LEASEHOLD_PREFETCH: String(prefetch),
          },
        });
        await fleet.migrate({ LEASEHOLD_ROOT_TOKEN: rootToken });
        const kinds = ['gateway', 'issuer', 'issuer', 'revoker'] as const;
        const [gateway] = await Promise.all(kinds.map((kind) => fleet.start(kind).serves()));
        return { url: gateway!.url, close: () => fleet.close() };
      },
    });
    await world.mount();
    await writeRole(world, role);
    await world.mount('brief');
    await world.http.must(204, 'PUT', 'brief/config/lease', { lease: '3s', lease_max: '60s' });
    await world.http.must(204, 'PUT', 'brief/roles/deploy', {
      credential_type: 'iam_user',
      policy_document: policyDocument,
    });
    owner = await BrokerOwner.between(url, `${namespace}-tapped`, namespace);
    issuers = new CommandClient({ broker: { url, namespace }, publicKey });
  }, 60_000);
  afterAll(async () => {
    await issuers?.close();
    await world?.close();
    await owner?.delete(queue);
    await owner?.close();
  });
  afterEach(async () => {
    world.simulator.faults.clear();
    owner.meddle();
    for (const each of open.splice(0).toReversed()) await each.close();
  });

  function client(options: Partial<LeaseholdClientOptions> = {}): LeaseholdClient {
    const token = world.options.rootToken;
    const made = new LeaseholdClient({
      rabbitmqUrl: url,
      namespace,
      issuerPublicKey: keys.publicKey,
      token,
      waitMs,
      ...options,
    });
    open.push(made);
    return made;
  }
  /** A client whose every byte goes through the hands of the broker's owner. */
  const tapped = (options: Partial<LeaseholdClientOptions> = {}) =>
    client({ namespace: `${namespace}-tapped`, ...options });

  const issue = (by: LeaseholdClient) => by.issue({ mount: 'aws', role });
  const heldAs = ({ leaseId, credential }: Pick<IssueLeaseReply, 'leaseId' | 'credential'>): Lent => ({
    leaseId,
    keys: {
      access_key: credential.accessKeyId,
      secret_key: credential.secretAccessKey,
      security_token: credential.sessionToken,
    },
  });
  const whoIs = (lent: Pick<IssueLeaseReply, 'leaseId' | 'credential'>) => world.whoIs(heldAs(lent).keys);

  /** One command, without what the client library does around it. */
  async function ask<Reply>(pattern: string, body: object): Promise<Reply> {
    const command = { id: randomUUID(), waitMs, requestId: 'r', token: world.options.rootToken, ...body };
    return firstValueFrom(issuers.send<Reply>(pattern, command));
  }
  const askIssue = (body: object = {}) =>
    ask<IssueLeaseReply>(issueLease.pattern, { mount: 'aws/', role, door: 'creds', ...body });

  describe('a service of its own', () => {
    it('obtains a key, renews it in time, and gives it back when it is told to stop', async () => {
      const service = spawn(process.execPath, ['dist/examples/internal-service/main.js'], {
        env: {
          PATH: process.env.PATH,
          RABBITMQ_URL: url,
          LEASEHOLD_NAMESPACE: namespace,
          LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
          LEASEHOLD_TOKEN: world.options.rootToken,
          LEASEHOLD_MOUNT: 'brief',
          LEASEHOLD_ROLE: 'deploy',
          LEASEHOLD_AWS_ENDPOINT: world.simulator.url,
        },
      });
      const ended = once(service, 'close');
      const said: string[] = [];
      for (const stream of [service.stdout, service.stderr])
        createInterface({ input: stream }).on('line', (line) => said.push(line));

      await eventually(() => said.filter((line) => line.endsWith('is renewed, for 3 s.')).length > 1);
      const [user] = world.lentUsers();
      expect(said[1]).toBe(`AWS knows us as arn:aws:iam::000000000000:user/${user}.`);
      service.kill('SIGINT');
      expect(await ended).toEqual([0, null]);
      expect(said.at(-1)).toMatch(/^Lease brief\/creds\/deploy\/\w+ is given back\.$/);
      await comesToRest(world);
    });

    it('says in a sentence what it lacks', async () => {
      const service = spawn(process.execPath, ['dist/examples/internal-service/main.js'], { env: {} });
      let said = '';
      service.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
      expect(await once(service, 'close')).toEqual([1, null]);
      expect(said).toMatch(
        /^The internal service does not start: RABBITMQ_URL is missing; .*LEASEHOLD_ROLE is missing/,
      );
    });
  });

  describe('a credential', () => {
    it('works, is renewed, and is gone after its revocation', async () => {
      const leasehold = client();
      const lent = await issue(leasehold);
      expect(lent).toMatchObject({ credentialType: 'iam_user', renewable: true, leaseDuration: 3600 });
      expect(await whoIs(lent)).toMatch(/^arn:aws:iam::000000000000:user\/vault-root-/);
      expect(await leasehold.renew(lent.leaseId, 600)).toEqual({ leaseId: lent.leaseId, leaseDuration: 600 });
      await comesToRest(world, [heldAs(lent)]);
      await leasehold.revoke(lent.leaseId);
      await comesToRest(world);
      expect(await whoIs(lent)).toBe('InvalidClientTokenId');
    });

    it('is renewed as far as its longest life allows, whatever is asked for', async () => {
      const leasehold = client();
      const lent = await leasehold.issue({ mount: 'brief', role: 'deploy', ttlSeconds: Number.MAX_SAFE_INTEGER });
      for (const seconds of [61, 1e9, 1e12, Number.MAX_SAFE_INTEGER]) {
        const { leaseDuration } = await leasehold.renew(lent.leaseId, seconds);
        expect([59, 60]).toContain(leaseDuration);
      }
      await leasehold.revoke(lent.leaseId);
      await comesToRest(world);
    });

    it('is one and the same lease over HTTP', async () => {
      const lent = await issue(client());
      const found = await world.http.must(200, 'PUT', 'sys/leases/lookup', { lease_id: lent.leaseId });
      expect(found.body.data).toMatchObject({ id: lent.leaseId, renewable: true });
      await world.http.must(204, 'PUT', 'sys/leases/revoke', { lease_id: lent.leaseId, sync: true });
      await comesToRest(world);
    });

    it('is refused in the issuer’s own words', async () => {
      const leasehold = client();
      await expect(leasehold.issue({ mount: 'aws/', role: 'absent' })).rejects.toMatchObject({
        code: 'role_not_found',
        message: 'Role "absent" not found',
      });
      await expect(leasehold.issue({ mount: 'elsewhere', role })).rejects.toMatchObject({ code: 'no_route' });
      await expect(leasehold.renew('aws/creds/x/absent')).rejects.toMatchObject({ code: 'invalid_request' });
      await expect(leasehold.revoke('aws/creds/x/absent')).rejects.toMatchObject({ message: 'lease not found' });
    });

    it('is not issued while an operator has frozen its role, and is renewed and revoked all the same', async () => {
      const leasehold = client();
      const { leaseId } = await issue(leasehold);
      await world.http.must(204, 'PUT', `sys/freeze/role/aws/${role}`, { reason: 'an incident' });
      await expect(issue(leasehold)).rejects.toMatchObject({
        code: 'over_budget',
        message: expect.stringMatching(/^An operator has frozen issuing for role .* \(an incident\)/),
        retryAfterSeconds: 60,
      });
      await leasehold.renew(leaseId);
      await leasehold.revoke(leaseId);
      await world.http.must(204, 'DELETE', `sys/freeze/role/aws/${role}`);
      await comesToRest(world);
    });
  });

  describe('the token', () => {
    it.each(['', 'hvs.wrong'])('is checked by the issuer itself, for every command: %j', async (token) => {
      const { leaseId, ...lent } = await issue(client());
      const before = await everything(world);
      const commands: [string, object][] = [
        [issueLease.pattern, { mount: 'aws/', role, door: 'creds' }],
        [acceptLease.pattern, { leaseId }],
        [withdrawLease.pattern, { commandId: randomUUID() }],
        [renewLease.pattern, { leaseId }],
        [revokeLease.pattern, { leaseId }],
      ];
      for (const [pattern, body] of commands) {
        await expect(ask(pattern, { ...body, token })).rejects.toMatchObject({ code: 'permission_denied' });
        await expect(ask(pattern, { ...body, token: undefined })).rejects.toMatchObject({ code: 'invalid_request' });
      }
      await expect(issue(client({ token }))).rejects.toMatchObject({ code: 'permission_denied' });
      expect(await everything(world)).toEqual(before);
      expect(await whoIs({ leaseId, ...lent })).toMatch(/:user\//);
      await client().revoke(leaseId);
      await comesToRest(world);
    });

    it('is refused by the issuer itself when its time is over, and where its policies do not allow the command', async () => {
      const other =
        'path "aws/creds/other" { policy = "write" }\npath "sys/leases/*" { capabilities = ["read", "list", "sudo"] }\n';
      await world.http.must(204, 'PUT', 'sys/policies/acl/weak', { policy: other });
      const tokens = await giveTokens(
        world,
        { policies: ['root'], expired: true },
        { policies: ['weak', 'not-there'] },
        { policies: [] },
      );
      const held = await issue(client());
      const before = await everything(world);
      const commands: [string, object][] = [
        [issueLease.pattern, { mount: 'aws/', role, door: 'creds' }],
        [issueLease.pattern, { mount: 'aws/', role, door: 'sts' }],
        [issueLease.pattern, { mount: 'nowhere/', role, door: 'creds' }],
        [acceptLease.pattern, { leaseId: held.leaseId }],
        [withdrawLease.pattern, { commandId: randomUUID(), leaseId: held.leaseId }],
        [renewLease.pattern, { leaseId: held.leaseId }],
        [revokeLease.pattern, { leaseId: held.leaseId }],
      ];
      for (const token of tokens) {
        for (const [pattern, body] of commands) {
          await expect(ask(pattern, { ...body, token })).rejects.toMatchObject({ code: 'permission_denied' });
        }
      }
      expect(await everything(world)).toEqual(before);
      await client().revoke(held.leaseId);
      await comesToRest(world);
    });

    it('does what its policies allow, on the paths that its commands stand for, and nothing else', async () => {
      const rules = `
        path "aws/creds/${role}" { capabilities = ["read"], allowed_parameters = { ttl = ["1h"], reason = ["x*"] } }
        path "sys/leases/renew" { capabilities = ["update"], denied_parameters = { increment = [7] } }
        path "sys/revoke" { capabilities = ["update"] }`;
      await world.http.must(204, 'PUT', 'sys/policies/acl/renews', { policy: rules });
      const [token] = await giveTokens(world, { policies: ['renews'] });
      const lent = await client({ token }).issue({ mount: 'aws', role });
      expect(await client({ token }).renew(lent.leaseId, 60)).toMatchObject({ leaseDuration: 60 });
      await expect(client({ token }).renew(lent.leaseId, 7)).rejects.toMatchObject({ code: 'permission_denied' });
      await expect(client({ token }).revoke(lent.leaseId)).rejects.toMatchObject({ code: 'permission_denied' });

      // What a command says that its caller sent is believed as far as it means what the command asks for.
      const refused: object[] = [
        { ttlSeconds: 3600 },
        { ttlSeconds: 7200, parameters: { ttl: '1h' } },
        { ttlSeconds: 3600, parameters: { ttl: '60m' } },
        { roleArn: 'x' },
        { roleSessionName: 'x', parameters: { reason: 'x' } },
        { parameters: { reason: 'y' } },
      ];
      for (const body of refused) {
        await expect(askIssue({ ...body, token })).rejects.toMatchObject({ code: 'permission_denied' });
      }
      const spelled = await askIssue({ ttlSeconds: 3600, parameters: { ttl: '1h', reason: 'xy' }, token });
      await ask(acceptLease.pattern, { leaseId: spelled.leaseId, token });

      await world.http.must(204, 'PUT', 'sys/policies/acl/renews', { policy: '# nothing any more' });
      await expect(client({ token }).renew(lent.leaseId, 60)).rejects.toMatchObject({ code: 'permission_denied' });
      await Promise.all([lent, spelled].map(({ leaseId }) => client().revoke(leaseId)));
      await comesToRest(world);
    });

    it('that did not ask for a credential cannot accept it', async () => {
      const [token] = await giveTokens(world, { policies: ['root'] });
      const { leaseId, credential } = await askIssue();
      await expect(ask(acceptLease.pattern, { leaseId, token })).rejects.toMatchObject({ code: 'permission_denied' });
      expect(await ask(acceptLease.pattern, { leaseId })).toEqual({ leaseId });
      expect(await ask(acceptLease.pattern, { leaseId })).toEqual({ leaseId });
      const own = await issue(client({ token }));
      await comesToRest(world, [heldAs({ leaseId, credential }), heldAs(own)]);
      await Promise.all([client().revoke(leaseId), client().revoke(own.leaseId)]);
      await comesToRest(world);
    });
  });

  describe('nothing is left of', () => {
    it('an offer that nobody accepts', async () => {
      const offered = await askIssue();
      expect(await whoIs(offered)).toMatch(/:user\//);
      await comesToRest(world);
      expect(await whoIs(offered)).toBe('InvalidClientTokenId');
      await expect(ask(acceptLease.pattern, { leaseId: offered.leaseId })).rejects.toMatchObject({
        code: 'out_of_time',
      });
    });

    it('a credential whose asker timed out', async () => {
      const hold = world.simulator.faults.hold('CreateUser', 'before');
      await expect(issue(client({ waitMs: 700 }))).rejects.toMatchObject({ code: 'out_of_time', retryable: true });
      await hold.reached;
      hold.release();
      await comesToRest(world);
    });

    it('a credential whose asker lost the broker, and asked again on the same client has one', async () => {
      const line = await brokerLine(url);
      open.push(line);
      const leasehold = client({ rabbitmqUrl: line.url });
      const hold = world.simulator.faults.hold('CreateAccessKey', 'after');
      const lost = expect(issue(leasehold)).rejects.toMatchObject({ code: 'unavailable', retryable: true });
      await hold.reached;
      line.cut();
      await lost;
      hold.release();
      await comesToRest(world);
      const lent = await eventually(() => issue(leasehold).catch(() => null));
      await leasehold.revoke(lent.leaseId);
      await comesToRest(world);
    });

    it('a credential whose acceptance stays without an answer; its asker never sees it', async () => {
      owner.meddle(async (command, nth) => {
        const answer = await command.pass();
        if (nth < 2 || nth > 3) command.answer(answer);
      });
      await expect(issue(tapped({ waitMs: 1_500 }))).rejects.toMatchObject({ code: 'out_of_time' });
      await comesToRest(world);
      const [last] = (await world.leases()).slice(-1);
      expect(last).toMatchObject({ state: 'ended', end_reason: 'revoked' });
    });
  });

  it('asks again for an acceptance whose answer was lost, and hands the credential on', async () => {
    owner.meddle(async (command, nth) => {
      const answer = await command.pass();
      if (nth !== 2) command.answer(answer);
    });
    const leasehold = tapped();
    const lent = await issue(leasehold);
    expect(owner.count).toBe(3);
    await comesToRest(world, [heldAs(lent)]);
    await leasehold.revoke(lent.leaseId);
    await comesToRest(world);
  });

  describe('whoever owns the broker', () => {
    it('reads neither token nor role nor credential', async () => {
      owner.seen.length = 0;
      const leasehold = tapped();
      const lent = await issue(leasehold);
      await leasehold.renew(lent.leaseId, 60);
      await leasehold.revoke(lent.leaseId);
      const all = owner.seen.map((bytes) => bytes.toString('latin1')).join('\n');
      expect(owner.seen.length).toBeGreaterThanOrEqual(12); // four commands, their headers, their answers
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
      owner.meddle((command, nth) => (nth === 1 ? command.answer(forge(command)) : passOn(command)));
      const leasehold = tapped();
      await expect(issue(leasehold)).rejects.toMatchObject({ code: 'unavailable', retryable: true });
      await leasehold.close();
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
      owner.meddle((command, nth) => (nth === 1 ? replay(command) : passOn(command)));
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

  describe('a call ends', () => {
    it('when the broker is away', async () => {
      const leasehold = client({ rabbitmqUrl: 'amqp://127.0.0.1:1' });
      await expect(issue(leasehold)).rejects.toMatchObject({ code: 'unavailable', retryable: true });
      await expect(leasehold.renew('x')).rejects.toMatchObject({ code: 'unavailable' });
      await leasehold.close();
    });

    it('when the broker does not say a word', async () => {
      const silent = createServer();
      silent.listen(0, '127.0.0.1');
      await once(silent, 'listening');
      const { port } = silent.address() as AddressInfo;
      const leasehold = client({ rabbitmqUrl: `amqp://127.0.0.1:${port}`, waitMs: 300 });
      await expect(leasehold.revoke('x')).rejects.toMatchObject({ code: 'out_of_time' });
      await leasehold.close();
      silent.close();
    });

    it('also when the broker goes away during the goodbye', async () => {
      const line = await brokerLine(url);
      open.push(line);
      const leasehold = client({ rabbitmqUrl: line.url });
      await expect(leasehold.revoke('absent')).rejects.toMatchObject({ code: 'invalid_request' });
      const closed = leasehold.close();
      line.cut();
      await closed;
    });

    it('before it begins, when a setting cannot be used', () => {
      expect(() => client({ issuerPublicKey: keys.privateKey })).toThrow(/issuerPublicKey must be a public key/);
      expect(() => client({ waitMs: 0 })).toThrow(/waitMs/);
    });
  });

  it('goes on when the queue was deleted under the issuers', async () => {
    await owner.delete(queue);
    const lent: LentCredential = await eventually(() => issue(client()).catch(() => null));
    await client().revoke(lent.leaseId);
    await comesToRest(world);
  });

  describe('while no issuer runs', () => {
    beforeAll(() => Promise.all(fleet.running('issuer').map((issuer) => issuer.end())));

    it('nothing comes back to the queue: whatever was delivered had been acknowledged', async () => {
      expect(await owner.waiting(queue)).toBe(0);
    });

    it('a command expires with its asker, and an issuer that comes later makes nothing', async () => {
      const before = world.simulator.calls.list({ action: 'CreateUser' }).length;
      await expect(issue(client({ waitMs: 400 }))).rejects.toMatchObject({ code: 'out_of_time' });
      await eventually(async () => (await owner.waiting(queue)) === 0);
      await fleet.start('issuer').serves();
      const lent = await issue(client());
      expect(world.simulator.calls.list({ action: 'CreateUser' })).toHaveLength(before + 1);
      await client().revoke(lent.leaseId);
      await comesToRest(world);
    });
  });

  it('lends credentials of STS as well, which need no acceptance and end by themselves', async () => {
    const account = world.simulator.account();
    account.createRole('one', seedTrustPolicy(account.arn('user', '/', 'leasehold-root')));
    await writeRole(world, 'assumed', {
      credential_type: 'assumed_role',
      role_arns: arnOf('one'),
      policy_document: undefined,
    });
    await writeRole(world, 'federated', { credential_type: 'federation_token' });
    const leasehold = client();
    const assumed = await leasehold.issue({
      mount: 'aws/',
      role: 'assumed',
      door: 'sts',
      ttlSeconds: 900,
      roleArn: arnOf('one'),
      roleSessionName: 'nightly',
    });
    const federated = await leasehold.issue({ mount: 'aws/', role: 'federated', door: 'sts' });
    expect(await whoIs(assumed)).toBe('arn:aws:sts::000000000000:assumed-role/one/nightly');
    expect([899, 900]).toContain(assumed.leaseDuration);
    expect(await whoIs(federated)).toMatch(/:federated-user\/vault-/);
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
