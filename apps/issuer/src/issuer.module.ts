import { type DynamicModule, Module, type ModuleMetadata, type OnApplicationShutdown } from '@nestjs/common';
import { APP_FILTER, APP_INTERCEPTOR, APP_PIPE } from '@nestjs/core';
import { AwsAccounts, type AwsSurroundings, observeCalls } from '#libs/aws';
import { Heartbeat, type LeaseTiming, LeasesModule } from '#libs/leases';
import { RolesModule, RootUses } from '#libs/roles';
import { messageValidation, Metrics, RpcErrors } from '#libs/runtime';
import { CommandAudit } from './command-audit.js';
import { ActingIdentity } from './acting-identity.js';
import { Authorizing } from './authorizing.js';
import { CommandFigures } from './command-figures.js';
import { CountUsers } from './count-users.js';
import { EmptyPools } from './empty-pools.js';
import { FillPools } from './fill-pools.js';
import { HandOut } from './hand-out.js';
import { HeldLease } from './held-lease.js';
import { IssueLease } from './issue-lease.js';
import { IssueNothing } from './issue-nothing.js';
import { IssueOnce } from './issue-once.js';
import { IssueSts } from './issue-sts.js';
import { IssueUser } from './issue-user.js';
import { IssuerController } from './issuer.controller.js';
import { KeyReady, READY_AT_ONCE } from './key-ready.js';
import { MakePooled } from './make-pooled.js';
import { PoolFigures } from './pool-figures.js';
import { RotateKey } from './rotate-key.js';
import { RotateRoot } from './rotate-root.js';
import { RotationFigures } from './rotation-figures.js';
import { RotationSweep } from './rotation-sweep.js';
import { DeleteStaticRole, WriteStaticRole } from './static-role-commands.js';

/** The issuer: the only place that creates in AWS. */
@Module({})
export class IssuerModule implements OnApplicationShutdown {
  constructor(private readonly accounts: AwsAccounts) {}

  /**
   * `connections`: the modules of database, queue, keyring and metrics that this process was configured with; `observing`: it issues
   * nothing, and rotates nothing; `atOnce`: how many issues are at work at once at most.
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
        ...[IssueLease, RotateRoot, WriteStaticRole, DeleteStaticRole].map((useCase) =>
          observing ? { provide: useCase, useClass: IssueNothing } : useCase,
        ),
        ...(observing ? [EmptyPools] : [RotationSweep, FillPools, HandOut, MakePooled, heartbeat(timing)]),
        PoolFigures,
        RotateKey,
        RotationFigures,
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

const heartbeat = (timing: LeaseTiming) => ({
  provide: Heartbeat,
  inject: [RootUses],
  useFactory: (uses: RootUses) => new Heartbeat('issuer', uses, timing),
});
