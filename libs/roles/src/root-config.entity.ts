import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The fields of `config/root` that are not secret (contract.md 2.1); '' and 0 = not given. */
export interface RootConfigSettings {
  accessKey: string;
  region: string;
  iamEndpoint: string;
  stsEndpoint: string;
  stsRegion: string;
  stsFallbackEndpoints: string[];
  stsFallbackRegions: string[];
  /** -1 = the default. */
  maxRetries: number;
  usernameTemplate: string;
  identityTokenTtlSeconds: number;
  /** Of automatic rotation. */
  rotationPeriodSeconds: number;
  disableAutomatedRotation: boolean;
}

/** So long after it was made a key may be unknown to a part of AWS (aws-facts: some 15 s), milliseconds. */
const freshMs = 60_000;

/** For the `select` of a query on `root_configs`: for how many milliseconds more that may be so. */
export const freshFor = `greatest(0, coalesce(${freshMs} - extract(epoch from now() - key_made_at) * 1000, 0))::float8`;

/** One version of a mount's `config/root`. A superseded one is kept while leases need its account. */
@Entity('root_configs')
export class RootConfig {
  @PrimaryColumn('uuid', { name: 'mount_id' })
  mountId!: string;

  @PrimaryColumn('bigint', { insert: false })
  version!: string;

  /** An earlier build wrote fewer of them. */
  @Column('jsonb')
  settings!: Partial<RootConfigSettings>;

  /** The secret key, sealed under the keyring; null = not given. */
  @Column('text', { name: 'sealed_secret_key', nullable: true })
  sealedSecretKey!: string | null;

  /** The account it was seen to belong to; null until AWS was asked. */
  @Column('text', { name: 'account_id', nullable: true })
  accountId!: string | null;

  /** Who it was seen to be there, of a role's session the role; null until AWS was asked. */
  @Column('text', { name: 'identity_arn', nullable: true })
  identityArn!: string | null;

  @Column('timestamptz', { name: 'superseded_at', nullable: true })
  supersededAt!: Date | null;

  /** When its key is to be rotated; null = not by itself. */
  @Column('timestamptz', { name: 'rotates_at', nullable: true })
  rotatesAt!: Date | null;

  /** When a rotation made its key: AWS may not know a young one everywhere yet. */
  @Column('timestamptz', { name: 'key_made_at', nullable: true })
  keyMadeAt!: Date | null;
}
