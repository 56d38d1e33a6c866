import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { connect } from 'amqplib';
import { Redis } from 'ioredis';
import { newIssuerKeys } from '#libs/contracts';
import { Fleet } from '../../cluster/src/fleet.js';
import type { WatchedProcess } from './cpu.js';
import type { BenchOptions, Shape } from './options.js';
import { OwnProcess } from './own-process.js';
import {
  databaseProcess,
  obtainBroker,
  obtainDatabase,
  type Say,
  serverProcess,
  temporaryFolder,
  type Undo,
} from './servers.js';

/** What is measured. */
export interface System {
  url: string;
  token: string;
  processes: WatchedProcess[];
}

type Start = (options: BenchOptions, say: Say, undo: Undo) => Promise<System>;

/** How each shape comes to run; what must be undone at the end is pushed on `undo` as it comes to be. */
export const startSystem: Record<Shape, Start> = {
  target: async ({ target, pids }) => {
    return { ...target!, processes: Object.entries(pids).map(([name, pid]) => ({ name, pid })) };
  },

  embedded: async (_, say, undo) => {
    const folder = await temporaryFolder(undo);
    const databaseUrl = await obtainDatabase(folder, say, undo);
    const token = newToken();
    const code = "const { main } = await import('./dist/apps/standalone/src/main.js'); await main(['--aws']);";
    const env = {
      PORT: '0',
      DATABASE_URL: databaseUrl,
      LEASEHOLD_DATA_DIR: join(folder, 'data'),
      LEASEHOLD_ROOT_TOKEN: token,
      AWS_EC2_METADATA_DISABLED: 'true',
    };
    const system = await OwnProcess.start(code, env, /^Leasehold serves at (\S+) /m);
    undo.push(() => system.end());
    const own = { name: 'leasehold', pid: system.pid };
    return { url: system.url, token, processes: [own, ...databaseProcess(databaseUrl)] };
  },

  services: async ({ issuers }, say, undo) => {
    const folder = await temporaryFolder(undo);
    const databaseUrl = await obtainDatabase(folder, say, undo);
    const { rabbitmq, redis } = await obtainBroker(folder, say, undo);
    const token = newToken();
    const namespace = `bench-${randomBytes(6).toString('hex')}`;
    undo.push(() => clear(namespace, rabbitmq, redis));
    const keys = newIssuerKeys();
    const fleet = new Fleet({
      DATABASE_URL: databaseUrl,
      REDIS_URL: redis,
      RABBITMQ_URL: rabbitmq,
      LEASEHOLD_NAMESPACE: namespace,
      LEASEHOLD_MASTER_KEY: randomBytes(32).toString('base64'),
      LEASEHOLD_ISSUER_KEY: keys.privateKey,
      LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
      LEASEHOLD_DRAIN_MS: '0',
      AWS_EC2_METADATA_DISABLED: 'true',
    });
    undo.push(() => fleet.close());
    await fleet.migrate({ LEASEHOLD_ROOT_TOKEN: token });
    const kinds = ['gateway', ...Array.from({ length: issuers }, () => 'issuer' as const), 'revoker'] as const;
    const services = await Promise.all(kinds.map((kind) => fleet.start(kind).serves()));
    const processes = services.map(({ kind, pid }) => ({ name: kind, pid }));
    const servers = [...serverProcess('rabbitmq', rabbitmq), ...serverProcess('redis', redis)];
    return {
      url: services[0]!.url,
      token,
      processes: [...processes, ...servers, ...databaseProcess(databaseUrl)],
    };
  },
};

const newToken = () => `bench-${randomBytes(18).toString('hex')}`;

/** Leaves nothing of ours on servers that others use too. */
async function clear(namespace: string, rabbitmq: string, redisUrl: string): Promise<void> {
  const broker = await connect(rabbitmq);
  const channel = await broker.createChannel();
  for (const queue of [`${namespace}.commands`, `${namespace}.commands.held`]) await channel.deleteQueue(queue);
  await broker.close();
  const redis = new Redis(redisUrl);
  for await (const keys of redis.scanStream({ match: `${namespace}:*`, count: 1_000 }) as AsyncIterable<string[]>) {
    if (keys.length > 0) await redis.unlink(keys);
  }
  redis.disconnect();
}
