import type { Outcome } from './bench.js';
import { dueTogether } from './due-together.js';
import { figuresOf } from './figures.js';
import { callsOfLives, type Life, livesSection } from './lives.js';
import { steadyMemoryOf } from './memory.js';
import type { Mounted } from './mounted.js';
import type { BenchOptions } from './options.js';
import { percentile } from './percentile.js';
import { aboutPeer, peerFigures } from './peer.js';
import { latencySection, oursAmong, rowsOf, throughputSection } from './phases.js';
import { planOf } from './plan.js';
import type { Plot, Report, Section } from './report.js';
import { Rig, type Run } from './rig.js';
import type { Say, Undo } from './servers.js';
import { startSystem, type System } from './systems.js';
import { formatNumber } from './table.js';
import { type Figures, judge, type Judged, targetSection } from './targets.js';

/** Leases that memory is looked at with; an account holds 5,000 users, so they are spread over several. */
const loaded = { leases: 20_000, accounts: 5 };
const dueAtOnce = 3_000;
const byPrefix = { leases: 300, awsMs: 50 };
/** The accounts of what has a mount to itself. */
const accountOf = { prefix: 100, lives: 101 };

interface Measured {
  name: string;
  outcomes: Outcome[];
  figures: Figures;
  memory: { state: string; mb: Record<string, number> }[];
  lives: Life[];
}

/** The whole table of what a caller notices, for each system that was chosen, held against the peer and the targets. */
export async function measureTable(run: Run, options: BenchOptions): Promise<Report> {
  const { target, shapes } = options;
  const theirs =
    target && (await measureSystem(run, options, async () => ({ name: 'the target', ...ofTarget(target) })));
  const ours: Measured[] = [];
  for (const shape of shapes) {
    if (run.signal.aborted) break;
    ours.push(await measureSystem(run, options, (say, undo) => startSystem[shape](options, say, undo)));
  }
  const peer: Figures = theirs?.figures ?? peerFigures;
  const about = theirs ? 'The peer is the target, measured in the same run.' : aboutPeer;
  const judged = (ours.length > 0 ? ours : theirs ? [theirs] : []).map((measured) => ({
    name: measured.name,
    rows: judge(measured.figures, measured === theirs ? peerFigures : peer),
  }));
  const all = [...(theirs ? [theirs] : []), ...ours];
  return {
    sections: [
      ...judged.map(({ name, rows }) => targetSection(name, rows, ours.length > 0 ? about : aboutPeer)),
      ...all.flatMap(sectionsOf),
    ],
    plots: plotsOf(judged),
    data: {
      peer: { about, figures: peer },
      systems: all.map(({ name, outcomes, figures, memory, lives }) => ({
        name,
        figures,
        latency: rowsOf(outcomes, 'latency'),
        throughput: rowsOf(outcomes, 'throughput'),
        memoryMb: memory,
        lives,
      })),
      judged,
    },
  };
}

function ofTarget({ url, token, pids }: NonNullable<BenchOptions['target']>): Omit<System, 'name'> {
  return { url, token, processes: Object.entries(pids).map(([name, pid]) => ({ name, pid })) };
}

async function measureSystem(
  run: Run,
  { quick, only }: BenchOptions,
  start: (say: Say, undo: Undo) => Promise<System>,
): Promise<Measured> {
  return Rig.with(run, start, async (rig) => {
    const { system } = rig;
    run.say(`Measuring ${system.name}.`);
    const measured: Measured = { name: system.name, outcomes: [], figures: {}, memory: [], lives: [] };
    const mounted = await rig.mount();
    const steps = [
      () => lookAtMemory(rig, measured, 'idle'),
      () => runPhases(rig, mounted, measured, planOf(quick, only)),
      ...(quick || !only.includes('revoke')
        ? []
        : [
            async () => void (measured.lives = await callsOfLives(rig, accountOf.lives)),
            () => revokeByPrefix(rig, measured),
            () => lookAtMany(rig, mounted, measured),
          ]),
    ];
    for (const step of steps) {
      if (run.signal.aborted) break;
      // What breaks off because we were told to stop leaves what was measured before.
      await step().catch((error: unknown) => {
        if (!run.signal.aborted) throw error;
      });
    }
    return measured;
  });
}

async function runPhases(
  rig: Rig,
  mounted: Mounted,
  measured: Measured,
  phases: ReturnType<typeof planOf>,
): Promise<void> {
  const { bench } = rig.bench(mounted);
  measured.outcomes = await bench.run(phases, (done) => {
    if (process.stdout.isTTY) process.stdout.write(`\r${done + 1} of ${phases.length}\r`);
  });
  Object.assign(measured.figures, figuresOf(measured.outcomes));
}

/** What our own processes have, each and together; nothing where none is known. */
async function lookAtMemory({ system }: Rig, measured: Measured, state: string): Promise<void> {
  const ours = oursAmong(system.processes.map(({ name }) => name));
  if (ours.length === 0) return;
  const mb = await steadyMemoryOf(system.processes.filter(({ name }) => ours.includes(name)));
  measured.memory.push({ state, mb });
  measured.figures[state === 'idle' ? 'idleMb' : 'loadedMb'] = Object.values(mb).reduce((sum, each) => sum + each, 0);
}

async function revokeByPrefix(rig: Rig, measured: Measured): Promise<void> {
  const mounted = await rig.mount(accountOf.prefix);
  await rig.bench(mounted).bench.fill(byPrefix.leases, 32);
  await rig.aws.setLatency(byPrefix.awsMs);
  const began = performance.now();
  await mounted.revokeAll(300_000);
  while ((await rig.aws.lentUsers(mounted.account.id)) > 0) {
    if (performance.now() - began > 300_000) throw new Error('300 leases are not revoked after five minutes.');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  measured.figures.prefixSeconds = (performance.now() - began) / 1_000;
}

/** Memory with many leases, and what becomes of some of them that are due at once. */
async function lookAtMany(rig: Rig, first: Mounted, measured: Measured): Promise<void> {
  const perAccount = loaded.leases / loaded.accounts;
  const near = rig.bench(first);
  await near.bench.fill(perAccount, 64);
  const others: Mounted[] = [];
  while (others.length < loaded.accounts - 1) others.push(await rig.mount(1 + others.length));
  await rig.bench(...others).bench.fill(loaded.leases - perAccount, 64);
  await lookAtMemory(rig, measured, `${loaded.leases} leases`);
  const { late } = await dueTogether(rig, [first], near.operations.stock.splice(0, dueAtOnce), 0);
  measured.figures.lateP50Seconds = percentile(late, 50);
  measured.figures.lateP99Seconds = percentile(late, 99);
}

function sectionsOf({ name, outcomes, memory, lives }: Measured): Section[] {
  const processes = Object.keys(memory[0]?.mb ?? {});
  return [
    latencySection(name, rowsOf(outcomes, 'latency')),
    throughputSection(name, rowsOf(outcomes, 'throughput')),
    {
      title: `Memory of ${name}, MB`,
      head: ['', ...processes],
      rows: memory.map(({ state, mb }) => [state, ...processes.map((each) => formatNumber(mb[each]))]),
    },
    livesSection(name, lives),
  ];
}

function plotsOf(judged: { name: string; rows: Judged[] }[]): Plot[] {
  const plot = (name: string, title: string, unit: string, figures: string[]): Plot => {
    const chosen = (judged[0]?.rows ?? []).filter(({ figure }) => figures.includes(figure));
    return {
      name,
      title,
      unit,
      kind: 'bars',
      categories: chosen.map(({ text }) => text.replace(/, (1|64) callers?/, '').replace(/: \S+ × AWS$/, '')),
      series: [
        ...judged.map(({ name: system, rows }) => ({
          name: system,
          values: chosen.map(({ figure }) => rows.find((row) => row.figure === figure)?.measured),
        })),
        { name: 'peer', values: chosen.map(({ peer }) => peer) },
      ],
    };
  };
  const latencies = ['credsMs0', 'credsMs50', 'revokeMs0', 'revokeMs50', 'assumedMs50', 'federationMs50', 'renewMs1'];
  const rates = ['credsPerSecond', 'revokePerSecond', 'assumedPerSecond', 'renewPerSecond'];
  return [
    plot('latency', 'What one caller waits for, p50', 'ms', latencies),
    plot('throughput', 'Answers per second, AWS at 0 ms', '/s', rates),
  ].filter(({ categories }) => categories.length > 0);
}
