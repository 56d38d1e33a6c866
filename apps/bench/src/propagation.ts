import { setTimeout as sleep } from 'node:timers/promises';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { often } from './load.js';
import { lentIn } from './operations.js';
import type { BenchOptions } from './options.js';
import { percentile } from './percentile.js';
import { filledPool } from './pool.js';
import type { Report } from './report.js';
import { Rig, type Run } from './rig.js';
import { formatNumber } from './table.js';

/** After so long the servers of AWS, asked in turn, know a new key: the usual lag of IAM, and one server that is slow. */
const propagationMs = [500, 2_000, 5_000];
const awsMs = 20;
/** A key is usable from the first of so many uses in a row that were accepted. */
const inARow = 6;
const everyMs = 100;
const leases = { each: 48, callers: 8 };

/** Ways to ask for a credential, each below a mount. */
const ways: { name: string; path: string; isPool?: boolean }[] = [
  { name: 'plain', path: 'creds/user' },
  { name: 'ready', path: 'creds/user?ready=true' },
  { name: 'pool', path: 'creds/pooled', isPool: true },
];

/** One credential, as its caller found it; milliseconds. */
interface Use {
  firstRefused: boolean;
  /** From the question to the answer. */
  answeredMs: number;
  /** From the answer until the key is usable. */
  usableAfterMs: number;
}

interface Found {
  system: string;
  way: string;
  uses: Use[];
}

/** How often the first use of a new key fails while AWS has not spread it, and how long callers wait until it works. */
export async function measurePropagation(run: Run, { shapes }: BenchOptions): Promise<Report> {
  const found: Found[] = [];
  await Rig.inEach(run, shapes, async (rig) => {
    const { mounted, bench } = await rig.warm();
    await rig.aws.set({ latencyMs: awsMs, propagationMs });
    for (const { name, path, isPool } of ways) {
      if (run.signal.aborted) break;
      if (isPool) await filledPool(rig, mounted, leases.each);
      run.say(`Measuring ${rig.system.name}: ${name}.`);
      const uses: Use[] = [];
      const operation = async () => uses.push(await useOne(rig, `${mounted.path}/${path}`)) > 0;
      await bench.measure(often(operation, leases.each, leases.callers));
      found.push({ system: rig.system.name, way: name, uses });
    }
    await rig.aws.set({ propagationMs: 0 });
  });
  return reportOf(found);
}

/** Asks for a credential and uses it until AWS knows it everywhere. */
async function useOne({ client, aws, run }: Rig, path: string): Promise<Use> {
  const askedAt = performance.now();
  const answer = await client.call('GET', path);
  const answeredAt = performance.now();
  const [, secretAccessKey] = /"secret_key":\s*"([^"]+)"/.exec(answer) ?? [];
  const holder = new STSClient({
    endpoint: aws.url,
    region: 'us-east-1',
    maxAttempts: 1,
    credentials: { accessKeyId: lentIn(answer).accessKeyId, secretAccessKey: secretAccessKey! },
  });
  try {
    let [accepted, usableAt, uses, firstRefused] = [0, answeredAt, 0, false];
    while (accepted < inARow) {
      const usedAt = performance.now();
      const isAccepted = await holder.send(new GetCallerIdentityCommand({})).then(
        () => true,
        (error: Error) => {
          if (error.name !== 'InvalidClientTokenId') throw error;
          return false;
        },
      );
      if (isAccepted && accepted === 0) usableAt = uses === 0 ? answeredAt : usedAt;
      if (!isAccepted && uses === 0) firstRefused = true;
      accepted = isAccepted ? accepted + 1 : 0;
      uses += 1;
      await sleep(everyMs, undefined, { signal: run.signal });
    }
    return { firstRefused, answeredMs: answeredAt - askedAt, usableAfterMs: usableAt - answeredAt };
  } finally {
    holder.destroy();
  }
}

function reportOf(found: Found[]): Report {
  const summaries = found.map(({ system, way, uses }) => {
    const of = (read: (use: Use) => number) => uses.map(read).toSorted((a, b) => a - b);
    const [answered, usable] = [of(({ answeredMs }) => answeredMs), of(({ usableAfterMs }) => usableAfterMs)];
    const whole = of(({ answeredMs, usableAfterMs }) => answeredMs + usableAfterMs);
    return {
      system,
      way,
      leases: uses.length,
      firstUseRefused: uses.filter(({ firstRefused }) => firstRefused).length / uses.length,
      answeredP50Ms: percentile(answered, 50),
      answeredP99Ms: percentile(answered, 99),
      usableAfterP50Ms: percentile(usable, 50),
      usableAfterP99Ms: percentile(usable, 99),
      fromQuestionP50Ms: percentile(whole, 50),
    };
  });
  return {
    sections: [
      {
        title: 'New keys while AWS lags',
        head: [
          '',
          'n',
          'first use refused',
          'answered p50',
          'p99',
          'usable after p50',
          'p99',
          'question to usable p50',
        ],
        rows: summaries.map((each) => [
          `${each.system}: ${each.way}`,
          `${each.leases}`,
          `${(100 * each.firstUseRefused).toFixed(0)} %`,
          ...[
            each.answeredP50Ms,
            each.answeredP99Ms,
            each.usableAfterP50Ms,
            each.usableAfterP99Ms,
            each.fromQuestionP50Ms,
          ].map((ms) => `${formatNumber(ms)} ms`),
        ]),
        note: `Three servers of AWS, asked in turn, know a key after ${propagationMs.map((ms) => ms / 1_000).join(', ')} s; AWS at ${awsMs} ms a call. Usable: from the first of ${inARow} uses in a row that are accepted, tried every ${everyMs} ms.`,
      },
    ],
    plots: [
      {
        name: 'usable',
        title: 'From the answer until the key is usable, p50',
        unit: 'ms',
        kind: 'bars',
        categories: summaries.map(({ system, way }) => `${system}: ${way}`),
        series: [{ name: 'usable after', values: summaries.map(({ usableAfterP50Ms }) => usableAfterP50Ms) }],
      },
    ],
    data: { propagationMs, awsMs, ways: summaries },
  };
}
