import { randomBytes } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { StartRefused } from '#libs/runtime';

/** The folder that a single-process system keeps beside its database: its secrets and its log, for its owner only. */
export class DataFolder {
  /** @throws StartRefused when it cannot be made or written. */
  constructor(private readonly path: string) {
    this.orRefuse(() => {
      // The server of the embedded database may run as another user and has to get through; the files are closed.
      makeFolder(path);
      accessSync(path, constants.W_OK | constants.X_OK);
    });
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /**
   * The text of a file that is made at the first start and kept: a key, a token. It outlives a power loss from the
   * moment on that somebody has the text.
   * @throws StartRefused when the file is empty.
   */
  keep(name: string, make: () => string): string {
    const path = this.file(name);
    return this.orRefuse(() => {
      try {
        const kept = readFileSync(path, 'utf8').trim();
        if (kept === '') {
          throw new StartRefused(
            `${path} is empty, as a power loss may leave a file: put back what was in it, or give another folder in LEASEHOLD_DATA_DIR.`,
          );
        }
        return kept;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
      const text = make();
      // Whole or not at all: half a key would lock the next start out.
      onDisk(`${path}.new`, 'w', (file) => writeFileSync(file, `${text}\n`));
      renameSync(`${path}.new`, path);
      if (process.platform !== 'win32') onDisk(this.path, 'r'); // Windows opens no folders
      return text;
    });
  }

  private orRefuse<T>(use: () => T): T {
    try {
      return use();
    } catch (error) {
      if (error instanceof StartRefused) throw error;
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOSPC') {
        throw new StartRefused(
          `The disk that holds the data folder ${this.path} is full: free some space and start again.`,
        );
      }
      throw new StartRefused(
        `The data folder ${this.path} cannot be written (${message}): give another one in LEASEHOLD_DATA_DIR, or the right to write to it.`,
      );
    }
  }
}

/**
 * Makes the folder and those above it. Node's own way of doing it tries for ever where nothing can be made, as in /proc.
 */
function makeFolder(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  if (!existsSync(dirname(path))) makeFolder(dirname(path));
  mkdirSync(path, { mode: 0o711 });
}

/** Opens a file or folder and does not return before what it holds is on the disk. */
function onDisk(path: string, flags: 'r' | 'w', write?: (descriptor: number) => void): void {
  const descriptor = openSync(path, flags, 0o600);
  try {
    write?.(descriptor);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** A new master key: 32 random bytes in base64. */
export const newMasterKey = () => randomBytes(32).toString('base64');

/** A new root token. */
export const newRootToken = () => `hvs.${randomBytes(18).toString('base64url')}`;
