import { NestFactory } from '@nestjs/core';
import { AccessModule, masterKeysOf } from '#libs/access';
import { surroundingsOf } from '#libs/aws';
import {
  connectionsOf,
  databaseModule,
  EventExchange,
  MetricsModule,
  RateBudget,
  RedisPaces,
  redisQueueModule,
  runService,
  watchDependencies,
} from '#libs/runtime';
import { EventRelay } from './event-relay.js';
import { revokerEnv } from './revoker.env.js';
import { RevokerModule } from './revoker.module.js';

/** One revoker as a process of its own; any number of them share alarms and sweep. */
await runService('revoker', revokerEnv, async (env, { logger, health, metrics }) => {
  const { database, redis, broker } = await connectionsOf(env);
  const events = new EventExchange(broker);
  const budget = new RateBudget(new RedisPaces(redis, env.LEASEHOLD_NAMESPACE));
  const app = await NestFactory.createApplicationContext(
    RevokerModule.configured(
      [
        databaseModule(database, env.LEASEHOLD_DATABASE_POOL),
        redisQueueModule(redis, env.LEASEHOLD_NAMESPACE),
        AccessModule.open(...masterKeysOf(env)),
        MetricsModule.of(metrics),
      ],
      env.LEASEHOLD_TIMING,
      { ...surroundingsOf(env), budget },
      events,
      env.LEASEHOLD_OBSERVE,
    ),
    { logger, abortOnError: false },
  );
  watchDependencies(app, health);
  health.watch('rabbitmq', () => events.reached());
  const outbox = () => app.get(EventRelay).waiting();
  metrics.gauge('leasehold_outbox_events', 'Events that wait to be told.', async () => (await outbox()).events);
  metrics.gauge('leasehold_outbox_lag_seconds', 'Age of the oldest of them.', async () => (await outbox()).lagSeconds);
  return {
    close: async () => {
      await app.close();
      await events.close();
      budget.close();
    },
  };
});
