import { Injectable } from '@nestjs/common';
import { Keyring } from '#libs/access';
import { InvalidRequest } from '#libs/contracts';
import { EntityManager, IsNull } from 'typeorm';
import { RootConfig, type RootConfigSettings } from './root-config.entity.js';
import { defaultTemplate } from './username-template.js';

/** What a write of `config/root` names; absent = unchanged (contract.md section 8, row 5: merge). */
export type RootConfigWrite = Partial<RootConfigSettings> & { secretKey?: string };

/** A version of `config/root` with its secret in the clear: in memory only, never logged. */
export interface OpenedRootConfig {
  mountId: string;
  /** `0` = nothing was ever written. */
  version: string;
  settings: RootConfigSettings;
  secretKey: string;
  accountId: string | null;
  identityArn: string | null;
}

const untouched: RootConfigSettings = {
  accessKey: '',
  region: '',
  iamEndpoint: '',
  stsEndpoint: '',
  stsRegion: '',
  stsFallbackEndpoints: [],
  stsFallbackRegions: [],
  maxRetries: -1,
  usernameTemplate: defaultTemplate,
  identityTokenTtlSeconds: 0,
  disableAutomatedRotation: false,
};

/** The root credentials of every mount, one row a version; the secret is sealed with its mount's id as purpose. */
@Injectable()
export class RootConfigs {
  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
  ) {}

  /** What may be read back of the current version: everything but the secret. Null = never written. */
  async read(mountId: string): Promise<RootConfigSettings | null> {
    const current = await this.manager.findOneBy(RootConfig, { mountId, supersededAt: IsNull() });
    return current && { ...untouched, ...current.settings };
  }

  /**
   * Stores a new version: the current one with `write` laid over it. The current one is kept as superseded.
   * @throws InvalidRequest when the two do not go together (contract.md 2.1); nothing is stored then.
   */
  async write(mountId: string, write: RootConfigWrite): Promise<void> {
    const { secretKey, ...settings } = write;
    await this.manager.transaction(async (manager) => {
      await manager.query(`select pg_advisory_xact_lock(hashtext('leasehold root config'), hashtext($1))`, [mountId]);
      // Locked: what is copied from it must not be sealed again, and its term ended, meanwhile.
      const current = await manager.findOne(RootConfig, {
        where: { mountId, supersededAt: IsNull() },
        lock: { mode: 'pessimistic_write' },
      });
      const merged = { ...untouched, ...current?.settings, ...settings };
      if (merged.stsFallbackEndpoints.length !== merged.stsFallbackRegions.length) {
        throw new InvalidRequest('fallback endpoints and fallback regions must be the same length');
      }
      const sealed = secretKey && (await this.keyring.seal(secretKey, purpose(mountId), manager));
      await manager.update(RootConfig, { mountId, supersededAt: IsNull() }, { supersededAt: () => 'now()' });
      await manager.insert(RootConfig, {
        mountId,
        settings: merged,
        sealedSecretKey: sealed === undefined ? (current?.sealedSecretKey ?? null) : sealed || null,
        accountId: null,
        identityArn: null,
        supersededAt: null,
      });
    });
  }

  /** The current version, opened for use; where nothing was written, the version `0` with every field empty. */
  async open(mountId: string): Promise<OpenedRootConfig> {
    const current = await this.manager.findOneBy(RootConfig, { mountId, supersededAt: IsNull() });
    return current ? this.unsealed(current) : this.nothingWritten(mountId);
  }

  /** Every version that is kept, newest first, the current one first of all: what may destroy an older lease. */
  async openAll(mountId: string): Promise<OpenedRootConfig[]> {
    const rows = await this.manager.find(RootConfig, { where: { mountId }, order: { version: 'DESC' } });
    const opened = await Promise.all(rows.map((row) => this.unsealed(row)));
    return opened.length > 0 ? [...opened, this.nothingWritten(mountId)] : [this.nothingWritten(mountId)];
  }

  /** Notes who a version was seen to be, and in which account. */
  async noteIdentity(config: OpenedRootConfig, { accountId, arn }: { accountId: string; arn: string }): Promise<void> {
    const { mountId, version } = config;
    if (version === '0' || (config.accountId === accountId && config.identityArn === arn)) return;
    await this.manager.update(RootConfig, { mountId, version }, { accountId, identityArn: arn });
  }

  /**
   * Forgets superseded versions whose account no living lease of the mount is in any more, unless they may have to assume the
   * role by which one of another account is taken back.
   */
  async forgetUnneeded(): Promise<void> {
    await this.manager.query(
      `delete from root_configs r where superseded_at < now() - interval '1 hour'
         and not exists (select 1 from leases l where l.mount_id = r.mount_id and l.due_at is not null
           and l.credential_type = 'iam_user' and (l.root_version = r.version or l.account_id = r.account_id
             or exists (select 1 from account_identities i where i.mount_id = l.mount_id and i.version = l.root_version
               and i.role_arn <> '')))`,
    );
  }

  private nothingWritten(mountId: string): OpenedRootConfig {
    return { mountId, version: '0', settings: untouched, secretKey: '', accountId: null, identityArn: null };
  }

  private async unsealed(row: RootConfig): Promise<OpenedRootConfig> {
    const { mountId, version, accountId, identityArn } = row;
    const settings = { ...untouched, ...row.settings };
    const secretKey = row.sealedSecretKey ? await this.keyring.unseal(row.sealedSecretKey, purpose(mountId)) : '';
    return { mountId, version, settings, secretKey, accountId, identityArn };
  }
}

const purpose = (mountId: string) => `root secret key of mount ${mountId}`;
