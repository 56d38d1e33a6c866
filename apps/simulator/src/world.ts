import { Account } from './account.js';
import type { AccessKey, User } from './entities.js';
import type { Faults } from './faults.js';
import { Journal } from './journal.js';

export interface KeyHolder {
  account: Account;
  user: User;
  key: AccessKey;
}

/** Every account, and whose each access key is. */
export class World {
  readonly journal: Journal;
  private readonly accounts = new Map<string, Account>();
  private readonly keys = new Map<string, KeyHolder>();
  private readonly lingering = new Map<string, { holder: KeyHolder; until: number }>();

  /** @throws Error when the state file cannot be read. */
  constructor(
    readonly faults: Faults,
    stateFile?: string,
  ) {
    this.journal = new Journal(stateFile);
    for (const entry of this.journal.entries()) this.account(entry.account).restore(entry);
  }

  /** The account with this id of twelve digits; it comes into being when it is first named. */
  account(id: string): Account {
    const known = this.accounts.get(id);
    if (known) return known;
    if (!/^\d{12}$/.test(id)) throw new Error(`an account id has twelve digits, not "${id}"`);
    const account = new Account(id, this);
    this.accounts.set(id, account);
    return account;
  }

  /** The account, only if something has been made in it. */
  knownAccount(id: string): Account | undefined {
    return this.accounts.get(id);
  }

  everyAccount(): Iterable<Account> {
    return this.accounts.values();
  }

  /** Whose key this is; also a deleted one that lingers. */
  keyHolder(accessKeyId: string): KeyHolder | undefined {
    const holder = this.keys.get(accessKeyId);
    if (holder) return holder;
    const late = this.lingering.get(accessKeyId);
    return late && this.faults.now() < late.until ? late.holder : undefined;
  }

  addKey(holder: KeyHolder): void {
    this.keys.set(holder.key.id, holder);
  }

  removeKey(accessKeyId: string): void {
    const holder = this.keys.get(accessKeyId);
    this.keys.delete(accessKeyId);
    const now = this.faults.now();
    for (const [id, { until }] of this.lingering) {
      if (until > now) break;
      this.lingering.delete(id);
    }
    const lingersMs = this.faults.settings.deletedKeyLingersMs;
    if (holder && lingersMs > 0) this.lingering.set(accessKeyId, { holder, until: now + lingersMs });
  }
}
