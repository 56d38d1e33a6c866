import { type DynamicModule, Module, type ModuleMetadata, type OnApplicationShutdown } from '@nestjs/common';
import { AwsAccounts, type AwsSurroundings } from '#libs/aws';
import { type LeaseTiming, LeasesModule } from '#libs/leases';
import { RolesModule } from '#libs/roles';
import { AlarmProcessor } from './alarm.processor.js';
import { RevokeLease } from './revoke-lease.js';
import { Sweep } from './sweep.js';

/** The revoker: the only place that destroys what leases made. */
@Module({})
export class RevokerModule implements OnApplicationShutdown {
  constructor(private readonly accounts: AwsAccounts) {}

  /** `connections`: the modules of database, queue and keyring that this process was configured with. */
  static configured(
    connections: NonNullable<ModuleMetadata['imports']>,
    timing: LeaseTiming,
    surroundings: AwsSurroundings,
  ): DynamicModule {
    return {
      module: RevokerModule,
      imports: [...connections, RolesModule, LeasesModule.withTiming(timing)],
      providers: [
        AlarmProcessor,
        RevokeLease,
        Sweep,
        { provide: AwsAccounts, useFactory: () => new AwsAccounts(surroundings) },
      ],
    };
  }

  onApplicationShutdown(): void {
    this.accounts.close();
  }
}
