import { Injectable } from '@nestjs/common';
import { type AwsAccount, AwsAccounts, type CallerIdentity } from '#libs/aws';
import type { Lease } from '#libs/leases';
import { AccountIdentities, type OpenedRootConfig, RootConfigs } from '#libs/roles';

/** Credentials that may be of the account in question. */
interface Way {
  /** Itself, or what they are had by. */
  root: OpenedRootConfig;
  /** @throws CodedError when they cannot work. */
  open(): AwsAccount;
  /** Hears whose they turned out to be. */
  note?(identity: CallerIdentity): Promise<void>;
}

/** What a mount has, or had and keeps, to act with in the accounts of its leases: its roots, and its own identities there. */
@Injectable()
export class KeptIdentities {
  constructor(
    private readonly rootConfigs: RootConfigs,
    private readonly own: AccountIdentities,
    private readonly accounts: AwsAccounts,
  ) {}

  /** Every way to the account of a lease: first those of the kind that it was made by, and of each kind today's first. */
  async *waysTo(lease: Pick<Lease, 'mountId' | 'accountId' | 'rootVersion'>): AsyncGenerator<Way> {
    const roots = await this.rootConfigs.openAll(lease.mountId);
    const [current, ...previous] = roots;
    this.accounts.keepOnly(
      lease.mountId,
      roots.map((root) => root.version),
    );
    const byRoot = [
      current!,
      ...previous.filter((root) => root.accountId === lease.accountId || root.version === lease.rootVersion),
    ].map((root): Way => this.wayOf(root));
    const isByRoot = roots.some((root) => root.version === lease.rootVersion);
    if (isByRoot) yield* byRoot;
    yield* await this.ownWays(lease, roots);
    if (!isByRoot) yield* byRoot;
  }

  private wayOf(root: OpenedRootConfig): Way {
    return {
      root,
      open: () => this.accounts.open({ ...root.settings, ...root }),
      note: (identity) => this.rootConfigs.noteIdentity(root, identity),
    };
  }

  /** Former roots too may assume the role; and keys may be of an AWS that today's root has no endpoints of. */
  private async ownWays({ mountId, accountId }: Pick<Lease, 'mountId' | 'accountId'>, roots: OpenedRootConfig[]) {
    const kept = await this.own.openAll(mountId, accountId);
    this.accounts.keepOnlyOwn(
      mountId,
      accountId,
      kept.map((own) => own.version),
      roots.map((root) => root.version),
    );
    return kept.flatMap((own) =>
      (own.roleArn === '' ? firstOfEachPlace(roots) : roots).map((root): Way => ({
        root,
        open: () => this.accounts.openOwn({ ...root.settings, ...root }, own),
      })),
    );
  }
}

/** Of roots that look for AWS in the same place the first: to whoever has keys of its own they are all the same. */
function firstOfEachPlace(roots: OpenedRootConfig[]): OpenedRootConfig[] {
  const byPlace = new Map<string, OpenedRootConfig>();
  for (const root of roots) {
    const { region, iamEndpoint, stsEndpoint, stsRegion, stsFallbackEndpoints, stsFallbackRegions } = root.settings;
    const place = [region, iamEndpoint, stsEndpoint, stsRegion, stsFallbackEndpoints, stsFallbackRegions];
    const name = JSON.stringify(place);
    if (!byPlace.has(name)) byPlace.set(name, root);
  }
  return [...byPlace.values()];
}
