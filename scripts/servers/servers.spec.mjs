import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import amqp from 'amqplib';
import { Redis } from 'ioredis';
import { obtainServers, startRabbitmq, startRedis } from './index.mjs';

let folder;
const started = [];
const kept = async (server) => {
  started.push(await server);
  return server;
};

// Where no server can be had, every test fails with the sentence that says what to install.
beforeAll(() => obtainServers(), 600_000);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'servers-'));
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.stop()));
  await rm(folder, { recursive: true, force: true });
});

describe('a Redis of our own', () => {
  it('keeps its data and its address when it is stopped, and when it is killed', async () => {
    const redis = await kept(startRedis({ folder: join(folder, 'redis') }));
    for (const [end, word] of [
      ['stop', 'stopped'],
      ['kill', 'killed'],
    ]) {
      await redisCommand(redis.url, 'set', word, 'there');
      await redis[end]();
      await expect(redisCommand(redis.url, 'ping')).rejects.toThrow();
      await redis.start();
      expect(await redisCommand(redis.url, 'get', word)).toBe('there');
    }
  });

  it('says nothing while it is frozen, goes on when it is thawed, and stops also when it is not', async () => {
    const redis = await kept(startRedis({ folder: join(folder, 'redis') }));
    await redis.freeze();
    let answered = false;
    const answer = redisCommand(redis.url, 'ping').finally(() => (answered = true));
    const socket = connect(Number(new URL(redis.url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.destroy();
    expect(answered).toBe(false);
    await redis.thaw();
    expect(await answer).toBe('PONG');
    await redis.freeze();
    await redis.stop();
    await expect(redisCommand(redis.url, 'ping')).rejects.toThrow();
  });

  it('takes nobody without its password, and never drops a key to make room', async () => {
    const redis = await kept(startRedis({ folder: join(folder, 'redis'), password: 'pass "word"' }));
    await expect(redisCommand(`redis://${new URL(redis.url).host}`, 'get', 'x')).rejects.toThrow('NOAUTH');
    expect(await redisCommand(redis.url, 'config', 'get', 'maxmemory-policy')).toContain('noeviction');
  });

  it('says why it does not start', async () => {
    const squatter = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const { port } = squatter.address();
    try {
      await expect(startRedis({ folder, port })).rejects.toThrow(/Redis did not start/);
    } finally {
      squatter.close();
    }
  });

  it('ends with the process that started it, however that ends', async () => {
    const script = `import { startRedis } from ${JSON.stringify(new URL('index.mjs', import.meta.url))};
      process.stdout.write((await startRedis({ folder: ${JSON.stringify(folder)} })).url);
      setInterval(() => undefined, 1000);`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [url] = await once(parent.stdout.setEncoding('utf8'), 'data');
    expect(await redisCommand(url, 'ping')).toBe('PONG');
    parent.kill('SIGKILL');
    while (await redisCommand(url, 'ping').catch(() => undefined));
  });
});

describe('a RabbitMQ of our own', () => {
  it('runs beside another, and keeps what is durable when it is stopped, and when it is killed', async () => {
    const [one, two] = await Promise.all(
      ['one', 'two'].map((name) => kept(startRabbitmq({ folder: join(folder, name) }))),
    );
    expect((await stat(join(folder, 'one'))).mode & 0o777).toBe(0o700);
    await expect(amqp.connect(one.url.replace(/\/\/.*@/, '//guest:guest@'))).rejects.toThrow('ACCESS_REFUSED');
    await onChannel(one.url, async (channel) => {
      await channel.assertQueue('durable', { durable: true });
      channel.sendToQueue('durable', Buffer.from('kept'), { persistent: true });
      await channel.waitForConfirms();
    });
    await onChannel(two.url, async (channel) => {
      channel.on('error', () => undefined);
      await expect(channel.checkQueue('durable')).rejects.toThrow('NOT_FOUND');
    });
    // In this order: a queue that was declared a moment ago is not yet on the disk, whatever the broker has confirmed.
    for (const end of [() => one.stop(), () => one.kill()]) {
      await end();
      await one.start();
      await onChannel(one.url, async (channel) => {
        expect(await channel.checkQueue('durable')).toMatchObject({ messageCount: 1 });
      });
    }
  }, 90_000);
});

async function redisCommand(url, ...command) {
  const redis = new Redis(url, {
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    return await redis.call(...command);
  } finally {
    redis.disconnect();
  }
}

async function onChannel(url, use) {
  const connection = await amqp.connect(url);
  try {
    await use(await connection.createConfirmChannel());
  } finally {
    await connection.close();
  }
}
