import { createWriteStream } from 'node:fs';
import { ambientCredentials, ambientRegion, type AwsSurroundings } from '#libs/aws';
import { parseMasterKey } from '#libs/access';
import { leaseTimingSchema } from '#libs/leases';
import { JsonLog, startEmbeddedPostgres, StartRefused } from '#libs/runtime';
import { type Simulator, startSimulator } from '../../simulator/src/index.js';
import { ApiClient } from './api-client.js';
import { DataFolder, newMasterKey, newRootToken } from './data-folder.js';
import { firstSteps } from './first-steps.js';
import { readSettings, type Settings } from './settings.js';
import { provisionAccount } from './simulated-aws.js';
import { requireFreePort, startSystem } from './system.js';
import { tour } from './tour.js';

const say = (line: string) => process.stdout.write(`${line}\n`);

/** Runs the whole system in one process until Ctrl-C: what `npm start` starts. */
export async function main(argv: string[]): Promise<void> {
  // The SDK's version is pinned, and tried on the Node that the project asks for.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
  const stops: (() => Promise<void>)[] = [];
  const toStop = new AbortController();
  let running: Promise<void> = Promise.resolve();
  let stopping: Promise<void> | null = null;
  const stop = () => {
    toStop.abort();
    // What is being started stands on what was started before: it is let finish, or fail, before that is taken away.
    stopping ??= running.catch(() => undefined).then(() => stopAll(stops));
    return stopping;
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // A second one means: at once.
      if (stopping) process.exit(130);
      say('Stopping.');
      void stop().then(() => process.exit(0));
    });
  }
  try {
    const settings = readSettings(argv, process.env);
    await (running = run(settings, stops, toStop.signal));
  } catch (error) {
    if (stopping) return;
    await stop();
    process.stderr.write(`${toldTo(error)}\n`);
    process.exit(1);
  }
}

/** A sentence for what a person can mend; of anything else the whole trace. */
function toldTo(error: unknown): string {
  if (error instanceof StartRefused) return error.message;
  const { code, path, stack } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC')
    return `The disk that holds ${path ?? 'the data folder'} is full: free some space and start again.`;
  return stack ?? String(error);
}

/** The log file; when it cannot be written the system goes on, and says so. */
function openLog(path: string): JsonLog {
  const file = createWriteStream(path, { flags: 'a', mode: 0o600 });
  file.on('error', (error) => process.stderr.write(`The log ${path} cannot be written (${error.message}).\n`));
  return new JsonLog(file);
}

async function stopAll(stops: (() => Promise<void>)[]): Promise<void> {
  while (stops.length > 0) await stops.pop()!().catch((error: unknown) => process.stderr.write(`${String(error)}\n`));
}

async function run(settings: Settings, stops: (() => Promise<void>)[], toStop: AbortSignal): Promise<void> {
  await requireFreePort(settings.port);
  const folder = new DataFolder(settings.dataDir);
  const masterKey = parseMasterKey(settings.masterKey ?? folder.keep('master-key', newMasterKey));
  const rootToken = settings.rootToken ?? folder.keep('root-token', newRootToken);
  const logFile = folder.file('leasehold.log');
  const logger = openLog(logFile);

  const { url: databaseUrl, tls: databaseTls } = settings.database ?? { url: await embeddedDatabase(folder, stops) };
  toStop.throwIfAborted();
  const simulator = settings.aws ? null : await startTheSimulator(folder, stops);
  const account = simulator && provisionAccount(simulator);

  toStop.throwIfAborted();
  say('Starting gateway, issuer and revoker.');
  const system = await startSystem({
    databaseUrl,
    databaseTls,
    masterKey,
    rootToken,
    timing: leaseTimingSchema.parse({}),
    surroundings: account?.surroundings ?? realAws(),
    logger,
    port: settings.port,
  });
  stops.push(() => system.close());

  const api = new ApiClient(system.url, rootToken, toStop);
  const isSealed = (await api.ask('GET', 'sys/seal-status')).body.sealed;
  if (account && settings.tour && !isSealed) await tour({ api, account, say, stopping: toStop });
  const steps = isSealed ? [unsealing(settings, folder)] : await firstSteps(api, settings.aws);
  toStop.throwIfAborted();
  say(`
Leasehold serves at ${system.url} (${simulator ? `AWS is the simulator at ${simulator.url}` : 'real AWS'}).
Root token: ${rootToken}
Log: ${logFile}
${isSealed ? 'It is sealed, and answers nobody before it is unsealed.\n' : ''}
Try:
  export VAULT_ADDR=${system.url} VAULT_TOKEN=${rootToken}
${steps.map((step) => `  ${step}`).join('\n')}

Ctrl-C ends everything.`);
}

/** The key itself is not shown. */
function unsealing(settings: Settings, folder: DataFolder): string {
  const key = settings.masterKey ? '$LEASEHOLD_MASTER_KEY' : `$(cat '${folder.file('master-key')}')`;
  return String.raw`curl -s -X PUT -d "{\"key\":\"${key}\"}" $VAULT_ADDR/v1/sys/unseal`;
}

async function embeddedDatabase(folder: DataFolder, stops: (() => Promise<void>)[]): Promise<string> {
  say('Starting PostgreSQL (embedded; set DATABASE_URL to use another one).');
  const database = await startEmbeddedPostgres({ dataDir: folder.file('postgres'), say });
  stops.push(() => database.stop());
  return database.url;
}

async function startTheSimulator(folder: DataFolder, stops: (() => Promise<void>)[]): Promise<Simulator> {
  say('Starting the simulator of IAM and STS.');
  const simulator = await startSimulator({ stateFile: folder.file('simulator.journal') });
  stops.push(() => simulator.close());
  return simulator;
}

function realAws(): AwsSurroundings {
  return { ambientCredentials: () => ambientCredentials(process.env), ambientRegion: ambientRegion(process.env) };
}
