import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Milliseconds of CPU that processes have used so far, by name and id: one that has ended since is no less than nothing. */
export type CpuTimes = Record<string, Record<number, number>>;

/** Milliseconds of CPU by the name of a process. */
export type SpentCpu = Record<string, number>;

export interface WatchedProcess {
  name: string;
  pid: number;
  /** Only those below it whose title holds this: our part of a server that serves others too. */
  titled?: string;
}

interface ProcessTimes {
  parent: number;
  ms: number;
}

/**
 * What each process and those below it have used so far; a name that occurs twice counts together. Linux counts in steps
 * of 10 ms and includes children that have ended; elsewhere `ps` is asked.
 */
export function cpuOf(processes: WatchedProcess[]): CpuTimes {
  const all = process.platform === 'linux' ? fromProc() : fromPs();
  const below = new Map<number, number[]>();
  for (const [pid, { parent }] of all) below.set(parent, [...(below.get(parent) ?? []), pid]);
  const treeMs = (pid: number): number =>
    (below.get(pid) ?? []).reduce((sum, child) => sum + treeMs(child), all.get(pid)?.ms ?? 0);
  const times: CpuTimes = {};
  for (const { name, pid, titled } of processes) {
    const parts =
      titled === undefined ? [pid] : (below.get(pid) ?? []).filter((part) => titleOf(part).includes(titled));
    times[name] = { ...times[name], ...Object.fromEntries(parts.map((part) => [part, treeMs(part)])) };
  }
  return times;
}

/** What was spent by processes that are there at the end; what one had used before it was first seen counts too. */
export function spentBetween(before: CpuTimes, after: CpuTimes): SpentCpu {
  const spentBy = (name: string) =>
    Object.entries(after[name]!).reduce((sum, [pid, ms]) => sum + ms - (before[name]?.[Number(pid)] ?? 0), 0);
  return Object.fromEntries(Object.keys(after).map((name) => [name, spentBy(name)]));
}

/** The process that listens on a port of this machine; undefined where that cannot be told. */
export function listenerOn(port: number): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const ends = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const sockets = new Set(
    ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) =>
      attempt(() => readFileSync(table, 'utf8'), '')
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .filter((fields) => fields[1]?.endsWith(ends) && fields[3] === '0A')
        .map((fields) => `socket:[${fields[9]}]`),
    ),
  );
  if (sockets.size === 0) return undefined;
  return pids().find((pid) =>
    attempt(() => readdirSync(`/proc/${pid}/fd`), []).some((fd) =>
      sockets.has(attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`), '')),
    ),
  );
}

function fromProc(): Map<number, ProcessTimes> {
  const all = new Map<number, ProcessTimes>();
  for (const pid of pids()) {
    const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'), '');
    // The name before it may hold spaces. proc(5): ppid is field 4, utime, stime, cutime and cstime are 14 to 17.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
    if (stat) all.set(pid, { parent: Number(fields[1]), ms: ticks * 10 });
  }
  return all;
}

function fromPs(): Map<number, ProcessTimes> {
  const lines = execFileSync('ps', ['-axo', 'pid=,ppid=,time='], { encoding: 'utf8' }).trim().split('\n');
  return new Map(
    lines.map((line) => {
      const [pid, parent, time] = line.trim().split(/\s+/);
      const seconds = time!.split(/[-:]/).reduce((sum, part, at, parts) => sum + Number(part) * weight(at, parts), 0);
      return [Number(pid), { parent: Number(parent), ms: seconds * 1_000 }];
    }),
  );
}

const titleOf = (pid: number) => attempt(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'), '');

/** Seconds in a part of `[[days-]hours:]minutes:seconds`. */
const weight = (at: number, parts: string[]) => [1, 60, 3_600, 86_400][parts.length - 1 - at]!;

const pids = () => readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));

/** Processes end, and some are not ours to look into. */
function attempt<T>(look: () => T, otherwise: T): T {
  try {
    return look();
  } catch {
    return otherwise;
  }
}
