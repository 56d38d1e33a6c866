import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findProgram, findServer, searchPath } from './find.mjs';
import { answers, freePort, openFolder, secretIn, writePems } from './private.mjs';
import { keep, run } from './process.mjs';
import { ServersRefused } from './servers-refused.mjs';

/** Not guest, which everyone knows. */
const user = 'leasehold';

export async function startInstalledRabbitmq({ folder, port, tls }) {
  await openFolder(folder);
  const own = await privateRabbitmq({ port, password: await secretIn(folder, 'password'), tls });
  // Made by us: the one that Erlang makes can be guessed.
  await secretIn(folder, '.erlang.cookie', 0o400);
  const settings = [
    ...(tls ? await listenSecurely(folder, own.port, tls) : [`listeners.tcp.1 = 127.0.0.1:${own.port}`]),
    `default_user = ${user}`,
    `default_pass = ${own.password}`,
    'log.console.level = warning',
  ];
  await writeFile(join(folder, 'rabbitmq.conf'), `${settings.join('\n')}\n`, { mode: 0o600 });
  await writeFile(join(folder, 'enabled_plugins'), '[].\n');
  const log = join(folder, 'rabbitmq.log');
  const launch = async () => {
    const [epmdPort, distPort] = [await freePort(), await freePort()];
    const env = environment(folder, epmdPort, distPort);
    const epmd = run(findProgram('epmd') ?? 'epmd', ['-port', String(epmdPort)], { cwd: folder, env });
    while (!(await answers(epmdPort, Buffer.from('\0\x01n'), (names) => names.length >= 4))) {
      if (epmd.hasEnded()) throw new ServersRefused('RabbitMQ needs epmd, a part of Erlang, and it does not run here.');
      await delay(5);
    }
    return [run(findServer('rabbitmq'), [], { cwd: folder, env, log }), epmd];
  };
  return keep({ ...own.server, log, launch });
}

async function listenSecurely(folder, port, tls) {
  const { ca, cert, key } = await writePems(folder, tls);
  return [
    'listeners.tcp = none',
    `listeners.ssl.1 = 127.0.0.1:${port}`,
    `ssl_options.cacertfile = ${ca}`,
    `ssl_options.certfile = ${cert}`,
    `ssl_options.keyfile = ${key}`,
    'ssl_options.verify = verify_peer',
    'ssl_options.fail_if_no_peer_cert = true',
  ];
}

/** Every file and port that it would otherwise share with the system's own RabbitMQ, if there is one. */
function environment(folder, epmdPort, distPort) {
  return {
    PATH: searchPath().join(':'),
    HOME: folder,
    LC_ALL: 'C.UTF-8',
    // The start script becomes the server instead of waiting for it, so the pid and the signals are the server's.
    RUNNING_UNDER_SYSTEMD: 'true',
    // Where it misses ours it would start an epmd of its own, a daemon that outlives it.
    ERL_FLAGS: '-start_epmd false',
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_EPMD_PORT: String(epmdPort),
    RABBITMQ_NODENAME: 'leasehold@localhost',
    RABBITMQ_DIST_PORT: String(distPort),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    RABBITMQ_CONF_ENV_FILE: join(folder, 'none'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_CONFIG_FILES: join(folder, 'none'),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, 'none'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_PID_FILE: join(folder, 'rabbitmq.pid'),
    RABBITMQ_LOG_BASE: folder,
    RABBITMQ_LOGS: '-',
  };
}

/** What every RabbitMQ of ours has in common, wherever it runs. */
export async function privateRabbitmq({ port: asked, password, tls }) {
  const port = asked ?? (await freePort());
  // A method frame with Connection.Start.
  const isStart = (bytes) => bytes[0] === 1 && bytes.length > 10 && bytes.readUInt32BE(7) === 0x000a000a;
  return {
    port,
    user,
    password,
    server: {
      name: 'RabbitMQ',
      url: `${tls ? 'amqps' : 'amqp'}://${user}:${password}@127.0.0.1:${port}/`,
      isReady: () => answers(port, Buffer.from('AMQP\0\0\x09\x01', 'latin1'), isStart, tls),
    },
  };
}
