import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { Keyring } from '#libs/access';
import { EndingTokens, LEASE_TIMING, type LeaseTiming, Sweeping } from '#libs/leases';
import { AccountIdentities, Mounts, Moves, RootConfigs } from '#libs/roles';
import { Dispatch } from './dispatch.js';

/** A pass; in how many milliseconds it wants its next turn, where that is sooner than the sweep's. */
type Pass = () => Promise<number | void>;

/** A token that is due and cannot be ended at once (somebody holds its row) is not looked at more often, milliseconds. */
const soonestMs = 100;

/** Whether a kept identity is needed is looked up among all living leases: in one pass of so many, since an hour is soon enough. */
const forgetsEvery = 5;

/**
 * The timed pass over every row that is due, whatever became of its alarm. Any number of revokers sweep at once: each
 * row is claimed by one. What asks AWS runs beside what does not, so that a slow AWS holds up nothing else.
 */
@Injectable()
export class Sweep implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(Sweep.name);
  private readonly timers = new Map<Pass, NodeJS.Timeout>();
  private readonly running = new Set<Promise<void>>();
  private stopped = false;
  private passes = 0;

  constructor(
    private readonly dispatch: Dispatch,
    private readonly endingTokens: EndingTokens,
    private readonly sweeping: Sweeping,
    private readonly mounts: Mounts,
    private readonly moves: Moves,
    private readonly rootConfigs: RootConfigs,
    private readonly identities: AccountIdentities,
    private readonly keyring: Keyring,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  onApplicationBootstrap(): void {
    this.keepDoing(() => this.dispatch.sweep());
    this.keepDoing(() => this.endTokens());
    this.keepDoing(() => this.keepHouse());
  }

  /** Before database and queue are closed: what was begun finishes with both. */
  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    for (const timer of this.timers.values()) clearTimeout(timer);
    await Promise.all(this.running);
  }

  private keepDoing(pass: Pass, afterMs = 0): void {
    if (this.stopped) return;
    const timer = setTimeout(() => {
      const run = this.once(pass).finally(() => this.running.delete(run));
      this.running.add(run);
    }, afterMs);
    this.timers.set(pass, timer);
  }

  private async once(pass: Pass): Promise<void> {
    let nextMs: number | void = undefined;
    try {
      nextMs = await pass();
    } finally {
      this.keepDoing(pass, Math.min(this.timing.sweepEveryMs, nextMs ?? Infinity));
    }
  }

  /** An expired token takes its leases with it, so the next one is waited for to the moment. */
  private async endTokens(): Promise<number | void> {
    let nextDueMs: number | null = null;
    await this.step('end tokens', async () => {
      nextDueMs = await this.endingTokens.sweep();
    });
    return nextDueMs === null ? undefined : Math.max(soonestMs, nextDueMs);
  }

  /** What needs no call to AWS. A step that fails is told and leaves the others their turn. */
  private async keepHouse(): Promise<void> {
    await this.step('end STS leases', () => this.sweeping.endSts());
    await this.step('take back the leases of ended mounts', () => this.sweeping.endUnmounted());
    await this.step('set alarms', () => this.sweeping.setAlarms());
    await this.step('remove ended mounts', () => this.mounts.removeEnded());
    await this.step('finish moves of mounts', () => this.finishMoves());
    if (this.passes++ % forgetsEvery === 0) {
      await this.step('forget root keys', () => this.rootConfigs.forgetUnneeded());
      await this.step('forget keys of accounts', () => this.identities.forgetUnneeded());
    }
    await this.step('seal again under the newest term', () => this.sealAgain());
    await this.step('forget old rows', () => this.sweeping.forget());
  }

  private async finishMoves(): Promise<void> {
    for (const { id: moveId, state, error } of await this.moves.finish()) {
      if (state === 'success') this.logger.log({ msg: 'mount moved', moveId });
      else this.logger.warn({ msg: 'mount not moved', moveId, error });
    }
    await this.moves.forget();
  }

  private async sealAgain(): Promise<void> {
    for (const term of await this.keyring.sealAgain()) this.logger.log({ msg: 'term of the keyring ended', term });
  }

  private async step(name: string, run: () => Promise<unknown>): Promise<void> {
    if (this.stopped) return;
    try {
      await run();
    } catch (error) {
      this.logger.error({ msg: `sweep could not ${name}; the next one will`, error: String(error) });
    }
  }
}
