import { randomUUID } from 'node:crypto';
import { Inject, Injectable, Logger } from '@nestjs/common';
import type { ClientProxy } from '@nestjs/microservices';
import { type Caller, LastUse, Tokens, WrappedAnswers } from '#libs/access';
import { AuditTrail } from '#libs/audit';
import {
  CodedError,
  fromWire,
  handOutLease,
  issueLease,
  type IssueLeaseReply,
  type IssueLeaseRequest,
  Observing,
  OutOfTime,
  PoolFirst,
  tryRole,
  type TryRoleReply,
  type TryRoleRequest,
  Unavailable,
} from '#libs/contracts';
import { Accepting, LEASE_TIMING, type LeaseTiming } from '#libs/leases';
import {
  defer,
  firstValueFrom,
  fromEvent,
  lastValueFrom,
  merge,
  mergeMap,
  retry,
  throwError,
  timeout,
  TimeoutError,
  timer,
} from 'rxjs';
import type { z } from 'zod';
import type { TokenRequest } from './api/api-path.js';
import { parametersFor } from './aws/parameters.js';
import { leastAcceptMs } from './longest-answer.js';

/** Injection token of the client that reaches the issuers. */
export const ISSUERS = Symbol('issuers');

/** Injection token of whether the system is observed: then nothing is asked of the issuers. */
export const OBSERVING = Symbol('observing');

/** What a caller asks for; the rest of the command is ours. */
export type TryWish = Omit<TryRoleRequest, 'id' | 'waitMs' | 'admission' | 'audited' | 'wrapping'> & {
  /** For how long the answer is going to be wrapped, milliseconds. */
  wrapTtlMs?: number;
};

export type IssueWish = TryWish & Pick<IssueLeaseRequest, 'idempotencyKey' | 'ready'>;

/** What a command is, for whom there is nothing to accept. */
interface Contract {
  pattern: string;
  request: z.ZodType;
  reply: z.ZodType;
}

/** What a command says beside what every command carries. */
type Body<C extends Contract> = Omit<
  z.input<C['request']>,
  'id' | 'waitMs' | 'requestId' | 'token' | 'parameters' | 'admission' | 'audited' | 'wrapping'
>;

/** A credential that was accepted. */
export interface Issued {
  reply: IssueLeaseReply;
  /** Says that the caller does not have it after all. */
  undo(): Promise<void>;
}

/** Asks an issuer for a credential, and records that it is handed on before anybody sees it. */
@Injectable()
export class IssuerClient {
  private readonly logger = new Logger(IssuerClient.name);
  private readonly poolFirst = new PoolFirst();

  constructor(
    @Inject(ISSUERS) private readonly issuers: ClientProxy,
    private readonly accepting: Accepting,
    private readonly tokens: Tokens,
    private readonly trail: AuditTrail,
    private readonly wrapped: WrappedAnswers,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
    @Inject(OBSERVING) private readonly observing: boolean,
  ) {}

  /**
   * An accepted credential. When the caller hangs up or the wait ends first, a mark is left under the command, so that
   * nothing is made for nobody. With an idempotency key there is none: whoever asks again may be waiting for this very
   * command, and what nobody collects lapses with the hand-over time.
   * @throws CodedError of the issuer; `out_of_time`, `unavailable`, also while the system is observed; LastUse before it is asked.
   */
  async issue(wish: IssueWish, caller: Caller, hangUp: AbortSignal): Promise<Issued> {
    const closesAt = performance.now() + this.timing.callerWaitMs;
    const { command, reply } = await this.ask(wish, caller, hangUp, (send, asked) =>
      this.poolFirst.issue(asked, { handOut: () => send(handOutLease), issue: () => send(issueLease) }),
    );
    const keyed = command.idempotencyKey === undefined ? undefined : command.id;
    const { leaseId, acceptRequired } = reply;
    if (acceptRequired) await this.accept(leaseId, keyed, command.requestId, closesAt - performance.now());
    return { reply, undo: () => this.accepting.undo(leaseId, keyed) };
  }

  /**
   * Has a credential made that is shown to nobody; the issuer has taken it back, or has asked for that, when this returns.
   * @throws CodedError as `issue` does.
   */
  async try(wish: TryWish, caller: Caller, hangUp: AbortSignal): Promise<TryRoleReply> {
    return (await this.ask(wish, caller, hangUp, (send) => send(tryRole))).reply;
  }

  /**
   * Has something done that goes on by itself, whether its caller still waits or not.
   * @throws CodedError of the issuer; `out_of_time`, `unavailable`, also while the system is observed.
   */
  async command<C extends Contract>(
    contract: C,
    body: Body<C>,
    { id: requestId, token, caller, sent, wrapTtlMs, hangUp }: TokenRequest<unknown>,
  ): Promise<z.output<C['reply']>> {
    if (this.observing) throw new Observing();
    const id = randomUUID();
    const command = {
      ...body,
      id,
      requestId,
      token,
      parameters: parametersFor(caller, sent),
      admission: this.tokens.admissionOf(caller, id),
      audited: this.trail.markOf(id),
      wrapping: wrapTtlMs === undefined ? undefined : this.wrapped.promise(id, wrapTtlMs),
      waitMs: this.timing.callerWaitMs,
    };
    const answer = await this.send(contract.pattern, command, hangUp, goesOn);
    return contract.reply.parse(answer) as z.output<C['reply']>;
  }

  /** Resolves while the issuers' queue can be reached. */
  async reached(): Promise<void> {
    await this.issuers.connect();
  }

  /**
   * An acceptance without an answer may stand: it is asked about again while the caller waits, and undone when that gives
   * none either. What was made at the last moment still gets `leastAcceptMs`.
   */
  private async accept(leaseId: string, keyed: string | undefined, requestId: string, waitMs: number): Promise<void> {
    try {
      await lastValueFrom(
        defer(() => this.accepting.accept(leaseId, keyed)).pipe(
          retry({
            count: 3,
            delay: (error, count) => (error instanceof CodedError ? throwError(() => error) : timer(50 * 2 ** count)),
          }),
          timeout(Math.max(leastAcceptMs, waitMs)),
        ),
      );
    } catch (error) {
      if (error instanceof CodedError) throw error;
      this.logger.error({ msg: 'acceptance not confirmed; undoing it', requestId, leaseId, error: String(error) });
      void this.accepting.undo(leaseId, keyed).catch((failure: unknown) => {
        this.logger.error({ msg: 'acceptance not undone', requestId, leaseId, error: String(failure) });
      });
      throw new Unavailable('The credential could not be recorded as handed over; it is being taken back.', {
        cause: error,
      });
    }
  }

  /** @param work sends the one command, by one contract or by several in a row: all are the same request. */
  private async ask<Reply>(
    { wrapTtlMs, ...wish }: IssueWish,
    caller: Caller,
    hangUp: AbortSignal,
    work: (send: <R>(by: { pattern: string; reply: z.ZodType<R> }) => Promise<R>, command: IssueWish) => Promise<Reply>,
  ): Promise<{ command: IssueLeaseRequest; reply: Reply }> {
    if (caller.isLastUse) throw new LastUse();
    if (this.observing) throw new Observing();
    const id = randomUUID();
    const command: IssueLeaseRequest = {
      ...wish,
      id,
      admission: this.tokens.admissionOf(caller, id),
      audited: this.trail.markOf(id),
      wrapping: wrapTtlMs === undefined ? undefined : this.wrapped.promise(id, wrapTtlMs),
      waitMs: this.timing.callerWaitMs,
    };
    const endsAt = performance.now() + command.waitMs;
    const late = command.idempotencyKey && notYet;
    try {
      const reply = await work(async ({ pattern, reply: shape }) => {
        const waitMs = Math.max(1, Math.ceil(endsAt - performance.now()));
        return shape.parse(await this.send(pattern, { ...command, waitMs }, hangUp, late));
      }, command);
      if (hangUp.aborted) throw new OutOfTime();
      return { command, reply };
    } catch (error) {
      // An issuer that answered has ended it itself; whatever else went wrong, one may still be at work on it.
      if (command.idempotencyKey === undefined && (error instanceof OutOfTime || error instanceof Unavailable))
        void this.withdraw(command, caller.token.id);
      throw error;
    }
  }

  /** `late`: what a caller hears whose wait has ended. */
  private async send(
    pattern: string,
    command: { waitMs: number; requestId: string },
    hangUp: AbortSignal,
    late?: string,
  ): Promise<unknown> {
    if (hangUp.aborted) throw new OutOfTime();
    const left = fromEvent(hangUp, 'abort').pipe(mergeMap(() => throwError(() => new OutOfTime())));
    try {
      return await firstValueFrom(
        merge(this.issuers.send<unknown>(pattern, command), left).pipe(timeout(command.waitMs)),
      );
    } catch (error) {
      if (error instanceof TimeoutError) throw new OutOfTime(late);
      if (error instanceof CodedError) throw error;
      const coded = fromWire(error);
      if (coded) throw coded;
      this.logger.error({ msg: 'no issuer reached', requestId: command.requestId, error: textOf(error) });
      throw new Unavailable('No issuer can be reached; try again in a moment.', { cause: error });
    }
  }

  private async withdraw(command: IssueLeaseRequest, tokenId: string): Promise<void> {
    try {
      await this.accepting.withdraw(command.id, tokenId);
    } catch (error) {
      // The hand-over deadline takes it back all the same.
      this.logger.warn({ msg: 'command not withdrawn', requestId: command.requestId, error: String(error) });
    }
  }
}

/** To who may ask again for the same. */
const notYet = 'The credential could not be made within the time the caller waits: ask again with the same key.';

/** To who asked for what is no credential. */
const goesOn =
  'It was not done within the time the caller waits. What was begun goes on by itself: look, or ask again.';

/** Transports reject with errors, with texts and with objects that hold an error. */
function textOf(error: unknown): string {
  return error instanceof Error ? error.message : typeof error === 'string' ? error : 'transport error';
}
