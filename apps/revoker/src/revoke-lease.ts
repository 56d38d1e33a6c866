import { Inject, Injectable, Logger } from '@nestjs/common';
import { type AwsAccount, AwsRefused, destroyIamUser, followAccessKey } from '#libs/aws';
import { CodedError } from '#libs/contracts';
import { type Lease, LEASE_TIMING, type LeaseTiming, type Outcome, Revoking } from '#libs/leases';
import { type OpenedRootConfig, RootUses } from '#libs/roles';
import { KeptIdentities } from './kept-identities.js';
import { RevokerFigures } from './revoker-figures.js';

/**
 * Takes one claimed lease back: expiry, revocation, roll-back and a tombstone's look are all this. It may run twice;
 * what comes of it is written by `Revoking.settle`, in one place.
 */
@Injectable()
export class RevokeLease {
  private readonly logger = new Logger(RevokeLease.name);

  constructor(
    private readonly revoking: Revoking,
    private readonly identities: KeptIdentities,
    private readonly rootUses: RootUses,
    private readonly figures: RevokerFigures,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /** @returns whether AWS said anything. */
  async execute(lease: Lease): Promise<boolean> {
    const extending = setInterval(() => {
      this.revoking.extend(lease).catch((error: unknown) => {
        const { id: leaseId, requestId } = lease;
        this.logger.warn({ msg: 'claim not extended', leaseId, requestId, error: String(error) });
      });
    }, this.timing.claimMs / 3);
    const startedAt = performance.now();
    try {
      const outcome = await this.destroy(lease).catch(toOutcome);
      const settled = await this.revoking.settle(lease, outcome);
      this.figures.tried(lease, settled, performance.now() - startedAt);
      this.tell(lease, outcome);
      return outcome.kind !== 'unanswered';
    } finally {
      clearInterval(extending);
    }
  }

  private async destroy(lease: Lease): Promise<Outcome> {
    const { account, root } = await this.accountOf(lease);
    return this.rootUses.during(root, () => this.destroyIn(account, lease));
  }

  private async destroyIn(account: AwsAccount, lease: Lease): Promise<Outcome> {
    const destroyed = await destroyIamUser(account, {
      userName: nameOf(lease),
      accessKeyId: lease.accessKeyId ?? undefined,
      ...lease.made,
    });
    if (destroyed === 'destroyed') return { kind: 'gone' };
    return this.missing(lease, account);
  }

  /** The user is not there: of one that was handed over, its holder may have renamed it (design.md, NoSuchEntity). */
  private async missing(lease: Lease, account: AwsAccount): Promise<Outcome> {
    const wasHeld = lease.acceptedAt !== null && lease.endedAt === null;
    if (wasHeld && lease.accessKeyId) {
      const followed = await followAccessKey(account, lease.accessKeyId);
      if (followed !== 'unknown' && followed.userName !== nameOf(lease)) {
        return { kind: 'renamed', userName: followed.userName };
      }
    }
    return { kind: 'absent', wasHeld };
  }

  /** The account that the lease is in, by an identity that the mount has there or that is kept for it; `root`: what that rests on. */
  private async accountOf(lease: Lease): Promise<{ account: AwsAccount; root: OpenedRootConfig }> {
    let refusal: unknown;
    for await (const way of this.identities.waysTo(lease)) {
      try {
        const account = way.open();
        const identity = await account.identity();
        await way.note?.(identity);
        if (identity.accountId === lease.accountId) return { account, root: way.root };
      } catch (error) {
        refusal ??= error;
      }
    }
    if (refusal) throw refusal;
    throw new AwsRefused(
      '',
      `The lease belongs to account ${lease.accountId}, and neither config/root nor config/accounts/${lease.accountId} has ` +
        'credentials of it: write them there, or drop the lease with revoke-force.',
      { permanent: true },
    );
  }

  private tell(lease: Lease, outcome: Outcome): void {
    const fields = {
      leaseId: lease.id,
      requestId: lease.requestId,
      reason: lease.endReason,
      attempt: lease.attempts + 1,
    };
    if (outcome.kind === 'refused') this.logger.warn({ msg: 'revocation refused', ...fields, error: outcome.error });
    else if (outcome.kind === 'gone') this.logger.log({ msg: 'lease ended', ...fields });
    else this.logger.log({ msg: `revocation not finished: ${outcome.kind}`, ...fields });
  }
}

/** The user's name in AWS, as far as we know. */
function nameOf(lease: Lease): string {
  return lease.renamedTo ?? lease.userName!;
}

/** An error of AWS as what it means for the row; what is no error of AWS (a lost database) leaves the claim to lapse. */
function toOutcome(error: unknown): Outcome {
  if (error instanceof AwsRefused) {
    // AWS is at work on the same user: that says nothing of whether it can be destroyed, as throttling says nothing.
    if (error.awsCode === 'ConcurrentModification') {
      return { kind: 'unanswered', error: error.message, throttled: true };
    }
    const mayBeLag = error.awsCode === 'DeleteConflict';
    return { kind: 'refused', error: error.message, permanent: error.permanent, mayBeLag };
  }
  if (error instanceof CodedError) {
    return { kind: 'unanswered', error: error.message, throttled: error.code === 'aws_throttled' };
  }
  throw error;
}
