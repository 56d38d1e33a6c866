import { type DynamicModule, Module, type ModuleMetadata, type OnApplicationShutdown } from '@nestjs/common';
import { AwsAccounts, type AwsSurroundings, observeCalls } from '#libs/aws';
import { Heartbeat, type LeaseTiming, LeasesModule } from '#libs/leases';
import { RolesModule, RootUses } from '#libs/roles';
import { type EventSink, Metrics } from '#libs/runtime';
import { AlarmProcessor } from './alarm.processor.js';
import { Dispatch } from './dispatch.js';
import { EVENT_SINK, EventRelay } from './event-relay.js';
import { KeptIdentities } from './kept-identities.js';
import { Lanes } from './lanes.js';
import { RevokeLease } from './revoke-lease.js';
import { RevokerFigures } from './revoker-figures.js';
import { Sweep } from './sweep.js';

/** The revoker: the only place that destroys what leases made. */
@Module({})
export class RevokerModule implements OnApplicationShutdown {
  constructor(private readonly accounts: AwsAccounts) {}

  /**
   * `connections`: the modules of database, queue, keyring and metrics that this process was configured with; `events`: where it
   * tells what happened; `observing`: it has neither alarms nor a sweep, so it takes nothing back, and only tells figures and
   * events.
   */
  static configured(
    connections: NonNullable<ModuleMetadata['imports']>,
    timing: LeaseTiming,
    surroundings: AwsSurroundings,
    events: EventSink,
    observing = false,
  ): DynamicModule {
    return {
      module: RevokerModule,
      imports: [...connections, RolesModule, LeasesModule.withTiming(timing)],
      providers: [
        Dispatch,
        KeptIdentities,
        Lanes,
        RevokeLease,
        RevokerFigures,
        EventRelay,
        ...(observing ? [] : [AlarmProcessor, Sweep, heartbeat(timing)]),
        { provide: EVENT_SINK, useValue: events },
        {
          provide: AwsAccounts,
          inject: [Metrics],
          useFactory: (metrics: Metrics) => new AwsAccounts({ ...surroundings, onCall: observeCalls(metrics) }),
        },
      ],
    };
  }

  onApplicationShutdown(): void {
    this.accounts.close();
  }
}

const heartbeat = (timing: LeaseTiming) => ({
  provide: Heartbeat,
  inject: [RootUses],
  useFactory: (uses: RootUses) => new Heartbeat('revoker', uses, timing),
});
