import { Controller } from '@nestjs/common';
import { MessagePattern, Payload } from '@nestjs/microservices';
import { issueLease, type IssueLeaseReply, type IssueLeaseRequest } from '#libs/contracts';
import { IssueLease } from './issue-lease.js';

/** The issuer's door. */
@Controller()
export class IssueController {
  constructor(private readonly useCase: IssueLease) {}

  @MessagePattern(issueLease.pattern)
  issue(@Payload({ schema: issueLease.request }) command: IssueLeaseRequest): Promise<IssueLeaseReply> {
    return this.useCase.execute(command);
  }
}
