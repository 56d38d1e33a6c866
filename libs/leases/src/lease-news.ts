import { Injectable, Logger } from '@nestjs/common';
import { EntityManager } from 'typeorm';

/** The channel on which ids of leases are told, some per message, a line each. */
export const newsChannel = 'lease_settled';

/** Ids in one message; PostgreSQL takes 8,000 bytes. */
const idsAtOnce = 20;

/**
 * Tells whoever waits for a revocation that the row is worth a look. It is a hint, apart from the transaction that it is
 * about: commits that notify wait for each other one by one, and so many together cost one.
 */
@Injectable()
export class LeaseNews {
  private readonly logger = new Logger(LeaseNews.name);
  private untold: string[] = [];
  private telling = false;

  constructor(private readonly manager: EntityManager) {}

  /** Returns at once. */
  tell(leaseId: string): void {
    this.untold.push(leaseId);
    if (!this.telling) void this.tellAll();
  }

  private async tellAll(): Promise<void> {
    this.telling = true;
    try {
      while (this.untold.length > 0) {
        const told = this.untold;
        this.untold = [];
        const messages: string[] = [];
        for (let from = 0; from < told.length; from += idsAtOnce) {
          messages.push(told.slice(from, from + idsAtOnce).join('\n'));
        }
        await this.manager.query(`select pg_notify('${newsChannel}', message) from unnest($1::text[]) as message`, [
          messages,
        ]);
      }
    } catch (error) {
      this.logger.warn({ msg: 'who waits for leases was not told, and looks by itself', error: String(error) });
    } finally {
      this.telling = false;
    }
  }
}
