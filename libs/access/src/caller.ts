import { InvalidRequest } from '#libs/contracts';
import type { Acl } from './acl.js';
import type { Token } from './token.entity.js';

/** A counted token's last use cannot ask for a lease, which would be over with the answer (contract.md 1.8). */
export class LastUse extends InvalidRequest {
  constructor() {
    super('Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.');
  }
}

/** Who is calling, once the token has been checked. */
export class Caller {
  /**
   * @param token as it is after this request's use was spent.
   * @param acl what its policies allow.
   * @param leftMs what was left of its time when PostgreSQL looked; null = it never expires.
   * @param lookedAt when PostgreSQL was asked, by this process's monotonic clock.
   * @param isLastUse whether this request took a counted token's last use: afterwards it ends.
   */
  constructor(
    readonly token: Token,
    readonly acl: Acl,
    readonly leftMs: number | null = null,
    private readonly lookedAt = performance.now(),
    readonly isLastUse = false,
  ) {}

  /** Whether the caller may do on this path what only `sudo` allows. */
  hasSudo(path: string): boolean {
    return this.acl.hasSudo(path);
  }

  /** Whether its first door must say to the next one that it let it in: the next one knows no address, and spends no use twice. */
  isRestricted(): boolean {
    return this.token.usesLeft !== null || this.token.boundCidrs.length > 0;
  }

  /** Longest life of a lease of this caller, milliseconds from now: a batch token's end is the end of its leases (contract.md 4.2). */
  longestLeaseMs(): number {
    if (this.token.type !== 'batch' || this.leftMs === null) return Infinity;
    return Math.max(0, this.leftMs - (performance.now() - this.lookedAt));
  }
}
