import { createServer, connect, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NestFactory } from '@nestjs/core';
import { databaseModule, migrate } from '#libs/runtime';
import { DataSource } from 'typeorm';
import { freshDatabase } from './support/world.js';

/** PostgreSQL's word that it is ready, after which a connection is in use; and what it says when it ends one. */
const ready = Buffer.from('Z\0\0\0\x05I');
const fields = Buffer.from('SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0');
const ended = Buffer.concat([Buffer.from('E'), Buffer.alloc(4), fields]);
ended.writeUInt32BE(4 + fields.length, 1);

describe('a connection to PostgreSQL', () => {
  const stops: (() => Promise<unknown>)[] = [];
  let url: string;
  let ending = 0;

  /** A line on which connections are ended in the very packet that says that they are ready. */
  beforeAll(async () => {
    const database = await freshDatabase();
    stops.push(database.drop);
    await migrate({ url: database.url });
    const target = new URL(database.url);
    const { port, hostname } = target;
    const server = createServer((client) => {
      const upstream = connect(Number(port), hostname);
      let isNew = true;
      client.pipe(upstream);
      upstream.on('data', (chunk) => {
        if (!isNew || !chunk.includes(ready)) return client.write(chunk);
        isNew = false;
        if (ending === 0) return client.write(chunk);
        ending -= 1;
        client.end(Buffer.concat([chunk, ended]));
        return upstream.destroy();
      });
      for (const [socket, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        socket.on('error', () => other.destroy());
        socket.on('close', () => other.destroy());
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    stops.push(() => new Promise((resolve) => server.close(resolve)));
    target.port = String((server.address() as AddressInfo).port);
    url = target.href;
  });
  afterAll(async () => {
    for (const stop of stops.toReversed()) await stop();
  });

  it('may break at the instant that it is made: its statement fails, and the process goes on', async () => {
    const app = await NestFactory.createApplicationContext(
      { module: class {}, imports: [databaseModule({ url }, 8)] },
      { logger: false },
    );
    const source = app.get(DataSource);
    ending = 3;
    // More at once than there are connections yet.
    const answers = await Promise.allSettled(Array.from({ length: 6 }, () => source.query('select pg_sleep(0.1)')));
    expect(ending).toBe(0);
    expect(answers.filter((answer) => answer.status === 'rejected')).toHaveLength(3);
    expect(await source.query('select 1 as one')).toEqual([{ one: 1 }]);
    await app.close();
  });

  it('plans a statement once, and goes on when a migration has changed what that gives', async () => {
    const app = await NestFactory.createApplicationContext(
      { module: class {}, imports: [databaseModule({ url }, 1)] },
      { logger: false },
    );
    const source = app.get(DataSource);
    const prepared = () =>
      source.query(`select count(*)::int as n from pg_prepared_statements where statement ~ 'kept'`);
    await source.query('create table kept (id integer)');
    await source.query('insert into kept values ($1)', [1]);
    for (const id of [1, 2, 1]) await source.query('select * from kept where id = $1', [id]);
    expect(await prepared()).toEqual([{ n: 2 }]);

    await source.query(`alter table kept add column name text`);
    await expect(source.query('select * from kept where id = $1', [1])).rejects.toThrow('cached plan');
    expect(await source.query('select * from kept where id = $1', [1])).toEqual([{ id: 1, name: null }]);
    await app.close();
  });
});
