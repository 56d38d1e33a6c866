import { Injectable } from '@nestjs/common';
import { Observing } from '#libs/contracts';
import type { IssueLease } from './issue-lease.js';
import type { RotateRoot } from './rotate-root.js';

/** The commands that make something, by their use cases. */
type Commands = Pick<IssueLease, 'execute' | 'handOutOnly' | 'try'> & Pick<RotateRoot, 'execute'>;

/** What stands in for everything that makes something in AWS while the system is observed. */
@Injectable()
export class IssueNothing implements Commands {
  execute(): Promise<never> {
    return Promise.reject(new Observing());
  }

  handOutOnly(): Promise<never> {
    return Promise.reject(new Observing());
  }

  try(): Promise<never> {
    return Promise.reject(new Observing());
  }
}
