import type { CredentialType } from '#libs/contracts';
import { Column, Entity, PrimaryColumn } from 'typeorm';

/**
 * issuing → offered → active → revoking → ended, or revoking → irrevocable; from every state before `ended` there is
 * a way to `revoking` (design.md, A lease's life). What is made for a pool is `pooled` between `issuing` and `offered`.
 */
export type LeaseState = 'issuing' | 'pooled' | 'offered' | 'active' | 'revoking' | 'ended' | 'irrevocable';

/** Why a lease left the living states; told in events and kept on the row. */
export type EndReason =
  | 'expired'
  | 'revoked'
  | 'not_accepted'
  | 'not_received'
  | 'issue_failed'
  | 'issuer_lost'
  | 'token_ended'
  | 'unmounted'
  | 'user_missing'
  /** Of a pool: old, or of a role or configuration that is not the one of now. */
  | 'retired'
  | 'outdated';

/** Stands for the display name of a caller in what is made for a pool, whose callers are not known yet. */
export const poolDisplayName = 'pool';

/** What destroying an IAM user needs to know; written with the intent, before any of it exists. */
export interface MadeOfUser {
  policyNames: string[];
  policyArns: string[];
  groups: string[];
}

/** One lease: one row for its whole life. Instants that decide anything are compared by Postgres, never here. */
@Entity('leases')
export class Lease {
  /** `<mount path>creds/<role>/<24 characters>`: a name, never a right. */
  @PrimaryColumn('text')
  id!: string;

  @Column('uuid', { name: 'command_id' })
  commandId!: string;

  /** 1 for the first try of its command. */
  @Column('smallint')
  attempt!: number;

  @Column('text')
  state!: LeaseState;

  @Column('text', { name: 'credential_type' })
  credentialType!: CredentialType;

  @Column('uuid', { name: 'mount_id' })
  mountId!: string;

  @Column('bigint', { name: 'mount_version' })
  mountVersion!: string;

  @Column('text', { name: 'role_name' })
  roleName!: string;

  @Column('bigint', { name: 'role_version' })
  roleVersion!: string;

  /** Version of what it was issued with: of `config/root`, 0 = nothing configured, or of the account's own identity. */
  @Column('bigint', { name: 'root_version' })
  rootVersion!: string;

  @Column('text', { name: 'account_id' })
  accountId!: string;

  /** Null: nobody's. It was made for a pool and handed out to nobody. */
  @Column('uuid', { name: 'token_id', nullable: true })
  tokenId!: string | null;

  @Column('text', { name: 'request_id' })
  requestId!: string;

  /** The IAM user; its random part is the link between AWS and this row. Null for STS credentials. */
  @Column('text', { name: 'user_name', nullable: true })
  userName!: string | null;

  /** What its holder was seen to have renamed the user to. Not unique: it may be the name of one that is long gone. */
  @Column('text', { name: 'renamed_to', nullable: true })
  renamedTo!: string | null;

  @Column('jsonb')
  made!: MadeOfUser;

  /** Known from the offer on. */
  @Column('text', { name: 'access_key_id', nullable: true })
  accessKeyId!: string | null;

  @Column('boolean')
  renewable!: boolean;

  @Column('timestamptz', { name: 'created_at' })
  createdAt!: Date;

  /** Since when it was in a pool, also of one that was handed out since; null: it was made for its caller. */
  @Column('timestamptz', { name: 'pooled_at', nullable: true })
  pooledAt!: Date | null;

  /** The max TTL counts from here. */
  @Column('timestamptz', { name: 'issued_at', nullable: true })
  issuedAt!: Date | null;

  @Column('timestamptz', { name: 'accepted_at', nullable: true })
  acceptedAt!: Date | null;

  @Column('timestamptz', { name: 'last_renewed_at', nullable: true })
  lastRenewedAt!: Date | null;

  @Column('timestamptz', { name: 'expires_at', nullable: true })
  expiresAt!: Date | null;

  /** When somebody must look again; null = never. */
  @Column('timestamptz', { name: 'due_at', nullable: true })
  dueAt!: Date | null;

  /** The `due_at` that an alarm was set for. */
  @Column('timestamptz', { name: 'armed_for', nullable: true })
  armedFor!: Date | null;

  /** Who works on it now, if anybody; void when `due_at` has passed. */
  @Column('uuid', { name: 'claim_id', nullable: true })
  claimId!: string | null;

  @Column('text', { name: 'end_reason', nullable: true })
  endReason!: EndReason | null;

  /** An operator wants the row gone even if AWS refuses. */
  @Column('boolean')
  forced!: boolean;

  /** Failed tries to revoke; throttling and silence of AWS do not count. */
  @Column('smallint')
  attempts!: number;

  /** How often AWS said that the young user does not exist. */
  @Column('smallint')
  absences!: number;

  @Column('text', { name: 'last_error', nullable: true })
  lastError!: string | null;

  /** Looks that a tombstone gets: its issuer's end is unknown, or a call was never answered, so the user may yet appear. */
  @Column('smallint', { name: 'looks_left' })
  looksLeft!: number;

  @Column('timestamptz', { name: 'ended_at', nullable: true })
  endedAt!: Date | null;
}
