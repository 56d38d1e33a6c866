import { Injectable } from '@nestjs/common';

/** Leases of one mount that this process takes back side by side. */
const ofOneMount = 32;

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

  /** Takes a lane for a lease of this mount; false when it has all that it may. */
  take(mountId: string): boolean {
    const taken = this.busy.get(mountId) ?? 0;
    if (taken >= this.limitOf(mountId)) return false;
    this.busy.set(mountId, taken + 1);
    return true;
  }

  /** Gives it back; `answered`: AWS said something, be it a refusal. */
  free(mountId: string, answered: boolean): void {
    const left = this.busy.get(mountId)! - 1;
    if (left > 0) this.busy.set(mountId, left);
    else this.busy.delete(mountId);
    if (answered) this.silent.delete(mountId);
    else this.silent.add(mountId);
  }

  /** The mounts that have no lane left. */
  full(): string[] {
    return [...this.busy].filter(([mountId, taken]) => taken >= this.limitOf(mountId)).map(([mountId]) => mountId);
  }

  private limitOf(mountId: string): number {
    return this.silent.has(mountId) ? ofSilentMount : ofOneMount;
  }
}
