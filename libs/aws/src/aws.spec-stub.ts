import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AwsAccounts, type AwsSurroundings, type RootSettings } from './aws-account.js';
import { Fence } from './fence.js';

export interface StubCall {
  action: string;
  params: URLSearchParams;
  /** From the credential scope of the signature. */
  accessKeyId: string;
  region: string;
  sessionToken?: string;
}

export type Reply = (response: ServerResponse, call: StubCall) => void | Promise<void>;

/** Made anew for every run; a spec looks for it wherever it must not appear. */
export const secretOfReplies = `reply-${randomBytes(12).toString('hex')}`;
export const rootSecret = `root-${randomBytes(12).toString('hex')}`;

const temporary = `<Credentials><AccessKeyId>ASIASTUB</AccessKeyId><SecretAccessKey>${secretOfReplies}</SecretAccessKey>
  <SessionToken>token-${secretOfReplies}</SessionToken><Expiration>2031-05-06T07:08:09Z</Expiration></Credentials>`;

const results: Record<string, string> = {
  CreateUser: '<User><Arn>arn:aws:iam::123456789012:user/u</Arn></User>',
  CreateAccessKey: `<AccessKey><AccessKeyId>AKIASTUB</AccessKeyId><SecretAccessKey>${secretOfReplies}</SecretAccessKey></AccessKey>`,
  GetCallerIdentity:
    '<Account>123456789012</Account><Arn>arn:aws-cn:iam::123456789012:user/root</Arn><UserId>U</UserId>',
  AssumeRole: `${temporary}<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn></AssumedRoleUser>`,
  GetFederationToken: temporary,
  GetSessionToken: temporary,
};

export const done =
  (result?: string): Reply =>
  (response, { action }) => {
    const body = `<${action}Response><${action}Result>${result ?? results[action] ?? ''}</${action}Result></${action}Response>`;
    response.writeHead(200, { 'x-amzn-requestid': 'req-1' }).end(body);
  };

export const refused =
  (code: string, status = 400, message = `${code} it is`): Reply =>
  (response) => {
    const body = `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>`;
    response.writeHead(status, { 'x-amzn-requestid': 'req-1' }).end(body);
  };

export const noSuchEntity = (message = 'The user with name vault-u-4711 cannot be found.') =>
  refused('NoSuchEntity', 404, message);
export const accessDenied = refused('AccessDenied', 403, 'User: root is not authorized to perform: that');
export const throttled = refused('Throttling', 400, 'Rate exceeded');
export const broken = refused('ServiceFailure', 500);

/** The work is done and the answer does not arrive. */
export const lost: Reply = (response) => void response.socket?.destroy();
export const silent: Reply = () => undefined;
export const garbled: Reply = (response) =>
  void response
    .writeHead(200)
    .end(`<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey><SecretAccessKey>${secretOfReplies}</SecretAcc`);
export const halfway: Reply = (response) =>
  void response.writeHead(200, { 'content-length': 4096 }).write(`<X><SecretAccessKey>${secretOfReplies}`);

/** Answers only when `count` calls have come to the meeting: calls one after the other would wait for ever. */
export function meeting(count: number): Reply {
  const arrived: (() => void)[] = [];
  return async (response, call) => {
    await new Promise<void>((resolve) => {
      arrived.push(resolve);
      if (arrived.length === count) for (const release of arrived) release();
    });
    return done()(response, call);
  };
}

/** IAM and STS by script: answers each action from its list of replies, then as if all were well. */
export class AwsStub {
  readonly calls: StubCall[] = [];
  /** Arrivals (`→ Action`) and answers (`← Action`) in the order they happened. */
  readonly log: string[] = [];
  readonly #scripts = new Map<string, Reply[]>();
  #connections = 0;

  private constructor(private readonly server: Server) {
    server.on('connection', () => this.#connections++);
    server.on('request', (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response));
  }

  static async start(): Promise<AwsStub> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new AwsStub(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get connections(): number {
    return this.#connections;
  }

  openConnections(): Promise<number> {
    return new Promise((resolve) => this.server.getConnections((_, count) => resolve(count)));
  }

  get actions(): string[] {
    return this.calls.map((call) => call.action);
  }

  on(action: string, ...replies: Reply[]): this {
    this.#scripts.set(action, [...(this.#scripts.get(action) ?? []), ...replies]);
    return this;
  }

  /** The calls of one action, as plain parameters. */
  sent(action: string): Record<string, string>[] {
    return this.calls.filter((call) => call.action === action).map((call) => Object.fromEntries(call.params));
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    request.setEncoding('utf8');
    for await (const chunk of request) body += chunk as string;
    const params = new URLSearchParams(body);
    const [, accessKeyId = '', , region = ''] =
      /Credential=([^/]+)\/([^/]+)\/([^/]+)/.exec(request.headers.authorization ?? '') ?? [];
    const sessionToken = request.headers['x-amz-security-token'] as string | undefined;
    const call = { action: params.get('Action') ?? '', params, accessKeyId, region, sessionToken };
    this.calls.push(call);
    this.log.push(`→ ${call.action}`);
    await (this.#scripts.get(call.action)?.shift() ?? done())(response, call);
    this.log.push(`← ${call.action}`);
  }
}

export const rootSettings: RootSettings = {
  mountId: 'mount',
  version: '1',
  accessKey: 'AKIAROOT',
  secretKey: rootSecret,
  region: 'eu-west-1',
  iamEndpoint: '',
  stsEndpoint: '',
  stsRegion: '',
  stsFallbackEndpoints: [],
  stsFallbackRegions: [],
  maxRetries: -1,
};

/** Accounts with pauses of a millisecond. */
export function accountsAt(endpoint: string, changes: Partial<AwsSurroundings> = {}): AwsAccounts {
  return new AwsAccounts({
    ambientCredentials: () => () => Promise.resolve({ accessKeyId: 'AKIAAMBIENT', secretAccessKey: rootSecret }),
    ambientRegion: 'us-east-1',
    defaultEndpoint: endpoint,
    backoffMs: 1,
    ...changes,
  });
}

export const fenceOf = (ms: number) => new Fence(performance.now() + ms);

/** What a promise is rejected with. */
export async function failureOf(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: Error) => ({ error }),
  );
  if ('value' in outcome) throw new Error('it did not fail');
  return outcome.error;
}
