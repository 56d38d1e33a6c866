import { Column, Entity, PrimaryColumn } from 'typeorm';

/** What `tune` may set besides the two TTLs; a key that was never set is absent (contract.md 3.1). */
export interface MountTuning {
  forceNoCache?: boolean;
  listingVisibility?: string;
  auditNonHmacRequestKeys?: string[];
  auditNonHmacResponseKeys?: string[];
  passthroughRequestHeaders?: string[];
  allowedResponseHeaders?: string[];
}

/** An AWS engine at a path, with its own configuration. */
@Entity('mounts')
export class Mount {
  @PrimaryColumn('uuid')
  id!: string;

  /** With its closing slash: `aws/`, `team/prod/aws/`. */
  @Column('text')
  path!: string;

  @Column('text')
  type!: string;

  /** Stable, not secret: `aws_` and eight hexadecimal digits. */
  @Column('text')
  accessor!: string;

  @Column({ type: 'bigint', insert: false, update: false })
  version!: string;

  @Column('text')
  description!: string;

  @Column('boolean')
  local!: boolean;

  @Column('boolean', { name: 'seal_wrap' })
  sealWrap!: boolean;

  @Column('boolean', { name: 'external_entropy_access' })
  externalEntropyAccess!: boolean;

  @Column('jsonb', { nullable: true })
  options!: Record<string, string> | null;

  /** 0 = the system's. */
  @Column('bigint', { name: 'default_lease_ttl_seconds', transformer: { from: Number, to: (value: number) => value } })
  defaultLeaseTtlSeconds!: number;

  /** 0 = the system's; set, it replaces the system's, upward too. */
  @Column('bigint', { name: 'max_lease_ttl_seconds', transformer: { from: Number, to: (value: number) => value } })
  maxLeaseTtlSeconds!: number;

  @Column('jsonb')
  tuning!: MountTuning;

  /** `config/lease`, in milliseconds; null = never written. */
  @Column('double precision', { name: 'lease_ms', nullable: true })
  leaseMs!: number | null;

  @Column('double precision', { name: 'lease_max_ms', nullable: true })
  leaseMaxMs!: number | null;

  /** Set when its end has begun: every request to it is refused, its leases are being taken back. */
  @Column('timestamptz', { name: 'tainted_at', nullable: true })
  taintedAt!: Date | null;

  @Column('timestamptz', { name: 'removed_at', nullable: true })
  removedAt!: Date | null;
}
