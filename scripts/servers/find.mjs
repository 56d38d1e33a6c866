import { accessSync, constants, realpathSync } from 'node:fs';
import { basename, delimiter, join } from 'node:path';

/** The path of a server's program on this machine, or undefined. @param {'redis' | 'rabbitmq'} server */
export function findServer(server) {
  if (server === 'redis') return findProgram('redis-server') ?? findProgram('valkey-server');
  // The distributions' wrapper on the PATH switches to another user and to the folders of the system's own server.
  const rabbitmq = ['/usr/lib/rabbitmq/bin', ...searchPath()].map((folder) => join(folder, 'rabbitmq-server'));
  return rabbitmq.find((path) => isProgram(path) && !basename(realpathSync(path)).includes('wrapper'));
}

export function findProgram(name) {
  return searchPath()
    .map((folder) => join(folder, name))
    .find(isProgram);
}

/** The PATH, and where servers are that ordinary users and services do not have on it. */
export function searchPath() {
  const usual = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  const brew = ['/opt/homebrew/sbin', '/opt/homebrew/bin'];
  return [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...usual, ...brew];
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
