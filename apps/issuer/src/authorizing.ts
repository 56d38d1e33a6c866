import { Injectable } from '@nestjs/common';
import { type AccessRequest, type Acl, type Caller, Tokens, WrappedAnswers } from '#libs/access';
import {
  type IssueLeaseRequest,
  parseDuration,
  PermissionDenied,
  type RenewLeaseRequest,
  type RevokeLeaseRequest,
  type TryRoleRequest,
  type WriteStaticRoleRequest,
} from '#libs/contracts';
import { EndingTokens } from '#libs/leases';

/** What a caller asks for, as the HTTP API would be asked for it. */
export interface Wanted {
  /** Any of these is enough: who asks over HTTP chooses the verb, too. */
  operations: AccessRequest['operation'][];
  path: string;
  parameters: Record<string, unknown>;
}

/** How a command says that its answer is going to be wrapped. */
interface Wrapped {
  id: string;
  wrapping?: string;
}

/** What of a command says whose it is. */
interface Carried extends Wrapped {
  token: string;
  admission?: string;
}

/**
 * Who may do what a command wants: its own token and policies are asked, for the path that it stands for, whoever carried it
 * and whatever a gateway has said of it (design.md, promise 7).
 */
@Injectable()
export class Authorizing {
  constructor(
    private readonly tokens: Tokens,
    private readonly endingTokens: EndingTokens,
    private readonly wrapped: WrappedAnswers,
  ) {}

  /**
   * Does the work for the caller, where that may be. A use of a counted token is spent, whatever comes of it, and the token ends
   * after its last one.
   * @throws PermissionDenied; as `work` does
   */
  async onBehalfOf<T>(command: Carried, wanted: Wanted, work: (caller: Caller) => Promise<T>): Promise<T> {
    const { id: commandId, token, admission } = command;
    const caller = await this.tokens.authenticate(token, { commandId, wanted, admission });
    try {
      if (!this.allows(caller.acl, command, wanted)) throw new PermissionDenied();
      return await work(caller);
    } finally {
      await this.endingTokens.afterRequestOf(caller);
    }
  }

  /** What the policies alone say. */
  allows(acl: Acl, { id, wrapping }: Wrapped, { operations, path, parameters }: Wanted): boolean {
    const wrapTtlMs = this.wrapped.promised(id, wrapping);
    return operations.some((operation) => acl.allows({ operation, path, parameters, wrapTtlMs }));
  }
}

/** As `sys/leases/renew` is asked. */
export function wantedOfRenewal({ leaseId, incrementSeconds }: RenewLeaseRequest): Wanted {
  const parameters = { lease_id: leaseId, increment: incrementSeconds };
  return { operations: ['update'], path: 'sys/leases/renew', parameters };
}

/** As `sys/leases/revoke` is asked. */
export function wantedOfRevocation({ leaseId }: RevokeLeaseRequest): Wanted {
  return { operations: ['update'], path: 'sys/leases/revoke', parameters: { lease_id: leaseId, sync: false } };
}

/** `<mount>/creds/<role>`, or `sts`, read or written: both give a credential (contract.md 2.5). */
export function wantedOf(command: IssueLeaseRequest): Wanted {
  const { mount, door, role, ready, parameters = {} } = command;
  return {
    operations: ['read', 'update'],
    path: `${mount}${door}/${role}`,
    parameters: {
      ...without(parametersOf(command), ['ready']),
      ...asSpelled('ready', parameters, ready, boolOf),
    },
  };
}

/** `<mount>/roles/<role>/trial`, written. */
export function wantedToTry(command: TryRoleRequest): Wanted {
  const { mount, role, door, parameters = {} } = command;
  // Who does not say by which path it is to be tried means creds.
  const named = door === 'creds' && !Object.hasOwn(parameters, 'path') ? undefined : door;
  return {
    operations: ['update'],
    path: `${mount}roles/${role}/trial`,
    parameters: {
      ...parametersOf({ ...command, parameters: without(parameters, ['path']) as TryRoleRequest['parameters'] }),
      ...asSpelled('path', parameters, named, textOf),
    },
  };
}

/** `<mount>/static-roles/<role>`, written or deleted (contract.md 2.8). */
export function wantedOfStaticRole(
  command: Pick<WriteStaticRoleRequest, 'mount' | 'role' | 'parameters' | 'username' | 'rotationPeriodSeconds'>,
  operation: 'update' | 'delete',
): Wanted {
  const { mount, role, parameters = {}, username, rotationPeriodSeconds } = command;
  return {
    operations: [operation],
    path: `${mount}static-roles/${role}`,
    parameters: {
      ...without(parameters, ['username', 'rotation_period']),
      ...asSpelled('username', parameters, username, textOf),
      ...asSpelled('rotation_period', parameters, rotationPeriodSeconds, secondsOf),
    },
  };
}

function parametersOf({ parameters = {}, ...fields }: TryRoleRequest): Record<string, unknown> {
  const { ttlSeconds, roleArn, roleSessionName, mfaCode } = fields;
  return {
    ...without(parameters, ['ttl', 'role_arn', 'role_session_name', 'mfa_code']),
    ...asSpelled('ttl', parameters, ttlSeconds, secondsOf),
    ...asSpelled('role_arn', parameters, roleArn, textOf),
    ...asSpelled('role_session_name', parameters, roleSessionName, textOf),
    ...asSpelled('mfa_code', parameters, mfaCode, textOf),
  };
}

/**
 * A parameter as the caller spelled it, where that means what the command asks for; what the command asks for, where it
 * does not.
 */
function asSpelled<Value>(
  name: string,
  parameters: Record<string, unknown>,
  wanted: Value | undefined,
  meaning: (spelled: unknown) => Value | undefined,
): Record<string, unknown> {
  if (Object.hasOwn(parameters, name) && meaning(parameters[name]) === wanted) return { [name]: parameters[name] };
  return wanted === undefined ? {} : { [name]: wanted };
}

function secondsOf(spelled: unknown): number | undefined {
  try {
    return spelled === null ? undefined : Math.trunc(parseDuration(spelled) / 1000);
  } catch {
    return undefined;
  }
}

function textOf(spelled: unknown): string | undefined {
  if (typeof spelled === 'boolean') return spelled ? '1' : '0';
  if (spelled === null) return '';
  return typeof spelled === 'string' || typeof spelled === 'number' ? String(spelled) : undefined;
}

/** In Go's words too, as the HTTP API takes them (contract.md 1.5). */
function boolOf(spelled: unknown): boolean | undefined {
  if (typeof spelled === 'boolean') return spelled;
  if (typeof spelled === 'number') return spelled !== 0;
  if (spelled === null || spelled === '') return false;
  if (typeof spelled !== 'string') return undefined;
  if (/^(1|t|T|TRUE|true|True)$/.test(spelled)) return true;
  return /^(0|f|F|FALSE|false|False)$/.test(spelled) ? false : undefined;
}

function without(parameters: Record<string, unknown>, names: string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(parameters).filter(([name]) => !names.includes(name)));
}
