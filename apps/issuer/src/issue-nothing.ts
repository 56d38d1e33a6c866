import { Injectable } from '@nestjs/common';
import { Observing } from '#libs/contracts';

/** What stands in for everything that makes something in AWS while the system is observed. */
@Injectable()
export class IssueNothing {
  execute(): Promise<never> {
    return Promise.reject(new Observing());
  }

  try(): Promise<never> {
    return Promise.reject(new Observing());
  }
}
