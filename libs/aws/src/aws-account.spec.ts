import { CreateUserCommand, type CreateUserCommandInput, DeleteUserCommand } from '@aws-sdk/client-iam';
import {
  GetCallerIdentityCommand,
  type GetCallerIdentityCommandInput,
  GetFederationTokenCommand,
} from '@aws-sdk/client-sts';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { inspect } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { OverBudget } from '#libs/contracts';
import type { AwsAccounts, Budget } from './aws-account.js';
import { AwsRefused, AwsThrottled, AwsUnreachable } from './aws-errors.js';
import type { AwsFailure } from './aws-failure.js';
import {
  accessDenied,
  accountsAt,
  AwsStub,
  broken,
  done,
  failureOf,
  fenceOf,
  garbled,
  lost,
  refused,
  type Reply,
  rootSecret,
  rootSettings,
  secretOfReplies,
  silent,
  throttled,
} from './aws.spec-stub.js';

let stub: AwsStub;
let accounts: AwsAccounts;

beforeEach(async () => {
  stub = await AwsStub.start();
  accounts = accountsAt(stub.url);
});

afterEach(async () => {
  accounts.close();
  await stub.close();
});

describe('who the root credentials are', () => {
  it('is asked once, however many ask at the same time', async () => {
    const account = accounts.open(rootSettings);
    const answers = await Promise.all([account.identity(), account.identity(), account.identity()]);
    expect(answers[2]).toEqual({
      accountId: '123456789012',
      arn: 'arn:aws-cn:iam::123456789012:user/root',
      partition: 'aws-cn',
    });
    expect(await account.identity()).toBe(answers[0]);
    expect(stub.actions).toEqual(['GetCallerIdentity']);
  });

  it('is asked again after a failure', async () => {
    const account = accounts.open(rootSettings);
    stub.on('GetCallerIdentity', refused('InvalidClientTokenId', 403));
    const error = await failureOf(account.identity());
    expect(error).toMatchObject({ code: 'aws_refused', awsCode: 'InvalidClientTokenId' });
    expect((await account.identity()).accountId).toBe('123456789012');
  });

  it("fails with the words of each caller's purpose, or with AWS's alone", async () => {
    const account = accounts.open(rootSettings);
    stub.on('GetCallerIdentity', refused('InvalidClientTokenId', 403));
    const [user, role, bare] = await Promise.all([
      failureOf(account.identity('Error creating IAM user')),
      failureOf(account.identity('Error assuming role')),
      failureOf(account.identity()),
    ]);
    const text = 'InvalidClientTokenId: InvalidClientTokenId it is\n\tstatus code: 403, request id: req-1';
    expect(user.message).toBe(`Error creating IAM user: ${text}`);
    expect(role.message).toBe(`Error assuming role: ${text}`);
    expect(bare.message).toBe(text);
    expect(stub.actions).toEqual(['GetCallerIdentity']);
  });

  it('does not take half an answer', async () => {
    stub.on('GetCallerIdentity', done('<Arn>arn:aws:iam::1:root</Arn>'));
    expect(await failureOf(accounts.open(rootSettings).identity())).toBeInstanceOf(AwsUnreachable);
  });
});

describe('the accounts of a process', () => {
  it('keep one set of clients and connections per version of the settings', async () => {
    const account = accounts.open(rootSettings);
    for (let i = 0; i < 5; i++) await account.iam(CreateUserCommand, { UserName: 'u' });
    expect(accounts.open({ ...rootSettings })).toBe(account);
    expect(accounts.open({ ...rootSettings, version: '2' })).not.toBe(account);
    expect(stub.connections).toBe(1);
  });

  it('drop a version, or all of a mount, and let calls under way finish', async () => {
    const [first, second] = [accounts.open(rootSettings), accounts.open({ ...rootSettings, version: '2' })];
    let answer: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => {
      stub.on('CreateUser', async (response, call) => {
        await new Promise<void>((release) => {
          answer = release;
          resolve();
        });
        return done()(response, call);
      });
    });
    const underWay = first.iam(CreateUserCommand, { UserName: 'u' }, { onceOnly: true });
    await arrived;
    accounts.keepOnly('mount', ['2']);
    answer();
    expect((await underWay).User?.Arn).toContain('user/u');
    expect(accounts.open(rootSettings)).not.toBe(first);
    expect(accounts.open({ ...rootSettings, version: '2' })).toBe(second);
    accounts.keepOnly('mount', []);
    expect(accounts.open({ ...rootSettings, version: '2' })).not.toBe(second);
    expect((await first.identity()).accountId).toBe('123456789012');
  });

  it('keep no connection once they are closed', async () => {
    await accounts.open(rootSettings).identity();
    expect(await stub.openConnections()).toBe(1);
    accounts.close();
    while ((await stub.openConnections()) > 0) await new Promise(setImmediate);
  });

  it("sign with the mount's own key where it has one, else with the surroundings'", async () => {
    await accounts.open(rootSettings).identity();
    await accounts.open({ ...rootSettings, version: '2', accessKey: '', secretKey: '' }).identity();
    expect(stub.calls.map((call) => call.accessKeyId)).toEqual(['AKIAROOT', 'AKIAAMBIENT']);
  });

  it('refuse half a key pair, and an endpoint that is no URL', () => {
    expect(() => accounts.open({ ...rootSettings, secretKey: '' })).toThrow(AwsRefused);
    expect(() => accounts.open({ ...rootSettings, iamEndpoint: 'nowhere' })).toThrow(AwsRefused);
  });

  it('find endpoint and region in the settings, then in the surroundings', async () => {
    const other = await AwsStub.start();
    const own = { ...rootSettings, stsEndpoint: other.url, stsRegion: 'eu-north-1' };
    const account = accounts.open(own);
    await account.identity();
    await account.iam(CreateUserCommand, { UserName: 'u' });
    await accounts.open({ ...rootSettings, version: '2', region: '', stsRegion: 'eu-north-1' }).identity();
    expect(other.calls).toMatchObject([{ action: 'GetCallerIdentity', region: 'eu-north-1' }]);
    expect(stub.calls).toMatchObject([
      { action: 'CreateUser', region: 'us-east-1' },
      { action: 'GetCallerIdentity', region: 'us-east-1' },
    ]);
    await other.close();
  });

  it('show their secret to nobody who prints them', () => {
    const account = accounts.open(rootSettings);
    expect(inspect([accounts, account], { depth: 20, showHidden: true }) + JSON.stringify(account)).not.toContain(
      rootSecret,
    );
  });

  it('say in known words that there are no credentials', async () => {
    const without = accountsAt(stub.url, {
      ambientCredentials: () => () =>
        Promise.reject(Object.assign(new Error(rootSecret), { name: 'CredentialsProviderError' })),
    });
    const error = await failureOf(without.open({ ...rootSettings, accessKey: '', secretKey: '' }).identity());
    expect(error).toMatchObject({ code: 'aws_refused', awsCode: 'NoCredentialProviders' });
    expect(error.message).toBe(
      'NoCredentialProviders: no valid providers in chain. Deprecated.\n' +
        '\tFor verbose messaging see aws.Config.CredentialsChainVerboseErrors',
    );
    expect(stub.actions).toEqual([]);
  });
});

describe('the fence', () => {
  it('keeps a request that was signed in time and delayed since from AWS', async () => {
    const account = accounts.open(rootSettings);
    const fence = fenceOf(300);
    const signatures: (string | undefined)[] = [];
    /** A process that is stopped between signing and sending: not even its timers run. */
    class SleptOver extends CreateUserCommand {
      constructor(input: CreateUserCommandInput) {
        super(input);
        this.middlewareStack.addRelativeTo(
          <A extends object, R>(next: (args: A) => Promise<R>) =>
            async (args: A) => {
              const { request } = args as { request?: { headers: Record<string, string> } };
              signatures.push(request?.headers.authorization);
              while (fence.remainingMs() > 0);
              return next(args);
            },
          { relation: 'after', toMiddleware: 'httpSigningMiddleware', name: 'sleep' },
        );
      }
    }
    const failure = (await failureOf(account.iam(SleptOver, { UserName: 'u' }, { fence }))) as AwsFailure;
    expect(failure).toMatchObject({ kind: 'late', unanswered: false });
    expect(failure.toError('x').code).toBe('out_of_time');
    expect(signatures).toEqual([expect.stringContaining('AWS4-HMAC-SHA256 Credential=AKIAROOT/')]);
    await account.identity();
    expect(stub.actions).toEqual(['GetCallerIdentity']);
  });

  it('keeps a request that waits for a connection from AWS', async () => {
    const account = accountsAt(stub.url, { maxSockets: 1 }).open(rootSettings);
    let answer: () => void = () => undefined;
    const occupied = new Promise<void>((resolve) => {
      stub
        .on('GetUser', () => undefined)
        .on('CreateUser', async (response, call) => {
          await new Promise<void>((release) => {
            answer = release;
            resolve();
          });
          return done()(response, call);
        });
    });
    const first = account.iam(CreateUserCommand, { UserName: 'first' });
    await occupied;
    const second = await failureOf(account.iam(CreateUserCommand, { UserName: 'second' }, { fence: fenceOf(40) }));
    expect(second).toMatchObject({ kind: 'late' });
    answer();
    await first;
    await account.iam(CreateUserCommand, { UserName: 'third' });
    expect(stub.sent('CreateUser').map((call) => call.UserName)).toEqual(['first', 'third']);
  });

  it('stands in front of every repeated try', async () => {
    const account = accountsAt(stub.url, { backoffMs: 60_000 }).open(rootSettings);
    stub.on('CreateUser', throttled);
    const failure = await failureOf(account.iam(CreateUserCommand, { UserName: 'u' }, { fence: fenceOf(5_000) }));
    expect(failure).toMatchObject({ kind: 'throttled' });
    expect(stub.actions).toEqual(['CreateUser']);
  });
});

describe('a failed call', () => {
  const once = { ...rootSettings, maxRetries: 0 };
  const attempt = (settings = once, surroundings = {}) =>
    failureOf(
      accountsAt(stub.url, surroundings)
        .open(settings)
        .iam(CreateUserCommand, { UserName: 'u' }, { fence: fenceOf(5_000) }),
    ) as Promise<AwsFailure>;

  it.each([
    'Throttling',
    'ThrottlingException',
    'ThrottledException',
    'RequestThrottled',
    'RequestThrottledException',
    'TooManyRequestsException',
    'ProvisionedThroughputExceededException',
    'TransactionInProgressException',
    'RequestLimitExceeded',
    'PriorRequestNotComplete',
    'EC2ThrottledException',
    'BandwidthLimitExceeded',
    'LimitExceededException',
    'SlowDown',
  ])('is a throttle when AWS says %s', async (code) => {
    stub.on('CreateUser', refused(code, code === 'SlowDown' ? 503 : 400));
    expect((await attempt()).toError('x')).toBeInstanceOf(AwsThrottled);
  });

  it.each([
    ['AccessDenied', 403],
    ['MalformedPolicyDocument', 400],
    ['LimitExceeded', 409],
    ['NoSuchEntity', 404],
    ['InvalidClientTokenId', 403],
    ['SignatureDoesNotMatch', 403],
    ['ExpiredToken', 400],
    ['ValidationError', 400],
    ['RegionDisabledException', 403],
  ])('is final when AWS says %s', async (code, status) => {
    stub.on('CreateUser', refused(code, status, 'because'));
    const error = (await attempt({ ...rootSettings })).toError('Error x');
    expect(error).toMatchObject({ code: 'aws_refused', awsCode: code, retryable: false });
    expect(error.message).toBe(`Error x: ${code}: because\n\tstatus code: ${status}, request id: req-1`);
    expect(stub.actions).toHaveLength(1);
  });

  const proxy =
    (status: number): Reply =>
    (response) =>
      void response.writeHead(status).end('<html>no<br></html>');

  it.each([
    ['the connection breaks', lost],
    ['AWS fails', broken],
    ['the answer is unreadable', garbled],
    ['something else than AWS answers', proxy(403)],
    ['something else than AWS fails', proxy(502)],
    ['no answer comes', silent],
  ])('may have taken effect when %s', async (_, reply) => {
    stub.on('CreateUser', reply);
    const failure = await attempt(once, { requestTimeoutMs: 500 });
    expect(failure).toMatchObject({ kind: 'unanswered', unanswered: true });
    expect(failure.toError('x')).toBeInstanceOf(AwsUnreachable);
  });

  it('has not taken effect when nobody listens or no connection is free in time', async () => {
    const closed = await AwsStub.start();
    const address = closed.url;
    await closed.close();
    expect(await attempt({ ...once, iamEndpoint: address })).toMatchObject({ kind: 'unsent', unanswered: false });
    const busy = accountsAt(stub.url, { maxSockets: 1, connectTimeoutMs: 250, requestTimeoutMs: 1_000 }).open(once);
    stub.on('CreateUser', silent);
    const first = failureOf(busy.iam(CreateUserCommand, { UserName: 'first' }, { fence: fenceOf(5_000) }));
    const second = await failureOf(busy.iam(CreateUserCommand, { UserName: 'second' }, { fence: fenceOf(5_000) }));
    expect(second).toMatchObject({ kind: 'unsent', unanswered: false });
    await first;
    expect(stub.sent('CreateUser').map((call) => call.UserName)).toEqual(['first']);
  });

  it('is forgiven while AWS does not know the rotated root key yet', async () => {
    stub.on('CreateUser', ...Array.from({ length: 8 }, () => refused('InvalidClientTokenId', 403)));
    const account = accounts.open({ ...rootSettings, freshForMs: 15_000 });
    await account.iam(CreateUserCommand, { UserName: 'u' }, { fence: fenceOf(5_000) });
    expect(stub.actions).toHaveLength(9);
  });

  it('is tried once more when our clock was wrong, by the clock of AWS', async () => {
    const skewed: Reply = (response, call) => {
      response.setHeader('date', new Date(Date.now() + 3_600_000).toUTCString());
      return refused('SignatureDoesNotMatch', 403, 'Signature expired')(response, call);
    };
    stub.on('CreateUser', skewed);
    await accounts.open(rootSettings).iam(CreateUserCommand, { UserName: 'u' });
    expect(stub.actions).toHaveLength(2);
  });

  it('keeps nothing of the reply and nothing of the request', async () => {
    const quoting = `The request signature we calculated does not match.\n\nThe Canonical String for this request should have been\n'POST\nx-amz-security-token:${rootSecret}'`;
    for (const reply of [garbled, refused('SignatureDoesNotMatch', 403, quoting), lost, broken]) {
      stub.on('CreateUser', reply);
      const failure = await attempt();
      const shown = inspect([failure, failure.toError('x')], { depth: 20, showHidden: true });
      expect(shown).not.toContain(rootSecret);
      expect(shown).not.toContain(secretOfReplies);
      expect(shown).not.toContain('AWS4-HMAC-SHA256');
    }
  });

  it('is final when the configuration does not allow a request at all', async () => {
    const failure = await attempt({ ...rootSettings, region: 'no region' });
    expect(failure).toMatchObject({ kind: 'refused', awsCode: 'InvalidParameter', unanswered: false });
    expect(stub.actions).toEqual([]);
  });
});

describe("AWS's own endpoints", () => {
  it('are found by region and partition where nobody names one', async () => {
    const sent: string[] = [];
    const notSent =
      <A extends object, R>(): ((args: A) => Promise<R>) =>
      (args) => {
        const { request } = args as { request?: { hostname: string; headers: Record<string, string> } };
        const [region] = /(?<=\/\d{8}\/)[\w-]+/.exec(request?.headers.authorization ?? '') ?? [];
        sent.push(`${request?.hostname} ${region}`);
        return Promise.reject(new Error('not sent'));
      };
    const behindSigning = { relation: 'after', toMiddleware: 'httpSigningMiddleware', name: 'notSent' } as const;
    class IamNotSent extends CreateUserCommand {
      constructor(input: CreateUserCommandInput) {
        super(input);
        this.middlewareStack.addRelativeTo(notSent, behindSigning);
      }
    }
    class StsNotSent extends GetCallerIdentityCommand {
      constructor(input: GetCallerIdentityCommandInput) {
        super(input);
        this.middlewareStack.addRelativeTo(notSent, behindSigning);
      }
    }
    const real = accountsAt('', { ambientRegion: 'eu-west-1' });
    for (const region of ['', 'cn-northwest-1', 'us-gov-east-1', 'us-iso-west-1', 'eusc-de-east-1']) {
      const account = real.open({ ...rootSettings, version: region, region });
      await failureOf(account.iam(IamNotSent, { UserName: 'u' }));
      await failureOf(account.sts(StsNotSent, {}));
    }
    expect(sent).toEqual([
      'iam.amazonaws.com us-east-1',
      'sts.eu-west-1.amazonaws.com eu-west-1',
      'iam.cn-north-1.amazonaws.com.cn cn-north-1',
      'sts.cn-northwest-1.amazonaws.com.cn cn-northwest-1',
      'iam.us-gov.amazonaws.com us-gov-west-1',
      'sts.us-gov-east-1.amazonaws.com us-gov-east-1',
      'iam.us-iso-east-1.c2s.ic.gov us-iso-east-1',
      'sts.us-iso-west-1.c2s.ic.gov us-iso-west-1',
      'iam.eusc-de-east-1.amazonaws.eu eusc-de-east-1',
      'sts.eusc-de-east-1.amazonaws.eu eusc-de-east-1',
    ]);
  });

  it("sign for IAM's one region of the partition also where its endpoint is named", async () => {
    for (const region of ['eu-west-1', 'cn-northwest-1', 'us-gov-east-1']) {
      const account = accounts.open({ ...rootSettings, version: region, region, iamEndpoint: stub.url });
      await account.iam(CreateUserCommand, { UserName: 'u' });
      await account.identity();
    }
    expect(stub.calls.map((call) => call.region)).toEqual([
      'us-east-1',
      'eu-west-1',
      'cn-north-1',
      'cn-northwest-1',
      'us-gov-west-1',
      'us-gov-east-1',
    ]);
  });
});

describe('STS at several endpoints', () => {
  let other: AwsStub;
  let third: AwsStub;

  beforeEach(async () => {
    [other, third] = [await AwsStub.start(), await AwsStub.start()];
  });
  afterEach(() => Promise.all([other.close(), third.close()]));

  const settings = () => ({
    ...rootSettings,
    stsEndpoint: stub.url,
    stsRegion: 'eu-central-1',
    stsFallbackEndpoints: [other.url, third.url],
    stsFallbackRegions: ['eu-north-1', 'us-west-2'],
  });

  it('is used at the first of them that says who we are', async () => {
    stub.on('GetCallerIdentity', lost);
    other.on('GetCallerIdentity', refused('RegionDisabledException', 403));
    const account = accounts.open(settings());
    await account.sts(GetFederationTokenCommand, { Name: 'it' });
    await account.sts(GetFederationTokenCommand, { Name: 'it' });
    const asked = (region: string) => ({ action: 'GetCallerIdentity', region });
    expect(stub.calls).toMatchObject([asked('eu-central-1')]);
    expect(other.calls).toMatchObject([asked('eu-north-1')]);
    const used = { action: 'GetFederationToken', region: 'us-west-2' };
    expect(third.calls).toMatchObject([asked('us-west-2'), used, used]);
  });

  it('is looked for behind the one of the region where only fallbacks are named', async () => {
    await accounts.open({ ...settings(), stsEndpoint: '' }).identity();
    expect(stub.calls).toMatchObject([{ action: 'GetCallerIdentity', region: 'eu-west-1' }]);
    expect([...other.calls, ...third.calls]).toEqual([]);
  });

  it('is looked for again when the one in use does not answer any more', async () => {
    const account = accounts.open(settings());
    await account.identity();
    stub.on('GetFederationToken', lost, lost, lost, lost, lost, lost).on('GetCallerIdentity', lost);
    await failureOf(account.sts(GetFederationTokenCommand, { Name: 'it' }, { onceOnly: true }));
    await account.sts(GetFederationTokenCommand, { Name: 'it' });
    expect(other.actions).toEqual(['GetCallerIdentity', 'GetFederationToken']);
  });

  it('is nowhere when none says who we are, and the caller reads what each said', async () => {
    for (const each of [stub, other]) each.on('GetCallerIdentity', refused('InvalidClientTokenId', 403, 'No.'));
    third.on('GetCallerIdentity', refused('AccessDenied', 403, 'Neither.'));
    const account = accounts.open(settings());
    const error = await failureOf(account.identity('Error assuming role'));
    expect(error).toMatchObject({ code: 'aws_refused' });
    expect(error.message).toBe(
      `Error assuming role: could not obtain sts client: ${stub.url}: InvalidClientTokenId: No.; ` +
        `${other.url}: InvalidClientTokenId: No.; ${third.url}: AccessDenied: Neither.`,
    );
    expect((await account.identity()).accountId).toBe('123456789012');
  });

  it('may be worth another try when one of them did not answer', async () => {
    const alone = { ...rootSettings, stsEndpoint: stub.url };
    stub.on('GetCallerIdentity', refused('InvalidClientTokenId', 403));
    expect((await failureOf(accounts.open(alone).identity())).message).toContain('could not obtain sts client: ');
    for (const each of [stub, third]) each.on('GetCallerIdentity', refused('AccessDenied', 403));
    other.on('GetCallerIdentity', lost);
    expect(await failureOf(accounts.open({ ...settings(), version: '2' }).identity())).toBeInstanceOf(AwsUnreachable);
  });
});

describe('an identity of its own in an account', () => {
  const account = '210987654321';
  const none = { accountId: account, version: '7', accessKey: '', secretKey: '', roleArn: '', externalId: '' };
  const byRole = { ...none, roleArn: `arn:aws:iam::${account}:role/lender`, externalId: 'our-word' };
  const session = (endsInMs: number) =>
    done(
      `<Credentials><AccessKeyId>ASIA${endsInMs}</AccessKeyId><SecretAccessKey>${secretOfReplies}</SecretAccessKey>` +
        `<SessionToken>t</SessionToken><Expiration>${new Date(Date.now() + endsInMs).toISOString()}</Expiration></Credentials>`,
    );
  const create = () => accounts.openOwn(rootSettings, byRole).iam(CreateUserCommand, { UserName: 'u' });
  const signed = (action: string) =>
    stub.calls.filter((call) => call.action === action).map((call) => call.accessKeyId);

  it('signs with its keys, at the endpoints of the root', async () => {
    const own = { ...none, accessKey: 'AKIAOWN', secretKey: rootSecret };
    await accounts.openOwn(rootSettings, own).identity();
    expect(stub.calls).toMatchObject([{ accessKeyId: 'AKIAOWN', region: 'eu-west-1' }]);
    expect(() => accounts.openOwn(rootSettings, { ...own, version: '8', secretKey: '' })).toThrow(AwsRefused);
  });

  it('is a session that the root opens once for all who need it', async () => {
    stub.on('AssumeRole', session(3_600_000));
    await Promise.all([create(), create(), create()]);
    await create();
    expect(stub.sent('AssumeRole')).toEqual([
      expect.objectContaining({
        RoleArn: byRole.roleArn,
        ExternalId: 'our-word',
        RoleSessionName: 'leasehold',
        DurationSeconds: '3600',
      }),
    ]);
    expect(signed('AssumeRole')).toEqual(['AKIAROOT']);
    expect(signed('CreateUser')).toEqual(Array.from({ length: 4 }, () => 'ASIA3600000'));
  });

  it('is another session before the one at hand ends', async () => {
    stub.on('AssumeRole', session(240_000), session(3_600_000));
    await create();
    await create();
    await create();
    expect(signed('CreateUser')).toEqual(['ASIA240000', 'ASIA3600000', 'ASIA3600000']);
  });

  it('serves on to its end while the root gets no other', async () => {
    stub.on('AssumeRole', session(240_000), refused('AccessDenied', 403), session(3_600_000));
    await create();
    await create();
    await create();
    expect(signed('CreateUser')).toEqual(['ASIA240000', 'ASIA240000', 'ASIA3600000']);
  });

  it("is refused with AWS's words where the root may not assume the role, and nothing was asked with it", async () => {
    stub.on('AssumeRole', accessDenied);
    const failure = (await failureOf(create())) as AwsFailure;
    expect(failure).toMatchObject({ kind: 'refused', awsCode: 'AccessDenied', unanswered: false });
    stub.on('AssumeRole', lost, lost, lost, lost);
    expect(await failureOf(create())).toMatchObject({ kind: 'unsent', unanswered: false });
    expect(signed('CreateUser')).toEqual([]);
  });

  it("draws on the account's budgets, and on the root's for assuming the role", async () => {
    const drawn: string[] = [];
    const budget: Budget = { take: async ({ budget: of }) => void drawn.push(of), answered: () => undefined };
    accounts = accountsAt(stub.url, { budget });
    const theirs = done(
      `<Account>${account}</Account><Arn>arn:aws:sts::${account}:assumed-role/lender/leasehold</Arn>`,
    );
    stub.on('GetCallerIdentity', done(), theirs).on('AssumeRole', session(3_600_000));
    await accounts.openOwn(rootSettings, byRole).identity();
    await create();
    expect(drawn).toEqual(['mount-mount:sts', '123456789012:sts', `${account}:sts`, `${account}:iam`]);
  });

  it('is opened for who takes back also where the share of who issues is spent, whoever asked first', async () => {
    const take: Budget['take'] = ({ by }) =>
      by === 'issue' ? Promise.reject(new OverBudget('rate', 'not now', 1)) : Promise.resolve();
    accounts = accountsAt(stub.url, { budget: { take, answered: () => undefined } });
    stub.on('AssumeRole', session(3_600_000));
    const own = accounts.openOwn(rootSettings, byRole);
    const answers = await Promise.allSettled([
      own.iam(CreateUserCommand, { UserName: 'made' }, { fence: fenceOf(5_000) }),
      own.iam(DeleteUserCommand, { UserName: 'taken-back' }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
    expect(stub.calls.map(({ action }) => action)).toEqual(['GetCallerIdentity', 'AssumeRole', 'DeleteUser']);
  });

  it('is dropped with its version, or with the version of the root', async () => {
    const opened = (root: string, own: string) =>
      accounts.openOwn({ ...rootSettings, version: root }, { ...none, version: own });
    const [one, two, three] = [opened('1', '7'), opened('1', '8'), opened('2', '8')];
    expect(opened('1', '7')).toBe(one);
    accounts.keepOnly('mount', []);
    accounts.keepOnlyOwn('mount', account, ['8'], ['2']);
    expect(opened('2', '8')).toBe(three);
    expect(opened('1', '8')).not.toBe(two);
    expect(opened('1', '7')).not.toBe(one);
  });
});

it('keeps nothing of who a call was made for, as long as the account is used', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const account = accounts.open(rootSettings);
  const call = async () => {
    const caller = { token: 'of the first call of its kind' };
    await account.sts(GetCallerIdentityCommand, {}, { onAttempt: () => void caller.token });
    return new WeakRef(caller);
  };
  const first = await call();
  for (let more = 0; more < 3; more += 1) {
    await call();
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();
  }
  expect(first.deref()).toBeUndefined();
  expect(account).toBe(accounts.open(rootSettings));
});
