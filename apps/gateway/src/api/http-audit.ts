import { Injectable } from '@nestjs/common';
import type { AccessRequest, Caller } from '#libs/access';
import { type AuditedMount, type AuditedResponse, type AuditEntry, AuditTrail } from '#libs/audit';
import type { Mount } from '#libs/roles';
import { errorAnswer } from './api-error.js';
import type { ApiAnswer } from './api-path.js';
import type { VaultRequest } from './http-request.js';

/** What clients and load balancers ask about the system itself, without a token: in no record, as the peers do it. */
const unaudited = new Set(['sys/health', 'sys/seal-status', 'sys/init', 'sys/leader', 'sys/unseal']);

/** The audit trail, as requests over HTTP leave it. */
@Injectable()
export class HttpAudit {
  constructor(private readonly trail: AuditTrail) {}

  begin(id: string, asked: VaultRequest, token: string | undefined): HttpEntry {
    const { path, raw, query, help, remoteAddress } = asked;
    if (unaudited.has(path) && !help) return new HttpEntry();
    const operation = help ? 'help' : asked.operation;
    const entry = this.trail.begin({
      id,
      operation,
      path: operation === 'list' ? `${path}/` : path,
      token,
      data: { ...query, ...raw },
      remoteAddress,
    });
    const mount = coreMountOf(path);
    if (mount) entry.mount = mount;
    return new HttpEntry(entry, help ? [] : operationsOf(asked), operation === 'list' ? `${path}/` : path);
  }
}

/** The two records of one request; none where it is not audited. */
export class HttpEntry {
  private isLetIn = false;
  private isHandled = false;

  /** `operations` on `path`: what policies are asked about; none where they are not. */
  constructor(
    private readonly entry?: AuditEntry,
    private readonly operations: AccessRequest['operation'][] = [],
    private readonly path = '',
  ) {}

  /** Milliseconds. */
  set wrapTtlMs(ttlMs: number | undefined) {
    if (this.entry) this.entry.wrapTtlMs = ttlMs;
  }

  set caller({ token, acl }: Caller) {
    this.isLetIn = true;
    if (!this.entry) return;
    this.entry.token = token;
    const { operations, path } = this;
    this.entry.grantingPolicies = () => acl.grantingPolicies(operations, path);
  }

  /** The caller is let through, to this mount or to the core. @throws AuditFailed: the request must not be handled. */
  async allowed(mount: Mount | undefined): Promise<void> {
    if (!this.entry) return;
    this.isLetIn = true;
    this.isHandled = true;
    this.entry.isAllowed = true;
    if (mount) this.entry.mount = mount;
    await this.entry.begins();
  }

  /** Before the answer is sent. @throws AuditFailed: it must not be. */
  async answered(answer: ApiAnswer, status: number, body: Record<string, unknown> | undefined): Promise<void> {
    if (!this.entry) return;
    this.entry.isAllowed = true;
    await this.entry.ends(toResponse(answer, status, body));
  }

  /** Before the refusal is sent. @returns what must be told: that it was refused, or that this could not be recorded. */
  async refused(error: unknown): Promise<unknown> {
    if (!this.entry) return error;
    const { status, errors } = errorAnswer(error);
    this.entry.isAllowed = this.isLetIn && status !== 403;
    const text = errors.join('; ');
    try {
      // A handler may quote what it was given, also where it found nothing of that name.
      const isHandlers = status === 400 || (status === 404 && this.isHandled);
      await this.entry.ends(isHandlers ? { data: { error: text } } : { error: text });
      return error;
    } catch (failure) {
      return failure;
    }
  }
}

/** A write may be granted as either. */
function operationsOf({ operation }: VaultRequest): AccessRequest['operation'][] {
  if (operation === 'update') return ['update', 'create'];
  return [operation === 'head' ? 'read' : operation];
}

/** `sys/`, `auth/token/` and their like are mounts to those who read records and figures. */
export function coreMountOf(path: string): AuditedMount | undefined {
  if (/^sys(\/|$)/.test(path)) return { path: 'sys/', type: 'system' };
  if (/^cubbyhole(\/|$)/.test(path)) return { path: 'cubbyhole/', type: 'cubbyhole' };
  const [, method] = /^auth\/([^/]+)(?:\/|$)/.exec(path) ?? [];
  return method === undefined ? undefined : { path: `auth/${method}/`, type: method };
}

/** Of what is sent, so that no record says less than the answer. */
function toResponse(
  { bare, text, leaseId, wrapInfo }: ApiAnswer,
  status: number,
  body: Record<string, unknown> | undefined,
): AuditedResponse {
  if (text) return { data: { http_content_type: text.type, http_raw_body: text.body, http_status_code: status } };
  // Who reads records finds the lease of a wrapped credential, too.
  if (wrapInfo) return { leaseId, wrapInfo };
  if (bare) return { data: bare };
  const { data, auth, warnings } = (body ?? {}) as Partial<Envelope>;
  return { data, leaseId, auth, warnings };
}

interface Envelope {
  data: Record<string, unknown> | null;
  auth: Record<string, unknown> | null;
  warnings: string[] | null;
}
