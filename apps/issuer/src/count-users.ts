import { Injectable, Logger } from '@nestjs/common';
import { type AwsAccount, countUsers } from '#libs/aws';
import { ForeignUsers } from '#libs/leases';

/** An account, and the way to it. */
interface Place {
  account: AwsAccount;
  accountId: string;
}

/** Counts the users of an account at AWS, once at a time for all who ask in this process. */
@Injectable()
export class CountUsers {
  private readonly logger = new Logger(CountUsers.name);
  private readonly underWay = new Map<string, Promise<void>>();

  constructor(private readonly foreignUsers: ForeignUsers) {}

  /** For whoever is about to make the first user: afterwards the account is counted, or known not to be countable now. */
  first(place: Place): Promise<void> {
    return this.once(place.accountId, async () => {
      // Somebody's count may have been recorded since this caller looked.
      if (!(await this.foreignUsers.isRecorded(place.accountId))) await this.count(place, true);
    });
  }

  /** In nobody's way, when it is due, or AWS has shown that the count `isWrong`. */
  again(place: Place, { isWrong }: { isWrong: boolean }): void {
    const { accountId } = place;
    void this.once(accountId, async () => {
      if (await this.foreignUsers.claim(accountId, isWrong)) await this.count(place, false);
    }).catch((error: unknown) => {
      this.logger.warn({ msg: 'users of an account not counted', accountId, error: String(error) });
    });
  }

  private once(accountId: string, work: () => Promise<void>): Promise<void> {
    let running = this.underWay.get(accountId);
    if (!running) {
      running = work().finally(() => this.underWay.delete(accountId));
      this.underWay.set(accountId, running);
    }
    return running;
  }

  private async count({ account, accountId }: Place, isFirst: boolean): Promise<void> {
    const askedAt = performance.now();
    const count = await countUsers(account, isFirst);
    await this.foreignUsers.note(accountId, count, performance.now() - askedAt, isFirst);
    this.logger.log({
      msg: 'users of an account counted',
      accountId,
      ...(typeof count === 'string' ? { count } : count),
    });
  }
}
