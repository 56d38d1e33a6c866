import { NestFactory } from '@nestjs/core';
import { AccessModule } from '#libs/access';
import { surroundingsOf } from '#libs/aws';
import { databaseModule, redisQueueModule, runService, watchDependencies } from '#libs/runtime';
import { revokerEnv } from './revoker.env.js';
import { RevokerModule } from './revoker.module.js';

/** One revoker as a process of its own; any number of them share alarms and sweep. */
await runService('revoker', revokerEnv, async (env, { logger, health }) => {
  const app = await NestFactory.createApplicationContext(
    RevokerModule.configured(
      [
        databaseModule(env.DATABASE_URL, env.LEASEHOLD_DATABASE_POOL),
        redisQueueModule(env.REDIS_URL, env.LEASEHOLD_NAMESPACE),
        AccessModule.open(env.LEASEHOLD_MASTER_KEY),
      ],
      env.LEASEHOLD_TIMING,
      surroundingsOf(env),
    ),
    { logger, abortOnError: false },
  );
  watchDependencies(app, health);
  return app;
});
