import { Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { Pooling } from '#libs/leases';

/**
 * What stands in for filling pools while the system is observed: a restored database may have users in its pools that were
 * handed out since. They are marked, and taken back by the first revoker that does not observe.
 */
@Injectable()
export class EmptyPools implements OnApplicationBootstrap {
  private readonly logger = new Logger(EmptyPools.name);

  constructor(private readonly pooling: Pooling) {}

  /** The process does not serve before this is done: with pools as they were it must not go on. */
  async onApplicationBootstrap(): Promise<void> {
    const users = await this.pooling.empty();
    if (users > 0) this.logger.warn({ msg: 'pools are emptied, as they may have been handed out since', users });
  }
}
