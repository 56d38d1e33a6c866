import { StartRefused } from './start-refused.js';

const diskFull = /No space left on device|ENOSPC|Disk quota exceeded|EDQUOT/;
const notWritable = /Permission denied|EACCES|Operation not permitted|EPERM|Read-only file system|EROFS|ENOTDIR|EEXIST/;
const cannotRun = /error while loading shared libraries|GLIBC_|Exec format error|spawn \S+ E/;

/**
 * The one sentence for whatever kept PostgreSQL from starting: an error of ours, or what initdb or the server printed.
 * `folder` is the data folder as the person named it.
 */
export function refusalFor(failure: unknown, folder: string): StartRefused {
  if (failure instanceof StartRefused) return failure;
  const text = failure instanceof Error ? failure.message : String(failure);
  const sentence = diskFull.test(text)
    ? `The disk that holds the data folder ${folder} is full: free some space, or choose a folder on another disk, and start again.`
    : cannotRun.test(text)
      ? `The PostgreSQL that npm installed does not run on this system (${lastWord(text)}): set DATABASE_URL to a PostgreSQL of your own.`
      : notWritable.test(text)
        ? `The data folder ${folder} cannot be used by this user (${lastWord(text)}): let the user write there, choose another folder, or set DATABASE_URL to a PostgreSQL of your own.`
        : `PostgreSQL did not start in the data folder ${folder}: ${lastWord(text)}.`;
  return new StartRefused(sentence, { cause: failure });
}

/** The line that says why: the last one marked fatal, else the last one, without its marks. */
function lastWord(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const line = lines.findLast((each) => /FATAL:|PANIC:|error:/.test(each)) ?? lines.at(-1) ?? 'it gave no reason';
  return line.replace(/^.*?(FATAL|PANIC|error):\s+/, '').replace(/\.$/, '');
}
