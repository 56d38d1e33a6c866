import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultSettings } from '../../simulator/src/index.js';
import type { Mounted } from './mounted.js';
import type { BenchOptions } from './options.js';
import { percentile } from './percentile.js';
import type { Report } from './report.js';
import { Rig, type Run } from './rig.js';
import { lentPolicy } from './simulated-aws.js';
import { formatNumber } from './table.js';

/** As many as a pool may have. */
const poolSize = 500;
/** How the names of its users begin; the display name of a caller is "root" here. */
const pooledUser = 'vault-pool-';
/** So old a pool's user is at least when it is handed out, as shipped (`pooledMinMs`), and a moment more. */
const pooledMinMs = 62_000;
/** On the average, and each by chance: about as fast as one issuer makes them anew with AWS at 300 ms a call. */
const everyMs = 100;
const handOuts = { warmUp: 40, each: 110 };

/** What AWS does meanwhile. */
const weathers: { name: string; faults: Partial<FaultSettings> }[] = [
  { name: '0 ms a call', faults: { latencyMs: 0 } },
  { name: '300 ms a call', faults: { latencyMs: 300 } },
  { name: 'throttles: one call a second', faults: { latencyMs: 20, throttle: { ratePerSecond: 1, burst: 1 } } },
  { name: 'answers nothing', faults: { latencyMs: 20_000, throttle: null } },
];

interface Found {
  system: string;
  weather: string;
  /** Milliseconds of each answer, ascending. */
  samples: Float64Array;
}

/** How long a user of a pool takes to be handed out while the pool fills up again, whatever AWS does. */
export async function measurePool(run: Run, { shapes }: BenchOptions): Promise<Report> {
  const found: Found[] = [];
  await Rig.inEach(run, shapes, async (rig) => {
    const { mounted } = await rig.warm();
    const path = await filledPool(rig, mounted, poolSize);
    await takeOften(rig, path, handOuts.warmUp);
    for (const { name, faults } of weathers) {
      if (run.signal.aborted) break;
      run.say(`Measuring ${rig.system.name}: AWS ${name}.`);
      await rig.aws.set(faults);
      const samples = await takeOften(rig, path, handOuts.each);
      found.push({ system: rig.system.name, weather: name, samples });
    }
    await rig.aws.set({ latencyMs: 0, throttle: null });
  });
  return reportOf(found);
}

/**
 * Waits until a pool of so many users is made and old enough.
 * @returns where they are asked for.
 */
export async function filledPool({ aws, run }: Rig, mounted: Mounted, size: number): Promise<string> {
  run.say(`Filling a pool of ${size}, and waiting ${pooledMinMs / 1_000} s until it is ready.`);
  const before = await aws.lentUsers(mounted.account.id);
  const role = { credential_type: 'iam_user', policy_document: lentPolicy, pool_size: size };
  await mounted.write('roles/pooled', role);
  while ((await aws.lentUsers(mounted.account.id)) < before + size) await sleep(500, undefined, run);
  await sleep(pooledMinMs, undefined, run);
  return `${mounted.path}/creds/pooled`;
}

/** Asks without waiting for the answers; one that is not of the pool is a failure. @returns milliseconds of each answer, ascending. */
async function takeOften({ client, run }: Rig, path: string, count: number): Promise<Float64Array> {
  const samples: number[] = [];
  const lent: string[] = [];
  const take = async () => {
    const askedAt = performance.now();
    lent.push(await client.call('GET', path));
    samples.push(performance.now() - askedAt);
  };
  const answers: Promise<void>[] = [];
  while (answers.length < count) {
    answers.push(take().catch((error: unknown) => run.failures.add(error)));
    await sleep(everyMs * 2 * Math.random(), undefined, run);
  }
  await Promise.all(answers);
  for (const text of lent) {
    const { data } = JSON.parse(text) as { data: { access_key: string } };
    const found = await client.call('PUT', 'sys/leases/lookup-access-key', { access_key: data.access_key });
    const { user_name: name } = (JSON.parse(found) as { data: { user_name: string } }).data;
    if (!name.startsWith(pooledUser)) run.failures.add(new Error(`A user was made for its caller: ${name}.`));
  }
  return Float64Array.from(samples).sort();
}

function reportOf(found: Found[]): Report {
  const summaries = found.map(({ system, weather, samples }) => ({
    system,
    weather,
    handedOut: samples.length,
    p50Ms: percentile(samples, 50),
    p99Ms: percentile(samples, 99),
    longestMs: percentile(samples, 100),
  }));
  return {
    sections: [
      {
        title: 'A user of a pool',
        head: ['', 'AWS', 'n', 'p50', 'p99', 'longest'],
        rows: summaries.map(({ system, weather, handedOut, p50Ms, p99Ms, longestMs }) => [
          system,
          weather,
          `${handedOut}`,
          ...[p50Ms, p99Ms, longestMs].map((ms) => `${formatNumber(ms)} ms`),
        ]),
        note: `From the question to the answer; one is asked for every 0 to ${2 * everyMs} ms, from a pool of ${poolSize} that fills up again meanwhile, as far as AWS lets it. The target is a p99 under 15 ms.`,
      },
    ],
    plots: [],
    data: { everyMs, poolSize, weathers: summaries },
  };
}
