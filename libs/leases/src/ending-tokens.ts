import { Inject, Injectable, Logger } from '@nestjs/common';
import { type Caller, TokenEnds } from '#libs/access';
import { Metrics, type Span } from '#libs/runtime';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';
import { Revoking } from './revoking.js';

/**
 * The end of a token is the end of the tokens below it and of their leases, children first (contract.md 4.5). Marking is
 * committed first, so that nothing more is lent to them: an issue in flight is refused at its acceptance. Then the leases are
 * moved, and each token is noted as seen to. Every step may run twice, and the sweep goes on with what was left.
 */
@Injectable()
export class EndingTokens {
  private readonly logger = new Logger(EndingTokens.name);
  private readonly endingTree: Span;
  private readonly endingOne: Span;

  constructor(
    private readonly ends: TokenEnds,
    private readonly revoking: Revoking,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
    metrics: Metrics,
  ) {
    this.endingTree = metrics.span('vault.token.revoke-tree', 'Ending tokens and all below them.');
    this.endingOne = metrics.span('vault.token.revoke', 'Ending a token alone.');
  }

  /** Ends tokens and all below them. Their leases are being taken back when it returns, and need not be gone from AWS. */
  async end(tokenIds: string[]): Promise<void> {
    await this.endingTree(async () => this.see(await this.ends.markTrees(tokenIds)));
  }

  /** Ends one token; its children live on as orphans. */
  async endAlone(tokenId: string): Promise<void> {
    await this.endingOne(async () => {
      if (await this.ends.markOrphaning(tokenId)) await this.see([tokenId]);
    });
  }

  /** Ends the tokens that were made at this API path or below it. */
  async endMadeAt(path: string): Promise<void> {
    await this.end(await this.ends.madeAt(path));
  }

  /** Ends the caller's token where its request took the last use. Fails to nobody: what is not done here is due. */
  async afterRequestOf(caller: Caller): Promise<void> {
    if (!caller.isLastUse) return;
    try {
      await this.end([caller.token.id]);
    } catch (error) {
      this.logger.error({ msg: 'used-up token not ended; the sweep will', error: String(error) });
    }
  }

  /**
   * Ends what has expired and goes on with every end that was left half way.
   * @returns milliseconds until the next token expires; null = none does.
   */
  async sweep(): Promise<number | null> {
    while ((await this.ends.markDue()) > 0);
    await this.takeBack(null);
    return this.ends.nextDueMs();
  }

  /** A sweep that nobody waits for. */
  sweepBeside(): void {
    this.sweep().catch((error: unknown) => {
      this.logger.error({ msg: 'tokens not tidied; the sweep will', error: String(error) });
    });
  }

  /** Of tokens that were just ended. They are ended whatever becomes of this: a failure is told, and left to the sweep. */
  private async see(tokenIds: string[]): Promise<void> {
    try {
      await this.takeBack(tokenIds);
    } catch (error) {
      this.logger.error({ msg: 'leases of ended tokens not moved; the sweep will', error: String(error) });
    }
  }

  private async takeBack(tokenIds: string[] | null): Promise<void> {
    let ended = tokenIds;
    for (;;) {
      const born = await this.ends.livingChildrenOf(ended);
      if (born.length === 0) break;
      const marked = await this.ends.markTrees(born);
      ended = ended && [...ended, ...marked];
    }
    for (;;) {
      const next = await this.ends.next(ended);
      if (next.length === 0) return;
      await this.revoking.ask({ tokenIds: next }, 'token_ended');
      await this.ends.settled(next, this.timing.commandMemoryMs);
    }
  }
}
