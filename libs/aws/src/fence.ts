/**
 * The instant after which a creating call must not leave any more: by then its intent may have been rolled back by
 * somebody else. Measured on this process's monotonic clock, so that a stepped wall clock cannot open it again.
 */
export class Fence {
  /** @param closesAtMs instant on the clock of `performance.now()`, milliseconds */
  constructor(private readonly closesAtMs: number) {}

  /** Milliseconds until the fence closes; never negative. */
  remainingMs(): number {
    return Math.max(0, this.closesAtMs - performance.now());
  }
}
