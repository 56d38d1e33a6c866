import { parseArgs } from 'node:util';
import { StartRefused } from '#libs/runtime';
import { operationNames, type OperationName } from './operations.js';

/** What can be measured, each by its name; `table` is meant where none is given. */
export const measurementNames = ['table', 'scale', 'lateness', 'mass', 'propagation', 'pool'] as const;
export type MeasurementName = (typeof measurementNames)[number];

/** A system of our own: everything in one process, or services over real servers. */
export type Shape = 'embedded' | 'services';

/** A system that runs already. */
export interface Target {
  url: string;
  token: string;
  /** Processes to measure the CPU and memory of. */
  pids: Record<string, number>;
}

export interface BenchOptions {
  measurement: MeasurementName;
  /** Systems of our own to measure, one after the other. */
  shapes: Shape[];
  quick: boolean;
  issuers: number;
  /** With an audit file. */
  audit: boolean;
  only: readonly OperationName[];
  /** Measured too, and before ours, which are held against it. */
  target?: Target;
  json?: string;
  /** Name of the results in bench/results. */
  save?: string;
}

const options = {
  quick: { type: 'boolean' },
  shape: { type: 'string' },
  issuers: { type: 'string' },
  audit: { type: 'boolean' },
  target: { type: 'string' },
  token: { type: 'string' },
  pids: { type: 'string' },
  only: { type: 'string' },
  json: { type: 'string' },
  save: { type: 'string' },
  help: { type: 'boolean' },
} as const;

const shapesBy: Record<string, Shape[]> = {
  embedded: ['embedded'],
  services: ['services'],
  both: ['embedded', 'services'],
};

/** Those that start and end services themselves. */
const ofServices: MeasurementName[] = ['scale', 'mass'];

export const usage = `npm run bench -- [${measurementNames.join('|')}] [--shape embedded|services|both] [--save NAME] [--json FILE]
  table         (default, about 10 minutes) latency, throughput, CPU, memory, lateness and calls to AWS, against the peer's figures
                and the targets. --quick: latency and throughput of one process, a minute. --only ${operationNames.join(',')} ("sts": both STS types)
                --issuers N of the services. --audit: every request and answer goes to an audit file.
                --target URL --token T [--pids name=123,name=456]: another system with the HTTP API of Vault's AWS engine, on this
                machine; alone, or with --shape in one run with ours, and then in the place of the peer's figures.
  scale         services: 1, 2 and 4 issuers over several accounts, and one that is killed in mid-run
  lateness      3,000 leases due at once and 10,000 in a minute (services, unless told)
  mass          services among 10,000, 100,000 and 1,000,000 leases: start, memory, latency
  propagation   how often the first use of a key fails while AWS lags, and when it works (services, unless told)
  pool          how long a user of a pool takes to be handed out, whatever AWS does (services, unless told)

services uses TEST_REDIS_URL and TEST_RABBITMQ_URL, and both shapes TEST_DATABASE_URL; what is not set is started. --save writes
bench/results/NAME.md, NAME.json and NAME-*.svg. VAULT_TOKEN stands in for --token.`;

/** @throws StartRefused that names everything that is wrong at once. */
export function readOptions(argv: string[], env: NodeJS.ProcessEnv): BenchOptions | 'help' {
  const faults: string[] = [];
  const { values, positionals } = parse(argv);
  if (values.help) return 'help';
  const { quick = false, issuers = '1', target, token = env.VAULT_TOKEN, only, json, save } = values;
  const measurement = measurementOf(positionals, faults);
  const isTable = measurement === 'table';
  if (!/^[1-9]\d?$/.test(issuers)) faults.push(`--issuers ${issuers} is not a number from 1 to 99`);
  if (target !== undefined && !token) faults.push('--target needs --token or VAULT_TOKEN');
  if (target !== undefined) faults.push(...faultsOf(target));
  if (values.pids && target === undefined) faults.push('--pids is for --target: our own processes are known');
  if (!isTable) {
    for (const name of ['quick', 'target', 'only', 'issuers', 'audit'] as const)
      if (values[name] !== undefined) faults.push(`--${name} is for table alone`);
  }
  if (save !== undefined && !/^[a-z0-9][a-z0-9-]*$/.test(save))
    faults.push(`--save ${save} is no name of small letters, digits and dashes`);
  const chosen = only === undefined ? operationNames : only.split(',').flatMap((name) => chosenBy(name, faults));
  const pids = Object.fromEntries((values.pids?.split(',') ?? []).map((pair) => pidOf(pair, faults)));
  const shapes = shapesOf(values.shape, { measurement, quick, alone: target !== undefined }, faults);
  if (faults.length > 0) throw new StartRefused(`Not started: ${faults.join('; ')}.`);
  return {
    measurement,
    shapes,
    quick,
    issuers: Number(issuers),
    audit: values.audit ?? false,
    only: operationNames.filter((name) => chosen.includes(name)),
    ...(target === undefined ? {} : { target: { url: new URL(target).origin, token: token!, pids } }),
    ...(json === undefined ? {} : { json }),
    ...(save === undefined ? {} : { save }),
  };
}

function parse(argv: string[]) {
  try {
    return parseArgs({ args: argv, options, allowPositionals: true });
  } catch (error) {
    throw new StartRefused(`Not started: ${(error as Error).message.split('. ')[0]}.\n\n${usage}`);
  }
}

function measurementOf([name = 'table', ...rest]: string[], faults: string[]): MeasurementName {
  const known = measurementNames.find((each) => each === name);
  if (!known) faults.push(`there is no measurement "${name}" (there are ${measurementNames.join(', ')})`);
  if (rest.length > 0) faults.push('one measurement at a time');
  return known ?? 'table';
}

function shapesOf(
  shape: string | undefined,
  { measurement, quick, alone }: { measurement: MeasurementName; quick: boolean; alone: boolean },
  faults: string[],
): Shape[] {
  if (shape === undefined) {
    if (alone) return [];
    if (measurement === 'table') return quick ? ['embedded'] : ['embedded', 'services'];
    return ['services'];
  }
  const shapes = Object.hasOwn(shapesBy, shape) ? shapesBy[shape]! : undefined;
  if (!shapes) faults.push(`--shape ${shape} is neither embedded nor services nor both`);
  if (ofServices.includes(measurement) && shape !== 'services') faults.push(`${measurement} is of services alone`);
  return shapes ?? [];
}

function faultsOf(target: string): string[] {
  if (!URL.canParse(target)) return [`--target ${target} is no URL`];
  const { protocol, hostname } = new URL(target);
  if (protocol !== 'http:') return ['--target must be an http:// URL'];
  if (!/^(127(\.\d+){3}|localhost|\[::1\])$/.test(hostname)) {
    return [
      `--target ${hostname} is not this machine: load goes to 127.0.0.1 only, so that it never meets others' systems`,
    ];
  }
  return [];
}

function chosenBy(name: string, faults: string[]): readonly OperationName[] {
  if (name === 'sts') return ['assumed-role', 'federation-token'];
  const known = operationNames.filter((each) => each === name);
  if (known.length === 0) faults.push(`--only knows no "${name}" (there are ${operationNames.join(', ')} and sts)`);
  return known;
}

function pidOf(pair: string, faults: string[]): [string, number] {
  const [, name, pid] = /^([\w-]+)=(\d+)$/.exec(pair) ?? [];
  if (!name) faults.push(`--pids ${pair} is not name=123`);
  return [name ?? '', Number(pid)];
}
