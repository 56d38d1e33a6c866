import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { connect } from 'amqplib';
import { Redis } from 'ioredis';
import { newIssuerKeys } from '#libs/contracts';
import { Fleet } from '../../cluster/src/fleet.js';
import type { WatchedProcess } from './cpu.js';
import type { Shape } from './options.js';
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
  /** For a heading. */
  name: string;
  url: string;
  token: string;
  /** All that it is made of, its servers among them. */
  processes: WatchedProcess[];
}

/** Services that can be joined by others, and on what they run. */
export interface Services extends System {
  fleet: Fleet;
  databaseUrl: string;
  redisUrl: string;
}

/** What differs from one system of ours to another. */
export interface SystemOptions {
  audit?: boolean;
  /** Of services. */
  issuers?: number;
  /** Of services: added to the environment of each. */
  env?: Record<string, string>;
  /** Of services: a Redis that nobody else fills. */
  ownRedis?: boolean;
  /** On the way from the services to their servers. */
  through?: (servers: Servers) => Promise<Servers>;
}

/** URLs of the servers of services. */
export interface Servers {
  database: string;
  redis: string;
  rabbitmq: string;
}

type Start = (options: SystemOptions, say: Say, undo: Undo) => Promise<System>;

/** How each shape comes to run; what must be undone at the end is pushed on `undo` as it comes to be. */
export const startSystem: Record<Shape, Start> = {
  embedded: startEmbedded,
  services: async (options, say, undo) => startServices(options, say, undo),
};

async function startEmbedded({ audit = false, through }: SystemOptions, say: Say, undo: Undo): Promise<System> {
  const folder = await temporaryFolder(undo);
  const databaseUrl = await obtainDatabase(folder, say, undo);
  const line = await through?.({ database: databaseUrl, redis: '', rabbitmq: '' });
  const token = newToken();
  const code = "const { main } = await import('./dist/apps/standalone/src/main.js'); await main(['--aws']);";
  const env = {
    PORT: '0',
    DATABASE_URL: line?.database ?? databaseUrl,
    LEASEHOLD_DATA_DIR: join(folder, 'data'),
    LEASEHOLD_ROOT_TOKEN: token,
    AWS_EC2_METADATA_DISABLED: 'true',
    ...auditFile(audit, folder),
  };
  const system = await OwnProcess.start(code, env, /^Leasehold serves at (?<url>\S+) /m);
  undo.push(() => system.end());
  const own = { name: 'leasehold', pid: system.pid };
  return { name: 'one process', url: system.url, token, processes: [own, ...databaseProcess(databaseUrl)] };
}

/** A gateway, a revoker and so many issuers, each a process. */
export async function startServices(
  { issuers = 1, audit = false, env = {}, ownRedis = false, through }: SystemOptions,
  say: Say,
  undo: Undo,
): Promise<Services> {
  const folder = await temporaryFolder(undo);
  const databaseUrl = await obtainDatabase(folder, say, undo);
  const { rabbitmq, redis } = await obtainBroker(folder, say, undo, { ownRedis });
  const token = newToken();
  const namespace = `bench-${randomBytes(6).toString('hex')}`;
  undo.push(() => clear(namespace, rabbitmq, redis));
  const servers = { database: databaseUrl, redis, rabbitmq };
  const line = (await through?.(servers)) ?? servers;
  const keys = newIssuerKeys();
  const fleet = new Fleet({
    DATABASE_URL: line.database,
    REDIS_URL: line.redis,
    RABBITMQ_URL: line.rabbitmq,
    LEASEHOLD_NAMESPACE: namespace,
    LEASEHOLD_MASTER_KEY: randomBytes(32).toString('base64'),
    LEASEHOLD_ISSUER_KEY: keys.privateKey,
    LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
    LEASEHOLD_DRAIN_MS: '0',
    AWS_EC2_METADATA_DISABLED: 'true',
    ...auditFile(audit, folder),
    ...env,
  });
  undo.push(() => fleet.close());
  await fleet.migrate({ LEASEHOLD_ROOT_TOKEN: token });
  const kinds = ['gateway', ...Array.from({ length: issuers }, () => 'issuer' as const), 'revoker'] as const;
  const services = await Promise.all(kinds.map((kind) => fleet.start(kind).serves()));
  return {
    name: issuers === 1 ? 'services' : `services, issuers: ${issuers}`,
    fleet,
    databaseUrl,
    redisUrl: redis,
    url: services[0]!.url,
    token,
    processes: [
      ...services.map(({ kind, pid }) => ({ name: kind, pid })),
      ...serverProcess('rabbitmq', rabbitmq),
      ...serverProcess('redis', redis),
      ...databaseProcess(databaseUrl),
    ],
  };
}

const auditFile = (audit: boolean, folder: string) =>
  audit ? { LEASEHOLD_AUDIT_FILE: join(folder, 'audit.log') } : undefined;

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
