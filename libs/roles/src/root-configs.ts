import { Injectable } from '@nestjs/common';
import { Keyring } from '#libs/access';
import { InvalidRequest } from '#libs/contracts';
import { Batches } from '#libs/runtime';
import { EntityManager, type FindOptionsWhere, In, IsNull } from 'typeorm';
import { freshFor, RootConfig, type RootConfigSettings } from './root-config.entity.js';
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
  /** How much longer AWS may not know its key everywhere, milliseconds; 0 of one that no rotation made. */
  freshForMs: number;
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
  rotationPeriodSeconds: 0,
  disableAutomatedRotation: false,
};

/** The root credentials of every mount, one row a version; the secret is sealed with its mount's id as purpose. */
@Injectable()
export class RootConfigs {
  private readonly openings = new Batches<string, OpenedRootConfig[]>((mountIds) => this.openAllOf(mountIds));

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
   * @throws InvalidRequest when the two do not go together (contract.md 2.1), or an endpoint is no URL; nothing is stored then.
   */
  async write(mountId: string, write: RootConfigWrite): Promise<void> {
    const { secretKey, ...settings } = write;
    await this.manager.transaction(async (manager) => {
      const current = await lockCurrent(manager, mountId);
      const merged = { ...untouched, ...current?.settings, ...settings };
      if (merged.stsFallbackEndpoints.length !== merged.stsFallbackRegions.length) {
        throw new InvalidRequest('fallback endpoints and fallback regions must be the same length');
      }
      refuseUnlessUrls(merged);
      const sealed = secretKey && (await this.keyring.seal(secretKey, purpose(mountId), manager));
      const sealedSecretKey = sealed === undefined ? (current?.sealedSecretKey ?? null) : sealed || null;
      const isSameKey = merged.accessKey === current?.settings.accessKey && secretKey === undefined;
      const begins =
        !isSameKey || settings.rotationPeriodSeconds !== undefined || settings.disableAutomatedRotation === false;
      await supersede(manager, mountId, {
        settings: merged,
        sealedSecretKey,
        accountId: null,
        identityArn: null,
        keyMadeAt: isSameKey ? (current?.keyMadeAt ?? null) : null,
        rotatesAt: sealedSecretKey === null ? null : rotationOf(merged, begins ? null : (current?.rotatesAt ?? null)),
      });
    });
  }

  /**
   * Puts a rotated key in the place of the one that it was made for, as a new version, in the transaction of `manager`.
   * @returns false when the mount's key is another one by now: an operator has written one, and theirs counts.
   */
  async replaceKey(
    manager: EntityManager,
    mountId: string,
    oldKeyId: string,
    key: { accessKeyId: string; secretAccessKey: string; madeAt: Date },
  ): Promise<boolean> {
    const current = await lockCurrent(manager, mountId);
    if (current?.settings.accessKey !== oldKeyId) return false;
    const settings = { ...untouched, ...current.settings, accessKey: key.accessKeyId };
    await supersede(manager, mountId, {
      settings,
      sealedSecretKey: await this.keyring.seal(key.secretAccessKey, purpose(mountId), manager),
      accountId: current.accountId,
      identityArn: current.identityArn,
      keyMadeAt: key.madeAt,
      rotatesAt: rotationOf(settings, null),
    });
    return true;
  }

  /** The current version, opened for use; where nothing was written, the version `0` with every field empty. */
  async open(mountId: string): Promise<OpenedRootConfig> {
    const [current] = await this.opened({ mountId, supersededAt: IsNull() });
    return current ?? nothingWritten(mountId);
  }

  /** A version of a mount that another statement has read, with its `freshForMs`; null = nothing was written. */
  async openRow(mountId: string, row: RootConfig | null, freshForMs: number): Promise<OpenedRootConfig> {
    if (row === null) return nothingWritten(mountId);
    const { version, accountId, identityArn } = row;
    const settings = { ...untouched, ...row.settings };
    const secretKey = row.sealedSecretKey ? await this.keyring.unseal(row.sealedSecretKey, purpose(mountId)) : '';
    return { mountId, version, settings, secretKey, accountId, identityArn, freshForMs };
  }

  /** Every version that is kept, newest first, the current one first of all: what may destroy an older lease. */
  async openAll(mountId: string): Promise<OpenedRootConfig[]> {
    return this.openings.ask(mountId);
  }

  private async openAllOf(mountIds: string[]): Promise<Promise<OpenedRootConfig[]>[]> {
    const rows = await this.rowsOf({ mountId: In([...new Set(mountIds)]) });
    // Each by itself: one that cannot be opened is its own mount's trouble.
    const opened = new Map(
      mountIds.map((mountId) => [mountId, this.openRows(rows.filter(({ row }) => row.mountId === mountId))]),
    );
    return mountIds.map(async (mountId) => [...(await opened.get(mountId)!), nothingWritten(mountId)]);
  }

  /** Notes who a version was seen to be, and in which account. */
  async noteIdentity(config: OpenedRootConfig, { accountId, arn }: { accountId: string; arn: string }): Promise<void> {
    const { mountId, version } = config;
    // Machines have a session each of the role that they share: told apart, each would write the row anew whenever it is used.
    const identityArn = arn.replace(/(:assumed-role\/[^/]+)\/.*$/, '$1');
    if (version === '0' || (config.accountId === accountId && config.identityArn === identityArn)) return;
    await this.manager.update(RootConfig, { mountId, version }, { accountId, identityArn });
  }

  /**
   * Forgets superseded versions whose account no living lease of the mount is in any more, unless one was made in their time by
   * an identity of its own: they say where its AWS is, and may have to assume its role.
   */
  async forgetUnneeded(): Promise<void> {
    await this.manager.query(
      `delete from root_configs r where superseded_at < now() - interval '1 hour'
         and not exists (select 1 from leases l where l.mount_id = r.mount_id and l.due_at is not null
           and l.credential_type = 'iam_user' and (l.root_version = r.version or l.account_id = r.account_id
             -- What was ordered in a version's time is opened soon after it.
             or l.created_at < r.superseded_at + interval '1 hour' and exists (
               select 1 from account_identities i where i.mount_id = l.mount_id and i.version = l.root_version)))
         and not exists (select 1 from static_roles s where s.mount_id = r.mount_id and s.account_id = r.account_id)
         and not exists (select 1 from rotations o where o.mount_id = r.mount_id)`,
    );
  }

  private async opened(where: FindOptionsWhere<RootConfig>): Promise<OpenedRootConfig[]> {
    return this.openRows(await this.rowsOf(where));
  }

  private openRows(rows: { row: RootConfig; freshForMs: number }[]): Promise<OpenedRootConfig[]> {
    return Promise.all(rows.map(({ row, freshForMs }) => this.openRow(row.mountId, row, freshForMs)));
  }

  private async rowsOf(where: FindOptionsWhere<RootConfig>): Promise<{ row: RootConfig; freshForMs: number }[]> {
    const { entities, raw } = await this.manager
      .createQueryBuilder(RootConfig, 'root_configs')
      .addSelect(freshFor, 'fresh_for_ms')
      .where(where)
      .orderBy('version', 'DESC')
      .getRawAndEntities<{ fresh_for_ms: number }>();
    return entities.map((row, nth) => ({ row, freshForMs: raw[nth]!.fresh_for_ms }));
  }
}

const purpose = (mountId: string) => `root secret key of mount ${mountId}`;

function nothingWritten(mountId: string): OpenedRootConfig {
  return {
    mountId,
    version: '0',
    settings: untouched,
    secretKey: '',
    accountId: null,
    identityArn: null,
    freshForMs: 0,
  };
}

/** The current version, so that nobody writes another one meanwhile: what is copied from it must not be sealed again, either. */
async function lockCurrent(manager: EntityManager, mountId: string): Promise<RootConfig | null> {
  await manager.query(`select pg_advisory_xact_lock(hashtext('leasehold root config'), hashtext($1))`, [mountId]);
  return manager.findOne(RootConfig, {
    where: { mountId, supersededAt: IsNull() },
    lock: { mode: 'pessimistic_write' },
  });
}

/** What a new version is made of. */
interface NewVersion {
  settings: RootConfigSettings;
  sealedSecretKey: string | null;
  accountId: string | null;
  identityArn: string | null;
  keyMadeAt: Date | null;
  rotatesAt: Date | 'after a period' | null;
}

async function supersede(manager: EntityManager, mountId: string, next: NewVersion): Promise<void> {
  await manager.update(RootConfig, { mountId, supersededAt: IsNull() }, { supersededAt: () => 'now()' });
  const { rotatesAt, ...columns } = next;
  const periodSeconds = next.settings.rotationPeriodSeconds;
  await manager.insert(RootConfig, {
    mountId,
    ...columns,
    supersededAt: null,
    rotatesAt: rotatesAt === 'after a period' ? () => `now() + ${Number(periodSeconds)} * interval '1 s'` : rotatesAt,
  });
}

/** When the key is to be rotated by itself: at the instant that was set before, else a period from now. */
function rotationOf(settings: RootConfigSettings, before: Date | null): NewVersion['rotatesAt'] {
  const { accessKey, rotationPeriodSeconds, disableAutomatedRotation } = settings;
  if (accessKey === '' || rotationPeriodSeconds === 0 || disableAutomatedRotation) return null;
  return before ?? 'after a period';
}

/** With such an endpoint nothing could be lent, and what is lent already could not be taken back. */
function refuseUnlessUrls({ iamEndpoint, stsEndpoint, stsFallbackEndpoints }: RootConfigSettings): void {
  const given = [
    ['iam_endpoint', iamEndpoint],
    ['sts_endpoint', stsEndpoint],
    ...stsFallbackEndpoints.map((endpoint) => ['sts_fallback_endpoints', endpoint]),
  ];
  for (const [field, endpoint = ''] of given) {
    if (endpoint === '' || (/^https?:/.test(endpoint) && URL.canParse(endpoint))) continue;
    throw new InvalidRequest(`${field} "${endpoint}" is no http:// or https:// URL: write one, or leave it empty`);
  }
}
