import { randomBytes, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { InvalidRequest } from '#libs/contracts';
import { EntityManager } from 'typeorm';
import { CallerSeal } from './caller-seal.js';
import type { Caller } from './caller.js';
import { Keyring } from './keyring.js';
import { notSealed, refuseWhenSealed } from './seal.js';
import type { TokenPlan } from './token-rules.js';
import { tokenHasUses, tokenIsAlive, Tokens } from './tokens.js';

/** The one policy of wrapping tokens; no other token can have it. */
const policy = 'response-wrapping';

/** The path that all wrapping tokens are made at: the one of the answer may say what only their holder is to know. */
const madeAt = 'sys/wrapping/wrap';

/** An answer as it would have been sent. */
export interface WholeAnswer {
  /** The API path that it is the answer of. */
  path: string;
  /** Its Content-Type. */
  type: string;
  /** '' = there is none. */
  body: string;
}

/** What is told of an answer that is kept. */
export interface Wrap {
  /** The row of the wrapping token. */
  tokenId: string;
  /** The wrapping token: only here it exists in the clear. */
  token: string;
  accessor: string;
  ttlMs: number;
  createdAt: Date;
  path: string;
}

/** What a wrapping token's holder may know without spending it. */
export type WrapShown = Pick<Wrap, 'ttlMs' | 'createdAt' | 'path'>;

/**
 * Answers that wait for the holder of a wrapping token (contract 3.6). Such a token is one like any other, with one use and a
 * policy of its own: whatever it is shown to spends it, and at its end its answer is wiped (docs/decisions/0020). The answer is
 * sealed under a key that only the token gives.
 */
@Injectable()
export class WrappedAnswers {
  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
    private readonly tokens: Tokens,
  ) {}

  /** Keeps an answer for `ttlMs` milliseconds. */
  async keep(answer: WholeAnswer, ttlMs: number): Promise<Wrap> {
    return this.manager.transaction((manager) => this.keepIn(manager, answer, ttlMs));
  }

  private async keepIn(manager: EntityManager, answer: WholeAnswer, ttlMs: number): Promise<Wrap> {
    const id = `hvs.${randomBytes(24).toString('base64url')}`;
    const sealed = await this.sealOf(id).seal(JSON.stringify(answer));
    const plan: TokenPlan = {
      id,
      type: 'service',
      path: madeAt,
      role: null,
      policies: [policy],
      displayName: 'wrapping',
      meta: null,
      renewable: false,
      ttlMs,
      periodMs: 0,
      maxTtlMs: 0,
      explicitMaxTtlMs: ttlMs,
      numUses: 1,
      boundCidrs: [],
      // Its answer outlives who asked for it.
      parentId: null,
      maxLeases: null,
      cuts: [],
      warnings: [],
    };
    const { token } = await this.tokens.create(plan, manager);
    await manager.query(`insert into wrapped_answers (token_id, sealed_answer) values ($1, $2)`, [token.id, sealed]);
    const { id: tokenId, createdAt } = token;
    return { tokenId, token: id, accessor: token.accessor!, ttlMs, createdAt, path: answer.path };
  }

  /**
   * Gives the answer out and ends its token: of any number at once one gets it.
   * @param token the wrapping token. @param caller who shows it: may be the wrapping token itself, whose use is spent by then.
   * @throws InvalidRequest (text: contract 1.8) when it is over, was used, or is none. Sealed while the system is.
   */
  async take(token: string, caller: Caller): Promise<WholeAnswer> {
    const { answer } = await this.takeIn(this.manager, token, caller);
    return answer;
  }

  /** Puts a new wrapping token in the place of another one: whoever dies at it has one of the two. @throws as `take` does. */
  async rewrap(token: string, caller: Caller): Promise<Wrap> {
    return this.manager.transaction(async (manager) => {
      const { answer, ttlMs } = await this.takeIn(manager, token, caller);
      return this.keepIn(manager, answer, ttlMs);
    });
  }

  private async takeIn(
    manager: EntityManager,
    token: string,
    caller: Caller,
  ): Promise<{ answer: WholeAnswer; ttlMs: number }> {
    const hash = this.keyring.hashToken(token);
    const hasUse = caller.token.hash.equals(hash) ? 'true' : tokenHasUses;
    // The token is locked before its answer, as the trigger does.
    const [taken] = (await manager.query(
      `with wrapping as materialized (
         select id, creation_ttl_ms from tokens where hash = $1 and ${tokenIsAlive} and ${hasUse} and ${notSealed}
         for no key update
       ), taken as (
         delete from wrapped_answers using wrapping where token_id = wrapping.id returning token_id, sealed_answer, creation_ttl_ms
       ), ended as (
         update tokens set uses_left = 0, ended_at = now(), due_at = now() from taken where id = token_id
       ) select sealed_answer as sealed, creation_ttl_ms as "ttlMs" from taken`,
      [hash],
    )) as { sealed: string; ttlMs: number }[];
    if (!taken) throw await this.refusal();
    return { answer: await this.open(token, taken.sealed), ttlMs: taken.ttlMs };
  }

  /** What is told of the answer, which stays where it is. @throws as `take` does. */
  async look(token: string): Promise<WrapShown> {
    const [found] = (await this.manager.query(
      `select sealed_answer as sealed, creation_ttl_ms as "ttlMs", created_at as "createdAt"
       from tokens join wrapped_answers on token_id = id
       where hash = $1 and ${tokenIsAlive} and ${tokenHasUses} and ${notSealed}`,
      [this.keyring.hashToken(token)],
    )) as { sealed: string; ttlMs: number; createdAt: Date }[];
    if (!found) throw await this.refusal();
    const { path } = await this.open(token, found.sealed);
    return { path, ttlMs: found.ttlMs, createdAt: found.createdAt };
  }

  /** This door's word that it wraps the answer to a command, for so many milliseconds: nobody without the keyring can give it. */
  promise(commandId: string, ttlMs: number): string {
    const word = this.keyring.derive('wrapped command', [commandId, String(ttlMs)], 32);
    return `${ttlMs}:${word.toString('base64url')}`;
  }

  /** For how long the answer to a command will be wrapped, in milliseconds; undefined without a word that holds. */
  promised(commandId: string, promise: string | undefined): number | undefined {
    if (promise === undefined) return undefined;
    const ttlMs = Number(promise.split(':')[0]);
    const [given, wanted] = [Buffer.from(promise), Buffer.from(this.promise(commandId, ttlMs))];
    return given.length === wanted.length && timingSafeEqual(given, wanted) ? ttlMs : undefined;
  }

  private sealOf(token: string): CallerSeal {
    return CallerSeal.of(this.keyring, 'wrapped answer', [token]);
  }

  private async open(token: string, sealed: string): Promise<WholeAnswer> {
    return JSON.parse(await this.sealOf(token).open(sealed)) as WholeAnswer;
  }

  private async refusal(): Promise<InvalidRequest> {
    await refuseWhenSealed(this.manager);
    return new InvalidRequest('wrapping token is not valid or does not exist');
  }
}
