import { Injectable } from '@nestjs/common';
import { type AwsAccount, AwsAccounts, AwsRefused, type ListedUser, listUsers, userExists } from '#libs/aws';
import { CodedError } from '#libs/contracts';
import type { LeaseState } from '#libs/leases';
import {
  AccountIdentities,
  defaultTemplate,
  type Mount,
  Mounts,
  type OpenedRootConfig,
  RootConfigs,
} from '#libs/roles';
import { EntityManager } from 'typeorm';

/** A row whose lease has not ended, as the database remembers it. */
export interface LivingRow {
  leaseId: string;
  userName: string;
  accountId: string;
  state: LeaseState;
  /** Of one in a pool, when it gets too old. */
  expiresAt: Date | null;
  /** A revoker that does not observe takes it back at once. */
  isDue: boolean;
}

/** What the database says of one mount and what AWS says, by one of the mount's identities there. */
export interface MountComparison {
  path: string;
  /** Null when AWS did not tell whose the credentials are. */
  accountId: string | null;
  existing: LivingRow[];
  missing: LivingRow[];
  /** Living rows that AWS told nothing of, or that are in an account of which the mount has no credentials now. */
  unknown: LivingRow[];
  /** Users with names like ours that no row names, and those whose row says that they have ended. */
  unexplained: ListedUser[];
  left: ListedUser[];
  /** Why something could not be compared, each a sentence. */
  gaps: string[];
}

/** Questions to AWS at once while users are looked for one by one. */
const atOnce = 8;

/** Compares the rows with AWS, by reading alone, for an operator who has restored the database. */
@Injectable()
export class Comparison {
  constructor(
    private readonly manager: EntityManager,
    private readonly mounts: Mounts,
    private readonly rootConfigs: RootConfigs,
    private readonly identities: AccountIdentities,
    private readonly accounts: AwsAccounts,
  ) {}

  async execute(): Promise<MountComparison[]> {
    const compared: MountComparison[] = [];
    for (const mount of await this.mounts.list()) compared.push(...(await this.compareMount(mount)));
    return compared;
  }

  /** One for its root, and one for each account in which it has an identity of its own. */
  private async compareMount(mount: Mount): Promise<MountComparison[]> {
    const rows = await this.livingRows(mount.id);
    const root = await this.rootConfigs.open(mount.id);
    const settings = { ...root.settings, ...root };
    const accounts = await this.identities.accounts(mount.id);
    const owns = (await Promise.all(accounts.map((id) => this.identities.open(mount.id, id)))).flatMap(
      (own) => own ?? [],
    );
    const others = rows.filter((row) => owns.every((own) => own.accountId !== row.accountId));
    const compared = [await this.compare(mount, others, root, () => this.accounts.open(settings))];
    for (const own of owns) {
      const ofOwn = rows.filter((row) => row.accountId === own.accountId);
      compared.push(await this.compare(mount, ofOwn, root, () => this.accounts.openOwn(settings, own)));
    }
    return compared;
  }

  private async compare(
    mount: Mount,
    rows: LivingRow[],
    root: OpenedRootConfig,
    open: () => AwsAccount,
  ): Promise<MountComparison> {
    const found: MountComparison = {
      path: mount.path,
      accountId: null,
      existing: [],
      missing: [],
      unknown: rows,
      unexplained: [],
      left: [],
      gaps: [],
    };
    try {
      const account = open();
      found.accountId = (await account.identity()).accountId;
      const ours = rows.filter((row) => row.accountId === found.accountId);
      found.unknown = rows.filter((row) => row.accountId !== found.accountId);
      if (found.unknown.length > 0) {
        found.gaps.push(
          'Some leases are in another account than the credentials are of now; they were not looked for.',
        );
      }
      const listed = await this.list(account, found);
      const names = listed && new Set(listed.map((user) => user.name.toLowerCase()));
      for (const [row, exists] of await this.lookFor(account, ours, names, found)) {
        (exists === null ? found.unknown : exists ? found.existing : found.missing).push(row);
      }
      if (listed) await this.explain(listed, root.settings.usernameTemplate, found);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      found.gaps.push(`AWS could not be asked: ${sentence(error)}`);
    }
    return found;
  }

  private async livingRows(mountId: string): Promise<LivingRow[]> {
    return this.manager.query(
      `select id as "leaseId", coalesce(renamed_to, user_name) as "userName", account_id as "accountId", state,
         coalesce(expires_at, case state when 'pooled' then due_at end) as "expiresAt", due_at <= now() as "isDue"
       from leases where mount_id = $1 and state <> 'ended' and credential_type = 'iam_user' order by id`,
      [mountId],
    );
  }

  /** Null where the account may not be listed. */
  private async list(account: AwsAccount, found: MountComparison): Promise<ListedUser[] | null> {
    try {
      return await listUsers(account);
    } catch (error) {
      if (!(error instanceof AwsRefused)) throw error;
      found.gaps.push(
        'The root credentials lack iam:ListUsers: users that no row names were not looked for. ' +
          `AWS says: ${sentence(error)}`,
      );
      return null;
    }
  }

  /** Whether each row's user is there, by the list or one by one; null where AWS does not say. */
  private async lookFor(
    account: AwsAccount,
    rows: LivingRow[],
    names: Set<string> | null,
    found: MountComparison,
  ): Promise<[LivingRow, boolean | null][]> {
    if (names) return rows.map((row) => [row, names.has(row.userName.toLowerCase())]);
    const answers: [LivingRow, boolean | null][] = [];
    let refusal: AwsRefused | undefined;
    const left = [...rows];
    const ask = async () => {
      for (let row = left.shift(); row; row = left.shift()) {
        try {
          answers.push([row, await userExists(account, row.userName)]);
        } catch (error) {
          if (!(error instanceof AwsRefused)) throw error;
          refusal ??= error;
          answers.push([row, null]);
        }
      }
    };
    await Promise.all(Array.from({ length: atOnce }, ask));
    if (refusal) found.gaps.push(`Some users could not be looked for: ${sentence(refusal)}`);
    return answers;
  }

  /** Of the users with names like ours, those that no row names, of whatever mount, and those whose rows have ended. */
  private async explain(listed: ListedUser[], template: string, found: MountComparison): Promise<void> {
    const head = headOf(template);
    if (head === '') {
      found.gaps.push('The username template has no fixed beginning: users that no row names were not looked for.');
      return;
    }
    const alike = listed.filter((user) => user.name.startsWith(head));
    const rows = (await this.manager.query(
      `select lower(unnest(array[user_name, renamed_to])) as name, bool_or(state <> 'ended') as "isLiving"
       from leases where account_id = $1 and credential_type = 'iam_user'
         and (lower(user_name) = any($2) or lower(renamed_to) = any($2)) group by 1`,
      [found.accountId, alike.map((user) => user.name.toLowerCase())],
    )) as { name: string | null; isLiving: boolean }[];
    const living = new Map(rows.map((row) => [row.name, row.isLiving]));
    for (const user of alike) {
      const isLiving = living.get(user.name.toLowerCase());
      if (isLiving === undefined) found.unexplained.push(user);
      else if (!isLiving) found.left.push(user);
    }
  }
}

/** How every name that the template makes begins; '' when it may be anything. */
function headOf(template: string): string {
  return template === defaultTemplate ? 'vault-' : template.slice(0, Math.max(0, template.indexOf('{{')));
}

/** AWS's text without the lines that only say which request it was. */
function sentence(error: CodedError): string {
  return error.message.split('\n')[0]!;
}
