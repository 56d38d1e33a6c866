import { type DynamicModule, Module } from '@nestjs/common';
import { Keyring } from '#libs/access';
import { Metrics } from '#libs/runtime';
import { EntityManager } from 'typeorm';
import { AuditDevices } from './audit-devices.js';
import { AuditTrail } from './audit-trail.js';

/** The audit trail of a process that lets callers in. */
@Module({})
export class AuditModule {
  /** @param file what LEASEHOLD_AUDIT_FILE says. */
  static of(file?: string): DynamicModule {
    return {
      module: AuditModule,
      global: true,
      providers: [
        {
          provide: AuditTrail,
          inject: [EntityManager, Keyring, Metrics],
          useFactory: (manager: EntityManager, keyring: Keyring, metrics: Metrics) =>
            new AuditTrail(new AuditDevices(manager, keyring, file), keyring, metrics),
        },
      ],
      exports: [AuditTrail],
    };
  }
}
