import { setTimeout as sleep } from 'node:timers/promises';
import { stepsAmong } from '../lives.js';
import { apply, often } from '../load.js';
import type { Operations } from '../operations.js';
import { oursAmong } from '../phases.js';
import { Rig, type Run } from '../rig.js';
import type { Shape } from '../options.js';
import type { Undo } from '../servers.js';
import { type Servers, startSystem } from '../systems.js';
import { BareSdk } from './bare-sdk.js';
import { type Bounds, type Costs, type Guarded, guarded } from './bounds.js';
import { CountingLine } from './counting-line.js';
import { publishes, redisCommands, statements } from './readers.js';

/** Slow enough that calls to AWS in one step are seen to overlap. */
const countingAwsMs = 20;
/** Something else may be at work in one of them, but not in all. */
const windows = 5;
/** What nobody asks anything for so long is over, milliseconds. */
const quietMs = 40;

/** Numbers and not times, so that a busy machine has done as much before and meanwhile as an idle one. */
const cpu = { callers: 16, warmUp: 300, measured: 200, rounds: 2 };
const latency = { awsMs: 50, pairs: 10 };

const bareAccount = 102;

/** BullMQ's own statements say in a comment what they are for: it looks around, and how often depends on the clock. */
const isOfTheQueue = (statement: string) => statement.startsWith('--');

type Lines = Record<'database' | 'redis' | 'rabbitmq', CountingLine | undefined>;

/** Measures what requests cost in one shape; `statements` are those that each needs. */
export async function measureShape(
  shape: Shape,
  run: Run,
): Promise<{ measured: Bounds; statements: Record<string, string[]> }> {
  const lines: Lines = { database: undefined, redis: undefined, rabbitmq: undefined };
  return Rig.with(
    run,
    (say, undo) => startSystem[shape]({ through: (servers) => drawLines(servers, lines, undo) }, say, undo),
    async (rig) => {
      const mounted = await rig.mount();
      const { bench, operations } = rig.bench(mounted);
      await bench.warmUp();
      await bench.emptyStock();
      const bare = new BareSdk(rig.aws.url, await rig.aws.account(bareAccount));
      try {
        const counted = await countCosts(rig, operations, lines, mounted.account.id);
        const ratios = {
          cpu: await cpuRatio(rig, bench, operations, bare),
          latency: await latencyRatio(rig, operations, bare),
        };
        return { measured: { costs: counted.costs, ratios }, statements: counted.statements };
      } finally {
        bare.close();
      }
    },
  );
}

async function drawLines(servers: Servers, lines: Lines, undo: Undo): Promise<Servers> {
  const readers = { database: statements, redis: redisCommands, rabbitmq: publishes };
  const drawn = { ...servers };
  for (const name of ['database', 'redis', 'rabbitmq'] as const) {
    if (servers[name] === '') continue;
    const line = await CountingLine.to(servers[name], readers[name]);
    undo.push(async () => line.close());
    lines[name] = line;
    drawn[name] = line.url;
  }
  return drawn;
}

/** Each request alone, several times; the least of them is what it costs, since whatever works on its own only adds. */
async function countCosts(
  { aws, run }: Rig,
  operations: Operations,
  lines: Lines,
  account: string,
): Promise<{ costs: Record<Guarded, Costs>; statements: Record<string, string[]> }> {
  await aws.setLatency(countingAwsMs);
  const all = Object.values(lines).filter((line) => line !== undefined);
  const settle = async () => {
    const asked = () => all.reduce((sum, { asked: each }) => sum + each.length, 0);
    const deadline = performance.now() + 2_000;
    let seen = -1;
    while (seen !== asked() && performance.now() < deadline) {
      seen = asked();
      await sleep(quietMs, undefined, { signal: run.signal });
    }
  };
  let lastCall = 0;
  const callsSince = async () => {
    const calls = (await aws.calls({ account })).filter(({ sequence }) => sequence > lastCall);
    lastCall = Math.max(lastCall, ...calls.map(({ sequence }) => sequence));
    return calls;
  };
  const costs = {} as Record<Guarded, Costs>;
  const needed: Record<string, string[]> = {};
  // A lease for each renewal and revocation, and some more for what is renewed first.
  while (operations.stock.length < windows) await operations.by.creds(0);
  for (const name of guarded) {
    const seen: Costs[] = [];
    await settle();
    await callsSince();
    for (let window = 0; window < windows; window += 1) {
      for (const line of all) line.clear();
      if (!(await operations.by[name](0))) throw new Error(`There was nothing left to ${name}.`);
      await settle();
      const calls = await callsSince();
      const asked = lines.database!.asked.filter((text) => !isOfTheQueue(text));
      if (!needed[name] || asked.length < needed[name].length) needed[name] = asked;
      seen.push({
        statements: asked.length,
        databaseBytes: lines.database!.bytes,
        messages: lines.rabbitmq?.asked.length ?? 0,
        redisCommands: lines.redis?.asked.length ?? 0,
        awsCalls: calls.length,
        awsSteps: stepsAmong(calls),
      });
    }
    const least = (figure: keyof Costs) => Math.min(...seen.map((each) => each[figure]));
    costs[name] = Object.fromEntries(
      (Object.keys(seen[0]!) as (keyof Costs)[]).map((figure) => [figure, least(figure)]),
    ) as unknown as Costs;
  }
  return { costs, statements: needed };
}

/** Turn by turn, so that whatever else the machine does is in both. */
async function cpuRatio(
  { aws, run }: Rig,
  bench: ReturnType<Rig['bench']>['bench'],
  operations: Operations,
  bare: BareSdk,
): Promise<number> {
  await aws.setLatency(0);
  const readOwn = () => {
    const { user, system } = process.cpuUsage();
    return { bare: { [process.pid]: (user + system) / 1_000 } };
  };
  const ours = (count: number) => bench.measure(often(operations.by.creds, count, cpu.callers));
  const theirs = (count: number) => apply(often(bare.make, count, cpu.callers), readOwn, run.failures, run.signal);
  await ours(cpu.warmUp);
  await theirs(cpu.warmUp);
  const spent = { ours: 0, bare: 0 };
  for (let round = 0; round < cpu.rounds; round += 1) {
    const measured = await ours(cpu.measured);
    for (const name of oursAmong(Object.keys(measured.cpu))) spent.ours += measured.cpu[name]!;
    spent.bare += (await theirs(cpu.measured)).cpu.bare!;
  }
  return spent.ours / spent.bare;
}

async function latencyRatio({ aws }: Rig, operations: Operations, bare: BareSdk): Promise<number> {
  await aws.setLatency(latency.awsMs);
  const took: Record<'ours' | 'bare', number[]> = { ours: [], bare: [] };
  for (let pair = 0; pair < latency.pairs; pair += 1) {
    for (const [name, operation] of [
      ['ours', operations.by.creds],
      ['bare', bare.make],
    ] as const) {
      const began = performance.now();
      await operation(0);
      took[name].push(performance.now() - began);
    }
  }
  // The shortest is what it takes where nothing comes in between.
  return Math.min(...took.ours) / Math.min(...took.bare);
}
