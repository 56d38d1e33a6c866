import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { OverBudget } from '#libs/contracts';
import { MemoryPaces } from './pace-store.js';
import { RateBudget } from './rate-budget.js';

const budget = '123456789012:iam';

/** AWS as far as it matters here: a token bucket, a little way off, whose rate nobody is told. */
class Bucket {
  readonly answers: { at: number; by: string; throttled: boolean }[] = [];
  private tokens: number;
  private at = performance.now();

  constructor(
    public ratePerSecond: number,
    private readonly burst: number,
  ) {
    this.tokens = burst;
  }

  async call(by: string): Promise<boolean> {
    await sleep(5 + 10 * Math.random());
    const at = performance.now();
    this.tokens = Math.min(this.burst, this.tokens + ((at - this.at) / 1000) * this.ratePerSecond);
    this.at = at;
    const throttled = this.tokens < 1;
    if (!throttled) this.tokens -= 1;
    this.answers.push({ at, by, throttled });
    await sleep(5 + 10 * Math.random());
    return throttled;
  }

  /** What it answered in the last `ms`. */
  last(ms: number, by?: string): { perSecond: number; throttledPer1000: number } {
    const since = performance.now() - ms;
    const answers = this.answers.filter((answer) => answer.at >= since && (by === undefined || answer.by === by));
    const throttled = answers.filter((answer) => answer.throttled).length;
    return {
      perSecond: ((answers.length - throttled) / ms) * 1000,
      throttledPer1000: (throttled / Math.max(1, answers.length)) * 1000,
    };
  }
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A store that tells how often it was asked. */
class CountingPaces extends MemoryPaces {
  changes = 0;

  override change<T>(...given: Parameters<MemoryPaces['change']>): Promise<T> {
    this.changes += 1;
    return super.change(...given) as Promise<T>;
  }
}

/** Calls that come `perSecond` whatever becomes of them, until the returned function is called. */
function offer(workers: RateBudget[], bucket: Bucket, by: 'issue' | 'revoke' | 'spare', perSecond: number): () => void {
  let next = 0;
  const timer = setInterval(() => {
    const worker = workers[next++ % workers.length]!;
    void (async () => {
      await worker.take({ budget, by, withinMs: 5_000, calls: 1 });
      const sentAt = performance.now();
      worker.answered(budget, sentAt, await bucket.call(by));
    })().catch((error: unknown) => {
      if (!(error instanceof OverBudget)) throw error;
    });
  }, 1000 / perSecond);
  return () => clearInterval(timer);
}

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

describe('a budget whose rate nobody is told', () => {
  it.each([
    [1, 100, 100],
    [2, 100, 100],
    [4, 100, 100],
    [4, 60, 10],
  ])(
    'is found by %i workers at three times the load, and again when it is halved (%i/s)',
    async (count, rate, burst) => {
      const bucket = new Bucket(rate, burst);
      const store = new MemoryPaces();
      const workers = Array.from({ length: count }, () => new RateBudget(store));
      const stop = offer(workers, bucket, 'issue', 3 * rate);
      await jest.advanceTimersByTimeAsync(50_000);
      const whole = bucket.last(35_000);
      bucket.ratePerSecond = rate / 2;
      await jest.advanceTimersByTimeAsync(60_000);
      const half = bucket.last(50_000);
      stop();
      process.stderr.write(
        `    ${count} workers: ${whole.perSecond.toFixed(1)} of ${rate}/s, ${whole.throttledPer1000.toFixed(1)} throttled of 1,000; ` +
          `halved ${half.perSecond.toFixed(1)} of ${rate / 2}/s, ${half.throttledPer1000.toFixed(1)}\n`,
      );
      expect(whole.perSecond).toBeGreaterThan(0.95 * rate);
      expect(whole.throttledPer1000).toBeLessThan(5);
      expect(half.perSecond).toBeGreaterThan(0.95 * (rate / 2));
      expect(half.throttledPer1000).toBeLessThan(5);
    },
  );

  it('gives revoking its share when issuing asks for everything', async () => {
    const bucket = new Bucket(60, 60);
    const store = new MemoryPaces();
    const issuers = Array.from({ length: 4 }, () => new RateBudget(store));
    const stopIssuing = offer(issuers, bucket, 'issue', 180);
    await jest.advanceTimersByTimeAsync(20_000);
    const stopRevoking = offer([new RateBudget(store)], bucket, 'revoke', 60);
    await jest.advanceTimersByTimeAsync(15_000);
    const [issued, revoked] = [bucket.last(10_000, 'issue').perSecond, bucket.last(10_000, 'revoke').perSecond];
    stopIssuing();
    stopRevoking();
    expect(revoked).toBeGreaterThan(0.5 * 60);
    expect(issued + revoked).toBeGreaterThan(0.95 * 60);
  });
});

describe('what nobody waits for', () => {
  it('has what the others leave, and nothing while they want everything', async () => {
    const bucket = new Bucket(60, 60);
    const store = new MemoryPaces();
    const issuers = Array.from({ length: 2 }, () => new RateBudget(store));
    const stopSpare = offer([new RateBudget(store)], bucket, 'spare', 120);
    await jest.advanceTimersByTimeAsync(20_000);
    const alone = bucket.last(5_000, 'spare').perSecond;
    const stopIssuing = offer(issuers, bucket, 'issue', 180);
    await jest.advanceTimersByTimeAsync(10_000);
    const beside = bucket.last(5_000, 'spare').perSecond;
    const issued = bucket.last(5_000, 'issue').perSecond;
    stopIssuing();
    await jest.advanceTimersByTimeAsync(10_000);
    const afterwards = bucket.last(5_000, 'spare').perSecond;
    stopSpare();
    expect(alone).toBeGreaterThan(0.8 * 60);
    expect(beside).toBe(0);
    expect(issued).toBeGreaterThan(0.9 * 60);
    expect(afterwards).toBeGreaterThan(0.8 * 60);
  });
});

describe('a call', () => {
  const turn = { budget, by: 'issue' as const, withinMs: 2_000, calls: 1 };

  it('goes at once until AWS first complains, and asks others once whether it has', async () => {
    const store = new CountingPaces();
    const worker = new RateBudget(store);
    for (let calls = 0; calls < 50; calls += 1) {
      await worker.take(turn);
      worker.answered(budget, performance.now(), false);
      await jest.advanceTimersByTimeAsync(150);
    }
    expect(store.changes).toBe(1);
  });

  it('of a worker that comes late waits its turn from the first one on', async () => {
    const store = new MemoryPaces();
    const first = new RateBudget(store);
    first.answered(budget, performance.now(), true);
    await jest.advanceTimersByTimeAsync(10);
    const late = new RateBudget(store);
    let gone = 0;
    for (let calls = 0; calls < 100; calls += 1) void late.take({ ...turn, withinMs: 60_000 }).then(() => (gone += 1));
    await jest.advanceTimersByTimeAsync(1_000);
    expect(gone).toBeGreaterThan(10);
    expect(gone).toBeLessThan(40);
  });

  it('is refused at once, with the time until it is worth a try, when it would not come to its turn', async () => {
    const worker = new RateBudget();
    worker.answered(budget, performance.now(), true);
    await jest.advanceTimersByTimeAsync(10);
    const outcomes: ('gone' | OverBudget)[] = [];
    // Twenty a second at first: some sixty of them in three seconds.
    for (let calls = 0; calls < 200; calls += 1) {
      void worker.take({ ...turn, withinMs: 3_000 }).then(
        () => outcomes.push('gone'),
        (error: OverBudget) => outcomes.push(error),
      );
    }
    await jest.advanceTimersByTimeAsync(0);
    const refused = outcomes.filter((outcome) => outcome !== 'gone');
    expect(refused.length).toBeGreaterThan(120);
    expect(refused[0]).toMatchObject({ code: 'over_budget', retryable: true, retryAfterSeconds: 4 });
    await jest.advanceTimersByTimeAsync(3_100);
    expect(outcomes).toHaveLength(200);
    expect(outcomes.filter((outcome) => outcome === 'gone').length).toBeGreaterThan(40);
  });

  it('makes way for one that has less time', async () => {
    const worker = new RateBudget();
    worker.answered(budget, performance.now(), true);
    await jest.advanceTimersByTimeAsync(10);
    const order: string[] = [];
    const takes = [9_000, 8_000, 7_000, 1_000].map((withinMs) =>
      worker.take({ ...turn, withinMs }).then(() => order.push(`${withinMs}`)),
    );
    await jest.advanceTimersByTimeAsync(2_000);
    await Promise.all(takes);
    expect(order).toEqual(['1000', '7000', '8000', '9000']);
  });

  it('goes as it comes again when AWS has long not complained', async () => {
    const store = new CountingPaces();
    const worker = new RateBudget(store);
    worker.answered(budget, performance.now(), true);
    await jest.advanceTimersByTimeAsync(400_000);
    await Promise.all([worker.take(turn), jest.advanceTimersByTimeAsync(50)]);
    const { changes } = store;
    for (let calls = 0; calls < 5; calls += 1) await worker.take(turn);
    expect(store.changes).toBe(changes);
  });
});
