import { spawnSync } from 'node:child_process';
import { StartRefused } from './start-refused.js';

/** The system user that the server runs as when we are root; `uid` and `gid` go to `spawn` as they are. */
export interface Account {
  uid: number;
  gid: number;
  name: string;
}

/**
 * PostgreSQL refuses to run as root. Undefined when we are not: our own user will do.
 * `owner` is who owns existing data; it stays theirs. Otherwise `postgres`, made when it is missing, else `nobody`.
 */
export function serverAccount(
  owner: { uid: number; gid: number } | undefined,
  say: (line: string) => void,
): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid, name: `with id ${owner.uid}` };
  const account = lookUp('postgres') ?? makePostgresUser(say) ?? lookUp('nobody');
  if (account) return account;
  throw new StartRefused(
    'PostgreSQL does not run as root and this machine has no user "postgres" or "nobody" to run it as: start Leasehold as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own.',
  );
}

/** Whether `account` can do what `command` does; the kernel is asked, since modes, ACLs and mounts all have a say. */
export function succeedsAs(account: Account | undefined, command: string, args: string[]): boolean {
  const { error, status } = spawnSync(command, args, { ...asUser(account), cwd: '/', stdio: 'ignore' });
  if (error && account && 'code' in error && error.code === 'EPERM') {
    throw new StartRefused(
      `PostgreSQL does not run as root and this process may not switch to the user ${account.name}: start Leasehold as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own.`,
    );
  }
  return !error && status === 0;
}

export function canEnter(account: Account, folder: string): boolean {
  return succeedsAs(account, '/bin/sh', ['-c', 'test -x "$1"', 'sh', folder]);
}

/** The part of `spawn`'s options that switches to `account`. */
export function asUser(account: Account | undefined): { uid?: number; gid?: number } {
  return account ? { uid: account.uid, gid: account.gid } : {};
}

function lookUp(name: string): Account | undefined {
  const [uid, gid] = ['-u', '-g'].map((flag) => {
    const { status, stdout } = spawnSync('id', [flag, name], { encoding: 'utf8' });
    return status === 0 ? Number(stdout) : 0;
  });
  return uid && gid ? { uid, gid, name } : undefined;
}

function makePostgresUser(say: (line: string) => void): Account | undefined {
  spawnSync(
    'useradd',
    [
      '--system',
      '--user-group',
      '--no-create-home',
      '--home-dir',
      '/nonexistent',
      '--shell',
      '/usr/sbin/nologin',
      'postgres',
    ],
    { stdio: 'ignore' },
  );
  const made = lookUp('postgres');
  if (made) say('Made the system user "postgres": PostgreSQL does not run as root.');
  return made;
}
