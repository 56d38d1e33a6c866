import type { INestApplicationContext } from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { LastUse, Tokens } from '#libs/access';
import { OutOfTime, PermissionDenied } from '#libs/contracts';
import { HeldLease } from '../apps/issuer/src/held-lease.js';
import { IssueLease } from '../apps/issuer/src/issue-lease.js';
import { commandFor, issuerBeside } from './support/beside.js';
import { comesToRest, writeRole } from './support/lease-life.js';
import { eventually, World } from './support/world.js';

describe('a command of who has a limited token', () => {
  let world: World;
  let issuer: INestApplicationContext;

  beforeAll(async () => {
    world = await World.start({ weather: {} });
    await world.mount();
    await writeRole(world, 'deploy');
    await world.http.must(204, 'POST', 'auth/token/roles/here', { token_bound_cidrs: '127.0.0.1' });
    issuer = await issuerBeside(world);
  });
  afterAll(async () => {
    await issuer.close();
    await world.close();
  });

  const create = async (body: object, path = 'auth/token/create') => {
    const answer = await world.http.must(200, 'POST', path, { policies: ['root'], ttl: '1h', ...body });
    return (answer.body.auth as { client_token: string }).client_token;
  };
  const issue = (command: ReturnType<typeof commandFor>) => issuer.get(IssueLease).execute(command);
  const usesOf = async (token: string) =>
    (await world.http.call('POST', 'auth/token/lookup', { token })).body.data?.num_uses;

  it('spends a use at the issuer, its first door, and none to accept what it was offered', async () => {
    const token = await create({ num_uses: 3 });
    const command = commandFor(world, 'deploy', { token });
    const { leaseId } = await issue(command);
    await issuer.get(HeldLease).accept({ ...commandFor(world, 'deploy', { token }), leaseId });
    expect(await usesOf(token)).toBe(2);
    await issuer.get(HeldLease).renew({ ...commandFor(world, 'deploy', { token }), leaseId, incrementSeconds: 60 });
    expect(await usesOf(token)).toBe(1);
    // The last one ends the token, and with it the lease that it was about.
    await issuer.get(HeldLease).revoke({ ...commandFor(world, 'deploy', { token }), leaseId });
    expect(await usesOf(token)).toBeUndefined();
    await comesToRest(world);
  });

  it('spends it once, however often it is delivered', async () => {
    const token = await create({ num_uses: 5 });
    const command = commandFor(world, 'deploy', { token });
    const deliveries = [...(await Promise.allSettled([issue(command), issue(command)]))];
    deliveries.push(...(await Promise.allSettled([issue(command)])));
    expect(await usesOf(token)).toBe(4);
    for (const delivery of deliveries) {
      if (delivery.status === 'rejected') expect(delivery.reason).toBeInstanceOf(OutOfTime);
    }
  });

  it('spends one for each that it is, whatever id they share and whoever used it before', async () => {
    const [token, others] = [await create({ num_uses: 3 }), await create({ num_uses: 9 })];
    const known = commandFor(world, 'deploy', { token: others });
    const held = issuer.get(HeldLease);
    await expect(held.renew({ ...known, leaseId: 'none', incrementSeconds: 60 })).rejects.toThrow('lease not found');
    expect(await usesOf(others)).toBe(8);
    // Under that very id another token asks for a credential, and then ends leases.
    const command = { ...known, token };
    const { leaseId } = await issue(command);
    expect(await usesOf(token)).toBe(2);
    await held.accept({ ...commandFor(world, 'deploy', { token }), leaseId });
    await held.revoke({ ...command, leaseId });
    expect(await usesOf(token)).toBe(1);
    await expect(held.revoke({ ...command, leaseId: 'none' })).rejects.toThrow('lease not found');
    await expect(held.revoke({ ...command, leaseId: 'nothing' })).rejects.toThrow(PermissionDenied);
    expect(await usesOf(others)).toBe(8);
    await comesToRest(world);
  });

  it('is given nothing for its last use under an id that another token has used', async () => {
    const [token, others] = [await create({ num_uses: 1 }), await create({ num_uses: 9 })];
    const command = commandFor(world, 'deploy', { token });
    const known = { ...command, token: others, leaseId: 'none', incrementSeconds: 0 };
    await expect(issuer.get(HeldLease).renew(known)).rejects.toThrow('lease not found');
    await expect(issue(command)).rejects.toThrow(LastUse);
    expect(await usesOf(token)).toBeUndefined();
  });

  it('has no child made by who goes on after its end', async () => {
    const tokens = issuer.get(Tokens);
    const token = await create({});
    const { token: parent } = await tokens.authenticate(token, { remoteAddress: '127.0.0.1' });
    await world.http.must(204, 'PUT', 'auth/token/revoke', { token });
    const due = async () =>
      (await world.database.query('select 1 from tokens where id = $1 and due_at is not null', [parent.id])).rowCount;
    await eventually(async () => (await due()) === 0);
    const plan: Parameters<Tokens['create']>[0] = {
      ...parent,
      id: '',
      parentId: parent.id,
      ttlMs: 60_000,
      numUses: 0,
      cuts: [],
      warnings: [],
    };
    await expect(tokens.create(plan)).rejects.toThrow('parent token lookup failed: no parent found');
    const children = await world.database.query('select 1 from tokens where parent_id = $1', [parent.id]);
    expect(children.rowCount).toBe(0);
  });

  it('puts its end off by nothing, where its last use is to renew it and the process dies in that', async () => {
    const tokens = issuer.get(Tokens);
    const token = await create({ num_uses: 1 });
    const { token: row } = await tokens.authenticate(token, { remoteAddress: '127.0.0.1' });
    await tokens.renew(row.id, 3_600_000);
    const { rows } = await world.database.query(
      `select due_at < now() + interval '3 minutes' as soon from tokens where id = $1`,
      [row.id],
    );
    expect(rows).toEqual([{ soon: true }]);
    await world.database.query('update tokens set due_at = now() where id = $1', [row.id]);
    await eventually(async () => (await world.http.call('POST', 'auth/token/lookup', { token })).status === 403);
  });

  it('is given nothing for its last use, and ends the token', async () => {
    const token = await create({ num_uses: 1 });
    const made = () => world.simulator.calls.list().filter((call) => call.action === 'CreateUser').length;
    const before = made();
    await expect(issue(commandFor(world, 'deploy', { token }))).rejects.toThrow(LastUse);
    expect([await usesOf(token), made()]).toEqual([undefined, before]);
  });

  it('is let in without a use by the word of a gateway for this very command, and by nothing like it', async () => {
    const token = await create({ num_uses: 9 });
    const command = commandFor(world, 'deploy', { token });
    const tokens = issuer.get(Tokens);
    const caller = await tokens.authenticate(token, { remoteAddress: '127.0.0.1' });
    const admission = tokens.admissionOf(caller, command.id)!;
    await issue({ ...command, admission });
    expect(await usesOf(token)).toBe(8);
    for (const forged of [admission.slice(1), 'x', '', admission]) {
      await issue({ ...commandFor(world, 'deploy', { token }), admission: forged });
    }
    expect(await usesOf(token)).toBe(4);
  });

  it('is refused of a token that is bound to addresses: there is none to see', async () => {
    const token = await create({}, 'auth/token/create/here');
    const command = commandFor(world, 'deploy', { token });
    await expect(issue(command)).rejects.toThrow(PermissionDenied);
    const accept = issuer.get(HeldLease).accept({ ...command, leaseId: 'any' });
    await expect(accept).rejects.toThrow(PermissionDenied);
  });

  it('is refused when the token has expired, whatever any gateway says', async () => {
    const token = await create({ num_uses: 5 });
    const command = commandFor(world, 'deploy', { token });
    const tokens = issuer.get(Tokens);
    const admission = tokens.admissionOf(await tokens.authenticate(token, { remoteAddress: '127.0.0.1' }), command.id);
    await world.http.must(204, 'PUT', 'auth/token/revoke', { token });
    await expect(issue({ ...command, admission })).rejects.toThrow(PermissionDenied);
  });
});

it('one root token in the place of all leaves none that was made with another, nor what those made', async () => {
  const world = await World.start({ weather: {} });
  const issuer = await issuerBeside(world);
  try {
    const create = async (body: object, token?: string, path = 'auth/token/create') => {
      const answer = await world.http.must(200, 'POST', path, body, { token });
      return (answer.body.auth as { client_token: string }).client_token;
    };
    const service = await create({ policies: ['default'] });
    const [child, orphan] = [await create({}), await create({}, undefined, 'auth/token/create-orphan')];
    const below = await create({ policies: ['default'] }, child);
    const { rootToken: leaked } = world.options;
    world.http.token = 'the-only-one';
    await issuer.get(Tokens).replaceRootTokens(world.http.token);
    for (const token of [leaked, child, orphan]) {
      expect((await world.http.call('GET', 'sys/mounts', undefined, { token })).status).toBe(403);
    }
    const lookUp = async (token: string) => (await world.http.call('POST', 'auth/token/lookup', { token })).status;
    await eventually(async () => (await lookUp(below)) === 403);
    expect(await lookUp(service)).toBe(200);
  } finally {
    await issuer.close();
    await world.close();
  }
});
