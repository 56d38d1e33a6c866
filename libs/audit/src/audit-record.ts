import type { Token } from '#libs/access';
import type { Hashing } from './hashing.js';

/** The mount that a request is for: one of an engine, or what stands for one in the core. */
export interface AuditedMount {
  path: string;
  type: string;
  accessor?: string;
  /** Keys of request and answer that stay readable. */
  tuning?: { auditNonHmacRequestKeys?: string[]; auditNonHmacResponseKeys?: string[] };
}

/** A request as it came in, whichever door it came through. */
export interface AuditedRequest {
  /** UUID, the same in the answer and in every log line. */
  id: string;
  /** `read`, `update`, `delete`, `list`, `help`… */
  operation: string;
  /** Without `/v1/`; of a list with its closing slash, as policies see it. */
  path: string;
  token?: string;
  data: Record<string, unknown>;
  remoteAddress?: string;
  /** The command's name, of what came over AMQP. */
  command?: string;
}

/** What is answered, in the words of the HTTP API. */
export interface AuditedResponse {
  data?: Record<string, unknown> | null;
  leaseId?: string;
  auth?: Record<string, unknown> | null;
  wrapInfo?: Record<string, unknown> | null;
  warnings?: string[] | null;
  /** A refusal that is not the handler's own (contract 3.6): told as it is. */
  error?: string;
}

/** What one device does to what it writes. */
export interface RecordForm {
  hashing: Hashing;
  hmacAccessor: boolean;
}

/** Everything that is known of a request when a record of it is written. */
export interface Known {
  request: AuditedRequest;
  /** Whose token it is, once that was looked up. */
  token?: Token;
  mount?: AuditedMount;
  /** For how long the answer is to be wrapped, milliseconds. */
  wrapTtlMs?: number;
  /** Whether the caller was let through, once that is known. */
  isAllowed?: boolean;
  /** The policies that let the caller through; asked for when a record is written, and only then. */
  grantingPolicies?: () => string[];
}

/** The line that says what is asked, in the form of one device. */
export function requestRecord(known: Known, form: RecordForm, error?: string): object {
  return {
    time: new Date().toISOString(),
    type: 'request',
    ...askedOf(known, form),
    ...(error ? { error } : {}),
  };
}

/** The line that says what is answered. */
export function responseRecord(known: Known, form: RecordForm, response: AuditedResponse): object {
  const { hashing } = form;
  const { mount } = known;
  const { data, leaseId, auth, wrapInfo, warnings, error } = response;
  return {
    time: new Date().toISOString(),
    type: 'response',
    ...askedOf(known, form),
    response: {
      ...mountOf(mount),
      ...(data ? { data: hashing.body(data, mount?.tuning?.auditNonHmacResponseKeys) } : {}),
      ...(leaseId ? { secret: { lease_id: leaseId } } : {}),
      ...(auth ? { auth: hashedHandles(auth, form) } : {}),
      ...(wrapInfo ? { wrap_info: hashedHandles(wrapInfo, form) } : {}),
      ...(warnings?.length ? { warnings } : {}),
    },
    ...(error ? { error } : {}),
  };
}

function askedOf(known: Known, form: RecordForm): object {
  const { request, token, mount, wrapTtlMs } = known;
  const { hashing } = form;
  const { id, operation, path, data, remoteAddress, command } = request;
  const clientToken = request.token ? hashing.text(request.token) : undefined;
  const accessor = accessorOf(token?.accessor, form);
  return {
    auth: {
      ...(clientToken ? { client_token: clientToken } : {}),
      ...(token
        ? {
            accessor,
            display_name: token.displayName,
            policies: token.policies,
            token_policies: token.policies,
            token_type: token.type,
            token_issue_time: token.createdAt.toISOString(),
          }
        : {}),
      ...policyResults(known),
    },
    request: {
      id,
      operation,
      ...mountOf(mount),
      ...(clientToken ? { client_token: clientToken, client_token_accessor: accessor } : {}),
      namespace: { id: 'root' },
      path,
      data: hashing.body(data, mount?.tuning?.auditNonHmacRequestKeys),
      ...(remoteAddress ? { remote_address: remoteAddress } : {}),
      ...(command ? { command } : {}),
      ...(wrapTtlMs ? { wrap_ttl: Math.trunc(wrapTtlMs / 1000) } : {}),
    },
  };
}

function policyResults({ isAllowed: allowed, grantingPolicies }: Known): object {
  if (allowed === undefined) return {};
  const granting = (allowed && grantingPolicies?.()) || [];
  const named = granting.map((name) => ({ name, namespace_id: 'root', type: 'acl' }));
  return { policy_results: { allowed, ...(named.length > 0 ? { granting_policies: named } : {}) } };
}

function mountOf(mount: AuditedMount | undefined): object {
  return mount
    ? { mount_point: mount.path, mount_type: mount.type, ...(mount.accessor ? { mount_accessor: mount.accessor } : {}) }
    : {};
}

function accessorOf(accessor: string | null | undefined, { hashing, hmacAccessor }: RecordForm): string | undefined {
  if (!accessor) return undefined;
  return hmacAccessor ? hashing.text(accessor) : accessor;
}

const handles: Record<string, 'token' | 'accessor'> = {
  client_token: 'token',
  token: 'token',
  accessor: 'accessor',
  wrapped_accessor: 'accessor',
};

/** A token that was given or wrapped: itself and what it is called by hashed, the rest as it was told. */
function hashedHandles(told: Record<string, unknown>, form: RecordForm): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(told).map(([key, value]) => {
      const kind = handles[key];
      if (!kind || typeof value !== 'string' || value === '') return [key, value];
      return [key, kind === 'token' ? form.hashing.text(value) : accessorOf(value, form)];
    }),
  );
}
