import { type DynamicModule, Module, type ModuleMetadata } from '@nestjs/common';
import { type ClientProviderOptions, ClientsModule } from '@nestjs/microservices';
import { type LeaseTiming, LeasesModule } from '#libs/leases';
import { RolesModule } from '#libs/roles';
import { ApiController } from './api/api.controller.js';
import { Api, CORE_PARTS, ENGINE_PARTS, OPEN_PARTS } from './api/api.js';
import { HttpAudit } from './api/http-audit.js';
import { RateLimits } from './api/rate-limits.js';
import { RequestOutcomes } from './api/request-outcomes.js';
import { Wrapping } from './api/wrapping.js';
import { AppRoleLogin } from './auth/approle-login.js';
import { AppRolePath } from './auth/approle-path.js';
import { AuthMethods } from './auth/auth-methods.js';
import { TokenPath } from './auth/token-path.js';
import { TokenRolesPath } from './auth/token-roles-path.js';
import { ConfigAccounts } from './aws/config-accounts.js';
import { ConfigLease } from './aws/config-lease.js';
import { ConfigRoot } from './aws/config-root.js';
import { CredentialsPath } from './aws/credentials-path.js';
import { RolesPath } from './aws/roles-path.js';
import { RoleTrial } from './aws/role-trial.js';
import { RotateRootPath } from './aws/rotate-root-path.js';
import { StaticRolesPath } from './aws/static-roles-path.js';
import { IssuerClient, OBSERVING } from './issuer-client.js';
import { AuditPath } from './sys/audit-path.js';
import { FreezePath } from './sys/freeze-path.js';
import { CapabilitiesPath } from './sys/capabilities-path.js';
import { LeaseTidy } from './sys/lease-tidy.js';
import { LeasesPath } from './sys/leases-path.js';
import { LentKeyPath } from './sys/lent-key-path.js';
import { UnfinishedPath } from './sys/unfinished-path.js';
import { MetricsPath } from './sys/metrics-path.js';
import { MountsPath } from './sys/mounts-path.js';
import { PoliciesPath } from './sys/policies-path.js';
import { RemountPath } from './sys/remount-path.js';
import { SealPath } from './sys/seal-path.js';
import { Status } from './sys/status.js';
import { TakeBack } from './sys/take-back.js';
import { VisibleMounts } from './sys/visible-mounts.js';
import { WrappingLookup } from './sys/wrapping-lookup.js';
import { WrappingPath } from './sys/wrapping-path.js';

const open = [Status, AppRoleLogin, WrappingLookup, VisibleMounts];
const core = [
  MountsPath,
  RemountPath,
  FreezePath,
  LeasesPath,
  UnfinishedPath,
  LeaseTidy,
  LentKeyPath,
  AuditPath,
  PoliciesPath,
  CapabilitiesPath,
  MetricsPath,
  TokenPath,
  TokenRolesPath,
  AuthMethods,
  SealPath,
  AppRolePath,
  WrappingPath,
];
const engine = [
  ConfigRoot,
  RotateRootPath,
  ConfigAccounts,
  ConfigLease,
  RolesPath,
  RoleTrial,
  CredentialsPath,
  StaticRolesPath,
];

const parts = (name: symbol, classes: (new (...needs: never[]) => unknown)[]) => ({
  provide: name,
  inject: classes,
  useFactory: (...instances: unknown[]) => instances,
});

/** The gateway: HTTP in and out. It knows no AWS. */
@Module({})
export class GatewayModule {
  /**
   * `connections`: the modules of database, queue, keyring and metrics that this process was configured with; `issuers`: how it
   * reaches them, under the name ISSUERS; `observing`: it asks them for nothing; `rates`: how often callers may ask.
   */
  static configured(
    connections: NonNullable<ModuleMetadata['imports']>,
    timing: LeaseTiming,
    issuers: ClientProviderOptions,
    { observing = false, rates = new RateLimits({}) }: { observing?: boolean; rates?: RateLimits } = {},
  ): DynamicModule {
    return {
      module: GatewayModule,
      imports: [...connections, RolesModule, LeasesModule.withTiming(timing), ClientsModule.register([issuers])],
      controllers: [ApiController],
      providers: [
        Api,
        IssuerClient,
        { provide: OBSERVING, useValue: observing },
        { provide: RateLimits, useValue: rates },
        HttpAudit,
        RequestOutcomes,
        TakeBack,
        Wrapping,
        ...open,
        ...core,
        ...engine,
        parts(OPEN_PARTS, open),
        parts(CORE_PARTS, core),
        parts(ENGINE_PARTS, engine),
      ],
    };
  }
}
