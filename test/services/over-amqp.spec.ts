import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  acceptLease,
  deleteStaticRole,
  issueLease,
  renewLease,
  revokeLease,
  rotateRoot,
  tryRole,
  withdrawLease,
  writeStaticRole,
} from '#libs/contracts';
import { seedTrustPolicy } from '../../apps/simulator/src/index.js';
import { AmqpWorld, role, keys, namespace } from '../support/amqp-world.js';
import { brokerLine, type BrokerOwner } from '../support/broker-owner.js';
import { everything } from '../support/everything.js';
import { comesToRest, writeRole } from '../support/lease-life.js';
import { otherToken } from '../support/other-token.js';
import { keysOf, mountRooted, rootKeyOf, rotationsRest } from '../support/rotation.js';
import { giveTokens } from '../support/tokens.js';
import { eventually, type World } from '../support/world.js';

const arnOf = (name: string) => `arn:aws:iam::000000000000:role/${name}`;

describe('over AMQP', () => {
  const amqp = new AmqpWorld();
  const { client, tapped, issue, heldAs, whoIs, ask, askIssue, open, url } = amqp;
  let world: World;
  let owner: BrokerOwner;

  beforeAll(async () => {
    await amqp.start();
    ({ world, owner } = amqp);
  }, 120_000);
  afterAll(() => amqp.close());
  afterEach(() => amqp.tidy());

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

      await eventually(() => said.filter((line) => line.endsWith('is renewed, for 3 s.')).length > 1, 20_000);
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

  describe('a root key', () => {
    it('is rotated once for a command, however often that is delivered', async () => {
      const mount = await mountRooted(world, 'rotated');
      const removal = world.simulator.faults.hold('DeleteAccessKey', 'before', { userName: mount.userName });
      const command = { id: randomUUID(), mount: 'rotated/' };
      const reply = await ask<{ accessKeyId: string }>(rotateRoot.pattern, command);
      expect(reply).toEqual({ accessKeyId: await rootKeyOf(world, mount), inUse: true });
      expect(await ask(rotateRoot.pattern, command)).toEqual(reply);
      await expect(client().rotateRoot('rotated')).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 1 });
      removal.release();
      await rotationsRest(world);
      expect(keysOf(world, mount.userName)).toEqual([reply.accessKeyId]);
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
        [rotateRoot.pattern, { mount: 'aws/' }],
        [writeStaticRole.pattern, { mount: 'aws/', role: 'x', username: 'x', rotationPeriodSeconds: 60 }],
        [deleteStaticRole.pattern, { mount: 'aws/', role: 'x' }],
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

    it('is refused where a policy wants the answer wrapped, whatever it says of that itself', async () => {
      const policy = `path "aws/creds/${role}" { capabilities = ["read"] min_wrapping_ttl = "1s" }`;
      await world.http.must(204, 'PUT', 'sys/policies/acl/wraps', { policy });
      const [token] = await giveTokens(world, { policies: ['wraps'] });
      const before = await everything(world);
      const word = randomBytes(32).toString('base64url');
      for (const wrapping of [undefined, '', '60000', `60000:${word}`, `:${word}`, 'NaN:']) {
        await expect(askIssue({ token, wrapping })).rejects.toMatchObject({ code: 'permission_denied' });
      }
      expect(await everything(world)).toEqual(before);
    });

    it('is refused when its token wraps an answer, and the token is spent', async () => {
      const headers = { 'X-Vault-Wrap-TTL': '60' };
      const { body } = await world.http.must(200, 'GET', `aws/roles/${role}`, undefined, { headers });
      const { token } = body.wrap_info as { token: string };
      await expect(askIssue({ token })).rejects.toMatchObject({ code: 'permission_denied' });
      await world.http.must(400, 'PUT', 'sys/wrapping/unwrap', { token });
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

    it('that did not ask for a credential can neither accept nor withdraw it', async () => {
      const token = await otherToken(world.options);
      const id = randomUUID();
      const { leaseId, credential } = await askIssue({ id });
      await expect(ask(withdrawLease.pattern, { commandId: id, token })).rejects.toMatchObject({
        code: 'permission_denied',
      });
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
        // After the hand-out, which has none to give, and the issue.
        if (nth < 3 || nth > 4) command.answer(answer);
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
      if (nth !== 3) command.answer(answer);
    });
    const leasehold = tapped();
    const lent = await issue(leasehold);
    expect(owner.count).toBe(4);
    await comesToRest(world, [heldAs(lent)]);
    await leasehold.revoke(lent.leaseId);
    await comesToRest(world);
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

  it('tries a role once, however often it is told to', async () => {
    const created = () => world.simulator.calls.count({ action: 'CreateUser' });
    const before = created();
    const command = { id: randomUUID(), mount: 'aws/', role, door: 'creds' };
    await ask(tryRole.pattern, command);
    await expect(ask(tryRole.pattern, command)).rejects.toMatchObject({ code: 'out_of_time' });
    expect(created()).toBe(before + 1);
    await comesToRest(world);
  });

  it('tries a role: nobody gets what is made, and it is gone', async () => {
    await world.http.must(204, 'PUT', 'sys/policies/acl/tries', {
      policy: `path "aws/roles/${role}/trial" { capabilities = ["update"], denied_parameters = { path = ["sts"] } }`,
    });
    const [token] = await giveTokens(world, { policies: ['tries'] });
    const tries = client({ token });
    expect(await tries.try({ mount: 'aws', role })).toMatchObject({
      credentialType: 'iam_user',
      accountId: '000000000000',
      leaseDuration: 3600,
    });
    await expect(tries.try({ mount: 'aws', role, door: 'sts' })).rejects.toMatchObject({ code: 'permission_denied' });
    await expect(tries.issue({ mount: 'aws', role })).rejects.toMatchObject({ code: 'permission_denied' });
    world.simulator.faults.fail({ action: 'CreateUser', code: 'AccessDenied', status: 403, message: 'as AWS says it' });
    await expect(tries.try({ mount: 'aws', role })).rejects.toMatchObject({
      code: 'aws_refused',
      message: expect.stringMatching(/^Error creating IAM user: AccessDenied: as AWS says it/),
    });
    await comesToRest(world);
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
    await world.http.must(204, 'PUT', 'aws/roles/session', { credential_type: 'session_token', max_sts_ttl: '20m' });
    const session = await leasehold.issue({ mount: 'aws/', role: 'session' });
    expect(session).toMatchObject({
      credentialType: 'session_token',
      renewable: false,
      ttlCut: { wantedMs: 3_600_000, limitMs: 1_200_000, by: 'max_sts_ttl' },
    });
    expect(await whoIs(session)).toBe('arn:aws:iam::000000000000:user/leasehold-root');
    await expect(leasehold.issue({ mount: 'aws/', role: 'session', mfaCode: '123456' })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    expect(await whoIs(assumed)).toBe('arn:aws:sts::000000000000:assumed-role/one/nightly');
    expect([899, 900]).toContain(assumed.leaseDuration);
    expect(await whoIs(federated)).toMatch(/:federated-user\/vault-/);
  });
});
