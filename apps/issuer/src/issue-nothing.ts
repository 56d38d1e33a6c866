import { Injectable } from '@nestjs/common';
import { type IssueLeaseReply, Observing, type TryRoleReply } from '#libs/contracts';

/** What stands in for `IssueLease` while the system is observed. */
@Injectable()
export class IssueNothing {
  execute(): Promise<IssueLeaseReply> {
    return Promise.reject(new Observing());
  }

  try(): Promise<TryRoleReply> {
    return Promise.reject(new Observing());
  }
}
