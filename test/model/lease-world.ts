import { randomBytes, randomUUID } from 'node:crypto';
import type { Scheduler } from 'fast-check';
import pg from 'pg';
import { Tokens } from '#libs/access';
import { CodedError, type IssueLeaseReply, type IssueLeaseRequest } from '#libs/contracts';
import { Accepting, leaseTimingSchema, Renewing, Revoking, Sweeping } from '#libs/leases';
import { Mounts, Roles, RootConfigs } from '#libs/roles';
import { JsonLog, migrate, migrateQueue } from '#libs/runtime';
import { HeldLease } from '../../apps/issuer/src/held-lease.js';
import { IssueLease } from '../../apps/issuer/src/issue-lease.js';
import { AlarmProcessor } from '../../apps/revoker/src/alarm.processor.js';
import { RevokeLease } from '../../apps/revoker/src/revoke-lease.js';
import { type Simulator, startSimulator } from '../../apps/simulator/src/index.js';
import type { SystemOptions } from '../../apps/standalone/src/system.js';
import { commandFor } from '../support/beside.js';
import { policyDocument } from '../support/lease-life.js';
import { freshDatabase, type LeaseRow } from '../support/world.js';
import { Interleaving } from './interleaving.js';
import { judgeSteps, type Step, watchSteps } from './steps.js';
import { Time } from './time.js';
import { watchCalls, Worker } from './worker.js';

const minute = 60_000;
const hour = 60 * minute;

/** Every span of a lease's life as in production: time leaps, so that nothing has to be shrunk. */
const timing = leaseTimingSchema.parse({});
const ttlMs = 2 * hour;
const maxTtlMs = 6 * hour;

/** What real time may add to an instant of the model, milliseconds. */
const slackMs = 3_000;

/** How long a worker waits for one answer of AWS, seconds. */
const givesUpAfterSeconds = 10;

/** More passes over what is due than any lease needs to come to its rest. */
const mostPasses = 150;

const kinds = ['issuer', 'revoker'] as const;
type Kind = (typeof kinds)[number];
/** At work side by side, and in reserve for those that crash. */
const atWork = 2;
const inReserve = 2;

/** Somebody who asked for a credential, and what became of that. */
interface Asker {
  command: IssueLeaseRequest;
  /** Instant of the model until which it waits. */
  waitsUntil: number;
  /** It was answered, or does not listen any more. */
  done: boolean;
}

/** A credential that somebody has. */
interface Holding {
  leaseId: string;
  commandId: string;
  accessKeyId: string;
  /** Nothing may be taken away before this instant; nothing may be left some time after `atLatest`. */
  until: number;
  atLatest: number;
  /** `kept`: untouchable; `asked`: somebody has begun to ask for its end; `owed`: was told that it ends. */
  end: 'kept' | 'asked' | 'owed';
}

/** A row with what only the model asks for. */
type Row = LeaseRow & { forced: boolean };

/** How AWS answers when it is not well; `lost`: it does what it is asked, and its answer gets lost. */
const faultKinds = {
  throttled: { code: 'Throttling' },
  failed: { code: 'ServiceFailure', status: 500 },
  failedAfterwards: { code: 'ServiceFailure', status: 500, when: 'after' },
  refused: { code: 'AccessDenied', status: 403 },
  concurrent: { code: 'ConcurrentModification', status: 409 },
} as const;
export type FaultKind = keyof typeof faultKinds | 'lost';

/** One living thing in AWS that was made for a caller. */
interface LentUser {
  name: string;
  keys: string[];
}

/** A broken promise; what happened until then is in the message. */
class Broken extends Error {
  override readonly name = 'Broken';
}

/**
 * The system in pieces, its neighbours, and what its callers know. Two issuers and two revokers work on one PostgreSQL and one
 * simulated AWS; each thing asked of them is started here, and goes on only as the scheduler lets it.
 */
export class LeaseWorld {
  readonly interleaving: Interleaving;
  private readonly workers: Record<Kind, Worker[]> = { issuer: [], revoker: [] };
  private readonly reserve: Record<Kind, Worker[]> = { issuer: [], revoker: [] };
  private askers: Asker[] = [];
  private holdings: Holding[] = [];
  /** Leases whose acceptance has an unknown outcome: nobody may have them, and they may live until they expire. */
  private unknown = new Set<string>();
  private lostAnswers = 0;
  private answersWereLost = false;
  private tokenId = '';
  private tokenEnded = false;
  /** `ending`: somebody has begun to unmount it; `ended`: PostgreSQL knows. */
  private mount = { id: '', path: '', ending: false, ended: false };
  private rows: Row[] = [];
  private seen = 0;
  private broken: Broken | null = null;
  private story: string[] = [];
  private mounts = 0;
  private dead: Worker[] = [];
  private unwatch = () => {};

  private constructor(
    private readonly database: pg.Client,
    private readonly time: Time,
    private readonly simulator: Simulator,
    readonly options: SystemOptions,
    private readonly drop: () => Promise<void>,
    private readonly log: string[],
  ) {
    this.interleaving = new Interleaving(() => this.blocked());
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
    const world = new LeaseWorld(database, time, simulator, options, drop, log);
    for (const kind of kinds) {
      for (let n = 1; n <= atWork + inReserve; n += 1) {
        const loses = () => world.losesAnswer();
        const worker = await Worker.start(kind, `${kind} ${n}`, options, simulator.url, world.interleaving, loses);
        (n <= atWork ? world.workers : world.reserve)[kind].push(worker);
      }
    }
    world.unwatch = watchCalls(world.interleaving);
    const tokens = world.issuer(0).get(Tokens);
    await tokens.setRootToken(options.rootToken);
    world.tokenId = (await tokens.authenticate(options.rootToken, { commandId: randomUUID() })).token.id;
    return world;
  }

  async close(): Promise<void> {
    for (const worker of this.everyone()) await worker.close();
    this.unwatch();
    await this.simulator.close();
    await this.database.end();
    this.time.restore();
    await this.drop();
  }

  /** An empty world: nothing lent, nothing under way, AWS in good health. */
  async begin(): Promise<void> {
    await this.database.query(
      `truncate leases, commands, outbox, model.steps, model.claims; update tokens set ended_at = null`,
    );
    for (const user of this.lent()) this.forgetUser(user.name);
    this.simulator.faults.clear();
    Object.assign(this, { askers: [], holdings: [], unknown: new Set(), rows: [], seen: 0, story: [], broken: null });
    Object.assign(this, { lostAnswers: 0, answersWereLost: false, tokenEnded: false });
    this.log.length = 0;
    if (!this.mount.id || this.mount.ending) await this.makeMount();
    this.interleaving.free = false;
  }

  /** What is left of a run that was broken off comes to nothing, and the dead are replaced. */
  async end(): Promise<void> {
    for (const worker of this.everyone()) if (worker.isAlive()) worker.crash(false);
    await this.interleaving.finish();
    for (const kind of kinds) {
      const everyone = this.everyone().filter((worker) => worker.name.startsWith(kind));
      for (const worker of everyone) worker.replace();
      everyone.sort((one, other) => (one.name < other.name ? -1 : 1));
      this.workers[kind] = everyone.slice(0, atWork);
      this.reserve[kind] = everyone.slice(atWork);
    }
    this.dead = [];
  }

  // What can happen. `which` chooses among what there is; nothing happens when there is nothing.

  issue(at: number, acceptAt: number): void {
    const command = commandFor(this, 'deploy', { mount: this.mount.path, token: this.options.rootToken });
    const asker: Asker = { command, waitsUntil: performance.now() + command.waitMs, done: false };
    this.askers.push(asker);
    this.deliver(asker, at, acceptAt);
  }

  /** A command is delivered once more, as when its worker is believed dead. */
  deliverAgain(which: number, at: number, acceptAt: number): void {
    const asker = pick(this.askers, which);
    if (asker) this.deliver(asker, at, acceptAt);
  }

  private deliver(asker: Asker, at: number, acceptAt: number): void {
    const issuer = this.issuer(at);
    const waitMs = asker.waitsUntil - performance.now();
    if (waitMs <= 0) return;
    this.begun(`${issuer.name} issues`, issuer, async () => {
      const answer = await issuer
        .get(IssueLease)
        .execute({ ...asker.command, waitMs })
        .then(
          (reply) => ({ reply }),
          (error: unknown) => ({ error }),
        );
      if (!issuer.isAlive() || asker.done || performance.now() > asker.waitsUntil) return;
      asker.done = true;
      if ('error' in answer) throw answer.error;
      this.accept(asker, answer.reply, this.issuer(acceptAt));
    });
  }

  /** As the gateway does it: an acceptance without an answer is asked about again, and undone when that gives none either. */
  private accept(asker: Asker, reply: IssueLeaseReply, gateway: Worker): void {
    const { leaseId } = reply;
    const issuedAt = performance.now();
    const work = async () => {
      this.unknown.add(leaseId);
      const accept = () => gateway.get(HeldLease).accept({ ...asker.command, leaseId });
      try {
        await accept().catch((error: unknown) => {
          if (error instanceof CodedError) throw error;
          return accept();
        });
      } catch (error) {
        if (!gateway.isAlive()) throw error;
        if (error instanceof CodedError) this.unknown.delete(leaseId);
        else
          await gateway
            .get(Accepting)
            .undo(leaseId)
            .then(() => this.unknown.delete(leaseId));
        throw error;
      }
      if (!gateway.isAlive()) return;
      this.unknown.delete(leaseId);
      // What ends is committed in a step of its own, so that it was known when this one was taken.
      if ((this.tokenEnded || this.mount.ended) && !this.answersWereLost)
        this.violated(`${leaseId} was handed over after its token or mount had ended`);
      this.holdings.push({
        leaseId,
        commandId: asker.command.id,
        accessKeyId: reply.credential.accessKeyId,
        until: issuedAt + reply.leaseDuration * 1000 - slackMs,
        atLatest: issuedAt + reply.leaseDuration * 1000 + slackMs,
        end: this.mount.ending ? 'asked' : 'kept',
      });
    };
    this.begun(`${gateway.name} accepts ${short(leaseId)}`, gateway, work, { joins: true });
  }

  /** The caller leaves before it has its answer. */
  withdraw(which: number, at: number): void {
    const asker = pick(
      this.askers.filter((each) => !each.done),
      which,
    );
    if (!asker) return;
    asker.done = true;
    const gateway = this.issuer(at);
    this.begun(`${gateway.name} withdraws`, gateway, () =>
      gateway.get(Accepting).withdraw(asker.command.id, this.tokenId),
    );
  }

  /** The caller hung up before the last byte. */
  hangUp(which: number, at: number): void {
    this.takeAway(which, at, 'undoes', (gateway, { leaseId }) => gateway.get(Accepting).undo(leaseId));
  }

  revoke(which: number, at: number, force: boolean): void {
    this.takeAway(which, at, force ? 'forces' : 'revokes', (gateway, { leaseId }) =>
      gateway.get(Revoking).ask({ leaseId }, 'revoked', force),
    );
  }

  /** Asks for the end of everything that is there, by prefix. */
  revokeAll(at: number, force: boolean): void {
    const gateway = this.issuer(at);
    for (const holding of this.holdings) if (holding.end === 'kept') holding.end = 'asked';
    this.begun(`${gateway.name} ${force ? 'forces' : 'revokes'} all`, gateway, async () => {
      let end: Holding['end'] = 'asked';
      try {
        await gateway.get(Revoking).ask({ prefix: this.mount.path }, 'revoked', force);
        if (gateway.isAlive()) end = 'owed';
      } finally {
        // It ends in the step of its last statement: whoever holds something now held it then.
        for (const holding of this.holdings) if (holding.end !== 'owed') holding.end = end;
      }
    });
  }

  private takeAway(
    which: number,
    at: number,
    verb: string,
    ask: (gateway: Worker, holding: Holding) => Promise<unknown>,
  ): void {
    const holding = pick(this.holdings, which);
    if (!holding) return;
    if (holding.end === 'kept') holding.end = 'asked';
    const gateway = this.issuer(at);
    this.begun(`${gateway.name} ${verb} ${short(holding.leaseId)}`, gateway, async () => {
      await ask(gateway, holding);
      if (gateway.isAlive()) holding.end = 'owed';
    });
  }

  renew(which: number, at: number, minutes: number): void {
    const holding = pick(this.holdings, which);
    if (!holding) return;
    const gateway = this.issuer(at);
    // Nobody knows when it takes effect, or whether: until it is answered only the shorter span is certain.
    const asked = performance.now() + (minutes * minute || ttlMs);
    this.begun(`${gateway.name} renews ${short(holding.leaseId)} for ${minutes} min`, gateway, async () => {
      const unsure = () => {
        holding.until = Math.min(holding.until, asked - slackMs);
        holding.atLatest += maxTtlMs;
      };
      unsure();
      const { ttlMs: granted } = await gateway
        .get(Renewing)
        .renew(holding.leaseId, minutes * minute)
        .finally(unsure);
      if (!gateway.isAlive()) return;
      holding.until = performance.now() + granted - slackMs;
      holding.atLatest = performance.now() + granted + slackMs;
    });
  }

  unmount(at: number): void {
    this.mount.ending = true;
    const gateway = this.issuer(at);
    for (const holding of this.holdings) if (holding.end === 'kept') holding.end = 'asked';
    this.begun(`${gateway.name} unmounts`, gateway, async () => {
      await gateway.get(Mounts).taint(this.mount.path);
      this.mount.ended = true;
      await gateway.get(Revoking).ask({ mountId: this.mount.id }, 'unmounted');
      if (gateway.isAlive()) for (const holding of this.holdings) holding.end = 'owed';
    });
  }

  async endToken(): Promise<void> {
    await this.database.query(`update tokens set ended_at = coalesce(ended_at, now())`);
    this.tokenEnded = true;
  }

  sweep(at: number): void {
    const revoker = this.revoker(at);
    this.begun(`${revoker.name} sweeps`, revoker, () => this.takeBackNext(revoker));
  }

  ring(which: number, at: number): void {
    const row = pick(this.rows, which);
    if (!row) return;
    const revoker = this.revoker(at);
    this.begun(`${revoker.name} hears of ${short(row.id)}`, revoker, () =>
      revoker.get(AlarmProcessor).process({ data: { leaseId: row.id } } as never),
    );
  }

  keepHouse(at: number): void {
    const revoker = this.revoker(at);
    this.begun(`${revoker.name} keeps house`, revoker, () => this.houseKept(revoker));
  }

  crash(kind: Kind, at: number, arrives: boolean): void {
    const dying = this.workers[kind][at]!;
    const fresh = this.reserve[kind].shift();
    if (!fresh) return;
    dying.crash(arrives);
    this.workers[kind][at] = fresh;
    this.dead.push(dying);
  }

  /** AWS answers the next calls of this action otherwise than it should. */
  fault(action: string, kind: FaultKind, times: number): void {
    const { faults } = this.simulator;
    if (kind === 'lost') faults.loseReply({ action, times });
    else faults.fail({ action, times, ...faultKinds[kind] });
  }

  /** Each user is unknown to AWS for its first calls. */
  lag(count: number): void {
    if (this.simulator.faults.settings.clockOffsetMs !== 0) return; // a user's age would be another one than ours
    this.simulator.faults.set({ youngNoSuchEntity: count > 0 ? { ms: minute, count } : null });
  }

  /** AWS's clock is off. */
  skew(minutes: number): void {
    this.simulator.faults.set({ clockOffsetMs: minutes * minute, youngNoSuchEntity: null });
  }

  /** PostgreSQL takes the next statement that writes, and the connection breaks instead of an answer. */
  loseAnswer(): void {
    this.lostAnswers += 1;
  }

  /**
   * Time passes, while everything else stands still. Whoever waits for AWS gives up meanwhile, unless its process is `stopped`:
   * then a call that was signed before may arrive long afterwards.
   */
  async leap(seconds: number, stopped: boolean): Promise<void> {
    // What is in the middle of a transaction would see two instants in it, and no transaction is that long.
    const { rows } = await this.database.query(
      `select 1 from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`,
    );
    if (rows.length > 0) return;
    await this.time.leap(seconds * 1000);
    if (seconds >= givesUpAfterSeconds && !stopped) for (const worker of this.everyone()) worker.timeOut();
  }

  // What must hold.

  /** After every step: everything stands still, and no promise is broken. */
  async stands(scheduler?: Scheduler): Promise<void> {
    await this.interleaving.settled(scheduler);
    await this.look();
    const users = this.lent();
    const rowOf = new Map(this.rows.map((row) => [row.user_name, row]));
    for (const user of users) {
      if (!rowOf.has(user.name)) this.violated(`user ${user.name} is in AWS and no row explains it`);
      if (user.keys.length > 1) this.violated(`user ${user.name} has ${user.keys.length} keys`);
    }
    const keys = new Set(users.flatMap((user) => user.keys));
    const now = performance.now();
    for (const { leaseId, accessKeyId, until, end } of this.holdings) {
      if (end !== 'kept' || now >= until) continue;
      const row = this.rows.find((each) => each.id === leaseId);
      if (!keys.has(accessKeyId) || row?.state !== 'active')
        this.violated(`${leaseId} was taken from its holder before its time (${row?.state}, ${row?.end_reason})`);
    }
    const living = new Set<string>();
    for (const row of this.rows.filter((each) => ['offered', 'active'].includes(each.state))) {
      if (living.has(row.command_id)) this.violated(`command ${row.command_id} has two living credentials`);
      living.add(row.command_id);
    }
    const holders = this.holdings.map((holding) => holding.commandId);
    if (new Set(holders).size < holders.length) this.violated('a command was answered with two credentials');
    if (this.broken) throw this.broken;
  }

  /**
   * When all is over: AWS is well again, everybody does what is due, and nothing is left but what callers hold. Then all
   * their time passes, and nothing is left at all.
   */
  async comesToRest(): Promise<void> {
    this.simulator.faults.clear();
    this.lostAnswers = 0;
    this.interleaving.free = true;
    await this.stands();
    await this.finishDue((row) =>
      row.state === 'active' ? row.due_at!.getTime() <= Date.now() : row.state !== 'irrevocable',
    );
    const keys = new Set(this.lent().flatMap((user) => user.keys));
    const given = this.rows.filter((row) => row.state === 'irrevocable' || givenUp(row));
    const now = performance.now();
    const mayLive = new Set(
      this.holdings
        .filter(({ end, atLatest }) => end !== 'owed' && now <= atLatest)
        .map((holding) => holding.accessKeyId),
    );
    for (const row of this.rows) if (this.unknown.has(row.id) && row.access_key_id) mayLive.add(row.access_key_id);
    for (const row of given) for (const key of this.keysOf(row)) mayLive.add(key);
    for (const key of keys) if (!mayLive.has(key)) this.violated(`at rest, key ${key} is alive and nobody holds it`);
    for (const user of this.lent()) {
      const row = this.rows.find((each) => each.user_name === user.name);
      if (!row || !(row.state === 'active' || given.includes(row)))
        this.violated(`at rest, user ${user.name} is still in AWS: its row is ${row?.state}`);
    }
    for (const holding of this.holdings.filter(({ end }) => end === 'owed')) {
      const row = this.rows.find((each) => each.id === holding.leaseId)!;
      if (!['ended', 'irrevocable'].includes(row.state))
        this.violated(`the end of ${row.id} was asked for and forgotten: it is ${row.state}`);
    }
    if (this.mount.ended && this.rows.some((row) => row.state === 'active'))
      this.violated('the mount has ended, and some of its leases go on');
    if (this.broken) throw this.broken;
    await this.time.leap(3 * 24 * hour);
    await this.finishDue(() => true);
    const left = this.lent().filter((user) => !this.rows.some((row) => row.user_name === user.name && givenUp(row)));
    if (left.length > 0)
      this.violated(`when all time is over, ${left.map((user) => user.name).join()} are still in AWS`);
    if (this.broken) throw this.broken;
  }

  /** What happened, for who reads of a failure. */
  tell(): string {
    return [...this.story, ...this.log.map((line) => `  ${line.trim()}`)].join('\n');
  }

  note(text: string): void {
    this.story.push(text);
  }

  private async finishDue(counts: (row: Row) => boolean): Promise<void> {
    for (let pass = 1; ; pass += 1) {
      const pending = this.rows.filter((row) => row.due_at !== null && counts(row));
      if (pending.length === 0) return;
      if (pass > mostPasses) {
        return this.violated(
          `never comes to rest: ${pending.map((row) => `${row.id} ${row.state} ${row.last_error}`).join()}`,
        );
      }
      const [next] = (
        await this.database.query<{ ms: number }>(
          `select extract(epoch from min(due_at) - now())::float8 * 1000 as ms from leases where id = any($1)`,
          [pending.map((row) => row.id)],
        )
      ).rows;
      if (next!.ms > 0) await this.time.leap(Math.ceil(next!.ms) + 1);
      for (const revoker of this.workers.revoker) {
        this.begun(`${revoker.name} finishes`, revoker, async () => {
          await this.houseKept(revoker);
          while (await this.takeBackNext(revoker));
        });
      }
      await this.stands();
    }
  }

  private async takeBackNext(revoker: Worker): Promise<boolean> {
    for (const mountId of await revoker.get(Revoking).mountsWithDue()) {
      const [lease] = await revoker.get(Revoking).claimDue(mountId, 1);
      if (!lease) continue;
      await revoker.get(RevokeLease).execute(lease);
      return true;
    }
    return false;
  }

  private async houseKept(revoker: Worker): Promise<void> {
    await revoker.get(Sweeping).endUnmounted();
    await revoker.get(Sweeping).setAlarms();
    await revoker.get(Mounts).removeEnded();
    await revoker.get(RootConfigs).forgetUnneeded();
    await revoker.get(Sweeping).forget();
  }

  /** Starts something at a worker; what it ends with is judged, and awaited by nobody. */
  private begun(name: string, worker: Worker, work: () => Promise<unknown>, options: { joins?: boolean } = {}): void {
    void this.interleaving.start(name, work, options).then(
      () => this.note(`    ${name}: done`),
      (error: unknown) => {
        this.note(`    ${name}: ${String(error)}`);
        if (error instanceof CodedError || !worker.isAlive() || this.answersWereLost) return;
        this.violated(`${name} ended with an error of no code: ${String(error)}`);
      },
    );
  }

  private violated(text: string): void {
    this.broken ??= new Broken(text);
  }

  /** Reads every row, and judges each step that the rows have made since. */
  private async look(): Promise<void> {
    // One way to the database and back: this is asked after every step.
    const [steps, rows] = (await this.database.query(
      `select * from model.steps where seq > ${this.seen} order by seq;
       select * from leases order by created_at, attempt, id`,
    )) as unknown as [pg.QueryResult<Step>, pg.QueryResult<Row>];
    this.rows = rows.rows;
    if (steps.rows.length > 0) this.seen = Number(steps.rows.at(-1)!.seq);
    for (const wrong of judgeSteps(steps.rows)) this.violated(wrong);
  }

  private async blocked(): Promise<number> {
    const { rows } = await this.database.query<{ count: number }>(
      `select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return rows[0]!.count;
  }

  private losesAnswer(): boolean {
    if (this.lostAnswers === 0) return false;
    this.lostAnswers -= 1;
    this.answersWereLost = true;
    return true;
  }

  private async makeMount(): Promise<void> {
    this.mounts += 1;
    const path = `aws-${this.mounts}/`;
    const setter = this.issuer(0);
    const plain = { local: false, sealWrap: false, externalEntropyAccess: false };
    const { id } = await setter.get(Mounts).create(path, 'aws', plain);
    await setter.get(Mounts).writeLeaseConfig(id, ttlMs, maxTtlMs);
    const root = this.simulator.provisionRootIdentity({ userName: 'leasehold-root' });
    await setter.get(RootConfigs).write(id, { accessKey: root.accessKeyId, secretKey: root.secretAccessKey });
    await setter.get(Roles).write(id, 'deploy', { credentialType: 'iam_user', policyDocument });
    const account = this.simulator.account().id;
    await this.database.query(`update root_configs set account_id = $2 where mount_id = $1`, [id, account]);
    // Who else has users there is asked once in an account's life, and by one caller for all: no part of a lease's.
    await this.database.query(
      `insert into aws_accounts (id, count_due_at) values ($1, 'infinity')
       on conflict (id) do update set count_due_at = excluded.count_due_at`,
      [account],
    );
    this.mount = { id, path, ending: false, ended: false };
  }

  private lent(): LentUser[] {
    return this.simulator
      .account()
      .users()
      .filter((user) => user.name !== 'leasehold-root')
      .map((user) => ({ name: user.name, keys: user.accessKeys.map((key) => key.id) }));
  }

  private keysOf(row: Row): string[] {
    return this.lent().find((user) => user.name === row.user_name)?.keys ?? [];
  }

  private forgetUser(name: string): void {
    const account = this.simulator.account();
    const user = account.user(name)!;
    user.accessKeys.slice().forEach((key) => account.deleteAccessKey(user, key.id));
    user.inlinePolicies.length = 0;
    account.deleteUser(user);
  }

  private issuer(at: number): Worker {
    return this.workers.issuer[at]!;
  }

  private revoker(at: number): Worker {
    return this.workers.revoker[at]!;
  }

  private everyone(): Worker[] {
    return [...kinds.flatMap((kind) => [...this.workers[kind], ...this.reserve[kind]]), ...this.dead];
  }
}

function pick<T>(among: T[], which: number): T | undefined {
  return among[which % among.length];
}

const short = (leaseId: string) => leaseId.slice(-6);

/** An operator wanted it gone from our books, and AWS refused to the last look. */
const givenUp = (row: Row) => row.state === 'ended' && row.forced && row.due_at === null && row.last_error !== null;
