import { Injectable } from '@nestjs/common';
import { type Caller, Tokens } from '#libs/access';
import {
  type AcceptLeaseReply,
  type AcceptLeaseRequest,
  InvalidRequest,
  PermissionDenied,
  type RenewLeaseReply,
  type RenewLeaseRequest,
  type RevokeLeaseReply,
  type RevokeLeaseRequest,
  type WithdrawLeaseReply,
  type WithdrawLeaseRequest,
} from '#libs/contracts';
import { Accepting, Finding, Renewing, Revoking } from '#libs/leases';
import { Authorizing, wantedOfRenewal, wantedOfRevocation } from './authorizing.js';

/**
 * What an internal service asks of a lease that it was offered or holds. The gateway does the same through the libraries;
 * the check of token and policies is the same (design.md, promise 7).
 */
@Injectable()
export class HeldLease {
  constructor(
    private readonly tokens: Tokens,
    private readonly authorizing: Authorizing,
    private readonly finding: Finding,
    private readonly accepting: Accepting,
    private readonly renewing: Renewing,
    private readonly revoking: Revoking,
  ) {}

  /** @throws CodedError `permission_denied` when another token asked for the lease; `out_of_time` when the offer has lapsed. */
  async accept({ token, leaseId, commandId }: AcceptLeaseRequest): Promise<AcceptLeaseReply> {
    const caller = await this.tokens.authenticate(token, 'continues');
    await this.mustHaveAskedFor(caller, leaseId);
    await this.accepting.accept(leaseId, commandId);
    return { leaseId };
  }

  /** @throws CodedError `permission_denied`, also when another token asked for it. */
  async withdraw({ token, commandId, leaseId }: WithdrawLeaseRequest): Promise<WithdrawLeaseReply> {
    const caller = await this.tokens.authenticate(token, 'continues');
    if (leaseId === undefined) {
      if (!(await this.accepting.withdraw(commandId, caller.token.id))) throw new PermissionDenied();
    } else {
      await this.mustHaveAskedFor(caller, leaseId);
      await this.accepting.undo(leaseId, commandId);
    }
    return { commandId };
  }

  /**
   * As `sys/leases/renew` does.
   * @throws CodedError `permission_denied`, `invalid_request` with the texts of contract.md 4.4.
   */
  async renew(command: RenewLeaseRequest): Promise<RenewLeaseReply> {
    const { id, leaseId, incrementSeconds } = command;
    return this.authorizing.onBehalfOf(command, wantedOfRenewal(command), async () => {
      const { ttlMs, cut } = await this.renewing.renew(leaseId, incrementSeconds * 1000, id);
      return { leaseId, leaseDuration: Math.round(ttlMs / 1000), ttlCut: cut };
    });
  }

  /**
   * As `sys/leases/revoke` does.
   * @throws CodedError `permission_denied`, `invalid_request` when there is no such lease.
   */
  async revoke(command: RevokeLeaseRequest): Promise<RevokeLeaseReply> {
    const { leaseId } = command;
    return this.authorizing.onBehalfOf(command, wantedOfRevocation(command), async () => {
      if (!(await this.finding.find(leaseId))) throw new InvalidRequest('lease not found');
      await this.revoking.ask({ leaseId }, 'revoked');
      return { leaseId };
    });
  }

  private async mustHaveAskedFor({ token }: Caller, leaseId: string): Promise<void> {
    if (!(await this.finding.wasAskedForBy(token.id, leaseId))) throw new PermissionDenied();
  }
}
