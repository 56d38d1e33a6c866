import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AccountIdentities } from './account-identities.js';
import { AccountIdentity } from './account-identity.entity.js';
import { Freezes } from './freezes.js';
import { IssueTerms } from './issue-terms.js';
import { Mount } from './mount.entity.js';
import { Mounts } from './mounts.js';
import { Moves } from './moves.js';
import { Role } from './role.entity.js';
import { Roles } from './roles.js';
import { RootConfig } from './root-config.entity.js';
import { RootConfigs } from './root-configs.js';
import { RootUses } from './root-uses.js';
import { Rotations } from './rotations.js';
import { StaticRoles } from './static-roles.js';

const rooms = [
  AccountIdentities,
  Freezes,
  IssueTerms,
  Mounts,
  Moves,
  Roles,
  RootConfigs,
  RootUses,
  Rotations,
  StaticRoles,
];

/** Mounts, their identities at AWS and their roles, and what an operator has frozen of them. */
@Module({
  imports: [TypeOrmModule.forFeature([AccountIdentity, Mount, Role, RootConfig])],
  providers: rooms,
  exports: rooms,
})
export class RolesModule {}
