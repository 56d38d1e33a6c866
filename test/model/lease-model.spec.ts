import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc, { type AsyncCommand, type Arbitrary } from 'fast-check';
import { type FaultKind, LeaseWorld } from './lease-world.js';

/** What once broke a promise: tried first, for ever. */
const failuresOnce: { seed: number; path: string }[] = [];

/** In `npm test`: as many cases as there is time for. `npm run test:model` sets how many, and which to begin with. */
const asked = {
  runs: process.env.MODEL_RUNS ? Number(process.env.MODEL_RUNS) : undefined,
  seed: process.env.MODEL_SEED ? Number(process.env.MODEL_SEED) : undefined,
  path: process.env.MODEL_PATH,
};
const boundedMs = 25_000;

/** The model keeps its books in the world itself: there is nothing else to compare with. */
type Model = object;

/** One thing that happens. It is begun here, and goes on step by step beside whatever else was begun. */
class Happening implements AsyncCommand<Model, LeaseWorld> {
  constructor(
    private readonly name: string,
    private readonly happen: (world: LeaseWorld) => unknown,
  ) {}

  check(): boolean {
    return true;
  }

  async run(_: Model, world: LeaseWorld): Promise<void> {
    world.note(this.name);
    await this.happen(world);
  }

  toString(): string {
    return this.name;
  }
}

const which = fc.nat(5);
const one = fc.nat(1);
const kind = fc.constantFrom('issuer', 'revoker');
const seconds = fc.constantFrom(1, 12, 18, 30, 70, 400, 1_300, 4_000, 8_000);
const minutes = fc.constantFrom(0, 1, 30, 600);
const skew = fc.constantFrom(-20, -6, 0, 6, 20);
const times = fc.integer({ min: 1, max: 4 });
const fault = fc.constantFrom<FaultKind>('throttled', 'failed', 'failedAfterwards', 'refused', 'concurrent', 'lost');
const action = fc.constantFrom(
  'CreateUser',
  'PutUserPolicy',
  'CreateAccessKey',
  'DeleteAccessKey',
  'DeleteUserPolicy',
  'DeleteUser',
);

/** One kind of thing that can happen: `often` in comparison with the others. */
function happening<Args extends unknown[]>(
  often: number,
  name: string,
  args: { [K in keyof Args]: Arbitrary<Args[K]> },
  happen: (world: LeaseWorld, ...args: Args) => unknown,
): { weight: number; arbitrary: Arbitrary<Happening> } {
  const begin = (given: Args) => new Happening(`${name}(${given.join(', ')})`, (world) => happen(world, ...given));
  return { weight: often, arbitrary: fc.tuple<Args>(...args).map(begin) };
}

const happenings = fc.oneof(
  happening(8, 'issue', [one, one], (world, ...args) => world.issue(...args)),
  happening(2, 'deliverAgain', [which, one, one], (world, ...args) => world.deliverAgain(...args)),
  happening(1, 'withdraw', [which, one], (world, ...args) => world.withdraw(...args)),
  happening(1, 'hangUp', [which, one], (world, ...args) => world.hangUp(...args)),
  happening(2, 'renew', [which, one, minutes], (world, ...args) => world.renew(...args)),
  happening(3, 'revoke', [which, one, fc.boolean()], (world, ...args) => world.revoke(...args)),
  happening(1, 'revokeAll', [one, fc.boolean()], (world, ...args) => world.revokeAll(...args)),
  happening(1, 'unmount', [one], (world, at) => world.unmount(at)),
  happening(1, 'endToken', [], (world) => world.endToken()),
  happening(5, 'sweep', [one], (world, at) => world.sweep(at)),
  happening(4, 'ring', [which, one], (world, ...args) => world.ring(...args)),
  happening(1, 'keepHouse', [one], (world, at) => world.keepHouse(at)),
  happening(5, 'leap', [seconds, fc.boolean()], (world, ...args) => world.leap(...args)),
  happening(3, 'crash', [kind, one, fc.boolean()], (world, ...args) => world.crash(...args)),
  happening(5, 'fault', [action, fault, times], (world, ...args) => world.fault(...args)),
  happening(1, 'lag', [fc.nat(3)], (world, count) => world.lag(count)),
  happening(1, 'skew', [skew], (world, ahead) => world.skew(ahead)),
  happening(1, 'loseAnswer', [], (world) => world.loseAnswer()),
);

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
        world.issue(0, 1);
        world.issue(1, 0);
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

  for (const failure of failuresOnce) {
    it(`break no promise the way they once did: seed ${failure.seed}, path ${failure.path}`, () =>
      holds({ ...failure, numRuns: 1 }));
  }

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
