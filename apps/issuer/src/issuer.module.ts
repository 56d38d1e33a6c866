import { type DynamicModule, Module, type ModuleMetadata, type OnApplicationShutdown } from '@nestjs/common';
import { APP_FILTER, APP_INTERCEPTOR, APP_PIPE } from '@nestjs/core';
import { AwsAccounts, type AwsSurroundings, observeCalls } from '#libs/aws';
import { type LeaseTiming, LeasesModule } from '#libs/leases';
import { RolesModule } from '#libs/roles';
import { messageValidation, Metrics, RpcErrors } from '#libs/runtime';
import { CommandAudit } from './command-audit.js';
import { ActingIdentity } from './acting-identity.js';
import { Authorizing } from './authorizing.js';
import { CommandFigures } from './command-figures.js';
import { CountUsers } from './count-users.js';
import { HeldLease } from './held-lease.js';
import { IssueLease } from './issue-lease.js';
import { IssueNothing } from './issue-nothing.js';
import { IssueOnce } from './issue-once.js';
import { IssueSts } from './issue-sts.js';
import { IssueUser } from './issue-user.js';
import { IssuerController } from './issuer.controller.js';
import { KeyReady, READY_AT_ONCE } from './key-ready.js';

/** The issuer: the only place that creates in AWS. */
@Module({})
export class IssuerModule implements OnApplicationShutdown {
  constructor(private readonly accounts: AwsAccounts) {}

  /**
   * `connections`: the modules of database, queue, keyring and metrics that this process was configured with; `observing`: it issues
   * nothing; `atOnce`: how many issues are at work at once at most.
   */
  static configured(
    connections: NonNullable<ModuleMetadata['imports']>,
    timing: LeaseTiming,
    surroundings: AwsSurroundings,
    { observing = false, atOnce = 64 }: { observing?: boolean; atOnce?: number } = {},
  ): DynamicModule {
    return {
      module: IssuerModule,
      imports: [...connections, RolesModule, LeasesModule.withTiming(timing)],
      controllers: [IssuerController],
      providers: [
        ActingIdentity,
        Authorizing,
        CountUsers,
        CommandAudit,
        HeldLease,
        observing ? { provide: IssueLease, useClass: IssueNothing } : IssueLease,
        IssueOnce,
        IssueSts,
        IssueUser,
        KeyReady,
        { provide: READY_AT_ONCE, useValue: Math.max(1, Math.floor(atOnce / 2)) },
        {
          provide: AwsAccounts,
          inject: [Metrics],
          useFactory: (metrics: Metrics) => new AwsAccounts({ ...surroundings, onCall: observeCalls(metrics) }),
        },
        { provide: APP_INTERCEPTOR, useClass: CommandFigures },
        { provide: APP_FILTER, useClass: RpcErrors },
        { provide: APP_PIPE, useValue: messageValidation },
      ],
    };
  }

  onApplicationShutdown(): void {
    this.accounts.close();
  }
}
