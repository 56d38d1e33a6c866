import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { obtainServers, ServersRefused } from './servers/index.mjs';
import { orSayWhyNot, root, setup } from './setup.mjs';

/** Longest run, milliseconds: what has not finished by then never will, and says so instead of keeping a CI busy. */
const limitMs = 30 * 60_000;

/** Specs over services that disturb nobody beside them: what they kill, stop or slow down is their own, and they put no load on the cores. */
const calmServices =
  '/(test/((aws-calls|contract-[^/]*|idempotency|limits|pools|quick-start|secrets|stopping|what-roles-lend)|services/(audit|' +
  'broker-owner|clocks|command-queues|compose|events|hostile-amqp|idempotency|keys|metrics|not-handed-over|observing|over-amqp|' +
  'rate-limits|ready|runbook|secure-lines|starting|stopping))|scripts/servers/servers)\\.spec\\.m?[jt]s$';

const say = (line) => process.stdout.write(`${line}\n`);

/**
 * `npm test`: makes the checkout ready, counts what requests cost and runs jest, or, with arguments, jest alone and once, on servers
 * of this run's own or on those at TEST_DATABASE_URL, TEST_REDIS_URL and TEST_RABBITMQ_URL. The last words are jest's, and so is the exit code; where
 * RabbitMQ and Redis cannot be had, what needs none runs, and the run fails with the sentence that says what to do.
 */
await orSayWhyNot(async () => {
  process.chdir(root);
  await setup({ say });
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => ending.abort(signal));
  const outcome = await withTemporaryFolder(async (temp) => {
    return withDatabase(temp, (databaseUrl) =>
      withServers(temp, async (servers) => {
        const urls = { TEST_DATABASE_URL: databaseUrl, ...servers.urls };
        let code = 0;
        for (const command of [...guardOf(servers), ...partsOf(servers).map(jestWith)])
          code = (await run(command, urls, temp, ending.signal)) || code;
        if (servers.refusal) process.stderr.write(`The journeys over real services were not run. ${servers.refusal}\n`);
        return servers.refusal ? code || 1 : code;
      }),
    );
  });
  process.exitCode = ending.signal.aborted ? 128 + constants.signals[ending.signal.reason] : outcome;
});

/**
 * The arguments of each run of jest: what runs in one process and what is calm two specs at a time, then the services that are
 * not, one after the other. Whoever gives arguments has one run.
 */
function partsOf({ refusal }) {
  const inOneProcess = ['--selectProjects', 'units', 'embedded'];
  if (process.argv.length > 2) return [refusal ? inOneProcess : []];
  const two = '--maxWorkers=2';
  const services = ['--selectProjects', 'services'];
  return [
    [...inOneProcess, two],
    ...(refusal
      ? []
      : [
          [...services, two, '--testPathPatterns', calmServices],
          [...services, '--testPathIgnorePatterns', calmServices],
        ]),
  ];
}

/** What requests cost, in the shapes that can be had; whoever gives arguments asks for something else. */
function guardOf({ refusal }) {
  return process.argv.length > 2 ? [] : [['scripts/guard.mjs', ...(refusal ? ['embedded'] : [])]];
}

function jestWith(args) {
  return ['node_modules/jest/bin/jest.js', ...process.argv.slice(2), ...args];
}

/** The specs' temporary folders are in here too, so that what a cut-off spec leaves behind goes with it. */
async function withTemporaryFolder(use) {
  const temp = await mkdtemp(join(tmpdir(), 'leasehold-test-'));
  try {
    await mkdir(join(temp, 'tmp'));
    // Under root the database server runs as another user and has to get through.
    for (const folder of [temp, join(temp, 'tmp')]) await chmod(folder, 0o755);
    return await use(temp);
  } finally {
    await rm(temp, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function withDatabase(temp, use) {
  if (process.env.TEST_DATABASE_URL) return use(process.env.TEST_DATABASE_URL);
  const { startEmbeddedPostgres } = await import('../dist/libs/runtime/src/embedded-postgres.js');
  const dataDir = join(temp, 'database');
  let database;
  try {
    database = await startEmbeddedPostgres({ dataDir });
  } catch (error) {
    if (error.name !== 'StartRefused') throw error;
    process.stderr.write(`${error.message.replace('DATABASE_URL', 'TEST_DATABASE_URL')}\n`);
    return 1;
  }
  try {
    return await use(database.url);
  } finally {
    await database.stop();
    // Elsewhere when the temporary folder cannot be reached by the server's user.
    await rm(dirname(await realpath(join(dataDir, 'postgresql'))), { recursive: true, force: true });
  }
}

/** Those given, or private ones; without either, the specs that need none. */
async function withServers(temp, use) {
  const given = { TEST_REDIS_URL: process.env.TEST_REDIS_URL, TEST_RABBITMQ_URL: process.env.TEST_RABBITMQ_URL };
  if (given.TEST_REDIS_URL && given.TEST_RABBITMQ_URL) return use({ urls: given });
  let servers = [];
  try {
    const { startRedis, startRabbitmq } = await obtainServers({ say });
    servers = await Promise.all([
      startRedis({ folder: join(temp, 'redis') }),
      startRabbitmq({ folder: join(temp, 'rabbitmq') }),
    ]);
  } catch (error) {
    if (!(error instanceof ServersRefused)) throw error;
    return use({ urls: {}, refusal: error.message });
  }
  try {
    const [redis, rabbitmq] = servers;
    return await use({ urls: { TEST_REDIS_URL: redis.url, TEST_RABBITMQ_URL: rabbitmq.url } });
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** Runs a part in a process group of its own, which is ended as a whole. */
async function run(command, urls, temp, ending) {
  if (ending.aborted) return 1;
  const part = spawn(process.execPath, command, {
    cwd: root,
    stdio: 'inherit',
    detached: true,
    env: testEnvironment(urls, join(temp, 'tmp')),
  });
  const exited = once(part, 'exit');
  ending.addEventListener('abort', () => {
    signalGroup(part.pid, ending.reason);
    setTimeout(() => signalGroup(part.pid, 'SIGKILL'), 5000).unref();
  });
  const limit = setTimeout(() => {
    process.stderr.write(`The run is ended after ${limitMs / 60_000} minutes: something in it never finishes.\n`);
    signalGroup(part.pid, 'SIGKILL');
  }, limitMs);
  const [code] = await exited;
  clearTimeout(limit);
  signalGroup(part.pid, 'SIGKILL'); // workers, and processes that specs started
  endProcessesNaming(join(temp, 'tmp'));
  return code ?? 1;
}

/** Nothing that lies about on the machine: no AWS credentials, no servers but those meant for tests, no proxy before them. */
function testEnvironment(urls, temporaryFolder) {
  const stripped = /^(AWS_.*|LEASEHOLD_.*|DATABASE_URL|REDIS_URL|RABBITMQ_URL|NODE_ENV|(https?|all)_proxy)$/i;
  return {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !stripped.test(name))),
    ...urls,
    TMPDIR: temporaryFolder,
    NODE_OPTIONS:
      `${process.env.NODE_OPTIONS ?? ''} --experimental-vm-modules --no-warnings=ExperimentalWarning`.trim(),
  };
}

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Ends what specs that were cut off left running in groups of their own: whatever names a file in their folder. */
function endProcessesNaming(folder) {
  for (const [pid, command] of commandLines()) {
    if (!command.includes(`${folder}/`)) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }
}

function commandLines() {
  if (process.platform !== 'linux') {
    const { stdout } = spawnSync('ps', ['-axo', 'pid=,command='], { encoding: 'utf8' });
    return stdout.split('\n').map((line) => [Number.parseInt(line, 10), line]);
  }
  return readdirSync('/proc').flatMap((pid) => {
    try {
      return /^\d+$/.test(pid) ? [[Number(pid), readFileSync(`/proc/${pid}/cmdline`, 'utf8')]] : [];
    } catch {
      return []; // ended meanwhile
    }
  });
}
