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
import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { CredentialProvider } from './ambient-credentials.js';
import { type AttemptEnd, call, type CallClass, type CallRules, type Patience } from './aws-call.js';
import { AwsRefused } from './aws-errors.js';
import { AwsFailure } from './aws-failure.js';

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
  /** Attempts after the first when AWS throttles, fails or is away; -1 for our default. */
  maxRetries: number;
  /** After a rotation: how much longer AWS may not know this key yet, milliseconds. */
  freshForMs?: number;
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
/** AWS's quota of users per account, which it raises for nobody (aws-facts.md, "Limits"). */
const awsUsersPerAccount = 5_000;
// The SDK's handler would print to the console when its connections are used up.
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** The accounts this process works in: one set of long-lived clients per mount and version of its root settings. */
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
    refuseUnlessUrl('iam_endpoint', root.iamEndpoint);
    refuseUnlessUrl('sts_endpoint', root.stsEndpoint);
    let versions = this.#accounts.get(root.mountId);
    if (versions === undefined) this.#accounts.set(root.mountId, (versions = new Map<string, AwsAccount>()));
    let account = versions.get(root.version);
    if (account === undefined) {
      account = new AwsAccount(root, this.surroundings, this.#credentials(root));
      versions.set(root.version, account);
    }
    return account;
  }

  /** Drops the clients of every version of a mount's root but those named; calls under way finish. */
  keepOnly(mountId: string, kept: string[]): void {
    const versions = this.#accounts.get(mountId);
    for (const [version, account] of versions ?? []) {
      if (kept.includes(version)) continue;
      versions?.delete(version);
      account.retire();
    }
    if (versions?.size === 0) this.#accounts.delete(mountId);
  }

  /** Drops everything; calls under way finish, and no connection is kept open after them. */
  close(): void {
    for (const mountId of this.#accounts.keys()) this.keepOnly(mountId, []);
  }

  #credentials(root: RootSettings): CredentialProvider {
    const { accessKey: accessKeyId, secretKey: secretAccessKey } = root;
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

/** IAM and STS of one AWS account, seen with one version of a mount's root settings. Its fields hide the key. */
export class AwsAccount {
  readonly usersPerAccount: number;
  readonly #iam: IAMClient;
  readonly #sts: STSClient;
  readonly #handler: NodeHttpHandler;
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

  constructor(root: RootSettings, surroundings: AwsSurroundings, credentials: CredentialProvider) {
    const { requestTimeoutMs, connectTimeoutMs, maxSockets, backoffMs } = { ...limits, ...surroundings };
    const agent = { keepAlive: true, maxSockets };
    this.#handler = new NodeHttpHandler({
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
    this.#accountId = `mount-${root.mountId}`;
    this.#freshUntil = performance.now() + (root.freshForMs ?? 0);

    const region = root.region || surroundings.ambientRegion;
    const client = (endpoint: string | undefined) => ({
      credentials,
      requestHandler: this.#handler,
      maxAttempts: 1,
      retryMode: 'standard',
      // With an endpoint of one's own the SDK refuses to be told about FIPS or dual-stack ones by the environment.
      ...(endpoint && { endpoint, useFipsEndpoint: false, useDualstackEndpoint: false }),
    });
    this.#iam = new IAMClient({ region, ...client(root.iamEndpoint || surroundings.defaultEndpoint) });
    const stsRegion = (root.stsEndpoint !== '' && root.stsRegion) || region;
    this.#sts = new STSClient({ region: stsRegion, ...client(root.stsEndpoint || surroundings.defaultEndpoint) });
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

  /** One IAM call under our own retry rules. @throws {AwsFailure} */
  iam<I extends IamInput, O extends IamOutput>(
    Command: new (input: I) => IamCommandOf<I, O, IAMClientResolvedConfig, IamInput, IamOutput>,
    input: I,
    rules: CallRules = {},
  ): Promise<O> {
    return this.#call('iam', Command, rules, (abortSignal, atTheWire) => {
      const command = new Command(input);
      command.middlewareStack.add(through(atTheWire), lastBeforeTheWire);
      return this.#iam.send(command, { abortSignal });
    });
  }

  /** One STS call under our own retry rules. @throws {AwsFailure} */
  sts<I extends StsInput, O extends StsOutput>(
    Command: new (input: I) => StsCommandOf<I, O, STSClientResolvedConfig, StsInput, StsOutput>,
    input: I,
    rules: CallRules = {},
  ): Promise<O> {
    return this.#call('sts', Command, rules, (abortSignal, atTheWire) => {
      const command = new Command(input);
      command.middlewareStack.add(through(atTheWire), lastBeforeTheWire);
      return this.#sts.send(command, { abortSignal });
    });
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
    this.#underWay++;
    try {
      return await call(attempt, rules.fence ? { ...this.#patience, retries } : this.#patience, {
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
      const { Account: accountId, Arn: arn } = await this.sts(GetCallerIdentityCommand, {}, { by: 'upkeep' });
      if (!accountId || !arn) throw AwsFailure.unreadable();
      this.#accountId = accountId;
      return { accountId, arn, partition: arn.split(':')[1] ?? '' };
    } catch (error) {
      this.#identity = undefined;
      if (error instanceof AwsFailure) return error;
      throw error;
    }
  }
}

// The lowest priority of the last step: behind signing and next to the socket.
const lastBeforeTheWire = { step: 'deserialize', priority: 'low', name: 'atTheWire' } as const;

function through(atTheWire: <R>(send: () => Promise<R>) => Promise<R>) {
  return <Args, Result>(next: (args: Args) => Promise<Result>) =>
    (args: Args) =>
      atTheWire(() => next(args));
}

function refuseUnlessUrl(field: string, endpoint: string): void {
  if (endpoint === '' || (/^https?:/.test(endpoint) && URL.canParse(endpoint))) return;
  throw new AwsRefused('InvalidClientConfiguration', `could not obtain an AWS client: ${field} is not a URL`);
}
