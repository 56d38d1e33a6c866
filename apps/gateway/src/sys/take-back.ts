import { Inject, Injectable } from '@nestjs/common';
import { CodedError } from '#libs/contracts';
import {
  type EndReason,
  LEASE_TIMING,
  LeaseWatch,
  type LeaseTiming,
  Revoking,
  type Settled,
  type Which,
} from '#libs/leases';
import { Metrics, type Span } from '#libs/runtime';
import type { ApiAnswer } from '../api/api-path.js';

/** AWS refused to let a lease be taken back; the lease stays and is tried again (contract.md 3.2, 4.4). */
class RevocationFailed extends CodedError {
  constructor(message: string) {
    super('revocation_failed', message, { retryable: true });
  }
}

/** Revocation as the HTTP API asks for it: now and waited for, later, or by force. */
@Injectable()
export class TakeBack {
  private readonly byPrefix: Span;
  private readonly byForce: Span;

  constructor(
    private readonly revoking: Revoking,
    private readonly watch: LeaseWatch,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
    metrics: Metrics,
  ) {
    this.byPrefix = metrics.span('vault.expire.revoke-prefix', 'Revoking all leases under a prefix.');
    this.byForce = metrics.span('vault.expire.revoke-force', 'Revoking all leases under a prefix by force.');
  }

  /**
   * Asks for it and waits. Nothing is returned when all have ended; a 202 with a warning when the wait was too short:
   * the rest continues by itself.
   * @throws CodedError `revocation_failed` with the text of the first one that AWS refused, and the counts.
   */
  now(which: Which, reason: EndReason, force = false): Promise<ApiAnswer | undefined> {
    const work = () => this.wait(which, reason, force);
    if (force) return this.byForce(work);
    return 'prefix' in which ? this.byPrefix(work) : work();
  }

  private async wait(which: Which, reason: EndReason, force: boolean): Promise<ApiAnswer | undefined> {
    const asked = await this.revoking.ask(which, reason, force);
    const isOne = 'leaseId' in which;
    const settled = await this.watch.settled(asked, isOne ? this.timing.syncOneMs : this.timing.syncManyMs);
    if (settled.failed.length > 0) throw new RevocationFailed(failureText(settled, which));
    if (settled.pending === 0) return undefined;
    const warning = `still revoking ${settled.pending} of ${settled.total}; it continues by itself`;
    return { status: 202, data: null, warnings: [warning] };
  }

  /**
   * Waits for the end of what was made for nobody, and is being taken back.
   * @returns false when the wait was too short; it continues by itself.
   * @throws CodedError `revocation_failed` when AWS refuses it.
   */
  async ofTrial(leaseId: string): Promise<boolean> {
    const settled = await this.watch.settled([{ id: leaseId, attempts: 0 }], this.timing.syncOneMs, {
      mayHaveEnded: true,
    });
    const [refused] = settled.failed;
    if (refused) {
      throw new RevocationFailed(
        `AWS gave the credential and does not let it be taken back, which is tried again by itself: ${refused.error}`,
      );
    }
    return settled.pending === 0;
  }

  /** Asks for it and returns at once: 202. */
  async later(which: Which, reason: EndReason): Promise<ApiAnswer> {
    await this.revoking.ask(which, reason);
    return { status: 202 };
  }
}

function failureText({ failed, total }: Settled, which: Which): string {
  const [first] = failed;
  const text = `failed to revoke entry: resp: (*logical.Response)(nil) err: ${first!.error}`;
  if ('leaseId' in which) return text;
  const counts = 'prefix' in which && which.prefix === first!.id ? '' : ` (${failed.length} / ${total})`;
  return `failed to revoke "${first!.id}"${counts}: ${text}`;
}
