import { dueTogether, type Lateness } from './due-together.js';
import type { BenchOptions } from './options.js';
import { percentile } from './percentile.js';
import type { Report } from './report.js';
import { Rig, type Run } from './rig.js';
import { startSystem } from './systems.js';
import { formatNumber } from './table.js';

/** How many leases are due in which time, over how many accounts of 5,000 users, and how late the last in a hundred may be. */
const cases = [
  { name: '3,000 in the same second', leases: 3_000, withinMs: 0, accounts: 1, p99Seconds: 2 },
  { name: '10,000 in a minute', leases: 10_000, withinMs: 60_000, accounts: 3, p99Seconds: 1 },
];

/** How late leases are gone from AWS when many end together; alarms, claims and revocations are the product's own. */
export async function measureLateness(run: Run, { shapes }: BenchOptions): Promise<Report> {
  const found: ({ system: string; case: (typeof cases)[number] } & Lateness)[] = [];
  for (const shape of shapes) {
    for (const each of cases) {
      if (run.signal.aborted) break;
      await Rig.with(
        run,
        (say, undo) => startSystem[shape]({}, say, undo),
        async (rig) => {
          run.say(`Measuring ${rig.system.name}: ${each.name}.`);
          const mounts = [];
          while (mounts.length < each.accounts) mounts.push(await rig.mount(mounts.length));
          const { bench, operations } = rig.bench(...mounts);
          await bench.warmUp();
          await bench.emptyStock();
          await bench.fill(each.leases, 48);
          const lateness = await dueTogether(rig, mounts, operations.stock.splice(0), each.withinMs);
          found.push({ system: rig.system.name, case: each, ...lateness });
        },
      );
    }
  }
  const percents = [50, 90, 99, 100];
  return {
    sections: [
      {
        title: 'How late leases are gone from AWS',
        head: [
          '',
          'n',
          'due within',
          ...percents.map((percent) => (percent === 100 ? 'last' : `p${percent}`)),
          'p99 is to be',
        ],
        rows: found.map(({ system, case: { name, p99Seconds }, late, dueWithin }) => [
          `${system}: ${name}`,
          `${late.length}`,
          `${formatNumber(dueWithin)} s`,
          ...percents.map((percent) => `${formatNumber(percentile(late, percent))} s`),
          `${percentile(late, 99) <= p99Seconds ? 'met' : 'missed'}: ≤ ${p99Seconds} s`,
        ]),
        note: "From a lease's end until AWS has deleted its user, the last of its calls; AWS at 0 ms.",
      },
    ],
    plots: found.map(({ system, case: { name }, goneBySecond }, index) => ({
      name: `case-${index + 1}`,
      title: `${system}: ${name}, users deleted each second`,
      unit: 'users',
      kind: 'lines' as const,
      categories: goneBySecond.map((_, second) => `${second} s`),
      series: [{ name: 'deleted', values: goneBySecond }],
    })),
    data: {
      cases: found.map(({ system, case: { name }, late, dueWithin, goneBySecond }) => ({
        system,
        name,
        leases: late.length,
        dueWithinSeconds: dueWithin,
        lateSeconds: Object.fromEntries(percents.map((percent) => [`p${percent}`, percentile(late, percent)])),
        goneBySecond,
      })),
    },
  };
}
