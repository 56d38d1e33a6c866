import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { orSayWhyNot, root, setup } from './setup.mjs';

/** Longest run, milliseconds: what has not finished by then never will, and says so instead of keeping a CI busy. */
const limitMs = 20 * 60_000;

/**
 * `npm test`: makes the checkout ready, then runs jest, with the arguments given, on a PostgreSQL of this run's own or on
 * the one at TEST_DATABASE_URL. The last words are jest's, and so is the exit code.
 */
await orSayWhyNot(async () => {
  process.chdir(root);
  await setup({ say: (line) => process.stdout.write(`${line}\n`) });
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => ending.abort(signal));
  const code = await withTemporaryFolder(async (temp) => {
    if (process.env.TEST_DATABASE_URL) return runJest(process.env.TEST_DATABASE_URL, temp, ending.signal);
    return withDatabase(temp, (url) => runJest(url, temp, ending.signal));
  });
  process.exitCode = ending.signal.aborted ? 128 + constants.signals[ending.signal.reason] : code;
});

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

/** Runs jest in a process group of its own, which is ended as a whole. */
async function runJest(databaseUrl, temp, ending) {
  if (ending.aborted) return 1;
  const jest = spawn(process.execPath, ['node_modules/jest/bin/jest.js', ...process.argv.slice(2)], {
    cwd: root,
    stdio: 'inherit',
    detached: true,
    env: testEnvironment(databaseUrl, join(temp, 'tmp')),
  });
  const exited = once(jest, 'exit');
  ending.addEventListener('abort', () => {
    signalGroup(jest.pid, ending.reason);
    setTimeout(() => signalGroup(jest.pid, 'SIGKILL'), 5000).unref();
  });
  const limit = setTimeout(() => {
    process.stderr.write(`The run is ended after ${limitMs / 60_000} minutes: something in it never finishes.\n`);
    signalGroup(jest.pid, 'SIGKILL');
  }, limitMs);
  const [code] = await exited;
  clearTimeout(limit);
  signalGroup(jest.pid, 'SIGKILL'); // workers, and processes that specs started
  endProcessesNaming(join(temp, 'tmp'));
  return code ?? 1;
}

/** Nothing that lies about on the machine: no AWS credentials, no servers but those meant for tests. */
function testEnvironment(databaseUrl, temporaryFolder) {
  const stripped = /^(AWS_.*|LEASEHOLD_.*|DATABASE_URL|REDIS_URL|RABBITMQ_URL|NODE_ENV)$/;
  return {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !stripped.test(name))),
    TEST_DATABASE_URL: databaseUrl,
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
