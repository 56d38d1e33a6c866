import { randomUUID } from 'node:crypto';
import {
  acceptLease,
  CodedError,
  handOutLease,
  InvalidRequest,
  issueLease,
  type IssueLeaseReply,
  type IssueLeaseRequest,
  OutOfTime,
  parseIssuerPublicKey,
  PoolFirst,
  renewLease,
  type RenewLeaseReply,
  revokeLease,
  rotateRoot,
  type RotateRootReply,
  tryRole,
  type TryRoleReply,
  Unavailable,
  withdrawLease,
} from '#libs/contracts';
import { type ClientTls, CommandClient } from '#libs/runtime';
import {
  catchError,
  defer,
  EMPTY,
  firstValueFrom,
  lastValueFrom,
  mergeMap,
  retry,
  throwError,
  timeout,
  TimeoutError,
  timer,
} from 'rxjs';
import type { z } from 'zod';

/** An acceptance that got no answer is asked again after so long, milliseconds; the answer to either counts. */
const acceptAgainMs = 1_000;
/** For so long it is tried to take back what nobody received, beside the caller, milliseconds. */
const takeBackMs = 5_000;

export interface LeaseholdClientOptions {
  /** `amqp://user:password@host:port/vhost`, or `amqps://…`. */
  rabbitmqUrl: string;
  /** Of `amqps://`: what the broker's certificate is checked with, and what is shown to it. */
  rabbitmqTls?: ClientTls;
  /** The system's LEASEHOLD_NAMESPACE. */
  namespace?: string;
  /** The system's LEASEHOLD_ISSUER_PUBLIC_KEY: one line of base64. From configuration, never over the broker. */
  issuerPublicKey: string;
  token: string;
  /** Longest wait of one call, milliseconds; 10 minutes at most. */
  waitMs?: number;
}

/** What a credential is asked for. */
export interface CredentialWish {
  /** Path of the mount, such as `aws/`. */
  mount: string;
  role: string;
  /** Which of the engine's paths is meant; legacy roles give another credential type through each. */
  door?: IssueLeaseRequest['door'];
  ttlSeconds?: number;
  /** Of an assumed role: which one, where the role allows several. */
  roleArn?: string;
  roleSessionName?: string;
  /** Of a session token whose role names an MFA device: what that shows. */
  mfaCode?: string;
  /** Whether to wait, some seconds of the wait at most, until AWS accepts the key of an IAM user; unset: as the role says. */
  ready?: boolean;
  /**
   * Makes it safe to ask again, also after a crash of this process: for some minutes the same wish under the same key, with the
   * same token, is answered with the same credential while that lives. 1 to 255 printable ASCII characters.
   */
  idempotencyKey?: string;
}

/** A credential that is the caller's for `leaseDuration` seconds. */
export type LentCredential = Omit<IssueLeaseReply, 'acceptRequired' | 'hasPool'>;

/**
 * Asks Leasehold for credentials over AMQP, without HTTP. Every call ends within the wait: with an answer or with a
 * CodedError, whose `retryable` says whether the same call may succeed later.
 */
export class LeaseholdClient {
  private readonly issuers: CommandClient;
  private readonly token: string;
  private readonly waitMs: number;
  private readonly poolFirst = new PoolFirst();
  private readonly takingBack = new Set<Promise<unknown>>();

  /** Connects at the first call. @throws CodedError `invalid_request` when a setting cannot be used. */
  constructor(options: LeaseholdClientOptions) {
    const { rabbitmqUrl, rabbitmqTls, namespace = 'leasehold', issuerPublicKey, token, waitMs = 20_000 } = options;
    if (!(waitMs > 0 && Number.isFinite(waitMs))) throw new InvalidRequest('waitMs must be more than 0 milliseconds.');
    this.token = token;
    this.waitMs = waitMs;
    this.issuers = new CommandClient({
      broker: { url: rabbitmqUrl, namespace, tls: rabbitmqTls },
      publicKey: publicKeyIn(issuerPublicKey),
    });
  }

  /**
   * A credential of a role, recorded as handed over before it is returned. What cannot be handed over in time is taken
   * back by itself, and is never returned; with an idempotency key it first waits some seconds for the next try.
   * @throws CodedError `permission_denied`, `no_route`, `role_not_found`, `invalid_request`, `idempotency_key_reused`,
   * `aws_refused`, `aws_throttled`, `aws_unreachable` as the issuer says it; `out_of_time`, `unavailable`.
   */
  async issue(wish: CredentialWish): Promise<LentCredential> {
    const call = this.newCall();
    const commandId = randomUUID();
    const keyed = wish.idempotencyKey === undefined ? undefined : commandId;
    const asked = { ...wish, mount: withSlash(wish.mount), door: wish.door ?? 'creds' };
    let leaseId: string | undefined;
    try {
      const {
        acceptRequired,
        hasPool: _,
        ...lent
      } = await this.poolFirst.issue(asked, {
        handOut: () => call.ask(handOutLease, asked, commandId),
        issue: () => call.ask(issueLease, asked, commandId),
      });
      leaseId = lent.leaseId;
      if (acceptRequired) await this.accept(call, leaseId, keyed);
      return lent;
    } catch (error) {
      // Before the offer an issuer that refused has ended it itself; whatever else went wrong, one may be at work on it.
      // With a key the next try may be waiting for this very command: only what was seen here is given up.
      if (keyed && leaseId) this.giveUp(call.requestId, keyed, leaseId);
      if (!keyed && (leaseId || mayBeUnderWay(error))) this.takeBack(call.requestId, commandId, leaseId);
      throw error;
    }
  }

  /**
   * Has a credential of a role made as `issue` would, shown to nobody and taken back at once: does AWS give what the role says?
   * @throws CodedError as `issue`.
   */
  async try({ mount, door = 'creds', ...wish }: Omit<CredentialWish, 'idempotencyKey'>): Promise<TryRoleReply> {
    const call = this.newCall();
    const commandId = randomUUID();
    try {
      return await call.ask(tryRole, { ...wish, mount: withSlash(mount), door }, commandId);
    } catch (error) {
      if (mayBeUnderWay(error)) this.takeBack(call.requestId, commandId);
      throw error;
    }
  }

  /**
   * Sets a lease to end `incrementSeconds` from now, as far as its longest life allows; 0 means what the engine gives.
   * `leaseDuration` of the answer is what it got, in seconds.
   * @throws CodedError `permission_denied`, `invalid_request` when the lease is unknown, over or not renewable;
   * `out_of_time`, `unavailable`: it may have been renewed all the same.
   */
  async renew(leaseId: string, incrementSeconds = 0): Promise<RenewLeaseReply> {
    return this.newCall().ask(renewLease, { leaseId, incrementSeconds });
  }

  /**
   * Ends a lease now. Its credential is taken back from AWS by itself, and need not be gone when this returns.
   * @throws CodedError `permission_denied`, `invalid_request` when there is no such lease; `out_of_time`, `unavailable`:
   * it may have been revoked all the same, and may be revoked again.
   */
  async revoke(leaseId: string): Promise<void> {
    await this.newCall().ask(revokeLease, { leaseId });
  }

  /**
   * Rotates the root key of a mount; asked while a rotation is under way, it is that one.
   * @throws CodedError `permission_denied`, `no_route`, `invalid_request`, `rotation_failed` as the issuer says it; `out_of_time`,
   * `unavailable`: it may go on all the same.
   */
  async rotateRoot(mount: string): Promise<RotateRootReply> {
    return this.newCall().ask(rotateRoot, { mount: mount.endsWith('/') ? mount : `${mount}/` });
  }

  /** Fails what is under way and closes the connection, once what nobody received was taken back (10 s at most). */
  async close(): Promise<void> {
    await Promise.all(this.takingBack);
    await this.issuers.close();
  }

  private newCall(waitMs = this.waitMs, requestId: string = randomUUID()): Call {
    return new Call(this.issuers, this.token, requestId, performance.now() + waitMs);
  }

  /** An acceptance without an answer may stand: it is asked again, which is harmless, until the wait ends. */
  private async accept(call: Call, leaseId: string, commandId: string | undefined): Promise<void> {
    await firstValueFrom(
      timer(0, acceptAgainMs).pipe(
        mergeMap(() =>
          defer(() => call.ask(acceptLease, { leaseId, commandId })).pipe(
            catchError((error: unknown) => (isUnavailable(error) ? EMPTY : throwError(() => error))),
          ),
        ),
      ),
    );
  }

  /**
   * Says, beside the caller, that nobody has it. The withdrawal takes an offer back, after which the lease can no longer
   * become active; so the revocation finds it if it was accepted without our knowing. Where neither gets through, the
   * hand-over time takes back what was not accepted, and the expiry the rest.
   */
  private takeBack(requestId: string, commandId: string, leaseId?: string): void {
    this.sayBeside(async () => {
      await this.say(requestId, withdrawLease, { commandId });
      if (leaseId) await this.say(requestId, revokeLease, { leaseId });
    });
  }

  /** The same of a lease that was asked for with an idempotency key: another try may have been given it. */
  private giveUp(requestId: string, commandId: string, leaseId: string): void {
    this.sayBeside(() => this.say(requestId, withdrawLease, { commandId, leaseId }));
  }

  private sayBeside(say: () => Promise<void>): void {
    const said = say().finally(() => this.takingBack.delete(said));
    this.takingBack.add(said);
  }

  /** Says it until somebody has heard it, for a while. */
  private async say<C extends Contract>(requestId: string, contract: C, body: Body<C>): Promise<void> {
    const call = this.newCall(takeBackMs / 2, requestId);
    const again = retry({ delay: (error) => (isUnavailable(error) ? timer(200) : throwError(() => error as Error)) });
    await lastValueFrom(defer(() => call.ask(contract, body)).pipe(again)).catch(() => undefined);
  }
}

interface Contract {
  pattern: string;
  request: z.ZodType;
  reply: z.ZodType;
}

/** What a command says beside what every command carries. */
type Body<C extends Contract> = Omit<z.input<C['request']>, 'id' | 'waitMs' | 'requestId' | 'token'>;

/** One call of a caller: its commands share a request id and an end, and each waits for what is left until then. */
class Call {
  constructor(
    private readonly issuers: CommandClient,
    private readonly token: string,
    readonly requestId: string,
    private readonly endsAt: number,
  ) {}

  async ask<C extends Contract>(contract: C, body: Body<C>, id: string = randomUUID()): Promise<z.output<C['reply']>> {
    const waitMs = Math.ceil(this.endsAt - performance.now());
    if (waitMs <= 0) throw this.outOfTime();
    const command = { ...body, id, waitMs, requestId: this.requestId, token: this.token };
    try {
      const answer = await firstValueFrom(this.issuers.send(contract.pattern, command).pipe(timeout(waitMs)));
      return contract.reply.parse(answer) as z.output<C['reply']>;
    } catch (error) {
      if (error instanceof CodedError) throw error;
      if (error instanceof TimeoutError) throw this.outOfTime();
      throw new Unavailable('No issuer can be reached; try again in a moment.', { cause: error });
    }
  }

  private outOfTime(): OutOfTime {
    return new OutOfTime('No issuer answered within the wait.');
  }
}

function withSlash(path: string): string {
  return path.endsWith('/') ? path : `${path}/`;
}

function isUnavailable(error: unknown): boolean {
  return error instanceof CodedError && error.code === 'unavailable';
}

function mayBeUnderWay(error: unknown): boolean {
  return !(error instanceof CodedError) || ['unavailable', 'out_of_time', 'internal'].includes(error.code);
}

function publicKeyIn(text: string) {
  try {
    return parseIssuerPublicKey(text);
  } catch (cause) {
    throw new InvalidRequest('issuerPublicKey must be a public key as "npm run keys" prints one.', { cause });
  }
}
