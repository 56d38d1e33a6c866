import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Freezes } from './freezes.js';
import { Mount } from './mount.entity.js';
import { Mounts } from './mounts.js';
import { Role } from './role.entity.js';
import { Roles } from './roles.js';
import { RootConfig } from './root-config.entity.js';
import { RootConfigs } from './root-configs.js';

/** Mounts, their root configurations and their roles, and what an operator has frozen of them. */
@Module({
  imports: [TypeOrmModule.forFeature([Mount, Role, RootConfig])],
  providers: [Freezes, Mounts, Roles, RootConfigs],
  exports: [Freezes, Mounts, Roles, RootConfigs],
})
export class RolesModule {}
