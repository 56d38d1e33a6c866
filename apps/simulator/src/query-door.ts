import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Call, type Action } from './action.js';
import { accessDenied, AwsError, invalidToken } from './aws-error.js';
import type { CallLog, LoggedCall } from './calls.js';
import { authenticate, authorise, type Caller } from './caller.js';
import { accessKeyActions } from './iam/access-keys.js';
import { groupActions } from './iam/groups.js';
import { policyActions, roleActions } from './iam/roles.js';
import { credentialActions, mfaActions } from './iam/sign-in.js';
import { userActions, userPolicyActions } from './iam/users.js';
import { Parameters } from './parameters.js';
import { readSignature } from './sigv4.js';
import { stsActions } from './sts/tokens.js';
import type { World } from './world.js';
import { errorXml, successXml } from './xml.js';

interface Service {
  name: 'iam' | 'sts';
  xmlns: string;
  actions: Map<string, Action>;
}

const iam: Service = {
  name: 'iam',
  xmlns: 'https://iam.amazonaws.com/doc/2010-05-08/',
  actions: new Map(
    Object.entries({
      ...userActions,
      ...userPolicyActions,
      ...accessKeyActions,
      ...groupActions,
      ...roleActions,
      ...policyActions,
      ...credentialActions,
      ...mfaActions,
    }),
  ),
};
const sts: Service = {
  name: 'sts',
  xmlns: 'https://sts.amazonaws.com/doc/2011-06-15/',
  actions: new Map(Object.entries(stsActions)),
};
const serviceByVersion: Record<string, Service | undefined> = { '2010-05-08': iam, '2011-06-15': sts };

/** What the log keeps of a call's parameters: names, never a document, a password or a code. */
const loggedParameters = [
  'NewUserName',
  'PolicyName',
  'PolicyArn',
  'GroupName',
  'RoleName',
  'RoleArn',
  'RoleSessionName',
  'Name',
  'AccessKeyId',
  'DurationSeconds',
  'Path',
  'PermissionsBoundary',
  'SerialNumber',
];

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  body: Buffer;
  parameters: Parameters;
  service: Service;
  /** What rules are matched with. */
  pattern: { action: string; userName?: string };
  log: LoggedCall;
}

interface Answer {
  status: number;
  xml: string;
  outcome: string;
}

/** The AWS query protocol for IAM and STS at one endpoint: a form comes in, XML goes out. */
export class QueryDoor {
  constructor(
    private readonly world: World,
    private readonly calls: CallLog,
    /** False once the simulator has been closed: what was held or delayed until then has no effect any more. */
    private readonly isOpen: () => boolean,
  ) {}

  /** Answers one call. Nothing is awaited unless a latency or a hold is set for it. */
  answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const parameters = new Parameters(body.toString('utf8'));
    const action = parameters.raw('Action') ?? '';
    const service = serviceByVersion[parameters.raw('Version') ?? ''] ?? iam;
    const userName = parameters.raw('UserName');
    const subject = userName ?? parameters.raw('RoleSessionName') ?? parameters.raw('Name');
    const exchange: Exchange = {
      request,
      response,
      body,
      parameters,
      service,
      pattern: { action, ...(subject === undefined ? {} : { userName: subject }) },
      log: {
        sequence: this.calls.nextSequence(),
        startedAtMs: performance.now(),
        endedAtMs: 0,
        service: service.name,
        action,
        ...(userName === undefined ? {} : { userName }),
        parameters: Object.fromEntries(
          loggedParameters.flatMap((name) => {
            const value = parameters.raw(name);
            return value === undefined ? [] : [[name, value]];
          }),
        ),
        outcome: '',
        replied: true,
      },
    };
    const wait = this.world.faults.pause('before', exchange.pattern);
    if (wait) void wait.then((lateMs) => this.takeEffect(exchange, lateMs));
    else this.takeEffect(exchange, 0);
  }

  private takeEffect(exchange: Exchange, lateMs: number): void {
    if (!this.isOpen()) return void exchange.response.destroy();
    const answer = this.perform(exchange);
    const wait = this.world.faults.pause('after', exchange.pattern, lateMs);
    if (wait) void wait.then(() => this.reply(exchange, answer));
    else this.reply(exchange, answer);
  }

  private reply({ response, log, pattern }: Exchange, answer: Answer): void {
    log.endedAtMs = performance.now();
    log.outcome = answer.outcome;
    log.replied = !(answer.status === 200 && this.world.faults.takeLoss(pattern));
    this.calls.add(log);
    if (!log.replied) return void response.destroy();
    response.end(answer.xml);
  }

  /** The whole of a call's effect, in one turn of the event loop. */
  private perform({ request, response, body, parameters, service, pattern, log }: Exchange): Answer {
    const requestId = randomUUID();
    const { faults } = this.world;
    response.setHeader('x-amzn-requestid', requestId);
    response.setHeader('content-type', 'text/xml');
    // The SDK sets its clock by this header, so it shows the simulated one.
    response.setHeader('date', new Date(faults.now()).toUTCString());
    try {
      const action = service.actions.get(pattern.action);
      if (!action) {
        const version = parameters.raw('Version') ?? 'NO_VERSION_SPECIFIED';
        throw new AwsError('InvalidAction', `Could not find operation ${pattern.action} for version ${version}`);
      }
      const signed = { method: request.method ?? '', url: request.url ?? '/', headers: request.headers, body };
      log.accessKeyId = readSignature(request.headers).accessKeyId;
      const caller = authenticate(this.world, signed, service.name);
      log.account = caller.account.id;
      faults.throttle(caller.account.id, service.name);
      refuseSession(caller, service, pattern.action);
      const refusal = faults.takeError('before', pattern);
      if (refusal) throw refusal;
      const call = new Call(this.world, caller, pattern.action, parameters);
      askPermission(call, action, service);
      const xml = successXml(pattern.action, service.xmlns, action.run(call), requestId);
      const belated = faults.takeError('after', pattern);
      if (belated) throw belated;
      return { status: 200, xml, outcome: 'Success' };
    } catch (error) {
      const refusal =
        error instanceof AwsError
          ? error
          : new AwsError('ServiceFailure', `The simulator failed: ${error instanceof Error ? error.message : ''}`, 500);
      response.statusCode = refusal.status;
      return { status: refusal.status, xml: errorXml(refusal, service.xmlns, requestId), outcome: refusal.code };
    }
  }
}

function askPermission(call: Call, action: Action, service: Service): void {
  const resource = action.resource?.(call);
  if (resource === undefined) return;
  const context = action.context?.(call);
  authorise(call.caller, `${service.name}:${call.action}`, resource, context);
  for (const needed of action.alsoNeeds?.(call) ?? []) authorise(call.caller, needed, resource, context);
}

/**
 * Sessions of GetFederationToken and of GetSessionToken without MFA never reach IAM, whatever their policies say; of STS
 * a federated user has GetCallerIdentity only.
 */
function refuseSession({ session, arn }: Caller, service: Service, action: string): void {
  if (!session || session.kind === 'assumed_role') return;
  if (service.name === 'iam' && session.mfa) return;
  if (service.name === 'iam') throw invalidToken();
  const open = session.kind === 'user_session' ? ['GetCallerIdentity', 'AssumeRole'] : ['GetCallerIdentity'];
  if (open.includes(action)) return;
  if (action !== 'AssumeRole') throw accessDenied(`Cannot call ${action} with session credentials`);
  throw accessDenied(`User: ${arn} is not authorized to perform: sts:AssumeRole`);
}
