import { StartRefused } from '#libs/runtime';
import { ServersRefused } from '#servers';
import { RequestFailed } from './client.js';
import { measureLateness } from './lateness.js';
import { Failures } from './load.js';
import { measureMass } from './mass.js';
import { type BenchOptions, type MeasurementName, readOptions, usage } from './options.js';
import { measurePool } from './pool.js';
import { measurePropagation } from './propagation.js';
import { asText, type Report } from './report.js';
import { save, writeJson } from './results.js';
import type { Run } from './rig.js';
import { measureScale } from './scale.js';
import { factsOf } from './facts.js';
import { measureTable } from './whole-table.js';

const say = (line: string) => void process.stdout.write(`${line}\n`);

const resultsFolder = 'bench/results';

const measurements: Record<MeasurementName, (run: Run, options: BenchOptions) => Promise<Report>> = {
  table: measureTable,
  scale: measureScale,
  lateness: measureLateness,
  mass: measureMass,
  propagation: measurePropagation,
  pool: measurePool,
};

/** `npm run bench`: the exit code is 0 when every request was answered as it should and nothing was left behind. */
export async function main(argv: string[]): Promise<number> {
  // The SDK's version is pinned, and tried on the Node that the project asks for.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (!ending.signal.aborted) say('\nStopping: what was made is taken back.');
      ending.abort();
    });
  }
  try {
    const options = readOptions(argv, process.env);
    if (options !== 'help') return await run(options, ending);
    say(usage);
    return 0;
  } catch (error) {
    // What breaks off because we were told to stop is no news.
    const isTold =
      ending.signal.aborted || [StartRefused, ServersRefused, RequestFailed].some((kind) => error instanceof kind);
    process.stderr.write(`${isTold ? (error as Error).message : (error as Error).stack}\n`);
    return 1;
  }
}

/** Minutes after which a run is ended with what it has: beyond this something in it never finishes. */
function longestMinutes({ quick, shapes, target }: BenchOptions): number {
  return quick ? 4 : 8 * (shapes.length + (target ? 2 : 0));
}

async function run(options: BenchOptions, ending: AbortController): Promise<number> {
  const { measurement, save: name, json } = options;
  const where = factsOf(measurement);
  say(`Bench: ${measurement}, on ${where.cores} cores (${where.cpu}), Node ${where.node}, ${where.platform}.`);
  const limit = setTimeout(
    () => {
      say('\nThis takes too long: what was measured so far follows.');
      ending.abort();
    },
    longestMinutes(options) * 60_000,
  );
  const failures = new Failures();
  const report = await measurements[measurement]({ say, failures, signal: ending.signal }, options).finally(() =>
    clearTimeout(limit),
  );
  say(`\n${asText(report)}\n\nTook ${(performance.now() / 1_000).toFixed(0)} s.`);
  const failed = { byOutcome: failures.byOutcome, first: failures.first };
  if (json) writeJson(json, report, where, failed);
  const outcomes = Object.entries(failures.byOutcome);
  for (const [outcome, count] of outcomes) say(`FAILED ${outcome}: ${count}`);
  if (failures.first !== undefined) say(`The first: ${failures.first}`);
  const isWhole = outcomes.length === 0 && !ending.signal.aborted;
  if (name && isWhole) say(`Kept as ${resultsFolder}/${save(name, report, where, failed, resultsFolder)}.`);
  if (name && !isWhole) say('Not kept: a run that failed or was broken off says nothing.');
  return isWhole ? 0 : 1;
}
