import { arch, availableParallelism, cpus, platform } from 'node:os';
import { StartRefused } from '#libs/runtime';
import { ServersRefused } from '#servers';
import { Bench, type Outcome } from './bench.js';
import { Client, RequestFailed } from './client.js';
import { cpuOf } from './cpu.js';
import { Failures } from './load.js';
import { Mounted } from './mounted.js';
import { type BenchOptions, readOptions, usage } from './options.js';
import { planOf } from './plan.js';
import { surroundingNames, tables, writeJson } from './report.js';
import type { Undo } from './servers.js';
import { SimulatedAws } from './simulated-aws.js';
import { startSystem } from './systems.js';

const say = (line: string) => void process.stdout.write(`${line}\n`);

/** `npm run bench`: the exit code is 0 when every request was answered as it should and nothing was left behind. */
export async function main(argv: string[]): Promise<number> {
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

async function run(options: BenchOptions, ending: AbortController): Promise<number> {
  const facts = {
    system:
      options.target?.url ?? (options.shape === 'services' ? `services, issuers: ${options.issuers}` : 'embedded'),
    cores: availableParallelism(),
    cpu: cpus()[0]?.model ?? 'unknown',
    node: process.version,
    platform: `${platform()} ${arch()}`,
    at: new Date().toISOString(),
  };
  say(`Bench of ${facts.system} on ${facts.cores} cores (${facts.cpu}), Node ${facts.node}, ${facts.platform}.`);
  const limit = setTimeout(
    () => {
      say('\nThis takes too long: what was measured so far follows.');
      ending.abort();
    },
    (options.quick ? 3 : 12) * 60_000,
  );
  const failures = new Failures();
  const undo: Undo = [];
  try {
    const outcomes = await measure(options, failures, ending.signal, undo);
    say(`\n${tables(outcomes)}`);
    if (options.json) writeJson(options.json, facts, outcomes, failures);
  } finally {
    clearTimeout(limit);
    for (const step of undo.toReversed()) await step().catch((error: unknown) => failures.add(error));
  }
  say(`Took ${(performance.now() / 1_000).toFixed(0)} s.`);
  const failed = Object.entries(failures.byOutcome);
  for (const [outcome, count] of failed) say(`FAILED ${outcome}: ${count}`);
  if (failures.first !== undefined) say(`The first: ${failures.first}`);
  return failed.length > 0 || ending.signal.aborted ? 1 : 0;
}

async function measure(options: BenchOptions, failures: Failures, signal: AbortSignal, undo: Undo): Promise<Outcome[]> {
  const aws = await SimulatedAws.start();
  undo.push(() => aws.end());
  const system = await startSystem[options.shape](options, say, undo);
  const client = new Client(system.url, system.token);
  undo.push(async () => client.close());

  const mounted = new Mounted(client, aws);
  // Services of our own have heard a Ctrl-C as well: nobody may answer, and they go with their database and their AWS.
  const isCutOff = () => signal.aborted && options.shape === 'services';
  signal.addEventListener('abort', () => isCutOff() && client.close());
  undo.push(async () => {
    client.reconnect();
    if (!isCutOff()) await mounted.close();
  });
  await mounted.open();

  const watched = [...system.processes, { name: surroundingNames.aws, pid: aws.pid }];
  const readCpu = () => {
    const { user, system: kernel } = process.cpuUsage();
    return { ...cpuOf(watched), [surroundingNames.load]: (user + kernel) / 1_000 };
  };
  const phases = planOf(options.quick, options.only);
  const bench = new Bench({ client, mount: mounted.path, aws, readCpu, failures, signal });
  return bench.run(phases, (done) => {
    if (process.stdout.isTTY) process.stdout.write(`\r${done + 1} of ${phases.length}`);
  });
}
