import { NestFactory } from '@nestjs/core';
import { AccessModule, masterKeysOf } from '#libs/access';
import { AuditModule, AuditTrail } from '#libs/audit';
import { surroundingsOf } from '#libs/aws';
import {
  CommandServer,
  connectionsOf,
  databaseModule,
  MetricsModule,
  RateBudget,
  RedisPaces,
  redisQueueModule,
  runService,
  watchDependencies,
} from '#libs/runtime';
import { issuerEnv } from './issuer.env.js';
import { IssuerModule } from './issuer.module.js';

/** One issuer as a process of its own; any number of them share the queue of commands. */
await runService('issuer', issuerEnv, async (env, { logger, health, metrics }) => {
  const { database, redis, broker } = await connectionsOf(env);
  const budget = new RateBudget(new RedisPaces(redis, env.LEASEHOLD_NAMESPACE));
  const server = new CommandServer(broker, env.LEASEHOLD_ISSUER_KEY, env.LEASEHOLD_PREFETCH);
  const app = await NestFactory.createMicroservice(
    IssuerModule.configured(
      [
        databaseModule(database, env.LEASEHOLD_DATABASE_POOL),
        redisQueueModule(redis, env.LEASEHOLD_NAMESPACE),
        AccessModule.open(...masterKeysOf(env)),
        AuditModule.of(env.LEASEHOLD_AUDIT_FILE),
        MetricsModule.of(metrics),
      ],
      env.LEASEHOLD_TIMING,
      { ...surroundingsOf(env), budget },
      { observing: env.LEASEHOLD_OBSERVE, atOnce: env.LEASEHOLD_PREFETCH },
    ),
    { strategy: server, logger, abortOnError: false },
  );
  watchDependencies(app, health);
  // What rotates files says so with it.
  process.on('SIGHUP', () => app.get(AuditTrail).reopen());
  health.watch('rabbitmq', server.reached);
  metrics.gauge('leasehold_commands_in_flight', 'Commands at work now.', () => server.underWay);
  metrics.gauge('leasehold_commands_waiting', 'Commands that wait for any issuer.', () => server.waiting());
  await app.listen();
  return {
    // What was begun has an end when its caller leaves; the rest is for saying goodbye.
    stopsWithinMs: env.LEASEHOLD_TIMING.callerWaitMs + 10_000,
    close: async () => {
      await app.close();
      budget.close();
    },
  };
});
