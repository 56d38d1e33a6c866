import { Redis, type RedisOptions } from 'ioredis';
import type { Reached } from './connections.js';

/**
 * A connection to Redis for what must not wait for it: a command fails at once while it is away, and after `commandTimeout`
 * milliseconds while it is silent. It connects again by itself, and says nothing: the queue tells that Redis is away.
 */
export function openRedis(
  { url, tls }: Reached,
  options: RedisOptions & Required<Pick<RedisOptions, 'commandTimeout'>>,
): Redis {
  const redis = new Redis(url, {
    tls,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (tries) => Math.min(2_000, 100 * tries),
    ...options,
  });
  redis.on('error', () => undefined);
  return redis;
}
