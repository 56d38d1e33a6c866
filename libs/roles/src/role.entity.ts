import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { RoleDefinition } from './role-definition.js';

/** A role of a mount as it is kept. */
@Entity('roles')
export class Role {
  @PrimaryColumn('uuid', { name: 'mount_id' })
  mountId!: string;

  @PrimaryColumn('text')
  name!: string;

  /** Never repeats, not even when a role is deleted and written again. */
  @Column({ type: 'bigint', insert: false, update: false })
  version!: string;

  @Column('jsonb')
  definition!: RoleDefinition;
}
