import { randomUUID } from 'node:crypto';
import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AccessModule } from '#libs/access';
import { AuditModule } from '#libs/audit';
import type { IssueLeaseRequest } from '#libs/contracts';
import { databaseModule, EventLog, Metrics, MetricsModule, queueModule } from '#libs/runtime';
import { IssuerModule } from '../../apps/issuer/src/index.js';
import { RevokerModule } from '../../apps/revoker/src/index.js';
import type { World } from './world.js';

/** What another process needs to know of a world. */
type Beside = Pick<World, 'options'>;

/** Another issuer on the world's database, reached by its use cases; `atOnce`: how many issues it is at work on at most. */
export function issuerBeside(world: Beside, { atOnce }: { atOnce?: number } = {}): Promise<INestApplicationContext> {
  const { timing, surroundings } = world.options;
  return start(world, IssuerModule.configured(connections(world), timing, surroundings, { atOnce }));
}

/** One that observes. */
export function observingIssuerBeside(world: Beside): Promise<INestApplicationContext> {
  const { timing, surroundings } = world.options;
  return start(world, IssuerModule.configured(connections(world), timing, surroundings, { observing: true }));
}

/** Another revoker on the world's database and queue; it sweeps as any does. */
export function revokerBeside(world: Beside): Promise<INestApplicationContext> {
  const { timing, surroundings } = world.options;
  return start(world, RevokerModule.configured(connections(world), timing, surroundings, new EventLog()));
}

/** A command as the gateway sends it, for a role of the mount `aws/`. */
export function commandFor(world: Beside, role: string, command: Partial<IssueLeaseRequest> = {}): IssueLeaseRequest {
  return {
    id: randomUUID(),
    waitMs: world.options.timing.callerWaitMs,
    requestId: 'a request',
    token: world.options.rootToken,
    mount: 'aws/',
    role,
    door: 'creds',
    ...command,
  };
}

function start(world: Beside, module: Parameters<typeof NestFactory.createApplicationContext>[0]) {
  return NestFactory.createApplicationContext(module, { logger: world.options.logger, abortOnError: false });
}

function connections({ options }: Beside) {
  return [
    databaseModule({ url: options.databaseUrl }, 4),
    queueModule({ url: options.databaseUrl }),
    AccessModule.open(options.masterKey),
    AuditModule.of(options.auditFile),
    MetricsModule.of(new Metrics('beside')),
  ];
}
