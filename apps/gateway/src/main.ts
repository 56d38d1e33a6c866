import { setTimeout as sleep } from 'node:timers/promises';
import { AccessModule } from '#libs/access';
import {
  cannotListen,
  commandClient,
  connectionsOf,
  databaseModule,
  MetricsModule,
  redisQueueModule,
  runService,
  watchDependencies,
} from '#libs/runtime';
import { gatewayEnv } from './gateway.env.js';
import { GatewayModule } from './gateway.module.js';
import { createGateway } from './http.js';
import { ISSUERS, IssuerClient } from './issuer-client.js';

/** One gateway as a process of its own; any number of them, behind a load balancer that asks `/health/ready`. */
await runService('gateway', gatewayEnv, async (env, { logger, health, metrics }) => {
  const { database, redis, broker } = await connectionsOf(env);
  const app = await createGateway(
    GatewayModule.configured(
      [
        databaseModule(database, env.LEASEHOLD_DATABASE_POOL),
        redisQueueModule(redis, env.LEASEHOLD_NAMESPACE),
        AccessModule.open(env.LEASEHOLD_MASTER_KEY),
        MetricsModule.of(metrics),
      ],
      env.LEASEHOLD_TIMING,
      commandClient(ISSUERS, broker, env.LEASEHOLD_ISSUER_PUBLIC_KEY),
      env.LEASEHOLD_OBSERVE,
    ),
    { logger, health },
  );
  watchDependencies(app, health);
  health.watch('rabbitmq', () => app.get(IssuerClient).reached());
  await app.listen(env.PORT, env.LEASEHOLD_HOST).catch((error: unknown) => {
    throw cannotListen('PORT', env.PORT, env.LEASEHOLD_HOST, error);
  });
  logger.log({ msg: 'gateway listens', url: await app.getUrl() });
  return {
    // The longest that a caller waits, a revocation that is waited for, and a little.
    stopsWithinMs: env.LEASEHOLD_DRAIN_MS + 75_000,
    close: async () => {
      await sleep(env.LEASEHOLD_DRAIN_MS);
      await app.close();
    },
  };
});
