import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { happenings, happeningsWithPool } from './happenings.js';
import { LeaseWorld } from './lease-world.js';
import { Script, stories } from './stories.js';

/** In `npm test`: as many cases as there is time for. `npm run test:model` sets how many, and which to begin with. */
const asked = {
  runs: process.env.MODEL_RUNS ? Number(process.env.MODEL_RUNS) : undefined,
  seed: process.env.MODEL_SEED ? Number(process.env.MODEL_SEED) : undefined,
  path: process.env.MODEL_PATH,
  pool: process.env.MODEL_POOL !== undefined,
};
const boundedMs = { alone: 15_000, withPool: 6_000 };

describe('two issuers and two revokers, one step of any of them at a time', () => {
  let world: LeaseWorld;
  beforeAll(async () => {
    world = await LeaseWorld.start();
  }, 60_000);
  afterAll(() => world.close());

  const schedule = fc.scheduler({
    act: async (step) => {
      await step();
      await world.stands(current);
    },
  });
  let current: fc.Scheduler;
  let cases = 0;

  /** The case that goes on: fast-check does not wait for one that it interrupts, whose time is over. */
  let running: Promise<void> = Promise.resolve();

  const propertyOf = (among: typeof happenings, poolSize: number) =>
    fc.asyncProperty(schedule, fc.commands([among], { maxCommands: 40, size: 'max' }), (scheduler, commands) => {
      current = scheduler;
      cases += 1;
      if (cases % 100 === 0) process.stderr.write(`model: ${cases} cases\n`);
      return (running = runCase(scheduler, commands, poolSize));
    });

  async function runCase(
    scheduler: fc.Scheduler,
    commands: Iterable<fc.AsyncCommand<object, LeaseWorld>>,
    poolSize: number,
  ): Promise<void> {
    await world.begin(poolSize);
    try {
      // Two have asked already: without a credential on its way, little can happen.
      world.callers.issue(0, 1);
      world.callers.issue(1, 0);
      await world.stands(scheduler);
      await fc.scheduledModelRun(scheduler, () => ({ model: {}, real: world }), commands);
      await world.comesToRest();
    } catch (error) {
      throw new Error(`${(error as Error).message}\n\n${scheduler.toString()}\n\n${world.tell()}`, { cause: error });
    } finally {
      await world.end();
    }
  }

  /** Throws with what happened, and how to have it happen again. */
  async function holds(
    property: ReturnType<typeof propertyOf>,
    withPool: boolean,
    given: fc.Parameters<unknown>,
  ): Promise<void> {
    const found = await fc.check(property, { endOnFailure: true, ...given } as never);
    await running.catch(() => undefined);
    if (!found.failed) return;
    const again = `npm run test:model -- --seed ${found.seed} --path ${found.counterexamplePath}${withPool ? ' --pool' : ''}`;
    throw new Error(`${(found.errorInstance as Error | null)?.message ?? 'interrupted'}\n\nAgain: ${again}`);
  }

  it.each(stories)('break no promise when $name', async ({ tell, poolSize }) => {
    const script = new Script(world);
    await world.begin(poolSize);
    try {
      await tell(world, script);
      await script.all();
      await world.comesToRest();
    } catch (error) {
      throw new Error(`${(error as Error).message}\n\n${world.tell()}`, { cause: error });
    } finally {
      await world.end();
    }
  });

  it.each([
    ['whatever order things happen in', happenings, 0, boundedMs.alone],
    ['with a pool, in any order of whatever happens', happeningsWithPool, 2, boundedMs.withPool],
  ] as const)(
    'break no promise %s',
    async (_, among, poolSize, interruptAfterTimeLimit) => {
      const { runs, path } = asked;
      if (path && asked.pool !== poolSize > 0) return; // a path is one of the other cases
      const seed = asked.seed ?? Math.trunc(Math.random() * 2 ** 31);
      process.stderr.write(`model: seed ${seed}\n`);
      const startedAt = process.hrtime.bigint();
      const asManyAsFit = { numRuns: 10_000, interruptAfterTimeLimit, markInterruptAsFailure: false };
      const bounds = runs || path ? { numRuns: runs ?? 1 } : asManyAsFit;
      cases = 0;
      await holds(propertyOf(among, poolSize), poolSize > 0, { seed, path, ...bounds });
      const took = Number(process.hrtime.bigint() - startedAt) / 1e9;
      process.stderr.write(`model: ${cases} cases in ${took.toFixed(1)} s\n`);
      expect(cases).toBeGreaterThan(0);
    },
    asked.runs ? 2 ** 31 - 1 : 120_000,
  );
});
