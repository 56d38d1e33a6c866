import fc, { type AsyncCommand, type Arbitrary } from 'fast-check';
import type { LeaseWorld } from './lease-world.js';
import type { FaultKind } from './lent-users.js';
import type { Death } from './worker.js';

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
/** Where there is one, the worker that begins it dies before one of its next effects. */
const death = fc.oneof(
  { weight: 2, arbitrary: fc.constant<Death>(null) },
  { weight: 1, arbitrary: fc.tuple(fc.nat(4), fc.boolean()) as Arbitrary<Death> },
);
const kind = fc.constantFrom('issuer', 'revoker');
const seconds = fc.constantFrom(1, 12, 18, 30, 70, 400, 1_300, 4_000, 8_000);
const stillFor = fc.constantFrom(20, 70, 400, 900, 2_400);
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

/** All that can happen, each as often as it helps to find what is wrong. */
const all = [
  happening(8, 'issue', [one, one, death], (world, ...args) => world.callers.issue(...args)),
  happening(2, 'deliverAgain', [which, one, one], (world, ...args) => world.callers.deliverAgain(...args)),
  happening(1, 'withdraw', [which, one], (world, ...args) => world.callers.withdraw(...args)),
  happening(2, 'hangUp', [which, one], (world, ...args) => world.callers.hangUp(...args)),
  happening(2, 'renew', [which, one, minutes], (world, ...args) => world.callers.renew(...args)),
  happening(3, 'revoke', [which, one, fc.boolean(), death], (world, ...args) => world.callers.revoke(...args)),
  happening(1, 'revokeAll', [one, fc.boolean(), death], (world, ...args) => world.callers.revokeAll(...args)),
  happening(1, 'unmount', [one, death], (world, ...args) => world.callers.unmount(...args)),
  happening(1, 'endToken', [], (world) => world.endToken()),
  happening(5, 'sweep', [one, death], (world, ...args) => world.sweep(...args)),
  happening(4, 'ring', [which, one], (world, ...args) => world.ring(...args)),
  happening(1, 'keepHouse', [one], (world, at) => world.keepHouse(at)),
  happening(1, 'extend', [which, one], (world, ...args) => world.extend(...args)),
  happening(5, 'standStill', [kind, one, stillFor, death], (world, ...args) => world.standStill(...args)),
  happening(5, 'leap', [seconds, fc.boolean()], (world, ...args) => world.leap(...args)),
  happening(2, 'crash', [kind, one, fc.boolean()], (world, ...args) => world.crash(...args)),
  happening(5, 'fault', [action, fault, times], (world, ...args) => world.fault(...args)),
  happening(2, 'lag', [fc.nat(6)], (world, count) => world.lag(count)),
  happening(1, 'skew', [skew], (world, ahead) => world.skew(ahead)),
  happening(1, 'loseAnswer', [], (world) => world.loseAnswer()),
];

export const happenings = fc.oneof(...all);

/** The same where the role has a pool. */
export const happeningsWithPool = fc.oneof(
  happening(8, 'fillPool', [one, death], (world, ...args) => world.fillPool(...args)),
  happening(2, 'drainPool', [one], (world, at) => world.drainPool(at)),
  happening(1, 'writeRole', [one, fc.integer({ min: 1, max: 3 })], (world, ...args) => world.writeRole(...args)),
  ...all,
);
