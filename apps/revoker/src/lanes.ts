import { Injectable } from '@nestjs/common';

/** Leases of one mount that this process takes back side by side. */
const ofOneMount = 50;

/** And those of one whose AWS gives no answer, or asks to slow down: enough to notice when it is back. */
const ofSilentMount = 4;

/**
 * Who may go to work in this process. A mount whose AWS is silent holds every worker that is on its leases for as long as it
 * waits, so it gets few of them, and nobody waits in line for it: its leases hold up no others.
 */
@Injectable()
export class Lanes {
  private readonly busy = new Map<string, number>();
  private readonly silent = new Set<string>();
  private readonly lines = new Map<string, ((free: boolean) => void)[]>();

  /** Takes a lane for a lease of this mount, and waits in line for it; false when its AWS is silent and all are taken. */
  async take(mountId: string): Promise<boolean> {
    const taken = this.busy.get(mountId) ?? 0;
    if (taken < this.limitOf(mountId)) {
      this.busy.set(mountId, taken + 1);
      return true;
    }
    if (this.silent.has(mountId)) return false;
    const line = this.lines.get(mountId) ?? [];
    this.lines.set(mountId, line);
    return new Promise((resolve) => line.push(resolve));
  }

  /** Gives it back; `answered`: AWS said something, be it a refusal. */
  free(mountId: string, answered: boolean): void {
    if (answered) this.silent.delete(mountId);
    else this.silent.add(mountId);
    const line = this.lines.get(mountId) ?? [];
    if (!answered) for (const waiting of line.splice(0)) waiting(false);
    const left = this.busy.get(mountId)! - 1;
    // The lane goes straight to who is first in line, unless there are more of them than there may be.
    const next = left < this.limitOf(mountId) ? line.shift() : undefined;
    if (line.length === 0) this.lines.delete(mountId);
    if (next) next(true);
    else if (left > 0) this.busy.set(mountId, left);
    else this.busy.delete(mountId);
  }

  /** The mounts that have no lane left. */
  full(): string[] {
    return [...this.busy].filter(([mountId, taken]) => taken >= this.limitOf(mountId)).map(([mountId]) => mountId);
  }

  private limitOf(mountId: string): number {
    return this.silent.has(mountId) ? ofSilentMount : ofOneMount;
  }
}
