import { Injectable } from '@nestjs/common';
import { Keyring } from '#libs/access';
import { goQuote, InvalidRequest } from '#libs/contracts';
import { EntityManager, IsNull } from 'typeorm';
import { AccountIdentity } from './account-identity.entity.js';
import { isAccountId } from './arn.js';

/** The whole of an identity as it is written; '' = not given. */
export interface AccountIdentityWrite {
  accessKey: string;
  secretKey: string;
  roleArn: string;
  externalId: string;
}

/** What may be read back of it: everything but the secret. */
export type ShownAccountIdentity = Omit<AccountIdentityWrite, 'secretKey'> & { accountId: string };

/** A version of an identity with its secret in the clear: in memory only, never logged. */
export interface OpenedAccountIdentity extends AccountIdentityWrite {
  accountId: string;
  version: string;
}

/** The identities that mounts have in accounts beside their root's, one row a version; the secret is sealed as a root's is. */
@Injectable()
export class AccountIdentities {
  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
  ) {}

  /** The accounts in which a mount has one, sorted. */
  async accounts(mountId: string): Promise<string[]> {
    const rows = await this.manager.find(AccountIdentity, {
      where: { mountId, supersededAt: IsNull() },
      select: { accountId: true },
      order: { accountId: 'ASC' },
    });
    return rows.map((row) => row.accountId);
  }

  /** Null = there is none. */
  async read(mountId: string, accountId: string): Promise<ShownAccountIdentity | null> {
    const current = await this.current(mountId, accountId);
    if (!current) return null;
    const { accessKey, roleArn, externalId } = current;
    return { accountId, accessKey, roleArn, externalId };
  }

  /**
   * Stores a new version in the place of the current one, which is kept as superseded.
   * @throws InvalidRequest with all that is wrong with it; nothing is stored then.
   */
  async write(mountId: string, accountId: string, write: AccountIdentityWrite): Promise<void> {
    const faults = faultsOf(accountId, write);
    if (faults.length > 0) throw new InvalidRequest(faults.join('; '));
    const { secretKey, ...given } = write;
    await this.manager.transaction(async (manager) => {
      await manager.query(`select pg_advisory_xact_lock(hashtext('leasehold account identity'), hashtext($1))`, [
        `${mountId} ${accountId}`,
      ]);
      const sealed = secretKey === '' ? null : await this.keyring.seal(secretKey, purpose(mountId, accountId), manager);
      await this.supersede(manager, mountId, accountId);
      await manager.insert(AccountIdentity, {
        mountId,
        accountId,
        ...given,
        sealedSecretKey: sealed,
        supersededAt: null,
      });
    });
  }

  /** Nothing is lent by it any more; leases of its account are still taken back with it. */
  async delete(mountId: string, accountId: string): Promise<void> {
    await this.supersede(this.manager, mountId, accountId);
  }

  /** The current version, opened for use; null = there is none. */
  async open(mountId: string, accountId: string): Promise<OpenedAccountIdentity | null> {
    const current = await this.current(mountId, accountId);
    return current && this.unsealed(current);
  }

  /** Every version that is kept, newest first: what may destroy an older lease. */
  async openAll(mountId: string, accountId: string): Promise<OpenedAccountIdentity[]> {
    const rows = await this.manager.find(AccountIdentity, {
      where: { mountId, accountId },
      order: { version: 'DESC' },
    });
    return Promise.all(rows.map((row) => this.unsealed(row)));
  }

  /** Forgets superseded versions in whose account no living lease of the mount is any more. */
  async forgetUnneeded(): Promise<void> {
    await this.manager.query(
      `delete from account_identities i where superseded_at < now() - interval '1 hour'
         and not exists (select 1 from leases l where l.mount_id = i.mount_id and l.due_at is not null
           and l.credential_type = 'iam_user' and l.account_id = i.account_id)`,
    );
  }

  private async current(mountId: string, accountId: string): Promise<AccountIdentity | null> {
    return this.manager.findOneBy(AccountIdentity, { mountId, accountId, supersededAt: IsNull() });
  }

  private async supersede(manager: EntityManager, mountId: string, accountId: string): Promise<void> {
    const current = { mountId, accountId, supersededAt: IsNull() };
    await manager.update(AccountIdentity, current, { supersededAt: () => 'now()' });
  }

  private async unsealed(row: AccountIdentity): Promise<OpenedAccountIdentity> {
    const { mountId, accountId, version, accessKey, sealedSecretKey, roleArn, externalId } = row;
    const secretKey = sealedSecretKey ? await this.keyring.unseal(sealedSecretKey, purpose(mountId, accountId)) : '';
    return { accountId, version, accessKey, secretKey, roleArn, externalId };
  }
}

const purpose = (mountId: string, accountId: string) => `secret key of mount ${mountId} in account ${accountId}`;

/** All that is wrong with an identity for an account. */
function faultsOf(accountId: string, { accessKey, secretKey, roleArn, externalId }: AccountIdentityWrite): string[] {
  const faults: string[] = [];
  const refuse = (wrong: boolean, fault: string) => {
    if (wrong) faults.push(fault);
  };
  refuse(!isAccountId(accountId), `${goQuote(accountId)} is no id of an AWS account, which has twelve digits`);
  const hasKeys = accessKey !== '' || secretKey !== '';
  refuse(hasKeys && (accessKey === '' || secretKey === ''), 'access_key and secret_key must be given together');
  refuse(hasKeys && roleArn !== '', 'give access_key and secret_key or role_arn, not both');
  refuse(
    !hasKeys && roleArn === '',
    'give access_key and secret_key of the account, or role_arn of a role in it that the credentials of config/root assume',
  );
  const [, , service, , ofAccount, ...resource] = roleArn.split(':');
  const isRole = roleArn.startsWith('arn:') && service === 'iam' && resource.join(':').startsWith('role/');
  // What was sent is not told back: it may be a key in the wrong field.
  refuse(roleArn !== '' && !isRole, 'role_arn is no ARN of an IAM role');
  refuse(isRole && ofAccount !== accountId, `role_arn is of another account than ${accountId}`);
  refuse(externalId !== '' && roleArn === '', 'external_id is for assuming role_arn, and there is none');
  refuse(
    externalId !== '' && !/^[\w+=,.@:/-]{2,1224}$/.test(externalId),
    'external_id must be 2 to 1224 letters, digits and _+=,.@:/-',
  );
  return faults;
}
