import { Injectable, Logger } from '@nestjs/common';
import { Tokens } from '#libs/access';
import { type AuditedRequest, type AuditedResponse, AuditTrail } from '#libs/audit';
import {
  type AcceptLeaseRequest,
  acceptLease,
  CodedError,
  deleteStaticRole,
  type DeleteStaticRoleReply,
  type DeleteStaticRoleRequest,
  type ErrorCode,
  handOutLease,
  type HandOutLeaseReply,
  type HandOutLeaseRequest,
  httpCredential,
  type IssueLeaseReply,
  type IssueLeaseRequest,
  issueLease,
  PermissionDenied,
  type RenewLeaseRequest,
  renewLease,
  type RevokeLeaseRequest,
  revokeLease,
  rotateRoot,
  type RotateRootReply,
  type RotateRootRequest,
  type TryRoleRequest,
  tryRole,
  type WithdrawLeaseRequest,
  withdrawLease,
  writeStaticRole,
  type WriteStaticRoleReply,
  type WriteStaticRoleRequest,
} from '#libs/contracts';
import { Accepting } from '#libs/leases';
import { Mounts } from '#libs/roles';
import { databaseIsAway } from '#libs/runtime';
import { Authorizing, type Wanted, wantedOf, wantedOfRenewal, wantedOfRevocation, wantedToTry } from './authorizing.js';

/** A command, as far as it is the same for all. */
interface Command {
  id: string;
  requestId: string;
  token: string;
  wrapping?: string;
}

/** A lease that nobody has when its answer is refused. */
interface Lent {
  leaseId: string;
  /** The command, where that had an idempotency key. */
  keyedCommandId?: string;
}

/** What a command says in the words of the HTTP API, so that records of both doors are read alike. */
interface Told extends Pick<AuditedRequest, 'operation' | 'path' | 'data' | 'command'> {
  /** The path of the mount that it is for. */
  mountPath?: string;
  /** What policies are asked about it; absent where none is: of an offer, who asked for it decides. */
  wanted?: Wanted;
}

/**
 * The audit trail, as commands over AMQP leave it. What a gateway asks for on behalf of a request that it audits itself is in
 * no record here (docs/decisions/0019).
 */
@Injectable()
export class CommandAudit {
  private readonly logger = new Logger('Audit');

  constructor(
    private readonly trail: AuditTrail,
    private readonly tokens: Tokens,
    private readonly mounts: Mounts,
    private readonly authorizing: Authorizing,
    private readonly accepting: Accepting,
  ) {}

  issue(command: IssueLeaseRequest, work: () => Promise<IssueLeaseReply>): Promise<IssueLeaseReply> {
    if (this.trail.isAudited(command)) return work();
    const { idempotencyKey, id } = command;
    return this.audited(command, toldOfIssue(issueLease.pattern, command), work, answered, ({ leaseId }) => ({
      leaseId,
      keyedCommandId: idempotencyKey === undefined ? undefined : id,
    }));
  }

  handOut(command: HandOutLeaseRequest, work: () => Promise<HandOutLeaseReply>): Promise<HandOutLeaseReply> {
    if (this.trail.isAudited(command)) return work();
    return this.audited(
      command,
      toldOfIssue(handOutLease.pattern, command),
      work,
      ({ lent }) => (lent ? answered(lent) : {}),
      ({ lent }) => lent,
    );
  }

  try<Reply extends { leaseId: string }>(command: TryRoleRequest, work: () => Promise<Reply>): Promise<Reply> {
    if (this.trail.isAudited(command)) return work();
    const { mount: mountPath, door, role } = command;
    const path = `${mountPath}roles/${role}/trial`;
    const data = { path: door, ...wishOf(command) };
    const wanted = wantedToTry(command);
    const told = { command: tryRole.pattern, operation: 'update', path, data, mountPath, wanted };
    return this.audited(command, told, work, ({ leaseId }) => ({ leaseId }));
  }

  accept<Reply>(command: AcceptLeaseRequest, work: () => Promise<Reply>): Promise<Reply> {
    const { leaseId, commandId } = command;
    return this.audited(
      command,
      {
        command: acceptLease.pattern,
        operation: 'update',
        path: 'sys/leases/accept',
        data: given({ lease_id: leaseId, command_id: commandId }),
      },
      work,
      () => ({ leaseId }),
      () => ({ leaseId, keyedCommandId: commandId }),
    );
  }

  withdraw<Reply>(command: WithdrawLeaseRequest, work: () => Promise<Reply>): Promise<Reply> {
    const { leaseId, commandId } = command;
    const data = given({ lease_id: leaseId, command_id: commandId });
    const path = 'sys/leases/withdraw';
    return this.audited(command, { command: withdrawLease.pattern, operation: 'update', path, data }, work, () => ({}));
  }

  renew<Reply>(command: RenewLeaseRequest, work: () => Promise<Reply>): Promise<Reply> {
    const { leaseId, incrementSeconds } = command;
    const data = { lease_id: leaseId, increment: incrementSeconds };
    const path = 'sys/leases/renew';
    const wanted = wantedOfRenewal(command);
    const told = { command: renewLease.pattern, operation: 'update', path, data, wanted };
    return this.audited(command, told, work, () => ({ leaseId }));
  }

  revoke<Reply>(command: RevokeLeaseRequest, work: () => Promise<Reply>): Promise<Reply> {
    const data = { lease_id: command.leaseId };
    const path = 'sys/leases/revoke';
    const wanted = wantedOfRevocation(command);
    const told = { command: revokeLease.pattern, operation: 'update', path, data, wanted };
    return this.audited(command, told, work, () => ({}));
  }

  rotateRoot(command: RotateRootRequest, work: () => Promise<RotateRootReply>): Promise<RotateRootReply> {
    if (this.trail.isAudited(command)) return work();
    const { mount } = command;
    const path = `${mount}config/rotate-root`;
    const wanted = { command: rotateRoot.pattern, operation: 'update', path, data: {}, mountPath: mount };
    return this.audited(command, wanted, work, ({ accessKeyId }) => ({ data: { access_key: accessKeyId } }));
  }

  writeStaticRole(
    command: WriteStaticRoleRequest,
    work: () => Promise<WriteStaticRoleReply>,
  ): Promise<WriteStaticRoleReply> {
    if (this.trail.isAudited(command)) return work();
    const { mount, role, username, rotationPeriodSeconds } = command;
    const wanted = {
      command: writeStaticRole.pattern,
      operation: 'update',
      path: `${mount}static-roles/${role}`,
      data: given({ username, rotation_period: rotationPeriodSeconds }),
      mountPath: mount,
    };
    return this.audited(command, wanted, work, ({ userId }) => ({ data: { id: userId } }));
  }

  deleteStaticRole(
    command: DeleteStaticRoleRequest,
    work: () => Promise<DeleteStaticRoleReply>,
  ): Promise<DeleteStaticRoleReply> {
    if (this.trail.isAudited(command)) return work();
    const { mount, role } = command;
    const path = `${mount}static-roles/${role}`;
    const wanted = { command: deleteStaticRole.pattern, operation: 'delete', path, data: {}, mountPath: mount };
    return this.audited(command, wanted, work, () => ({}));
  }

  /** @throws AuditFailed instead of beginning, or of answering; what was lent is then taken back. */
  private async audited<Reply>(
    command: Command,
    { mountPath, wanted, ...asked }: Told,
    work: () => Promise<Reply>,
    told: (reply: Reply) => AuditedResponse,
    lent: (reply: Reply) => Lent | undefined = () => undefined,
  ): Promise<Reply> {
    const { requestId, token } = command;
    const entry = this.trail.begin({ id: requestId, token, ...asked });
    if (await entry.isWanted()) {
      const mount = mountPath === undefined ? { path: 'sys/', type: 'system' } : await this.mounts.find(mountPath);
      if (mount) entry.mount = mount;
      entry.token = (await this.tokens.find({ token }))?.token;
      const acl = wanted && (await this.tokens.aclOf({ token }));
      if (acl) {
        const { operations, path } = wanted;
        entry.isAllowed = this.authorizing.allows(acl, command, wanted);
        entry.grantingPolicies = () => acl.grantingPolicies(operations, path);
      }
    }
    await entry.begins();
    let reply: Reply;
    try {
      reply = await work();
    } catch (thrown) {
      const error = databaseIsAway(thrown);
      entry.isAllowed = !(error instanceof PermissionDenied);
      await entry.ends(refusalOf(error));
      throw thrown;
    }
    entry.isAllowed = true;
    await entry.ends(told(reply)).catch((error: unknown) => {
      this.takeBackBeside(lent(reply), requestId);
      throw error;
    });
    return reply;
  }

  private takeBackBeside(lent: Lent | undefined, requestId: string): void {
    if (!lent) return;
    const { leaseId, keyedCommandId } = lent;
    this.logger.warn({ msg: 'answer not recorded; taking the credential back', requestId, leaseId });
    void this.accepting.undo(leaseId, keyedCommandId).catch((error: unknown) => {
      this.logger.error({ msg: 'credential not taken back', requestId, leaseId, error: String(error) });
    });
  }
}

function toldOfIssue(pattern: string, command: HandOutLeaseRequest): Told {
  const { mount, door, role, ready } = command;
  return {
    command: pattern,
    operation: 'read',
    path: `${mount}${door}/${role}`,
    data: { ...wishOf(command), ...given({ ready }) },
    mountPath: mount,
    wanted: wantedOf(command),
  };
}

function answered(reply: IssueLeaseReply): AuditedResponse {
  return { leaseId: reply.leaseId, data: httpCredential(reply) };
}

/** What a credential is asked for, in the words of the HTTP API. */
function wishOf({ ttlSeconds, roleArn, roleSessionName, mfaCode }: TryRoleRequest): Record<string, unknown> {
  return given({ ttl: ttlSeconds, role_arn: roleArn, role_session_name: roleSessionName, mfa_code: mfaCode });
}

function given(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** The codes whose text is the use case's own: over HTTP their status is 400. */
const own = new Set<ErrorCode>([
  'invalid_request',
  'role_not_found',
  'aws_refused',
  'aws_unreachable',
  'revocation_failed',
]);

function refusalOf(error: unknown): AuditedResponse {
  if (!(error instanceof CodedError) || error.code === 'internal') return { error: 'internal error' };
  return own.has(error.code) ? { data: { error: error.message } } : { error: error.message };
}
