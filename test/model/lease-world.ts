import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { Tokens } from '#libs/access';
import { leaseTimingSchema, Pooling, Revoking, Sweeping } from '#libs/leases';
import { Mounts, Roles, RootConfigs } from '#libs/roles';
import { JsonLog, migrate, migrateQueue } from '#libs/runtime';
import { MakePooled } from '../../apps/issuer/src/make-pooled.js';
import { AlarmProcessor } from '../../apps/revoker/src/alarm.processor.js';
import { Dispatch } from '../../apps/revoker/src/dispatch.js';
import { type Simulator, startSimulator } from '../../apps/simulator/src/index.js';
import type { SystemOptions } from '../../apps/standalone/src/system.js';
import { policyDocument } from '../support/lease-life.js';
import { freshDatabase } from '../support/world.js';
import { Callers, maxTtlMs, pick, short, ttlMs } from './callers.js';
import { Chronicle } from './chronicle.js';
import { Crew, type Kind } from './crew.js';
import { Interleaving, type Scheduler } from './interleaving.js';
import { LentUsers } from './lent-users.js';
import { Promises, type Row, type Seen } from './promises.js';
import { type Step, watchSteps } from './steps.js';
import { Time } from './time.js';
import { type Death, watchCalls, type Worker } from './worker.js';

/** Every span of a lease's life as in production: time leaps, so that nothing has to be shrunk. */
const timing = leaseTimingSchema.parse({});

/** Longer than any lease and any try of an irrevocable one, milliseconds. */
const longAfterMs = 3 * 86_400_000;

/** How long a worker waits for one answer of AWS, seconds. */
const givesUpAfterSeconds = 10;

/** More passes over what is due than any lease needs to come to its rest. */
const mostPasses = 150;

/**
 * The system in pieces and its neighbours: two issuers and two revokers on one PostgreSQL and one simulated AWS. Each thing
 * asked of them is started here, and goes on only as the scheduler lets it.
 */
export class LeaseWorld {
  private rows: Row[] = [];
  private seen = 0;
  private mounts = 0;
  private readonly aws: LentUsers;
  private readonly promises: Promises;
  readonly callers: Callers;

  private constructor(
    private readonly database: pg.Client,
    private readonly time: Time,
    private readonly simulator: Simulator,
    private readonly crew: Crew,
    private readonly interleaving: Interleaving,
    private readonly chronicle: Chronicle,
    options: SystemOptions,
    private readonly log: string[],
    private readonly forget: () => Promise<void>,
  ) {
    this.aws = new LentUsers(simulator);
    this.callers = new Callers(crew, chronicle, options);
    this.promises = new Promises(this.callers, chronicle);
  }

  static async start(): Promise<LeaseWorld> {
    const { url: databaseUrl, drop } = await freshDatabase();
    const database = new pg.Client({ connectionString: databaseUrl, application_name: 'model' });
    await database.connect();
    const time = await Time.of(database, new URL(databaseUrl).pathname.slice(1));
    await migrate({ url: databaseUrl });
    await migrateQueue({ url: databaseUrl });
    await watchSteps(database);
    const simulator = await startSimulator();
    // What a mount gets that has lost its root keys: somebody else's account.
    const stranger = simulator.provisionRootIdentity({ userName: 'stranger', account: '999999999999' });
    const log: string[] = [];
    const options: SystemOptions = {
      databaseUrl,
      masterKey: randomBytes(32),
      rootToken: `model-${randomBytes(12).toString('hex')}`,
      timing,
      surroundings: {
        ambientCredentials: () => () => Promise.resolve(stranger),
        ambientRegion: 'us-east-1',
        requestTimeoutMs: 600_000,
        backoffMs: 1,
      },
      logger: new JsonLog({ write: (line: string) => void log.push(line) }),
      port: 0,
    };
    const chronicle = new Chronicle();
    const interleaving: Interleaving = new Interleaving(
      async () => (await atLocks(database)) + crew.waitingForConnection(),
    );
    const crew: Crew = await Crew.start(options, simulator.url, interleaving, chronicle);
    const unwatch = watchCalls(interleaving);
    await crew.issuer(0).get(Tokens).setRootToken(options.rootToken);
    const forget = async () => {
      unwatch();
      await drop();
    };
    return new LeaseWorld(database, time, simulator, crew, interleaving, chronicle, options, log, forget);
  }

  async close(): Promise<void> {
    await this.crew.close();
    await this.simulator.close();
    await this.database.end();
    this.time.restore();
    await this.forget();
  }

  /** An empty world: nothing lent, nothing under way, AWS in good health. `poolSize`: of the role that is lent. */
  async begin(poolSize = 0): Promise<void> {
    await this.database.query(
      `truncate leases, pooled_keys, commands, outbox, aws_accounts, model.steps, model.claims; update tokens set ended_at = null`,
    );
    this.aws.clear();
    // Who else has users there is asked once in an account's life, and by one caller for all: no part of a lease's.
    await this.database.query(`insert into aws_accounts (id, count_due_at) values ($1, 'infinity')`, [
      this.aws.accountId,
    ]);
    this.chronicle.begin();
    this.crew.begin();
    this.rows = [];
    this.seen = 0;
    this.log.length = 0;
    const { mount } = this.callers;
    const { rows } = await this.database.query<{ id: string }>(`select id from tokens`);
    this.callers.begin(!mount.id || mount.ending ? await this.newMount() : mount, rows[0]!.id);
    await this.crew.issuer(0).get(Roles).write(this.callers.mount.id, 'deploy', { poolSize });
    this.interleaving.free = false;
  }

  /** What is left of a run that was broken off comes to nothing, and the dead are replaced. */
  async end(): Promise<void> {
    await this.crew.end();
  }

  // What can happen beside what callers ask for. `which` chooses among what there is; nothing happens when there is nothing.

  async endToken(): Promise<void> {
    await this.database.query(`update tokens set ended_at = coalesce(ended_at, now())`);
    this.callers.tokenHasEnded();
  }

  /** An issuer makes a user for the pool, if that is short of one. */
  fillPool(at: number, death: Death): void {
    const issuer = this.crew.issuer(at);
    const work = async () => {
      // Mounts of earlier runs may have theirs.
      const pool = (await issuer.get(Pooling).short()).find(({ mountId }) => mountId === this.callers.mount.id);
      if (pool) await issuer.get(MakePooled).execute(pool);
    };
    this.crew.begun(`${issuer.name} fills the pool`, issuer, work, { death });
  }

  drainPool(at: number): void {
    const issuer = this.crew.issuer(at);
    this.crew.begun(`${issuer.name} drains the pool`, issuer, () => issuer.get(Pooling).drain());
  }

  /** The role says something else from now on. */
  writeRole(at: number, poolSize: number): void {
    const gateway = this.crew.issuer(at);
    const work = () => gateway.get(Roles).write(this.callers.mount.id, 'deploy', { poolSize });
    this.crew.begun(`${gateway.name} writes the role`, gateway, work);
  }

  sweep(at: number, death: Death): void {
    const revoker = this.crew.revoker(at);
    // Looks of one revoker are one look.
    this.crew.begun(`${revoker.name} sweeps`, revoker, () => revoker.get(Dispatch).sweep(), { joins: true, death });
  }

  ring(which: number, at: number): void {
    const row = pick(this.rows, which);
    if (!row) return;
    const revoker = this.crew.revoker(at);
    const hear = () => revoker.get(AlarmProcessor).process({ data: { leaseId: row.id } } as never);
    this.crew.begun(`${revoker.name} hears of ${short(row.id)}`, revoker, hear, { joins: true });
  }

  keepHouse(at: number): void {
    const revoker = this.crew.revoker(at);
    this.crew.begun(`${revoker.name} keeps house`, revoker, () => houseKept(revoker));
  }

  /** A revoker goes on with what it has claimed. */
  extend(which: number, at: number): void {
    const revoker = this.crew.revoker(at);
    const lease = pick([...revoker.takingBack], which);
    if (!lease) return;
    this.crew.begun(`${revoker.name} extends its claim on ${short(lease.id)}`, revoker, () =>
      revoker.get(Revoking).extend(lease),
    );
  }

  crash(kind: Kind, at: number, arrives: boolean): void {
    this.crew.replace(this.crew.at(kind, at), arrives);
  }

  fault(...given: Parameters<LentUsers['fault']>): void {
    this.aws.fault(...given);
  }

  lag(count: number): void {
    this.aws.lag(count);
  }

  skew(minutes: number): void {
    this.aws.skew(minutes);
  }

  loseAnswer(): void {
    this.crew.loseAnswer();
  }

  /**
   * Time passes, while everything else stands still. Whoever waits for AWS gives up meanwhile, unless its process is `stopped`:
   * then a call that was signed before may arrive long afterwards.
   */
  async leap(seconds: number, stopped: boolean): Promise<void> {
    if (!(await this.passed(seconds * 1000))) return;
    if (seconds >= givesUpAfterSeconds && !stopped) this.crew.timeOut([]);
  }

  /**
   * The process of a worker, of one that asks AWS where there is one, is stopped for so long, while the others do what comes due. Then it wakes up, with what it had
   * under way, and may die a few effects later.
   */
  async standStill(kind: Kind, at: number, seconds: number, death: Death): Promise<void> {
    const worker = this.crew.atAws(kind, at);
    const untilMs = performance.now() + seconds * 1000;
    await this.interleaving.whileStopped(worker.name, () =>
      this.interleaving.whileFree(async () => {
        if (seconds >= givesUpAfterSeconds) this.crew.timeOut([worker]);
        await this.stands();
        for (let passes = 0; performance.now() < untilMs && passes < mostPasses; passes += 1) {
          const leftMs = Math.ceil(untilMs - performance.now());
          const dueInMs = (await this.nextDueMs()) ?? leftMs;
          if (!(await this.passed(Math.max(1, Math.min(leftMs, dueInMs))))) return;
          this.finishes(this.crew.caretaker);
          await this.stands();
        }
      }),
    );
    if (death) worker.condemn(death);
  }

  // What must hold.

  /** After every step: everything stands still, and no promise is broken. */
  async stands(scheduler?: Scheduler): Promise<Seen> {
    await this.interleaving.settled(scheduler);
    const seen = await this.look();
    this.promises.hold(seen);
    this.chronicle.mustBeUnbroken();
    return seen;
  }

  /**
   * When all is over: AWS is well again, everybody does what is due, and nothing is left but what callers hold. Then all
   * their time passes, and nothing is left at all.
   */
  async comesToRest(): Promise<void> {
    this.aws.heal();
    this.crew.spare();
    this.interleaving.free = true;
    const wellSince = performance.now();
    this.promises.comeInTime(await this.stands(), wellSince);
    const isOver = (row: Row) =>
      ['active', 'pooled'].includes(row.state) ? row.due_at!.getTime() <= Date.now() : row.state !== 'irrevocable';
    const atRest = await this.finishDue(isOver, (seen) => this.promises.comeInTime(seen, wellSince));
    this.promises.areKept(atRest);
    this.chronicle.mustBeUnbroken();
    await this.time.leap(longAfterMs);
    this.promises.leaveNothing(await this.finishDue(() => true));
    this.chronicle.mustBeUnbroken();
  }

  /** What happened, for who reads of a failure. */
  tell(): string {
    return [...this.chronicle.tell(), ...this.log.map((line) => `  ${line.trim()}`)].join('\n');
  }

  note(text: string): void {
    this.chronicle.note(text);
  }

  /** Does what is due, and what comes due of the rows that count, until there is no more of it. */
  private async finishDue(counts: (row: Row) => boolean, meanwhile: (seen: Seen) => void = () => {}): Promise<Seen> {
    for (let pass = 1; ; pass += 1) {
      for (const at of [0, 1]) this.finishes(this.crew.revoker(at));
      const seen = await this.stands();
      const pending = seen.rows.filter((row) => row.due_at !== null && counts(row));
      if (pending.length === 0) return seen;
      if (pass > mostPasses) {
        const rows = pending.map((row) => `${row.id} ${row.state} ${row.last_error}`);
        this.chronicle.violated(`never comes to rest: ${rows.join()}`);
        this.chronicle.mustBeUnbroken();
      }
      // Never past the time of any lease, also of one that does not count yet: nobody would have been at work then.
      const dueInMs = await this.nextDueMs();
      if (dueInMs! > 0) await this.time.leap(dueInMs!);
      // As it was until then.
      meanwhile(await this.stands());
    }
  }

  private finishes(revoker: Worker): void {
    const work = async () => {
      await houseKept(revoker);
      await revoker.get(Dispatch).sweep();
    };
    this.crew.begun(`${revoker.name} finishes`, revoker, work, { joins: true });
  }

  /** Milliseconds until the first lease is due; null when none ever is. */
  private async nextDueMs(): Promise<number | null> {
    const { rows } = await this.database.query<{ ms: number | null }>(
      `select extract(epoch from min(due_at) - now())::float8 * 1000 as ms from leases`,
    );
    const { ms } = rows[0]!;
    return ms === null ? null : Math.ceil(ms) + 1;
  }

  /** Lets time pass; false when it cannot now: what is in the middle of a transaction would see two instants in it. */
  private async passed(ms: number): Promise<boolean> {
    const { rows } = await this.database.query(
      `select 1 from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`,
    );
    if (rows.length === 0) await this.time.leap(ms);
    return rows.length === 0;
  }

  private async look(): Promise<Seen> {
    // One way to the database and back: this is asked after every step.
    const [steps, rows, mounts, accounts] = (await this.database.query(
      `select * from model.steps where seq > ${this.seen} order by seq;
       select * from leases order by created_at, attempt, id;
       select removed_at from mounts where id = '${this.callers.mount.id}';
       select coalesce(sum(users), 0)::int as users from aws_accounts`,
    )) as unknown as [
      pg.QueryResult<Step>,
      pg.QueryResult<Row>,
      pg.QueryResult<{ removed_at: Date | null }>,
      pg.QueryResult<{ users: number }>,
    ];
    this.rows = rows.rows;
    if (steps.rows.length > 0) this.seen = Number(steps.rows.at(-1)!.seq);
    return {
      rows: rows.rows,
      steps: steps.rows,
      users: this.aws.all(),
      unmounted: mounts.rows[0]!.removed_at !== null,
      counted: accounts.rows[0]!.users,
    };
  }

  private async newMount() {
    this.mounts += 1;
    const path = `aws-${this.mounts}/`;
    const setter = this.crew.issuer(0);
    const plain = { local: false, sealWrap: false, externalEntropyAccess: false };
    const { id } = await setter.get(Mounts).create(path, 'aws', plain);
    await setter.get(Mounts).writeLeaseConfig(id, ttlMs, maxTtlMs);
    await setter.get(RootConfigs).write(id, this.aws.rootKeys());
    await setter.get(Roles).write(id, 'deploy', { credentialType: 'iam_user', policyDocument });
    await this.database.query(`update root_configs set account_id = $2 where mount_id = $1`, [id, this.aws.accountId]);
    return { id, path, ending: false, ended: false };
  }
}

/** How many statements of workers stand before a lock. */
async function atLocks(database: pg.Client): Promise<number> {
  const { rows } = await database.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  );
  return rows[0]!.count;
}

/** What a sweep does beside what it asks AWS for. */
async function houseKept(revoker: Worker): Promise<void> {
  await revoker.get(Sweeping).endUnmounted();
  await revoker.get(Sweeping).setAlarms();
  await revoker.get(Mounts).removeEnded();
  await revoker.get(RootConfigs).forgetUnneeded();
  await revoker.get(Sweeping).forget();
}
