import type { INestApplicationContext, Type } from '@nestjs/common';
import { getQueueToken } from '@nestjs/bullmq';
import { AwsAccount } from '#libs/aws';
import { alarmQueue } from '#libs/contracts';
import { Accepting, Heartbeat, type Lease } from '#libs/leases';
import { Batches } from '#libs/runtime';
import { DataSource, type QueryRunner } from 'typeorm';
import { FillPools } from '../../apps/issuer/src/fill-pools.js';
import { RotationSweep } from '../../apps/issuer/src/rotation-sweep.js';
import { AlarmProcessor } from '../../apps/revoker/src/alarm.processor.js';
import { EventRelay } from '../../apps/revoker/src/event-relay.js';
import { RevokeLease } from '../../apps/revoker/src/revoke-lease.js';
import { Sweep } from '../../apps/revoker/src/sweep.js';
import type { SystemOptions } from '../../apps/standalone/src/system.js';
import { issuerBeside, revokerBeside } from '../support/beside.js';
import { AwsDoor } from './aws-door.js';
import type { Interleaving } from './interleaving.js';

/** What becomes of a worker: it dies before one of its next effects, and its calls to AWS still arrive or do not. */
export type Death = [afterEffects: number, arrives: boolean] | null;

/** What a worker tells of itself. */
export interface Ears {
  /** Whether the connection breaks instead of the answer to a statement that took effect. */
  losesAnswer(): boolean;
  /** Its end has come. @returns false when it must live on */
  dies(worker: Worker, arrives: boolean): boolean;
  /** Acceptances of these leases are on their way to PostgreSQL, where they may stand before a lock. */
  accepts(leaseIds: string[]): void;
  /** Something that it does by itself ended in an error. */
  failed(worker: Worker, name: string, error: unknown): void;
}

const writes = /\b(insert|update|delete)\b|^commit/i;

/** What a statement of a dead worker ends with; nobody hears it. */
const dead = () => new Error('this worker was killed');

/**
 * An issuer or revoker: a Nest application of its own with connections of its own, whose clockwork stands still. What it writes
 * and what it asks AWS for waits for its turn, statement by statement and call by call.
 */
export class Worker {
  /** The leases that it is taking back now. */
  readonly takingBack = new Set<Lease>();
  private alive = true;
  private end: Death = null;
  private readonly standing = new Set<(error: Error) => void>();

  private constructor(
    readonly name: string,
    private readonly context: INestApplicationContext,
    private readonly door: AwsDoor,
    private readonly interleaving: Interleaving,
    private readonly ears: Ears,
  ) {}

  static async start(
    kind: 'issuer' | 'revoker',
    name: string,
    options: SystemOptions,
    aws: string,
    interleaving: Interleaving,
    ears: Ears,
  ): Promise<Worker> {
    const door: AwsDoor = await AwsDoor.open(name, interleaving, aws, () => worker.isAtItsEnd());
    const databaseUrl = new URL(options.databaseUrl);
    // Who did it is seen in the database.
    databaseUrl.searchParams.set('application_name', name);
    const own = {
      options: {
        ...options,
        databaseUrl: databaseUrl.href,
        surroundings: { ...options.surroundings, defaultEndpoint: door.url },
      },
    };
    const context = await (kind === 'issuer' ? issuerBeside(own) : revokerBeside(own));
    const worker: Worker = new Worker(name, context, door, interleaving, ears);
    await worker.stopClockwork(kind);
    if (kind === 'revoker') worker.watchTakingBack();
    worker.watchStatements(context.get(DataSource));
    return worker;
  }

  get<T>(room: Type<T>): T {
    return this.context.get(room, { strict: false });
  }

  isAlive(): boolean {
    return this.alive;
  }

  /** Statements that wait until another one of this worker gives its connection back. */
  waitingForConnection(): number {
    return (this.get(DataSource).driver as unknown as { master: { waitingCount: number } }).master.waitingCount;
  }

  /** Whether a call of it is on its way to AWS. */
  isAtAws(): boolean {
    return this.door.isBusy();
  }

  /** Has it die before one of its next effects, or live on. */
  condemn(death: Death): void {
    this.end = death;
  }

  /** From now on it has no effect any more; calls on their way to AWS still arrive when `arrives`. */
  crash(arrives: boolean): void {
    this.alive = false;
    this.door.shut = true;
    this.door.cutOff(arrives);
    for (const fail of this.standing) fail(dead());
    // What an acceptance's undoing waits for between its tries.
    this.get(Accepting).onApplicationShutdown();
  }

  /** Its callers of AWS give up waiting: too much time has passed. */
  timeOut(): void {
    this.door.cutOff(true);
  }

  /** Another process in its place. Of the dead one nothing is left: no use case keeps anything beyond its end. */
  replace(): void {
    this.alive = true;
    this.end = null;
    this.door.shut = false;
  }

  async close(): Promise<void> {
    await this.context.close();
    await this.door.close();
  }

  /** The model sweeps, rings and relays; an alarm set is an alarm that the model may ring or not, whenever it likes. */
  private async stopClockwork(kind: 'issuer' | 'revoker'): Promise<void> {
    const queue = this.context.get<{ addBulk: unknown }>(getQueueToken(alarmQueue), { strict: false });
    queue.addBulk = () => Promise.resolve([]);
    const rooms =
      kind === 'issuer' ? [FillPools, Heartbeat, RotationSweep] : [Heartbeat, AlarmProcessor, EventRelay, Sweep];
    for (const room of rooms) await this.get<{ onModuleDestroy(): Promise<void> }>(room).onModuleDestroy();
  }

  /** What it takes back goes on by itself, whoever said that it is due. */
  private watchTakingBack(): void {
    const room = this.get(RevokeLease);
    const execute = room.execute.bind(room);
    room.execute = async (lease) => {
      const name = `${this.name} takes back ${lease.id.slice(-6)}`;
      this.takingBack.add(lease);
      try {
        return await this.interleaving.start(name, () => execute(lease));
      } catch (error) {
        this.ears.failed(this, name, error);
        throw error;
      } finally {
        this.takingBack.delete(lease);
      }
    };
  }

  /** Called when the turn of an effect has come. */
  private isAtItsEnd(): boolean {
    if (this.end === null || !this.alive) return false;
    const [left, arrives] = this.end;
    this.end = left > 0 ? [left - 1, arrives] : null;
    return left === 0 && this.ears.dies(this, arrives);
  }

  private watchStatements(source: DataSource): void {
    const create = source.createQueryRunner.bind(source);
    source.createQueryRunner = (mode) => {
      const runner: QueryRunner = create(mode);
      const query = runner.query.bind(runner) as (...given: unknown[]) => Promise<unknown>;
      runner.query = (...given: [string, ...unknown[]]) =>
        this.statement(given[0], given[1] as unknown[], () => query(...given)) as never;
      return runner;
    };
  }

  private async statement(sql: string, values: unknown[], run: () => Promise<unknown>): Promise<unknown> {
    if (/^rollback/i.test(sql) || !this.interleaving.isOurs()) return run();
    if (!this.alive) throw dead();
    const isWrite = writes.test(sql);
    if (isWrite) await this.turn(sql);
    if (sql.includes(`set state = 'active', accepted_at`)) this.ears.accepts(values[0] as string[]);
    const result = await this.interleaving.statement(run);
    if (!this.alive) throw dead();
    if (isWrite && this.ears.losesAnswer()) throw new Error('Connection terminated unexpectedly');
    return result;
  }

  private async turn(sql: string): Promise<void> {
    let fail: (error: Error) => void = () => undefined;
    const killed = new Promise<never>((_, reject) => (fail = reject));
    this.standing.add(fail);
    try {
      await Promise.race([killed, this.interleaving.gate(`${this.name} ${shown(sql)}`, this.name)]);
      if (this.isAtItsEnd()) throw dead();
    } finally {
      this.standing.delete(fail);
    }
  }
}

/** Counts every call to AWS while it is under way, and who asks PostgreSQL with others, so that it is known when nothing moves. */
export function watchCalls(interleaving: Interleaving): () => void {
  const { iam, sts } = AwsAccount.prototype;
  const { ask } = Batches.prototype;
  Batches.prototype.ask = function (this: Batches<unknown, unknown>, item, lane) {
    return interleaving.together(() => ask.call(this, item, lane));
  };
  const watched = <Args extends unknown[], R>(call: (...args: Args) => Promise<R>) =>
    function (this: AwsAccount, ...args: Args) {
      return interleaving.isOurs() ? interleaving.call(() => call.apply(this, args)) : call.apply(this, args);
    };
  AwsAccount.prototype.iam = watched(iam as never) as never;
  AwsAccount.prototype.sts = watched(sts as never) as never;
  return () => {
    Object.assign(AwsAccount.prototype, { iam, sts });
    Batches.prototype.ask = ask;
  };
}

function shown(sql: string): string {
  return sql.replaceAll(/\s+/g, ' ').trim().slice(0, 110);
}
