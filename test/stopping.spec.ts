import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { lend, writeRole } from './support/lease-life.js';
import { eventually, type LentKeys, World } from './support/world.js';

describe('a system that is told to stop', () => {
  let world: World;
  afterEach(() => world.close());

  it('stops while a revocation comes back from AWS that has to be tried again', async () => {
    world = await World.start({ weather: {} });
    await world.mount();
    await writeRole(world, 'deploy');
    const { leaseId } = await lend(world, 'deploy');
    world.simulator.faults.fail({ action: 'DeleteUser', code: 'Throttling' });
    const hold = world.simulator.faults.hold('DeleteAccessKey', 'before');
    await world.http.must(202, 'PUT', `sys/leases/revoke`, { lease_id: leaseId, sync: false });
    await hold.reached;

    const stopped = world.stop();
    // From then on everything is being closed that does not wait for the revocation itself.
    await eventually(() =>
      world.http.call('GET', 'sys/health').then(
        () => false,
        () => true,
      ),
    );
    hold.release();
    await stopped;

    const [row] = await world.leases();
    expect(row).toMatchObject({ state: 'revoking', last_error: expect.stringContaining('Throttling') });
    world.simulator.faults.clear();
    await world.resume();
    await eventually(async () => (await world.leases())[0]!.state === 'ended');
    expect(world.lentUsers()).toEqual([]);
  });

  it('hands over what it was asked for, and waits for nobody who only keeps a connection', async () => {
    world = await World.start({ weather: {} });
    await world.mount();
    await writeRole(world, 'deploy');
    const { hostname, port } = new URL(world.http.url);
    const connection = async (...texts: string[]) => {
      const socket = connect(Number(port), hostname);
      await once(socket, 'connect');
      for (const text of texts) socket.write(text);
      return socket;
    };
    const head = `Host: vault\r\nX-Vault-Token: ${world.http.token}\r\n`;
    const idle = [
      await connection(),
      await connection(`GET /v1/aws/creds/deploy HTTP/1.1\r\n${head}`),
      await connection('LIST'),
    ];
    const hold = world.simulator.faults.hold('CreateUser', 'before');
    const busy = await connection(`GET /v1/aws/creds/deploy HTTP/1.1\r\n${head}\r\n`);
    let received = '';
    busy.on('data', (chunk) => (received += chunk.toString()));
    await hold.reached;

    const left = Promise.all(idle.map((socket) => once(socket.resume(), 'close')));
    const stopped = world.stop();
    await left;
    const ended = once(busy, 'close');
    hold.release();
    await ended;
    await stopped;

    expect(received).toMatch(/^HTTP\/1\.1 200 /);
    expect(received).toMatch(/^connection: close\r$/im);
    const { data } = JSON.parse(received.slice(received.indexOf('\r\n\r\n'))) as { data: LentKeys };
    expect(await world.whoIs(data)).toMatch(/^arn:/);
    expect(await world.leases()).toMatchObject([{ state: 'active', access_key_id: data.access_key }]);
  });
});
