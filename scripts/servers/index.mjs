import { canUseDocker, startRabbitmqContainer, startRedisContainer } from './docker.mjs';
import { install } from './install.mjs';
import { startInstalledRabbitmq } from './rabbitmq.mjs';
import { startInstalledRedis } from './redis.mjs';

export { ServersRefused } from './servers-refused.mjs';

// Imports nothing but Node itself: it may run before node_modules exists.

/**
 * RabbitMQ and Redis of this run's own, for whatever fills, flushes, stops or cuts them: on 127.0.0.1, with ports, data and
 * credentials that nobody else has. They end with this process, however it ends.
 *
 * `startRedis` and `startRabbitmq` take a folder of the instance's own, made when it is missing. Data is kept in it for a
 * later run too, except under Docker, where it lives as long as this process.
 *
 * With `tls`, PEM texts of an authority, and of a certificate of it with its key, a server speaks TLS alone, and only with who
 * shows a certificate of that authority. Docker is not used for those.
 *
 * @typedef {import('./process.mjs').Server} Server
 * @typedef {(line: string) => void} Say
 * @typedef {{ ca: string, cert: string, key: string }} Tls
 * @typedef {{ folder: string, port?: number, tls?: Tls }} Place
 */

/**
 * Makes the servers available: from a Docker engine, else those installed, else installed with apt, which needs root.
 * Says a line for what takes long. Two processes may ask at once.
 *
 * @param {{ say?: Say, servers?: ('redis' | 'rabbitmq')[], tls?: boolean }} [options] both, and in the clear, unless told
 * @returns {Promise<{ startRedis(options: Place & { password?: string }): Promise<Server>,
 *   startRabbitmq(options: Place): Promise<Server> }>}
 * @throws {ServersRefused}
 */
export async function obtainServers({ say = () => undefined, servers = ['redis', 'rabbitmq'], tls = false } = {}) {
  if (!tls && (await canUseDocker(say)))
    return { startRedis: startRedisContainer, startRabbitmq: startRabbitmqContainer };
  await install(servers, say);
  return { startRedis: startInstalledRedis, startRabbitmq: startInstalledRabbitmq };
}

/**
 * @param {Place & { say?: Say, password?: string }} options
 * @returns {Promise<Server>} resolves when it takes commands
 */
export async function startRedis({ say, ...options }) {
  return (await obtainServers({ say, servers: ['redis'], tls: Boolean(options.tls) })).startRedis(options);
}

/**
 * @param {Place & { say?: Say }} options
 * @returns {Promise<Server>} resolves when it greets AMQP connections
 */
export async function startRabbitmq({ say, ...options }) {
  return (await obtainServers({ say, servers: ['rabbitmq'], tls: Boolean(options.tls) })).startRabbitmq(options);
}
