import { parseArgs } from 'node:util';
import { StartRefused } from '#libs/runtime';
import { operationNames, type OperationName } from './operations.js';

/** What is measured: a system of our own, or one that runs already. */
export type Shape = 'embedded' | 'services' | 'target';

export interface BenchOptions {
  shape: Shape;
  quick: boolean;
  issuers: number;
  /** With an audit file. */
  audit: boolean;
  only: readonly OperationName[];
  /** Of a system that runs already. */
  target?: { url: string; token: string };
  /** Processes to measure the CPU of, where they are not ours. */
  pids: Record<string, number>;
  json?: string;
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
  help: { type: 'boolean' },
} as const;

export const usage = `npm run bench -- [--quick] [--shape embedded|services] [--issuers N] [--audit] [--only ${operationNames.join(',')}]
                [--target URL --token T [--pids name=123,name=456]] [--json FILE]

--quick takes about one minute, without it about five. "sts" in --only means both STS credential types.
services uses TEST_REDIS_URL and TEST_RABBITMQ_URL, and both shapes TEST_DATABASE_URL; what is not set is started.
--audit writes every request and answer to an audit file. --target is any server on this machine with the HTTP API of Vault's AWS engine; VAULT_TOKEN stands in for --token.`;

/** @throws StartRefused that names everything that is wrong at once. */
export function readOptions(argv: string[], env: NodeJS.ProcessEnv): BenchOptions | 'help' {
  const faults: string[] = [];
  const values = parse(argv);
  if (values.help) return 'help';
  const { shape = 'embedded', issuers = '1', target, token = env.VAULT_TOKEN, only, json } = values;
  if (shape !== 'embedded' && shape !== 'services') faults.push(`--shape ${shape} is neither embedded nor services`);
  if (!/^[1-9]\d?$/.test(issuers)) faults.push(`--issuers ${issuers} is not a number from 1 to 99`);
  if (target !== undefined && values.shape) faults.push('--shape and --target exclude each other');
  if (target !== undefined && !token) faults.push('--target needs --token or VAULT_TOKEN');
  if (target !== undefined) faults.push(...faultsOf(target));
  if (values.pids && target === undefined) faults.push('--pids is for --target: our own processes are known');
  const chosen = only === undefined ? operationNames : only.split(',').flatMap((name) => chosenBy(name, faults));
  const pids = Object.fromEntries((values.pids?.split(',') ?? []).map((pair) => pidOf(pair, faults)));
  if (faults.length > 0) throw new StartRefused(`Not started: ${faults.join('; ')}.`);
  return {
    shape: target === undefined ? (shape as Shape) : 'target',
    quick: values.quick ?? false,
    issuers: Number(issuers),
    audit: values.audit ?? false,
    only: operationNames.filter((name) => chosen.includes(name)),
    ...(target === undefined ? {} : { target: { url: new URL(target).origin, token: token! } }),
    pids,
    ...(json === undefined ? {} : { json }),
  };
}

function parse(argv: string[]) {
  try {
    return parseArgs({ args: argv, options }).values;
  } catch (error) {
    throw new StartRefused(`Not started: ${(error as Error).message.split('. ')[0]}.\n\n${usage}`);
  }
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
