import { randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StartRefused } from '#libs/runtime';

/** The folder that a single-process system keeps beside its database: its secrets and its log, for its owner only. */
export class DataFolder {
  /** @throws StartRefused when it cannot be made or written. */
  constructor(private readonly path: string) {
    this.orRefuse(() => {
      // The server of the embedded database may run as another user and has to get through; the files are closed.
      mkdirSync(path, { recursive: true, mode: 0o711 });
      accessSync(path, constants.W_OK | constants.X_OK);
    });
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** The text of a file that is made at the first start and kept: a key, a token. */
  keep(name: string, make: () => string): string {
    const path = this.file(name);
    return this.orRefuse(() => {
      try {
        return readFileSync(path, 'utf8').trim();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
      const text = make();
      // Whole or not at all: half a key would lock the next start out.
      writeFileSync(`${path}.new`, `${text}\n`, { mode: 0o600 });
      renameSync(`${path}.new`, path);
      return text;
    });
  }

  private orRefuse<T>(use: () => T): T {
    try {
      return use();
    } catch (error) {
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

/** A new master key: 32 random bytes in base64. */
export const newMasterKey = () => randomBytes(32).toString('base64');

/** A new root token. */
export const newRootToken = () => `hvs.${randomBytes(18).toString('base64url')}`;
