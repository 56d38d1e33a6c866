import type { Service } from '../../cluster/src/fleet.js';
import { apply, Failures } from './load.js';
import type { Mounted } from './mounted.js';
import { percentile } from './percentile.js';
import type { Plot, Report } from './report.js';
import { Rig, type Run } from './rig.js';
import { type Services, startServices } from './systems.js';
import { formatNumber } from './table.js';

const awsMs = 50;
const accounts = 4;
const measureMs = 6_000;

/**
 * Issues at work at once per issuer where issuers are compared: with so few it is AWS that each waits for, and not this machine's
 * processors, which all of them, the load and the simulator share.
 */
const narrowPrefetch = 4;
const fleets = [1, 2, 4];

const loss = { issuers: 2, callers: 16, measureMs: 12_000, killAfterMs: 5_000, stepMs: 500 };

interface Rate {
  name: string;
  issuers: number;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}

interface Answer {
  /** Since the load began, milliseconds. */
  at: number;
  ms: number;
  failed: boolean;
}

/** What one issuer more is worth, and what callers notice when one dies. */
export async function measureScale(run: Run): Promise<Report> {
  return Rig.with(
    run,
    (say, undo) => startServices({ issuers: 0 }, say, undo),
    async (rig) => {
      const { fleet } = rig.system;
      const mounts: Mounted[] = [];
      let issuers: Service[] = await started(rig, 1, {});
      while (mounts.length < accounts) mounts.push(await rig.mount(mounts.length));
      const { bench } = rig.bench(...mounts);
      await bench.warmUp();

      run.say('Measuring one issuer with shipped defaults.');
      const alone = await rateOf(rig, mounts, 64, 'one issuer, shipped defaults', 1);
      await ended(issuers);
      issuers = [];
      const rates: Rate[] = [];
      for (const count of fleets) {
        if (run.signal.aborted) break;
        run.say(`Measuring issuers: ${count}.`);
        issuers.push(...(await started(rig, count - issuers.length, { LEASEHOLD_PREFETCH: String(narrowPrefetch) })));
        rates.push(await rateOf(rig, mounts, 3 * narrowPrefetch * count, `issuers: ${count}`, count));
      }
      await ended(issuers);

      run.say('Measuring the loss of an issuer.');
      await started(rig, loss.issuers, {});
      const answers = await loseOne(rig, mounts);
      for (const issuer of fleet.running('issuer').slice(1)) await issuer.end();
      return reportOf(alone, rates, answers);
    },
  );
}

async function started({ system }: Rig<Services>, count: number, env: Record<string, string>): Promise<Service[]> {
  return Promise.all(Array.from({ length: count }, () => system.fleet.start('issuer', env).serves()));
}

async function ended(services: Service[]): Promise<void> {
  await Promise.all(services.map((service) => service.end()));
}

async function rateOf(rig: Rig, mounts: Mounted[], callers: number, name: string, issuers: number): Promise<Rate> {
  const { bench, operations } = rig.bench(...mounts);
  await bench.warmUp();
  await bench.emptyStock();
  await rig.aws.setLatency(awsMs);
  const measured = await bench.measure({ operation: operations.by.creds, callers, warmUpMs: 1_000, measureMs });
  await bench.emptyStock();
  return {
    name,
    issuers,
    perSecond: measured.completed / measured.seconds,
    p50Ms: percentile(measured.samples, 50),
    p99Ms: percentile(measured.samples, 99),
  };
}

/** Answers to callers while one of the issuers is killed; what fails is what they saw, and no failure of the run. */
async function loseOne(rig: Rig<Services>, mounts: Mounted[]): Promise<Answer[]> {
  const { bench, operations } = rig.bench(...mounts);
  await bench.warmUp();
  await bench.emptyStock();
  await rig.aws.setLatency(awsMs);
  const answers: Answer[] = [];
  const began = performance.now();
  const operation = async (caller: number) => {
    const askedAt = performance.now();
    const tell = (failed: boolean) =>
      answers.push({ at: performance.now() - began, ms: performance.now() - askedAt, failed });
    await operations.by.creds(caller).then(
      () => tell(false),
      () => tell(true),
    );
    return true;
  };
  const [doomed] = rig.system.fleet.running('issuer');
  const timer = setTimeout(() => doomed!.signal('SIGKILL'), loss.killAfterMs);
  const { callers, measureMs: lossMs } = loss;
  await apply({ operation, callers, warmUpMs: 0, measureMs: lossMs }, () => ({}), new Failures(), rig.run.signal);
  clearTimeout(timer);
  await bench.emptyStock();
  return answers;
}

function reportOf(alone: Rate, rates: Rate[], answers: Answer[]): Report {
  const [single] = rates;
  const efficiency = ({ perSecond, issuers }: Rate) => perSecond / (single!.perSecond * issuers);
  const before = answers.filter(({ at }) => at < loss.killAfterMs);
  const after = answers.filter(({ at }) => at >= loss.killAfterMs);
  const seen = (name: string, some: Answer[], seconds: number) => {
    const ms = some
      .filter(({ failed }) => !failed)
      .map((answer) => answer.ms)
      .toSorted((a, b) => a - b);
    const times = [50, 99, 100].map((percent) => formatNumber(percentile(ms, percent)));
    return [name, formatNumber(some.length / seconds), `${some.filter(({ failed }) => failed).length}`, ...times];
  };
  const afterSeconds = (loss.measureMs - loss.killAfterMs) / 1_000;
  return {
    sections: [
      {
        title: `Credentials per second, AWS at ${awsMs} ms, ${accounts} accounts`,
        head: ['', '/s', 'p50 ms', 'p99 ms', 'efficiency', 'target'],
        rows: [
          [alone.name, ...ratesOf(alone), '–', verdict(alone.perSecond >= 100, '≥ 100 /s')],
          ...rates.map((rate) => [
            rate.name,
            ...ratesOf(rate),
            formatNumber(efficiency(rate)),
            rate.issuers === 1 ? '–' : verdict(efficiency(rate) >= 0.9, '≥ 0.9'),
          ]),
        ],
        note: `Where issuers are compared, LEASEHOLD_PREFETCH is ${narrowPrefetch}: each waits for AWS, and not for the processors, which all of them share with gateway, load and simulator here. Efficiency: of the rate of one issuer, times their number.`,
      },
      {
        title: `Two issuers, one killed after ${loss.killAfterMs / 1_000} s; ${loss.callers} callers`,
        head: ['', '/s', 'errors', 'p50 ms', 'p99 ms', 'longest'],
        rows: [seen('before', before, loss.killAfterMs / 1_000), seen('after', after, afterSeconds)],
        note: 'What the killed one had begun is undone and begun again by the other.',
      },
    ],
    plots: [ratePlot(rates), lossPlot(answers)],
    data: {
      alone,
      rates: rates.map((rate) => ({ ...rate, efficiency: efficiency(rate) })),
      loss: {
        ...loss,
        answersByStep: byStep(answers),
        errors: answers.filter(({ failed }) => failed).length,
        longestMs: Math.max(...answers.map(({ ms }) => ms)),
      },
    },
  };
}

const ratesOf = ({ perSecond, p50Ms, p99Ms }: Rate) => [perSecond, p50Ms, p99Ms].map(formatNumber);
const verdict = (isMet: boolean, target: string) => `${isMet ? 'met' : 'missed'}: ${target}`;

function ratePlot(rates: Rate[]): Plot {
  return {
    name: 'issuers',
    title: `Credentials per second by issuers, AWS at ${awsMs} ms`,
    unit: '/s',
    kind: 'bars',
    categories: rates.map(({ name }) => name),
    series: [
      { name: 'measured', values: rates.map(({ perSecond }) => perSecond) },
      { name: 'so many times one', values: rates.map(({ issuers }) => issuers * rates[0]!.perSecond) },
    ],
  };
}

const byStep = (answers: Answer[]) => {
  const steps = Array.from({ length: Math.ceil(loss.measureMs / loss.stepMs) }, () => 0);
  for (const { at, failed } of answers) {
    const step = Math.floor(at / loss.stepMs);
    if (!failed && step < steps.length) steps[step]! += 1;
  }
  return steps;
};

function lossPlot(answers: Answer[]): Plot {
  const steps = byStep(answers);
  return {
    name: 'loss',
    title: `Answers per second; one of two issuers is killed after ${loss.killAfterMs / 1_000} s`,
    unit: '/s',
    kind: 'lines',
    categories: steps.map((_, step) => `${(step * loss.stepMs) / 1_000} s`),
    series: [{ name: 'answers', values: steps.map((count) => (count * 1_000) / loss.stepMs) }],
  };
}
