import { Column, Entity, PrimaryColumn } from 'typeorm';

/**
 * One version of the identity that a mount has in one account beside its root: keys of that account, or a role there that the root
 * assumes. A superseded or deleted one is kept while leases need its account.
 */
@Entity('account_identities')
export class AccountIdentity {
  @PrimaryColumn('uuid', { name: 'mount_id' })
  mountId!: string;

  /** On the number line of `config/root`'s versions, so that a lease's version names one of all of them. */
  @PrimaryColumn('bigint', { insert: false })
  version!: string;

  /** Twelve digits. */
  @Column('text', { name: 'account_id' })
  accountId!: string;

  /** '' = it has none, as for the next two but the key, which is null then. */
  @Column('text', { name: 'access_key' })
  accessKey!: string;

  /** Sealed under the keyring. */
  @Column('text', { name: 'sealed_secret_key', nullable: true })
  sealedSecretKey!: string | null;

  @Column('text', { name: 'role_arn' })
  roleArn!: string;

  @Column('text', { name: 'external_id' })
  externalId!: string;

  @Column('timestamptz', { name: 'superseded_at', nullable: true })
  supersededAt!: Date | null;
}
