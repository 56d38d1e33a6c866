import { Column, Entity, PrimaryColumn } from 'typeorm';

/** What only differs in how much is kept of it and what it may (contract.md 3.3, docs/decisions/0015). */
export type TokenType = 'service' | 'batch';

/**
 * A token as it is kept: its hash, never itself. A row outlives its token's end, because leases name it. Spans are in
 * milliseconds, and 0 means that there is none.
 */
@Entity('tokens')
export class Token {
  @PrimaryColumn('uuid')
  id!: string;

  @Column('bytea')
  hash!: Buffer;

  /** A name of it that is no right; null for batch tokens. */
  @Column('text', { nullable: true })
  accessor!: string | null;

  /** The token that made it, and whose end is its end; null for an orphan. */
  @Column('uuid', { name: 'parent_id', nullable: true })
  parentId!: string | null;

  @Column('text')
  type!: TokenType;

  /** The API path that made it, such as `auth/token/root`. */
  @Column('text')
  path!: string;

  /** The token role that it was made by. */
  @Column('text', { nullable: true })
  role!: string | null;

  @Column('text', { array: true })
  policies!: string[];

  @Column('text', { name: 'display_name' })
  displayName!: string;

  @Column('jsonb', { nullable: true })
  meta!: Record<string, string> | null;

  /** How many leases that have not ended it may have at once; null = any number. */
  @Column('integer', { name: 'max_leases', nullable: true })
  maxLeases!: number | null;

  @Column('boolean')
  renewable!: boolean;

  @Column('double precision', { name: 'creation_ttl_ms' })
  creationTtlMs!: number;

  /** A renewal gives so much each time, without a max. */
  @Column('double precision', { name: 'period_ms' })
  periodMs!: number;

  /** Longest life by who logged it in; a period is not bound by it. */
  @Column('double precision', { name: 'max_ttl_ms' })
  maxTtlMs!: number;

  /** Longest life whatever else is said. */
  @Column('double precision', { name: 'explicit_max_ttl_ms' })
  explicitMaxTtlMs!: number;

  @Column('timestamptz', { name: 'created_at' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'last_renewed_at', nullable: true })
  lastRenewedAt!: Date | null;

  @Column('timestamptz', { name: 'expires_at', nullable: true })
  expiresAt!: Date | null;

  @Column('timestamptz', { name: 'ended_at', nullable: true })
  endedAt!: Date | null;

  /** Requests that it still opens the door for; null = any number. */
  @Column('integer', { name: 'uses_left', nullable: true })
  usesLeft!: number | null;

  /** Addresses that it may be used from; empty = any. */
  @Column('text', { name: 'bound_cidrs', array: true })
  boundCidrs!: string[];

  /** When somebody must look at it: at its expiry; once it has ended, until children and leases have gone too. */
  @Column('timestamptz', { name: 'due_at', nullable: true })
  dueAt!: Date | null;
}
