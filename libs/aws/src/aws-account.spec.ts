import { CreateUserCommand, type CreateUserCommandInput } from '@aws-sdk/client-iam';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { inspect } from 'node:util';
import type { AwsAccounts } from './aws-account.js';
import { AwsRefused, AwsThrottled, AwsUnreachable } from './aws-errors.js';
import type { AwsFailure } from './aws-failure.js';
import {
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
      { action: 'CreateUser', region: 'eu-west-1' },
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
    const hosts: (string | undefined)[] = [];
    class NotSent extends CreateUserCommand {
      constructor(input: CreateUserCommandInput) {
        super(input);
        this.middlewareStack.addRelativeTo(
          <A extends object, R>(): ((args: A) => Promise<R>) =>
            (args) => {
              hosts.push((args as { request?: { hostname: string } }).request?.hostname);
              return Promise.reject(new Error('not sent'));
            },
          { relation: 'after', toMiddleware: 'httpSigningMiddleware', name: 'notSent' },
        );
      }
    }
    const real = accountsAt('', { ambientRegion: 'eu-west-1' });
    for (const region of ['', 'cn-north-1', 'us-gov-west-1']) {
      await failureOf(real.open({ ...rootSettings, version: region, region }).iam(NotSent, { UserName: 'u' }));
    }
    expect(hosts).toEqual(['iam.amazonaws.com', 'iam.cn-north-1.amazonaws.com.cn', 'iam.us-gov.amazonaws.com']);
  });
});
