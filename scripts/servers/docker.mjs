import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { secret } from './private.mjs';
import { keep, onOurEnd } from './process.mjs';
import { privateRabbitmq } from './rabbitmq.mjs';
import { privateRedis } from './redis.mjs';

const composition = readFileSync(new URL('../../docker-compose.yml', import.meta.url), 'utf8');
const imageOf = (server) => composition.match(new RegExp(`^ +image: (${server}:\\S+)$`, 'm'))[1];

/** Those of docker-compose.yml. */
const images = { redis: imageOf('redis'), rabbitmq: imageOf('rabbitmq') };

/** A Docker command may be there without an engine behind it, and an engine without a way to its images or ports. */
let tried;
export function canUseDocker(say) {
  return (tried ??= tryDocker(say).catch(() => false));
}

async function tryDocker(say) {
  if (!(await docker(['info', '--format', '{{.ServerVersion}}'], { timeout: 10_000 }))) return false;
  try {
    for (const image of Object.values(images)) {
      if (await docker(['image', 'inspect', image]).catch(() => undefined)) continue;
      say(`Fetching ${image} with Docker …`);
      await docker(['pull', '--quiet', image]);
    }
    await (await startRedisContainer({})).stop();
    return true;
  } catch {
    say('There is a Docker engine, but it cannot run Redis for us: looking for installed servers instead.');
    return false;
  }
}

export async function startRedisContainer({ port, password = secret() }) {
  const own = await privateRedis({ port, password });
  const command = 'printf "%s\\n" "$SETTINGS" > /tmp/redis.conf && exec redis-server /tmp/redis.conf';
  const env = { SETTINGS: own.settings.join('\n') };
  const create = { image: images.redis, ports: `127.0.0.1:${own.port}:6379`, env, command: ['sh', '-c', command] };
  return keep({ ...own.server, launch: containerOf(create) });
}

export async function startRabbitmqContainer({ port }) {
  const own = await privateRabbitmq({ port, password: secret() });
  const env = { RABBITMQ_DEFAULT_USER: own.user, RABBITMQ_DEFAULT_PASS: own.password };
  const create = { image: images.rabbitmq, ports: `127.0.0.1:${own.port}:5672`, env, command: [] };
  return keep({ ...own.server, launch: containerOf(create) });
}

/** A `launch` for one container, which lives, with its data, until this process ends: it is stopped and started again. */
function containerOf({ image, ports, env, command }) {
  let id;
  return async () => {
    if (!id) {
      const names = Object.keys(env).flatMap((name) => ['--env', name]);
      id = await docker(['create', '--publish', ports, ...names, image, ...command], { env });
      onOurEnd('docker rm --force --volumes "$1"', id);
    }
    await docker(['start', id]);
    // An error means that it is so already.
    const tell = (what) => docker([what, id]).catch(() => undefined);
    const [freeze, thaw] = [() => tell('pause'), () => tell('unpause')];
    return [{ hasEnded: () => false, end: (signal) => end(id, signal), freeze, thaw }];
  };
}

/** An error means that it has ended already, or that the engine is gone. */
async function end(id, signal) {
  await docker(signal === 'SIGKILL' ? ['kill', id] : ['stop', '-t', '20', id]).catch(() => undefined);
}

async function docker(args, { env, timeout } = {}) {
  const { stdout } = await promisify(execFile)('docker', args, { env: { ...process.env, ...env }, timeout });
  return stdout.trim();
}
