import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A token as it is kept: its hash, never itself. A row outlives its token's end, because leases name it. */
@Entity('tokens')
export class Token {
  @PrimaryColumn('uuid')
  id!: string;

  @Column('bytea')
  hash!: Buffer;

  @Column('text')
  accessor!: string;

  /** The API path that made it, such as `auth/token/root`. */
  @Column('text')
  path!: string;

  @Column('text', { array: true })
  policies!: string[];

  @Column('text', { name: 'display_name' })
  displayName!: string;

  @Column('jsonb', { nullable: true })
  meta!: Record<string, string> | null;

  /** How many leases that have not ended it may have at once; null = any number. */
  @Column('integer', { name: 'max_leases', nullable: true })
  maxLeases!: number | null;

  @Column('timestamptz', { name: 'created_at' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'expires_at', nullable: true })
  expiresAt!: Date | null;

  @Column('timestamptz', { name: 'ended_at', nullable: true })
  endedAt!: Date | null;
}
