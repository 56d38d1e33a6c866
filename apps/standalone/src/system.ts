import { createServer } from 'node:net';
import type { INestApplicationContext, LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AccessModule, Keyring, Tokens } from '#libs/access';
import { AuditModule } from '#libs/audit';
import type { AwsSurroundings } from '#libs/aws';
import { Bell, BellModule, type LeaseTiming } from '#libs/leases';
import {
  type ClientTls,
  databaseModule,
  EventLog,
  Health,
  MemoryBus,
  Metrics,
  MetricsModule,
  migrate,
  migrateQueue,
  queueModule,
  RateBudget,
  type Reached,
  StartRefused,
} from '#libs/runtime';
import { DataSource } from 'typeorm';
import {
  createGateway,
  GatewayModule,
  type HttpSettings,
  ISSUERS,
  RateLimits,
  type RateLimitSettings,
} from '../../gateway/src/index.js';
import { IssuerModule } from '../../issuer/src/index.js';
import { RevokerModule } from '../../revoker/src/index.js';

/** What one process needs to be the whole system. */
export interface SystemOptions {
  databaseUrl: string;
  /** Its server's authority, and what is shown to it. */
  databaseTls?: ClientTls;
  /** 32 bytes. */
  masterKey: Buffer;
  rootToken: string;
  timing: LeaseTiming;
  surroundings: AwsSurroundings;
  logger: LoggerService;
  /** On 127.0.0.1; 0 = any that is free. */
  port: number;
  /** What differs from the defaults on the callers' side, and how often they may ask. */
  http?: Pick<HttpSettings, 'limits' | 'trustedProxies'> & { rates?: RateLimitSettings };
  /** An audit device that is there from the first request on: an absolute path, or `stdout`. */
  auditFile?: string;
}

/** The running system. */
export interface RunningSystem {
  /** Such as `http://127.0.0.1:8200`. */
  url: string;
  /** Lets what was begun finish, then ends. */
  close(): Promise<void>;
}

const host = '127.0.0.1';
const issueQueue = 'lease-issue';

/**
 * Gateway, issuer and revoker in one process: three applications that reach each other over the in-process transport
 * and BullMQ's PostgreSQL backend, as they would over RabbitMQ and Redis.
 * @throws StartRefused with one sentence for a person.
 */
export async function startSystem(options: SystemOptions): Promise<RunningSystem> {
  const { timing, logger } = options;
  const database = { url: options.databaseUrl, tls: options.databaseTls };
  const surroundings = { budget: new RateBudget(), ...options.surroundings };
  await migrate(database);
  await migrateQueue(database);
  await requireMasterKey(database, options.masterKey);

  const bus = new MemoryBus();
  const metrics = new Metrics('leasehold');
  const bell = new Bell();
  const connections = () => [
    databaseModule(database),
    queueModule(database),
    BellModule.of(bell),
    AccessModule.open(options.masterKey),
    AuditModule.of(options.auditFile),
    MetricsModule.of(metrics),
  ];
  const health = new Health();
  const started: { close(): Promise<void> }[] = [];
  const close = async () => {
    // The door first: what is inside still finds issuer and revoker.
    for (const app of started.toReversed()) await app.close();
  };
  try {
    const revoker = await NestFactory.createApplicationContext(
      RevokerModule.configured(connections(), timing, surroundings, new EventLog()),
      { logger, abortOnError: false },
    );
    started.push(revoker);
    const issuer = await NestFactory.createMicroservice(IssuerModule.configured(connections(), timing, surroundings), {
      strategy: bus.server(issueQueue),
      logger,
      abortOnError: false,
    });
    started.push(issuer);
    await issuer.listen();
    const gateway = await createGateway(
      GatewayModule.configured(connections(), timing, bus.client(ISSUERS, issueQueue), {
        rates: new RateLimits(options.http?.rates ?? {}),
      }),
      { logger, health, timing, http: options.http },
    );
    started.push(gateway);
    await bootstrap(gateway, options.rootToken);
    health.watch('postgresql', () => gateway.get(DataSource).query('select 1'));
    await gateway.listen(options.port, host);
    health.serving();
    return { url: await gateway.getUrl(), close };
  } catch (error) {
    await close();
    throw refusalOf(error, options.port);
  }
}

async function bootstrap(app: INestApplicationContext, rootToken: string): Promise<void> {
  await app.get(Tokens).setRootToken(rootToken);
}

/**
 * Tries the key before anything is started: of an application that breaks off half-built, nobody can close the parts.
 * @throws MasterKeyRefused when it does not open the keyring.
 */
async function requireMasterKey({ url, tls }: Reached, masterKey: Buffer): Promise<void> {
  const source = await new DataSource({ type: 'postgres', url, ssl: tls }).initialize();
  try {
    await Keyring.open(source, masterKey);
  } finally {
    await source.destroy();
  }
}

/** @throws StartRefused when something listens on the port already: better known before anything else is started. */
export async function requireFreePort(port: number): Promise<void> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject);
    probe.listen(port, host, () => probe.close(() => resolve()));
  }).catch((error: unknown) => {
    throw refusalOf(error, port);
  });
}

function refusalOf(error: unknown, port: number): Error {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') {
    return new StartRefused(`Port ${port} of ${host} is in use: end what listens there, or start with another PORT.`);
  }
  if (code === 'EACCES') {
    return new StartRefused(`Port ${port} of ${host} may not be opened by this user: start with a PORT above 1023.`);
  }
  return error as Error;
}
