import {
  type $Command as IamCommandOf,
  IAMClient,
  type IAMClientResolvedConfig,
  type ServiceInputTypes as IamInput,
  type ServiceOutputTypes as IamOutput,
} from '@aws-sdk/client-iam';
import {
  type $Command as StsCommandOf,
  GetCallerIdentityCommand,
  STSClient,
  type STSClientResolvedConfig,
  type ServiceInputTypes as StsInput,
  type ServiceOutputTypes as StsOutput,
} from '@aws-sdk/client-sts';
import type { CredentialProvider } from './ambient-credentials.js';
import { AssumedCredentials } from './assumed-credentials.js';
import { type AttemptEnd, call, type CallClass, type CallRules, type Patience } from './aws-call.js';
import { AwsRefused } from './aws-errors.js';
import { AwsFailure } from './aws-failure.js';
import { Connections, crossed, through } from './crossing.js';

/** One version of a mount's `config/root`, its secret in memory only; '' where it names nothing (contract.md 2.1). */
export interface RootSettings {
  mountId: string;
  version: string;
  accessKey: string;
  secretKey: string;
  region: string;
  iamEndpoint: string;
  stsEndpoint: string;
  /** Used with `stsEndpoint` only. */
  stsRegion: string;
  /** STS endpoints that are tried in this order where the one before does not say who we are, and the region of each. */
  stsFallbackEndpoints: string[];
  stsFallbackRegions: string[];
  /** Attempts after the first when AWS throttles, fails or is away; -1 for our default. */
  maxRetries: number;
  /** After a rotation: how much longer AWS may not know this key yet, milliseconds. */
  freshForMs?: number;
}

/**
 * One version of the identity that a mount has in one account, beside its root: keys of that account, or a role there which the
 * root assumes. '' where it has none of a thing; the secret in memory only.
 */
export interface OwnIdentity {
  accountId: string;
  version: string;
  accessKey: string;
  secretKey: string;
  roleArn: string;
  externalId: string;
}

/** A key that was lent. */
interface LentKey {
  accessKeyId: string;
  secretAccessKey: string;
}

/**
 * The budget of calls that an account has at AWS, shared by all who call it. A budget is named by account and API
 * (`123456789012:iam`).
 */
export interface Budget {
  /**
   * Waits for the turn of one call, for `withinMs` milliseconds; `calls`: how many are to be made in that time, this one counted.
   * @throws {OverBudget} when it would not come in time
   */
  take(turn: { budget: string; by: CallClass; withinMs: number; calls: number }): Promise<void>;
  /** AWS answered a call that left at `sentAt` (`performance.now()`); `throttled`: it asked to slow down. */
  answered(budget: string, sentAt: number, throttled: boolean): void;
}

/** What a mount gets that names nothing itself, and the limits of every call. */
export interface AwsSurroundings {
  ambientCredentials: () => CredentialProvider;
  ambientRegion: string;
  /** IAM and STS endpoint of every mount that names none: the simulator. Unset: AWS's own, by region. */
  defaultEndpoint?: string;
  /** Longest wait for one answer, milliseconds; 10,000. */
  requestTimeoutMs?: number;
  /** Longest wait for a connection, milliseconds; 3,000. */
  connectTimeoutMs?: number;
  /** Connections per mount and service; 50. */
  maxSockets?: number;
  /** Pause before the second attempt, milliseconds; 200, doubled from attempt to attempt. */
  backoffMs?: number;
  /** Users that leases may have in one account, and all users where AWS does not tell its quota; 5,000, which AWS's is. */
  usersPerAccount?: number;
  /** Unset: calls are made as they come. */
  budget?: Budget;
  /** Hears of every call, once per attempt. */
  onCall?: (call: AwsCall) => void;
}

/** One attempt of one call to AWS: `action` is AWS's own name, such as `CreateUser`. */
export interface AwsCall extends AttemptEnd {
  service: 'iam' | 'sts';
  action: string;
}

/** Who the root credentials are (GetCallerIdentity). */
export interface CallerIdentity {
  accountId: string;
  arn: string;
  partition: string;
}

const limits = { requestTimeoutMs: 10_000, connectTimeoutMs: 3_000, maxSockets: 50, backoffMs: 200 };
// About 4 s of steady throttling before the caller hears of it (contract.md 5.2); the fence may end it sooner.
const retriesWhileCreating = 5;
// What destroys and reads fails soon: the lease's own back-off takes over.
const retriesOtherwise = 3;
/** How long an STS endpoint may take to say who we are, where there is another one to ask, milliseconds. */
const candidateTimeoutMs = 3_000;
/** AWS's quota of users per account, which it raises for nobody (aws-facts.md, "Limits"). */
const awsUsersPerAccount = 5_000;
// The SDK's handler would print to the console when its connections are used up.
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** The accounts this process works in: one set of long-lived clients per mount and version of the identity it acts with there. */
export class AwsAccounts {
  readonly #accounts = new Map<string, Map<string, AwsAccount>>();
  #ambient: CredentialProvider | undefined;

  constructor(private readonly surroundings: AwsSurroundings) {}

  /** How many users of leases an account may have. */
  get usersPerAccount(): number {
    return this.surroundings.usersPerAccount ?? awsUsersPerAccount;
  }

  /** @throws {AwsRefused} when the settings cannot work: half a key pair, or an endpoint that is no URL */
  open(root: RootSettings): AwsAccount {
    return this.#opened(root.mountId, root.version, () => {
      refuseUnlessUrls(root);
      return new AwsAccount(root, this.surroundings, this.#credentials(root));
    });
  }

  /**
   * The account of an identity of its own; endpoints, region and retries are the root's, whose session a role's credentials
   * come from.
   * @throws {AwsRefused} as `open`
   */
  openOwn(root: RootSettings, own: OwnIdentity): AwsAccount {
    return this.#opened(`${root.mountId} ${own.accountId}`, `${own.version} ${root.version}`, () => {
      refuseUnlessUrls(root);
      const { accessKey, secretKey } = own;
      const settings = { ...root, accessKey, secretKey, freshForMs: 0 };
      const credentials =
        own.roleArn === '' ? this.#credentials(settings) : new AssumedCredentials(this.open(root), own);
      return new AwsAccount(settings, this.surroundings, credentials, own.accountId);
    });
  }

  #opened(owner: string, version: string, make: () => AwsAccount): AwsAccount {
    const known = this.#accounts.get(owner)?.get(version);
    if (known) return known;
    const account = make();
    const versions = this.#accounts.get(owner) ?? new Map<string, AwsAccount>();
    this.#accounts.set(owner, versions.set(version, account));
    return account;
  }

  /** Drops the clients of every version of a mount's root but those named; calls under way finish. */
  keepOnly(mountId: string, kept: string[]): void {
    this.#keepOnly(mountId, (version) => kept.includes(version));
  }

  /** The same of a mount's own identities in one account: those are kept that are named, by way of the roots that are. */
  keepOnlyOwn(mountId: string, accountId: string, kept: string[], keptRoots: string[]): void {
    this.#keepOnly(`${mountId} ${accountId}`, (version) => {
      const [own = '', root = ''] = version.split(' ');
      return kept.includes(own) && keptRoots.includes(root);
    });
  }

  #keepOnly(owner: string, isKept: (version: string) => boolean): void {
    const versions = this.#accounts.get(owner);
    for (const [version, account] of versions ?? []) {
      if (isKept(version)) continue;
      versions?.delete(version);
      account.retire();
    }
    if (versions?.size === 0) this.#accounts.delete(owner);
  }

  /** Drops everything; calls under way finish, and no connection is kept open after them. */
  close(): void {
    for (const owner of this.#accounts.keys()) this.#keepOnly(owner, () => false);
  }

  #credentials({ accessKey: accessKeyId, secretKey: secretAccessKey }: RootSettings): CredentialProvider {
    if (accessKeyId === '' && secretAccessKey === '') return (this.#ambient ??= this.surroundings.ambientCredentials());
    if (accessKeyId === '' || secretAccessKey === '') {
      throw new AwsRefused(
        'InvalidClientConfiguration',
        "static AWS client credentials haven't been properly configured (the access key or secret key were provided but not both)",
      );
    }
    return () => Promise.resolve({ accessKeyId, secretAccessKey });
  }
}

/** IAM and STS of one AWS account, seen with one version of a mount's root or own identity there. Its fields hide the key. */
export class AwsAccount {
  readonly usersPerAccount: number;
  readonly #iam: IAMClient;
  /** STS where it may be reached, in the order in which that is tried; a client for us there, or for another key. */
  readonly #candidates: StsCandidate[];
  readonly #assumed: AssumedCredentials | undefined;
  #sts: StsCandidate;
  readonly #handler: Connections;
  readonly #patience: Patience;
  readonly #maxRetries: number;
  readonly #freshUntil: number;
  readonly #onCall: AwsSurroundings['onCall'];
  readonly #budget: AwsSurroundings['budget'];
  /** By which its budget is named until it is known. */
  #accountId: string;
  #identity: Promise<CallerIdentity | AwsFailure> | undefined;
  #underWay = 0;
  #retired = false;

  constructor(
    root: RootSettings,
    surroundings: AwsSurroundings,
    credentials: CredentialProvider | AssumedCredentials,
    expectedAccountId = `mount-${root.mountId}`,
  ) {
    const { requestTimeoutMs, connectTimeoutMs, maxSockets, backoffMs } = { ...limits, ...surroundings };
    const agent = { keepAlive: true, maxSockets };
    this.#handler = new Connections({
      connectionTimeout: connectTimeoutMs,
      httpAgent: agent,
      httpsAgent: agent,
      logger: silent,
    });
    this.#patience = { requestTimeoutMs, backoffMs, retries: retriesOtherwise };
    this.#maxRetries = root.maxRetries;
    this.#onCall = surroundings.onCall;
    this.#budget = surroundings.budget;
    this.usersPerAccount = surroundings.usersPerAccount ?? awsUsersPerAccount;
    this.#accountId = expectedAccountId;
    this.#freshUntil = performance.now() + (root.freshForMs ?? 0);

    this.#assumed = credentials instanceof AssumedCredentials ? credentials : undefined;
    const ours = credentials instanceof AssumedCredentials ? credentials.provide : credentials;
    const client = (endpoint: string | undefined, whose: CredentialProvider) => ({
      credentials: whose,
      requestHandler: this.#handler,
      maxAttempts: 1,
      retryMode: 'standard',
      cacheMiddleware: true,
      // With an endpoint of one's own the SDK refuses to be told about FIPS or dual-stack ones by the environment.
      ...(endpoint && { endpoint, useFipsEndpoint: false, useDualstackEndpoint: false }),
    });
    const region = root.region || surroundings.ambientRegion;
    const iamEndpoint = root.iamEndpoint || surroundings.defaultEndpoint;
    this.#iam = crossed(
      new IAMClient({ region: iamEndpoint ? iamRegionOf(region) : region, ...client(iamEndpoint, ours) }),
    );
    this.#candidates = stsPlaces(root, region).map(({ endpoint, region: stsRegion }) => {
      const clientOf = (whose: CredentialProvider) =>
        crossed(new STSClient({ region: stsRegion, ...client(endpoint || surroundings.defaultEndpoint, whose) }));
      return { name: endpoint || `STS of ${stsRegion}`, isNamed: endpoint !== '', client: clientOf(ours), clientOf };
    });
    this.#sts = this.#candidates[0]!;
  }

  /**
   * Asked once and remembered once it succeeded; callers at the same time share one question.
   * @param prefix what the caller could not do without the answer: the error's text begins with it, else AWS's own does
   * @throws {CodedError} `aws_refused`, `aws_throttled`, `aws_unreachable`
   */
  async identity(prefix?: string): Promise<CallerIdentity> {
    const answer = await (this.#identity ??= this.#askIdentity());
    if (answer instanceof AwsFailure) throw answer.toError(prefix);
    return answer;
  }

  /** The same, for who is to make one call of it. @throws {AwsFailure} */
  async identified(): Promise<CallerIdentity> {
    const answer = await (this.#identity ??= this.#askIdentity());
    if (answer instanceof AwsFailure) throw answer;
    return answer;
  }

  /** One IAM call under our own retry rules. @throws {AwsFailure} */
  iam<I extends IamInput, O extends IamOutput>(
    Command: new (input: I) => IamCommandOf<I, O, IAMClientResolvedConfig, IamInput, IamOutput>,
    input: I,
    rules: CallRules = {},
  ): Promise<O> {
    return this.#call('iam', Command, rules, (signal, atTheWire) =>
      this.#iam.send(through(new Command(input), { signal, atTheWire })),
    );
  }

  /** One STS call under our own retry rules. @throws {AwsFailure} */
  async sts<I extends StsInput, O extends StsOutput>(
    Command: StsCommand<I, O>,
    input: I,
    rules: CallRules = {},
  ): Promise<O> {
    // Which of several endpoints serves is found out with the question who we are.
    if (this.#candidates.length > 1) await this.identified();
    try {
      return await this.#stsBy(this.#sts.client, Command, input, rules);
    } catch (error) {
      const isAway = error instanceof AwsFailure && (error.kind === 'unsent' || error.kind === 'unanswered');
      if (isAway && this.#candidates.length > 1) this.#identity = undefined;
      throw error;
    }
  }

  /**
   * Who asks STS, where we do, with a key that was lent: each call is one question whether AWS accepts it. Its client is made
   * for it alone, shares our connections and is kept by nobody else.
   */
  holderOf(key: LentKey): (rules: CallRules) => Promise<unknown> {
    const client = this.#sts.clientOf(() => Promise.resolve(key));
    return (rules) => this.#stsBy(client, GetCallerIdentityCommand, {}, rules, false);
  }

  #stsBy<I extends StsInput, O extends StsOutput>(
    client: STSClient,
    Command: StsCommand<I, O>,
    input: I,
    rules: CallRules,
    isOurs = true,
  ): Promise<O> {
    return this.#call(
      'sts',
      Command,
      rules,
      (signal, atTheWire) => client.send(through(new Command(input), { signal, atTheWire })),
      isOurs,
    );
  }

  /** Keeps working for whoever still holds it, but without idle connections. */
  retire(): void {
    this.#retired = true;
    if (this.#underWay === 0) this.#handler.destroy();
  }

  async #call<O>(
    service: AwsCall['service'],
    Command: { name: string },
    rules: CallRules,
    attempt: Parameters<typeof call<O>>[0],
    isOurs = true,
  ): Promise<O> {
    const action = Command.name.replace(/Command$/, '');
    const budget = `${this.#accountId}:${service}`;
    const by = rules.by ?? (rules.fence ? 'issue' : 'revoke');
    const awaitTurn = (withinMs: number) => this.#budget?.take({ budget, by, withinMs, calls: rules.calls ?? 1 });
    const onAttempt = (end: AttemptEnd) => {
      if (end.awsCode !== '' || end.kind === 'ok') {
        this.#budget?.answered(budget, performance.now() - end.ms, end.kind === 'throttled');
      }
      this.#onCall?.({ service, action, ...end });
      rules.onAttempt?.(end);
    };
    const retries = this.#maxRetries >= 0 ? this.#maxRetries : retriesWhileCreating;
    const isYoung = (refusal: AwsFailure) =>
      (refusal.awsCode === 'InvalidClientTokenId' && performance.now() < this.#freshUntil) ||
      (rules.isYoung?.(refusal) ?? false);
    const patience = { ...this.#patience, ...(rules.fence && { retries }), ...rules.patience };
    this.#underWay++;
    try {
      if (isOurs) await this.#assumed?.refresh(by);
      return await call(attempt, patience, {
        ...rules,
        isYoung,
        awaitTurn,
        onAttempt,
      });
    } finally {
      this.#underWay--;
      if (this.#retired && this.#underWay === 0) this.#handler.destroy();
    }
  }

  /** A failure is handed to everybody who asked, and is forgotten: each tells it in the words of its own purpose. */
  async #askIdentity(): Promise<CallerIdentity | AwsFailure> {
    try {
      return await this.#firstToIdentify();
    } catch (error) {
      this.#identity = undefined;
      if (error instanceof AwsFailure) return error;
      throw error;
    }
  }

  /** Asks one candidate after the other; the first that says who we are serves from then on (contract.md 2.1). */
  async #firstToIdentify(): Promise<CallerIdentity> {
    const failures: { at: string; failure: AwsFailure }[] = [];
    const last = this.#candidates.at(-1);
    for (const candidate of this.#candidates) {
      // Where there is another one, it is not worth waiting for this one.
      const patience = candidate === last ? {} : { patience: { retries: 0, requestTimeoutMs: candidateTimeoutMs } };
      try {
        const { Account: accountId, Arn: arn } = await this.#stsBy(
          candidate.client,
          GetCallerIdentityCommand,
          {},
          { by: 'upkeep', ...patience },
        );
        if (!accountId || !arn) throw AwsFailure.unreadable();
        this.#sts = candidate;
        this.#accountId = accountId;
        return { accountId, arn, partition: arn.split(':')[1] ?? '' };
      } catch (error) {
        if (!(error instanceof AwsFailure) || error.kind === 'over_budget') throw error;
        failures.push({ at: candidate.name, failure: error });
      }
    }
    if (this.#candidates.some(({ isNamed }) => isNamed)) throw AwsFailure.noStsClient(failures);
    throw failures[0]!.failure;
  }
}

/** STS at one endpoint. */
interface StsCandidate {
  /** For people. */
  name: string;
  /** Named by whoever configured the mount, not derived from the region. */
  isNamed: boolean;
  client: STSClient;
  clientOf: (whose: CredentialProvider) => STSClient;
}

type StsCommand<I extends StsInput, O extends StsOutput> = new (
  input: I,
) => StsCommandOf<I, O, STSClientResolvedConfig, StsInput, StsOutput>;

/** Where STS is to be looked for, and in which region: '' = where it is for that region (contract.md 2.1). */
function stsPlaces(root: RootSettings, region: string): { endpoint: string; region: string }[] {
  const first = { endpoint: root.stsEndpoint, region: (root.stsEndpoint !== '' && root.stsRegion) || region };
  const others = root.stsFallbackEndpoints.map((endpoint, nth) => ({
    endpoint,
    region: root.stsFallbackRegions[nth] || region,
  }));
  return [first, ...others];
}

/**
 * The region that IAM's requests are signed for, which is one per partition. Where the endpoint is derived from the region the SDK
 * knows it by itself; with an endpoint of one's own it would sign for the region named, which IAM refuses.
 */
function iamRegionOf(region: string): string {
  if (!/^[a-z\d-]+$/.test(region)) return region;
  const { endpointProvider } = new IAMClient({ region }).config;
  const { properties } = endpointProvider({ Region: region, UseFIPS: false, UseDualStack: false });
  const [scheme] = (properties?.authSchemes ?? []) as { signingRegion?: string }[];
  return scheme?.signingRegion ?? region;
}

function refuseUnlessUrls({ iamEndpoint, stsEndpoint, stsFallbackEndpoints }: RootSettings): void {
  refuseUnlessUrl('iam_endpoint', iamEndpoint);
  refuseUnlessUrl('sts_endpoint', stsEndpoint);
  for (const endpoint of stsFallbackEndpoints) refuseUnlessUrl('sts_fallback_endpoints', endpoint);
}

function refuseUnlessUrl(field: string, endpoint: string): void {
  if (endpoint === '' || (/^https?:/.test(endpoint) && URL.canParse(endpoint))) return;
  throw new AwsRefused('InvalidClientConfiguration', `could not obtain an AWS client: ${field} is not a URL`);
}
