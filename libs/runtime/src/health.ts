import { setTimeout as sleep } from 'node:timers/promises';

/** Longest wait for a dependency to say that it is there, milliseconds. */
const answersWithinMs = 2_000;

export interface Readiness {
  ready: boolean;
  waiting_for: string[];
  /** Only while nothing is issued and nothing is taken back: after the database was restored. */
  observing?: true;
}

/**
 * Whether this process lives, and whether it can serve: two questions. A lost dependency makes it unready; it comes back by
 * itself, so nobody should restart it for that.
 */
export class Health {
  private readonly checks = new Map<string, () => Promise<unknown>>();
  private isObserving = false;
  private phase: 'starting' | 'serving' | 'stopping' = 'starting';

  /** From now on, ready only while `check` resolves. */
  watch(dependency: string, check: () => Promise<unknown>): void {
    this.checks.set(dependency, check);
  }

  observing(): void {
    this.isObserving = true;
  }

  serving(): void {
    this.phase = 'serving';
  }

  stopping(): void {
    this.phase = 'stopping';
  }

  async readiness(): Promise<Readiness> {
    const observing = this.isObserving ? { observing: true as const } : {};
    if (this.phase !== 'serving') return { ready: false, waiting_for: [this.phase], ...observing };
    const found = await Promise.all(
      [...this.checks].map(async ([name, check]) => ((await answers(check)) ? [] : [name])),
    );
    const waitingFor = found.flat();
    return { ready: waitingFor.length === 0, waiting_for: waitingFor, ...observing };
  }
}

/** Whether what is asked answers in time; a server that is away may give no answer at all. */
export async function answers(check: () => Promise<unknown>): Promise<boolean> {
  const gaveUp = new AbortController();
  const silence = sleep(answersWithinMs, false, { signal: gaveUp.signal }).catch(() => false);
  try {
    return await Promise.race([check().then(() => true), silence]);
  } catch {
    return false;
  } finally {
    gaveUp.abort();
  }
}
