import { randomBytes } from 'node:crypto';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import pg from 'pg';
import { leaseTimingSchema, type LeaseTiming } from '#libs/leases';
import { JsonLog } from '#libs/runtime';
import { type FaultSettings, seedRootPolicy, type Simulator, startSimulator } from '../../apps/simulator/src/index.js';
import { type RunningSystem, startSystem, type SystemOptions } from '../../apps/standalone/src/system.js';
import { HttpClient } from './http-client.js';
import { startServices } from './services.js';

/** The weather of the journeys: AWS lags, and refuses concurrent changes, as it does. */
export const usualWeather: Partial<FaultSettings> = {
  propagationMs: 250,
  youngNoSuchEntity: { ms: 250, probability: 0.3 },
  concurrentModification: { everyNth: 3 },
};

/** Every span of a lease's life, shrunk. */
export const quickTiming: LeaseTiming = leaseTimingSchema.parse({
  callerWaitMs: 8_000,
  marginMs: 300,
  handOverMs: 1_500,
  readyEveryMs: 50,
  sweepEveryMs: 150,
  claimMs: 2_000,
  propagationMs: 1_200,
  absenceDelaysMs: [50, 100, 200, 300],
  tombstoneLooksMs: [200, 400, 600],
  retryBaseMs: 100,
  unansweredRetryMs: 200,
  syncOneMs: 5_000,
  syncManyMs: 10_000,
  retireAfterMs: 300,
  heartbeatEveryMs: 100,
  workerTimeoutMs: 1_500,
  pooledMinMs: 300,
});

export interface WorldOptions {
  weather?: Partial<FaultSettings>;
  timing?: Partial<LeaseTiming>;
  /** IAM policy of the root identity; the seed's by default, and nothing more. */
  rootPolicy?: (accountId: string) => string;
  /** Limits of the calls to AWS, and what a mount gets that names nothing itself. */
  surroundings?: Partial<SystemOptions['surroundings']>;
  /** The PostgreSQL server to make the database on; the one of the run, unless told. */
  databaseServer?: string;
  /** An audit device that is there from the first request on. */
  auditFile?: string;
  /** Starts the system; by default in the shape that the run is about: in this process, or as services. */
  run?: (options: SystemOptions) => Promise<RunningSystem>;
}

/** The shape that this run of the journeys is about: set by the jest project. */
export function shape(): 'embedded' | 'services' {
  return (globalThis as { SHAPE?: 'services' }).SHAPE ?? 'embedded';
}

/** A whole system on a database of its own, with a simulated AWS around it. */
export class World {
  private constructor(
    readonly simulator: Simulator,
    readonly database: pg.Pool,
    readonly http: HttpClient,
    readonly root: { accessKeyId: string; secretAccessKey: string },
    /** Every line that was logged. */
    readonly log: string[],
    /** What the system is started with, for a second issuer or revoker beside it. */
    readonly options: SystemOptions,
    private readonly restartWith: () => Promise<RunningSystem>,
    private system: RunningSystem,
    private readonly drop: () => Promise<void>,
  ) {}

  static async start(options: WorldOptions = {}): Promise<World> {
    const { url: databaseUrl, drop } = await freshDatabase(options.databaseServer);
    const simulator = await startSimulator({ faults: options.weather ?? usualWeather });
    const account = simulator.account();
    const root = simulator.provisionRootIdentity({
      userName: 'leasehold-root',
      policy: (options.rootPolicy ?? seedRootPolicy)(account.id),
    });
    const rootToken = `test-${randomBytes(12).toString('hex')}`;
    const masterKey = randomBytes(32);
    const log: string[] = [];
    const system: SystemOptions = {
      databaseUrl,
      masterKey,
      rootToken,
      timing: { ...quickTiming, ...options.timing },
      surroundings: {
        ambientCredentials: () => () => Promise.resolve(root),
        ambientRegion: 'us-east-1',
        defaultEndpoint: simulator.url,
        backoffMs: 20,
        ...options.surroundings,
      },
      logger: new JsonLog({ write: (line: string) => void log.push(line) }),
      port: 0,
      auditFile: options.auditFile,
    };
    const inShape =
      shape() === 'services'
        ? (given: SystemOptions) => startServices(given, (line) => void log.push(line))
        : startSystem;
    const start = () => (options.run ?? inShape)(system);
    const running = await start();
    const database = new pg.Pool({ connectionString: databaseUrl, max: 3 });
    // The pool outlives nothing: its connections are cut when the database is dropped.
    database.on('error', () => undefined);
    const http = new HttpClient(running.url, rootToken);
    return new World(simulator, database, http, root, log, system, start, running, drop);
  }

  /** Ends the system and brings it up again on the same database. */
  async restart(): Promise<void> {
    await this.stop();
    await this.resume();
  }

  async stop(): Promise<void> {
    await this.system.close();
  }

  async resume(): Promise<void> {
    this.system = await this.restartWith();
    this.http.url = this.system.url;
  }

  async close(): Promise<void> {
    await this.system.close();
    await this.simulator.close();
    await this.database.end();
    await this.drop();
  }

  /** Mounts an engine and gives it its root credentials. */
  async mount(path = 'aws'): Promise<void> {
    await this.http.must(204, 'POST', `sys/mounts/${path}`, { type: 'aws' });
    await this.http.must(204, 'PUT', `${path}/config/root`, {
      access_key: this.root.accessKeyId,
      secret_key: this.root.secretAccessKey,
      region: 'us-east-1',
    });
  }

  /** Names of the users in AWS that were made for callers. */
  lentUsers(): string[] {
    return this.simulator
      .account()
      .users()
      .map((user) => user.name)
      .filter((name) => !name.startsWith('leasehold-root'));
  }

  /** The rows of all leases, oldest first. */
  async leases(): Promise<LeaseRow[]> {
    const { rows } = await this.database.query<LeaseRow>('select * from leases order by created_at, attempt');
    return rows;
  }

  /** The ARN that AWS knows these keys by, or the name of its refusal. */
  async whoIs(keys: LentKeys): Promise<string> {
    const client = new STSClient({
      endpoint: this.simulator.url,
      region: 'us-east-1',
      maxAttempts: 1,
      credentials: {
        accessKeyId: keys.access_key,
        secretAccessKey: keys.secret_key,
        sessionToken: keys.security_token ?? undefined,
      },
    });
    return client.send(new GetCallerIdentityCommand({})).then(
      (identity) => identity.Arn!,
      (error: Error) => error.name,
    );
  }
}

export interface LeaseRow {
  id: string;
  mount_id: string;
  command_id: string;
  attempt: number;
  state: string;
  user_name: string | null;
  access_key_id: string | null;
  end_reason: string | null;
  attempts: number;
  looks_left: number;
  last_error: string | null;
  due_at: Date | null;
  claim_id: string | null;
  accepted_at: Date | null;
  expires_at: Date | null;
  account_id: string;
}

export interface LentKeys {
  access_key: string;
  secret_key: string;
  security_token?: string | null;
}

/** Waits until `look` gives something true; fails with what it gave last when that takes too long. */
export async function eventually<T>(
  look: () => Promise<T> | T,
  withinMs = 10_000,
): Promise<Exclude<T, false | null | undefined>> {
  const closesAt = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found) return found as Exclude<T, false | null | undefined>;
    if (performance.now() > closesAt) throw new Error(`Not so within ${withinMs} ms: ${look.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** A new, empty database on a server, by default the one that the run was given. */
export async function freshDatabase(
  server = process.env.TEST_DATABASE_URL,
): Promise<{ url: string; drop: () => Promise<void> }> {
  if (!server) throw new Error('TEST_DATABASE_URL is not set: run the tests with `npm test`.');
  const name = `leasehold_${randomBytes(6).toString('hex')}`;
  await onServer(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => onServer(server, `drop database ${name} with (force)`) };
}

async function onServer(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
