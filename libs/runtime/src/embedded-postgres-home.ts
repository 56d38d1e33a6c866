import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { asUser, canEnter, serverAccount, type Account } from './embedded-postgres-account.js';
import type { Binaries } from './embedded-postgres-binaries.js';
import { StartRefused } from './start-refused.js';

/** Where one embedded server lives. All but `folder` belongs to `account`, or to our own user where that is undefined. */
export interface Home {
  /** Holds `server`, and a copy of the binaries where one is needed. */
  folder: string;
  /** Made whole or not at all: PGDATA, the password, the port last used, the server's log. */
  server: string;
  /** PGDATA. */
  data: string;
  account: Account | undefined;
}

/** The superuser of the embedded server and the name of its database. */
export const superuser = 'leasehold';

/** Begins the name of a cluster in the making, beside its later place; whoever owns the server sweeps up cut-off ones. */
export const scratchPrefix = 'postgresql-new-';

/** What PostgreSQL's programs see of our environment: nothing of it. English messages, for `refusalFor` to read. */
export const bareEnvironment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/** Where data goes when we are root and no other user may enter the folder we were given. */
const reachable = '/var/lib/leasehold';

/**
 * Finds, or makes, the folder for the server of `dataDir` and the user to run it as. `dataDir/postgresql` is a link to a
 * folder below /var/lib/leasehold when that user may not enter `dataDir`.
 */
export async function openHome(dataDir: string, say: (line: string) => void): Promise<Home> {
  await mkdir(dataDir, { recursive: true });
  const asked = join(await realpath(dataDir), 'postgresql');
  const linked = await readlink(asked).catch(() => undefined);
  const server = linked ?? asked;
  const owner = await stat(server).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  const account = serverAccount(owner, say);
  const home = { folder: dirname(server), server, data: join(server, 'data'), account };
  if (!account || canEnter(account, home.folder)) return home;
  if (owner) {
    throw new StartRefused(
      `The user ${account.name}, who owns the data in ${server}, may no longer enter that folder: give that user the right to pass (chmod a+x) through every folder on the way.`,
    );
  }
  const elsewhere = linked ?? join(reachable, randomBytes(8).toString('hex'), 'postgresql');
  await mkdir(dirname(elsewhere), { recursive: true });
  for (const folder of [reachable, dirname(elsewhere)]) await chmod(folder, 0o711);
  if (!linked) await symlink(elsewhere, asked);
  say(`PostgreSQL keeps its data in ${elsewhere}: it runs as the user ${account.name}, who may not enter ${dataDir}.`);
  return { folder: dirname(elsewhere), server: elsewhere, data: join(elsewhere, 'data'), account };
}

/**
 * Makes the database cluster when there is none. Two at once are safe: each makes its own beside, and the first to
 * rename it into place has made it.
 *
 * @throws StartRefused when there is a cluster of another major version of PostgreSQL, or half of one
 */
export async function initialise(home: Home, binaries: Binaries): Promise<void> {
  if (!existsSync(home.server)) await makeCluster(home, binaries);
  const made = (
    await readFile(join(home.data, 'PG_VERSION'), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    })
  ).trim();
  const major = binaries.version.split('.')[0];
  if (made === major) return;
  throw new StartRefused(
    made
      ? `The data in ${home.data} was made by PostgreSQL ${made} and this is PostgreSQL ${major}: move it over with pg_dumpall of version ${made}, or move the folder ${home.server} away to start with an empty database.`
      : `The folder ${home.server} holds no whole PostgreSQL data: move it away to start with an empty database, or put a backup in its place.`,
  );
}

/** The superuser's password; only the owner of the data may read it. */
export function readPassword(home: Home): Promise<string> {
  return readFile(join(home.server, 'password'), 'utf8');
}

/** Hands what we made to the user that the server runs as. */
export async function give(home: Home, ...paths: string[]): Promise<void> {
  if (home.account) for (const path of paths) await chown(path, home.account.uid, home.account.gid);
}

async function makeCluster(home: Home, binaries: Binaries): Promise<void> {
  const scratch = await mkdtemp(join(home.folder, scratchPrefix));
  try {
    const password = join(scratch, 'password');
    await writeFile(password, randomBytes(24).toString('hex'), { mode: 0o600 });
    await give(home, scratch, password);
    await initdb(home, binaries, scratch);
    await rename(scratch, home.server);
  } catch (error) {
    if (!existsSync(home.server)) throw error; // else a start beside this one was first, and swept our scratch away
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function initdb(home: Home, binaries: Binaries, scratch: string): Promise<void> {
  const run = spawn(
    binaries.initdb,
    [
      ...['-D', join(scratch, 'data'), '--username', superuser, '--pwfile', join(scratch, 'password')],
      ...['--auth=scram-sha-256', '--encoding=UTF8', '--locale=C', '--no-instructions'],
    ],
    { ...asUser(home.account), cwd: '/', env: bareEnvironment, detached: true, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let printed = '';
  for (const stream of [run.stdout, run.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (printed += text));
  const [code] = (await once(run, 'close')) as [number | null];
  if (code !== 0) throw new Error(printed || `initdb ended with ${code}`);
}
