import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { happenings } from './happenings.js';
import { LeaseWorld } from './lease-world.js';
import { Script, stories } from './stories.js';

/** In `npm test`: as many cases as there is time for. `npm run test:model` sets how many, and which to begin with. */
const asked = {
  runs: process.env.MODEL_RUNS ? Number(process.env.MODEL_RUNS) : undefined,
  seed: process.env.MODEL_SEED ? Number(process.env.MODEL_SEED) : undefined,
  path: process.env.MODEL_PATH,
};
const boundedMs = 25_000;

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

  const property = fc.asyncProperty(
    schedule,
    fc.commands([happenings], { maxCommands: 40, size: 'max' }),
    async (scheduler, commands) => {
      current = scheduler;
      cases += 1;
      if (cases % 100 === 0) process.stderr.write(`model: ${cases} cases\n`);
      await world.begin();
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
    },
  );

  /** Throws with what happened, and how to have it happen again. */
  async function holds(given: fc.Parameters<unknown>): Promise<void> {
    const found = await fc.check(property, { endOnFailure: true, ...given } as never);
    if (!found.failed) return;
    const again = `npm run test:model -- --seed ${found.seed} --path ${found.counterexamplePath}`;
    throw new Error(`${(found.errorInstance as Error | null)?.message ?? 'interrupted'}\n\nAgain: ${again}`);
  }

  it.each(stories)('break no promise when $name', async ({ tell }) => {
    const script = new Script(world);
    await world.begin();
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

  it(
    'break no promise whatever order things happen in',
    async () => {
      const { runs, path } = asked;
      const seed = asked.seed ?? Math.trunc(Math.random() * 2 ** 31);
      process.stderr.write(`model: seed ${seed}\n`);
      const startedAt = process.hrtime.bigint();
      const asManyAsFit = { numRuns: 10_000, interruptAfterTimeLimit: boundedMs, markInterruptAsFailure: false };
      const bounds = runs || path ? { numRuns: runs ?? 1 } : asManyAsFit;
      cases = 0;
      await holds({ seed, path, ...bounds });
      const took = Number(process.hrtime.bigint() - startedAt) / 1e9;
      process.stderr.write(`model: ${cases} cases in ${took.toFixed(1)} s\n`);
      expect(cases).toBeGreaterThan(0);
    },
    asked.runs ? 2 ** 31 - 1 : 120_000,
  );
});
