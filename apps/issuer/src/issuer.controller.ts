import { Controller } from '@nestjs/common';
import { MessagePattern, Payload } from '@nestjs/microservices';
import {
  acceptLease,
  type AcceptLeaseReply,
  type AcceptLeaseRequest,
  deleteStaticRole,
  type DeleteStaticRoleReply,
  type DeleteStaticRoleRequest,
  handOutLease,
  type HandOutLeaseReply,
  type HandOutLeaseRequest,
  issueLease,
  type IssueLeaseReply,
  type IssueLeaseRequest,
  renewLease,
  type RenewLeaseReply,
  type RenewLeaseRequest,
  revokeLease,
  type RevokeLeaseReply,
  type RevokeLeaseRequest,
  rotateRoot,
  type RotateRootReply,
  type RotateRootRequest,
  tryRole,
  type TryRoleReply,
  type TryRoleRequest,
  withdrawLease,
  type WithdrawLeaseReply,
  type WithdrawLeaseRequest,
  writeStaticRole,
  type WriteStaticRoleReply,
  type WriteStaticRoleRequest,
} from '#libs/contracts';
import { CommandAudit } from './command-audit.js';
import { HeldLease } from './held-lease.js';
import { IssueLease } from './issue-lease.js';
import { RotateRoot } from './rotate-root.js';
import { DeleteStaticRole, WriteStaticRole } from './static-role-commands.js';

/** The issuer's doors, one per command. */
@Controller()
export class IssuerController {
  constructor(
    private readonly issuing: IssueLease,
    private readonly held: HeldLease,
    private readonly rotation: RotateRoot,
    private readonly staticRole: WriteStaticRole,
    private readonly staticRoleGoes: DeleteStaticRole,
    private readonly audit: CommandAudit,
  ) {}

  @MessagePattern(issueLease.pattern)
  issue(@Payload({ schema: issueLease.request }) command: IssueLeaseRequest): Promise<IssueLeaseReply> {
    return this.audit.issue(command, () => this.issuing.execute(command));
  }

  @MessagePattern(handOutLease.pattern)
  handOut(@Payload({ schema: handOutLease.request }) command: HandOutLeaseRequest): Promise<HandOutLeaseReply> {
    return this.audit.handOut(command, () => this.issuing.handOutOnly(command));
  }

  @MessagePattern(tryRole.pattern)
  try(@Payload({ schema: tryRole.request }) command: TryRoleRequest): Promise<TryRoleReply> {
    return this.audit.try(command, () => this.issuing.try(command));
  }

  @MessagePattern(acceptLease.pattern)
  accept(@Payload({ schema: acceptLease.request }) command: AcceptLeaseRequest): Promise<AcceptLeaseReply> {
    return this.audit.accept(command, () => this.held.accept(command));
  }

  @MessagePattern(withdrawLease.pattern)
  withdraw(@Payload({ schema: withdrawLease.request }) command: WithdrawLeaseRequest): Promise<WithdrawLeaseReply> {
    return this.audit.withdraw(command, () => this.held.withdraw(command));
  }

  @MessagePattern(renewLease.pattern)
  renew(@Payload({ schema: renewLease.request }) command: RenewLeaseRequest): Promise<RenewLeaseReply> {
    return this.audit.renew(command, () => this.held.renew(command));
  }

  @MessagePattern(revokeLease.pattern)
  revoke(@Payload({ schema: revokeLease.request }) command: RevokeLeaseRequest): Promise<RevokeLeaseReply> {
    return this.audit.revoke(command, () => this.held.revoke(command));
  }

  @MessagePattern(rotateRoot.pattern)
  rotateRoot(@Payload({ schema: rotateRoot.request }) command: RotateRootRequest): Promise<RotateRootReply> {
    return this.audit.rotateRoot(command, () => this.rotation.execute(command));
  }

  @MessagePattern(writeStaticRole.pattern)
  writeStaticRole(
    @Payload({ schema: writeStaticRole.request }) command: WriteStaticRoleRequest,
  ): Promise<WriteStaticRoleReply> {
    return this.audit.writeStaticRole(command, () => this.staticRole.execute(command));
  }

  @MessagePattern(deleteStaticRole.pattern)
  deleteStaticRole(
    @Payload({ schema: deleteStaticRole.request }) command: DeleteStaticRoleRequest,
  ): Promise<DeleteStaticRoleReply> {
    return this.audit.deleteStaticRole(command, () => this.staticRoleGoes.execute(command));
  }
}
