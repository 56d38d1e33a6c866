import { Injectable } from '@nestjs/common';

/** Leases that this process takes back side by side. */
const ofAll = 256;

/** Those of one mount. */
const ofOneMount = 50;

/** And those of one whose AWS gives no answer, or asks to slow down: enough to notice when it is back. */
const ofSilentMount = 4;

/**
 * Who may go to work in this process. A mount whose AWS is silent holds every worker that is on its leases for as long as it
 * waits, so it gets few of them: its leases hold up no others.
 */
@Injectable()
export class Lanes {
  private readonly busy = new Map<string, number>();
  private readonly silent = new Set<string>();
  private taken = 0;

  /** How many more leases of this mount may be taken up. */
  room(mountId: string): number {
    const limit = this.silent.has(mountId) ? ofSilentMount : ofOneMount;
    return Math.max(0, Math.min(limit - (this.busy.get(mountId) ?? 0), ofAll - this.taken));
  }

  /** Takes a lane for a lease of this mount. */
  take(mountId: string): void {
    this.taken += 1;
    this.busy.set(mountId, (this.busy.get(mountId) ?? 0) + 1);
  }

  /** Gives it back; `answered`: AWS said something, be it a refusal. */
  free(mountId: string, answered: boolean): void {
    this.taken -= 1;
    const left = this.busy.get(mountId)! - 1;
    if (left > 0) this.busy.set(mountId, left);
    else this.busy.delete(mountId);
    if (answered) this.silent.delete(mountId);
    else this.silent.add(mountId);
  }
}
