import { mkdtemp, chmod, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Logger } from '@nestjs/common';
import { startRabbitmq, startRedis } from '#servers';
import { startEmbeddedPostgres, StartRefused } from '#libs/runtime';
import { freshDatabase } from '../support/world.js';
import { broken, type BrokenBuild, runBroken } from './broken.js';
import type { Held } from './callers.js';
import { points } from './points.js';
import { Rig, type Servers } from './rig.js';
import { lendKept, runOnce } from './run.js';
import { type Line, table } from './table.js';

const usage = `npm run test:chaos -- [--runs N] [--only TEXT[,TEXT…]] [--seed S] [--minutes M] [--broken] [--list]

Kills services between every two neighbouring effects of issue, accept, renew and revoke, and counts what is left; it must
be nothing. --runs: of each point (1). --only: points, or broken builds, whose name contains one of these. --minutes: no run begins later (20).
--seed: the same chances again. --broken: does the same to builds that are broken on purpose, which must be found out.
TEST_DATABASE_URL, TEST_REDIS_URL and TEST_RABBITMQ_URL are used where they are set; else servers are started.`;

const options = {
  runs: { type: 'string', default: '1' },
  only: { type: 'string', default: '' },
  seed: { type: 'string' },
  minutes: { type: 'string', default: '20' },
  broken: { type: 'boolean' },
  list: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

const say = (line: string) => void process.stdout.write(`${line}\n`);

/**
 * Runs the matrix, until SIGINT or SIGTERM.
 * @returns the exit code: 0 when nothing was left, 1 when something was, 2 when it could not be run to its end.
 */
export async function main(argv: string[]): Promise<number> {
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => ending.abort(new StartRefused(`Ended by ${signal}.`)));
  }
  // The internal services' client tells Nest's log when it connects.
  Logger.overrideLogger(false);
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
  try {
    const { values } = parseArgs({ args: argv, options });
    if (values.help) {
      say(usage);
      return 0;
    }
    const [runs, minutes] = [Number(values.runs), Number(values.minutes)];
    const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
    if (!(runs >= 1 && minutes > 0 && Number.isInteger(seed))) throw new StartRefused(usage);
    const named = <T extends { name: string }>(all: T[]) =>
      all.filter(({ name }) => values.only.split(',').some((text) => name.includes(text)));
    const [chosen, builds] = [named(points), named(broken)];
    if ((values.broken ? builds : chosen).length === 0)
      throw new StartRefused(`Nothing has a name with "${values.only}" in it; --list names the points.`);
    if (values.list) {
      for (const { name, victim } of chosen) say(`${victim.padEnd(8)} ${name}`);
      return 0;
    }
    return await withServers((servers) =>
      values.broken
        ? allBroken(servers, builds, ending.signal)
        : runAll(servers, chosen, { runs, minutes, seed }, ending.signal),
    );
  } catch (error) {
    const told = error instanceof Error && /^(StartRefused|ServersRefused|TypeError)$/.test(error.name);
    process.stderr.write(`${told ? error.message : String((error as Error).stack ?? error)}\n`);
    return 2;
  }
}

async function runAll(
  servers: () => Promise<Servers>,
  chosen: typeof points,
  { runs, minutes, seed }: { runs: number; minutes: number; seed: number },
  ending: AbortSignal,
): Promise<number> {
  const ended = new Promise<never>((_, reject) =>
    ending.addEventListener('abort', () => reject(ending.reason as Error)),
  );
  ended.catch(() => undefined); // looked at while something runs
  const closesAt = performance.now() + minutes * 60_000;
  const lines: Line[] = chosen.map(({ name, victim }) => ({ name, victim, runs: 0, killed: 0, left: [], ms: 0 }));
  let rig: Rig | null = null;
  let kept: Held[] = [];
  say(`Seed ${seed}: ${chosen.length} points, ${runs} × each.`);
  try {
    for (let run = 0; run < runs; run += 1) {
      for (const [index, point] of chosen.entries()) {
        ending.throwIfAborted();
        if (performance.now() > closesAt) continue;
        if (!rig) {
          rig = await Rig.start(await servers());
          kept = await lendKept(rig);
        }
        const line = lines[index]!;
        const oneRun = runOnce(rig, point, seed + run * chosen.length + index, kept);
        const { killed, left, ms } = await Promise.race([oneRun, ended]);
        line.runs += 1;
        line.killed += killed;
        line.left.push(...left);
        line.ms += ms;
        say(`${left.length === 0 ? 'ok ' : 'RED'} ${point.name} (${Math.round(ms)} ms)`);
        for (const what of left) say(`      ${what}`);
        if (left.length === 0) continue;
        // What is left would be found again by the next point.
        await rig.close();
        rig = null;
      }
    }
  } finally {
    await rig?.close();
  }
  say(table(lines));
  return lines.every((line) => line.left.length === 0) ? 0 : 1;
}

async function allBroken(servers: () => Promise<Servers>, builds: BrokenBuild[], ending: AbortSignal): Promise<number> {
  const unnoticed: string[] = [];
  for (const build of builds) {
    say(`A build that is broken on purpose: ${build.name}.`);
    const { red, said } = await runBroken(build, await servers(), ending);
    say(said.replace(/^/gm, '    '));
    say(red ? '  found out.' : '  NOT found out.');
    if (!red) unnoticed.push(build.name);
  }
  return unnoticed.length === 0 ? 0 : 1;
}

/** Those of TEST_*_URL, or private ones; each call of `use`'s argument gives a database of its own. */
async function withServers(use: (servers: () => Promise<Servers>) => Promise<number>): Promise<number> {
  const { env } = process;
  const stops: (() => Promise<unknown>)[] = [];
  try {
    const folder = await mkdtemp(join(tmpdir(), 'leasehold-chaos-'));
    stops.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    await chmod(folder, 0o755); // under root the database server runs as another user and has to get through
    const start = async (server: Promise<{ url: string; stop(): Promise<unknown> }>) => {
      const { url, stop } = await server;
      stops.push(stop);
      return url;
    };
    const [database, redisUrl, rabbitmqUrl] = await Promise.all([
      env.TEST_DATABASE_URL ?? start(startEmbeddedPostgres({ dataDir: join(folder, 'postgresql') })),
      env.TEST_REDIS_URL ?? start(startRedis({ folder: join(folder, 'redis'), say })),
      env.TEST_RABBITMQ_URL ?? start(startRabbitmq({ folder: join(folder, 'rabbitmq'), say })),
    ]);
    return await use(async () => {
      const { url, drop } = await freshDatabase(database);
      stops.push(drop);
      return { databaseUrl: url, redisUrl, rabbitmqUrl };
    });
  } finally {
    while (stops.length > 0) await stops.pop()!().catch((error: unknown) => process.stderr.write(`${String(error)}\n`));
  }
}
