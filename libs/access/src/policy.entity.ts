import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A policy as it was written. */
@Entity('policies')
export class Policy {
  /** In lower case. */
  @PrimaryColumn('text')
  name!: string;

  /** HCL or JSON. */
  @Column('text')
  rules!: string;

  /** Another one after every write, never the same twice. */
  @Column('bigint')
  version!: string;

  @Column('timestamptz', { name: 'modified_at' })
  modifiedAt!: Date;
}
