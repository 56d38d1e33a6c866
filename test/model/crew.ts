import { CodedError } from '#libs/contracts';
import type { SystemOptions } from '../../apps/standalone/src/system.js';
import type { Chronicle } from './chronicle.js';
import type { Interleaving } from './interleaving.js';
import { type Death, type Ears, Worker } from './worker.js';

const kinds = ['issuer', 'revoker'] as const;
export type Kind = (typeof kinds)[number];
/** At work side by side, and in reserve for those that die. */
const atWork = 2;
const inReserve = 3;

/** Two issuers and two revokers at work, and those who take the place of the dead. */
export class Crew {
  /** PostgreSQL took a statement, and the connection broke instead of an answer: an error of no code may follow. */
  answersWereLost = false;
  /** Hears of acceptances that are on their way. */
  accepts: (leaseIds: string[]) => void = () => undefined;
  private lostAnswers = 0;
  private readonly workers: Record<Kind, Worker[]> = { issuer: [], revoker: [] };
  private readonly reserve: Record<Kind, Worker[]> = { issuer: [], revoker: [] };
  private dead: Worker[] = [];
  /** A revoker that nothing happens to, for what is due while others stand still. */
  caretaker!: Worker;

  private constructor(
    private readonly interleaving: Interleaving,
    private readonly chronicle: Chronicle,
  ) {}

  static async start(
    options: SystemOptions,
    aws: string,
    interleaving: Interleaving,
    chronicle: Chronicle,
  ): Promise<Crew> {
    const crew = new Crew(interleaving, chronicle);
    const ears: Ears = {
      losesAnswer: () => crew.losesAnswer(),
      dies: (worker, arrives) => crew.replace(worker, arrives),
      accepts: (leaseIds) => crew.accepts(leaseIds),
      failed: (worker, name, error) => crew.ended(worker, name, error),
    };
    for (const kind of kinds) {
      for (let n = 1; n <= atWork + inReserve; n += 1) {
        crew.reserve[kind].push(await Worker.start(kind, `${kind} ${n}`, options, aws, interleaving, ears));
      }
    }
    crew.caretaker = await Worker.start('revoker', 'revoker 0', options, aws, interleaving, ears);
    crew.restore();
    return crew;
  }

  async close(): Promise<void> {
    for (const worker of this.everyone()) await worker.close();
  }

  /** Nobody has died, and no answer was lost. */
  begin(): void {
    this.lostAnswers = 0;
    this.answersWereLost = false;
  }

  /** What is under way comes to nothing, and the dead are replaced. */
  async end(): Promise<void> {
    for (const worker of this.everyone()) if (worker.isAlive()) worker.crash(false);
    await this.interleaving.finish();
    this.restore();
  }

  private restore(): void {
    for (const kind of kinds) {
      const ofKind = (worker: Worker) => worker !== this.caretaker && worker.name.startsWith(kind);
      const everyone = this.everyone().filter(ofKind);
      everyone.sort((one, other) => (one.name < other.name ? -1 : 1));
      this.workers[kind] = everyone.slice(0, atWork);
      this.reserve[kind] = everyone.slice(atWork);
    }
    this.dead = [];
    for (const worker of this.everyone()) worker.replace();
  }

  at(kind: Kind, which: number): Worker {
    return this.workers[kind][which]!;
  }

  /** The one at this place, or another one that has a call on its way to AWS where this one has none. */
  atAws(kind: Kind, which: number): Worker {
    const worker = this.at(kind, which);
    return worker.isAtAws() ? worker : (this.workers[kind].find((each) => each.isAtAws()) ?? worker);
  }

  /** Who serves callers: a gateway's part in a lease is done by the same libraries. */
  issuer(which: number): Worker {
    return this.at('issuer', which);
  }

  revoker(which: number): Worker {
    return this.at('revoker', which);
  }

  everyone(): Worker[] {
    const living = kinds.flatMap((kind) => [...this.workers[kind], ...this.reserve[kind]]);
    return [...living, ...this.dead, ...(this.caretaker ? [this.caretaker] : [])];
  }

  /** Statements that wait for a connection of their worker. */
  waitingForConnection(): number {
    return this.everyone().reduce((count, worker) => count + worker.waitingForConnection(), 0);
  }

  /** Starts something at a worker; what it ends with is judged, and awaited by nobody. */
  begun(
    name: string,
    worker: Worker,
    work: () => Promise<unknown>,
    { joins = false, death = null }: { joins?: boolean; death?: Death } = {},
  ): void {
    if (death) worker.condemn(death);
    void this.interleaving.start(name, work, { joins }).then(
      () => this.chronicle.note(`    ${name}: done`),
      (error: unknown) => this.ended(worker, name, error),
    );
  }

  private ended(worker: Worker, name: string, error: unknown): void {
    this.chronicle.note(`    ${name}: ${String(error)}`);
    if (error instanceof CodedError || !worker.isAlive() || this.answersWereLost) return;
    this.chronicle.violated(`${name} ended with an error of no code: ${String(error)}`);
  }

  /** Another one takes the place of a worker that dies; while nobody is left for that, it lives on. */
  replace(dying: Worker, arrives: boolean): boolean {
    for (const kind of kinds) {
      const place = this.workers[kind].indexOf(dying);
      const fresh = place >= 0 && this.reserve[kind].shift();
      if (!fresh) continue;
      dying.crash(arrives);
      this.chronicle.note(`    ${dying.name} is dead`);
      this.workers[kind][place] = fresh;
      this.dead.push(dying);
      return true;
    }
    return false;
  }

  /** Whoever waits for AWS has waited too long, but for those whose process is stopped. */
  timeOut(stopped: Worker[]): void {
    for (const worker of this.everyone()) if (!stopped.includes(worker)) worker.timeOut();
  }

  /** Whoever was to die lives on, and no more answers are lost. */
  spare(): void {
    this.lostAnswers = 0;
    for (const worker of this.everyone()) worker.condemn(null);
  }

  /** PostgreSQL takes the next statement that writes, and the connection breaks instead of an answer. */
  loseAnswer(): void {
    this.lostAnswers += 1;
  }

  private losesAnswer(): boolean {
    if (this.lostAnswers === 0) return false;
    this.lostAnswers -= 1;
    this.answersWereLost = true;
    return true;
  }
}
