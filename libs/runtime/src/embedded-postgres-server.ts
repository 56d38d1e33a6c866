import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** A live server, as its postmaster.pid tells it. */
export interface Server {
  pid: number;
  port: number;
  /** Accepting connections; false while it starts, recovers or stops. */
  ready: boolean;
}

/**
 * The live server of the data folder `data` (PGDATA), or undefined. What a dead one left behind is removed: PostgreSQL
 * itself would take a zombie, or a stranger that was given the same pid, for a live server and refuse to start. Removing
 * it is safe: the shared memory, keyed by the folder's inode, still keeps a second server out while the first has processes.
 */
export function findServer(data: string): Server | undefined {
  const file = join(data, 'postmaster.pid');
  // Without an await between reading and removing, so that no other start in this process can come in between.
  const lines = readOrEmpty(file).split('\n');
  const pid = Number(lines[0]);
  if (!pid) return undefined;
  if (!isServerOf(data, pid)) {
    rmSync(file, { force: true });
    return undefined;
  }
  return { pid, port: Number(lines[3]), ready: lines[7]?.trim() === 'ready' };
}

/** Whether `pid` is a PostgreSQL server on `data`. A zombie has no command line any more, so it counts as dead. */
export function isServerOf(data: string, pid: number): boolean {
  if (process.platform === 'linux') return readOrEmpty(`/proc/${pid}/cmdline`).split('\0').includes(data);
  return spawnSync('ps', ['-p', String(pid), '-o', 'command='], { encoding: 'utf8' }).stdout.includes(data);
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
