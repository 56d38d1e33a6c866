import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Mount } from './mount.entity.js';
import { Mounts } from './mounts.js';
import { Role } from './role.entity.js';
import { Roles } from './roles.js';
import { RootConfig } from './root-config.entity.js';
import { RootConfigs } from './root-configs.js';

/** Mounts, their root configurations and their roles. */
@Module({
  imports: [TypeOrmModule.forFeature([Mount, Role, RootConfig])],
  providers: [Mounts, Roles, RootConfigs],
  exports: [Mounts, Roles, RootConfigs],
})
export class RolesModule {}
