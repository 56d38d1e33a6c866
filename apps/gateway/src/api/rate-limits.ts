import { Logger } from '@nestjs/common';
import type { Redis } from 'ioredis';
import { OverBudget } from '#libs/contracts';
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import { z } from 'zod';
import { networkOf } from './remote-address.js';

const perSecond = z.number().int().min(1).max(1_000_000).optional();

/** Requests per second, each counted over all gateways; what is not set is not limited. */
export const rateLimitsSchema = z.strictObject({
  /** Of everybody together. */
  all: perSecond,
  /** Of one token. */
  token: perSecond,
  /** Of one address (of IPv6, of one /64), as far as its requests carry no valid token. */
  address: perSecond,
});

export type RateLimitSettings = z.output<typeof rateLimitsSchema>;

type Kind = keyof RateLimitSettings;

/** How long we do without Redis once it has failed us, milliseconds. */
const aloneForMs = 1_000;

/**
 * Refuses callers that ask too often. Windows are of one second, counted on Redis for all gateways together; while it is
 * away, or where there is none, by each process for itself.
 */
export class RateLimits {
  private readonly logger = new Logger('RateLimits');
  private readonly own = new Map<Kind, RateLimiterMemory>();
  private readonly shared = new Map<Kind, RateLimiterRedis>();
  private aloneUntil = 0;

  /** @param keyPrefix first words of its keys on Redis */
  constructor(
    limits: RateLimitSettings,
    private readonly redis?: Redis,
    keyPrefix = '',
  ) {
    for (const [kind, points] of Object.entries(limits) as [Kind, number][]) {
      const window = { points, duration: 1, keyPrefix: `${keyPrefix}:rate:${kind}` };
      this.own.set(kind, new RateLimiterMemory(window));
      if (!redis) continue;
      // What is over its limit is known here until its second is over: Redis is not asked for it.
      this.shared.set(
        kind,
        new RateLimiterRedis({ ...window, storeClient: redis, inMemoryBlockOnConsumed: points + 1 }),
      );
    }
  }

  /** Counts a request of anybody. @throws OverBudget */
  ofAll(): Promise<void> {
    return this.count('all', '', 'Too many requests are sent to this system');
  }

  /** Counts a request of a token, by the id of its row. @throws OverBudget */
  ofToken(id: string): Promise<void> {
    return this.count('token', id, 'Too many requests are sent with this token');
  }

  /** Counts a request that carries no valid token. @throws OverBudget */
  ofAddress(address: string): Promise<void> {
    return this.count('address', networkOf(address), 'Too many requests without a valid token come from this address');
  }

  close(): void {
    this.redis?.disconnect();
  }

  private async count(kind: Kind, key: string, sentence: string): Promise<void> {
    const own = this.own.get(kind);
    if (!own) return;
    try {
      if (!(await this.countShared(kind, key))) await own.consume(key);
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal;
      const seconds = Math.max(1, Math.ceil(refusal.msBeforeNext / 1000));
      throw new OverBudget('requests', `${sentence}: try again in ${seconds} s.`, seconds);
    }
  }

  /** Whether it could be counted. @throws RateLimiterRes when it is over the limit */
  private async countShared(kind: Kind, key: string): Promise<boolean> {
    const shared = this.shared.get(kind);
    if (!shared || performance.now() < this.aloneUntil) return false;
    try {
      await shared.consume(key);
      return true;
    } catch (error) {
      if (error instanceof RateLimiterRes) throw error;
      if (performance.now() >= this.aloneUntil)
        this.logger.warn({ msg: 'rates cannot be shared; each gateway counts for itself', error: String(error) });
      this.aloneUntil = performance.now() + aloneForMs;
      return false;
    }
  }
}
