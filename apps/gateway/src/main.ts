import { setTimeout as sleep } from 'node:timers/promises';
import { AccessModule, masterKeysOf } from '#libs/access';
import {
  cannotListen,
  commandClient,
  connectionsOf,
  databaseModule,
  MetricsModule,
  openRedis,
  readEnvironment,
  redisQueueModule,
  runService,
  watchDependencies,
} from '#libs/runtime';
import { RateLimits } from './api/rate-limits.js';
import { gatewayEnv } from './gateway.env.js';
import { GatewayModule } from './gateway.module.js';
import { createGateway } from './http.js';
import { serverTlsOf, tlsEnv } from './http.env.js';
import { longestAnswerMs } from './longest-answer.js';
import { ISSUERS, IssuerClient } from './issuer-client.js';
import { keepRenewed } from './tls-renewal.js';

/** One gateway as a process of its own; any number of them, behind a load balancer that asks `/health/ready`. */
await runService('gateway', gatewayEnv, async (env, { logger, health, metrics }) => {
  const tls = serverTlsOf(env);
  const { database, redis, broker } = await connectionsOf(env);
  const limits = env.LEASEHOLD_RATE_LIMITS;
  const counts = Object.keys(limits).length > 0 ? openRedis(redis, { commandTimeout: 200 }) : undefined;
  const rates = new RateLimits(limits, counts, env.LEASEHOLD_NAMESPACE);
  const app = await createGateway(
    GatewayModule.configured(
      [
        databaseModule(database, env.LEASEHOLD_DATABASE_POOL),
        redisQueueModule(redis, env.LEASEHOLD_NAMESPACE),
        AccessModule.open(...masterKeysOf(env)),
        MetricsModule.of(metrics),
      ],
      env.LEASEHOLD_TIMING,
      commandClient(ISSUERS, broker, env.LEASEHOLD_ISSUER_PUBLIC_KEY),
      { observing: env.LEASEHOLD_OBSERVE, rates },
    ),
    {
      logger,
      health,
      timing: env.LEASEHOLD_TIMING,
      http: { tls, limits: env.LEASEHOLD_HTTP_LIMITS, trustedProxies: env.LEASEHOLD_TRUSTED_PROXIES },
    },
  );
  watchDependencies(app, health);
  health.watch('rabbitmq', () => app.get(IssuerClient).reached());
  await app.listen(env.PORT, env.LEASEHOLD_HOST).catch((error: unknown) => {
    throw cannotListen('PORT', env.PORT, env.LEASEHOLD_HOST, error);
  });
  const url = await app.getUrl();
  logger.log({ msg: 'gateway listens', url: tls ? url.replace(/^http:/, 'https:') : url });
  const renewal =
    tls && keepRenewed(app.getHttpServer(), () => serverTlsOf(readEnvironment('gateway', tlsEnv, process.env)));
  return {
    // By then nobody is owed an answer any more; the rest is for saying goodbye.
    stopsWithinMs: env.LEASEHOLD_DRAIN_MS + longestAnswerMs(env.LEASEHOLD_TIMING) + 10_000,
    close: async () => {
      await sleep(env.LEASEHOLD_DRAIN_MS);
      renewal?.stop();
      await app.close();
      rates.close();
    },
  };
});
