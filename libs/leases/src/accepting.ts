import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { notSealed, tokenIsAlive } from '#libs/access';
import { OutOfTime } from '#libs/contracts';
import { Batches } from '#libs/runtime';
import { defer, lastValueFrom, mergeMap, race, ReplaySubject, retry, throwError, timer } from 'rxjs';
import { EntityManager } from 'typeorm';
import { Alarms, type Due } from './alarms.js';
import type { DueNow } from './bell.js';
import { IdempotentAnswers } from './idempotent-answers.js';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';
import { elementsOf, lockLeases } from './lock-leases.js';

/**
 * What the asker writes: that it hands a credential on, that it has left, or that the hand-over failed after all.
 *
 * Because acceptance comes last and depends on token and mount being alive, ending one of those needs no lock against
 * issues in flight: it is marked ended and committed first, and whatever slips past is refused here.
 */
@Injectable()
export class Accepting implements OnApplicationShutdown {
  private readonly acceptances = new Batches<string, boolean>((leaseIds, alone) => this.acceptAll(leaseIds, alone));
  private readonly stopped = new ReplaySubject<void>(1);

  constructor(
    private readonly manager: EntityManager,
    private readonly alarms: Alarms,
    private readonly answers: IdempotentAnswers,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /**
   * Records that the credential of this lease is handed on; only after it returns may a byte of it leave. Asked again, it says
   * so again.
   * @param keyedCommandId the command, where that had an idempotency key: several may be given its credential, and an
   * acceptance is undone when none of them has it.
   * @throws OutOfTime when the offer has lapsed, the token or the mount has ended, or the system was sealed: it is
   * being taken back.
   */
  async accept(leaseId: string, keyedCommandId?: string): Promise<void> {
    // Before the lease itself is looked at: whoever undoes it meanwhile has ended it by then, or sees that we hold it.
    if (keyedCommandId && !(await this.answers.hold(leaseId, keyedCommandId))) throw lapsed();
    if (!(await this.acceptances.ask(leaseId))) throw lapsed();
  }

  private async acceptAll(leaseIds: string[], alone: boolean): Promise<(boolean | undefined)[]> {
    const accepted = (await this.manager.query(
      `with held as (${lockLeases(elementsOf('$1'), alone)}), accepted as (
         update leases l set state = 'active', accepted_at = now(), due_at = expires_at
         where id in (select id from held) and state = 'offered' and due_at > now()
           and exists (select 1 from tokens where id = l.token_id and ${tokenIsAlive})
           and exists (select 1 from mounts where id = l.mount_id and tainted_at is null and removed_at is null
                         and path_version <= l.mount_version)
           and ${notSealed}
         returning id, mount_id, due_at
       ) select id, mount_id as "mountId", due_at as "dueAt", extract(epoch from due_at - now())::float8 * 1000 as "dueInMs" from accepted`,
      [leaseIds],
    )) as Due[];
    this.alarms.setSoon(accepted);
    const isAccepted = new Set(accepted.map((lease) => lease.id));
    if (!alone) return leaseIds.map((id) => isAccepted.has(id) || undefined);
    return [isAccepted.has(leaseIds[0]!) || (await this.wasAccepted(leaseIds[0]!))];
  }

  /**
   * Asked before, and the answer was lost. A statement of its own: the one before it may have waited for that very acceptance,
   * and would not see it.
   */
  private async wasAccepted(leaseId: string): Promise<boolean> {
    const held = (await this.manager.query(
      `select id, mount_id as "mountId", due_at as "dueAt", extract(epoch from due_at - now())::float8 * 1000 as "dueInMs"
       from leases where id = $1 and state = 'active'`,
      [leaseId],
    )) as Due[];
    this.alarms.setSoon(held);
    return held.length > 0;
  }

  /**
   * Undoes an acceptance whose credential the caller is known not to have. Asked again until PostgreSQL takes it, for
   * some minutes or until this process stops: a lease that nobody holds would otherwise live until it expires.
   * @param keyedCommandId as for `accept`: what another command with the same key was given stays.
   */
  async undo(leaseId: string, keyedCommandId?: string): Promise<void> {
    await lastValueFrom(
      defer(() => this.undoOnce(leaseId, keyedCommandId)).pipe(
        retry({
          count: 60,
          delay: (error, count) =>
            race(
              timer(Math.min(5_000, 50 * 2 ** count)),
              this.stopped.pipe(mergeMap(() => throwError(() => error as Error))),
            ),
        }),
      ),
    );
  }

  onApplicationShutdown(): void {
    this.stopped.next();
  }

  /**
   * Leaves a mark that nobody waits for this command any more: an intent of the same token that is not there yet is
   * refused, an offer that is already made goes back.
   * @returns false when another token has the command: nothing is done.
   */
  async withdraw(commandId: string, tokenId: string): Promise<boolean> {
    const marked = (await this.manager.query(
      `with marked as (
         insert into commands as c (id, token_id, withdrawn_at, forget_at)
         values ($1, $2, now(), now() + $3 * interval '1 ms')
         on conflict (id) do update set withdrawn_at = now() where coalesce(c.token_id, $2) = $2 returning id
       ) select id from marked`,
      [commandId, tokenId, this.timing.commandMemoryMs],
    )) as unknown[];
    if (marked.length === 0) return false;
    this.alarms.ring(await this.takeBack(this.manager, `command_id = $1 and state = 'offered'`, commandId));
    return true;
  }

  private async undoOnce(leaseId: string, keyedCommandId: string | undefined): Promise<void> {
    const undo = (manager: EntityManager) =>
      this.takeBack(manager, `id = $1 and state in ('offered', 'active')`, leaseId);
    const back = keyedCommandId
      ? await this.manager.transaction(async (manager) => {
          await manager.query(`select 1 from leases where id = $1 for update`, [leaseId]);
          return (await this.answers.letGo(manager, leaseId, keyedCommandId)) ? [] : undo(manager);
        })
      : await undo(this.manager);
    this.alarms.ring(back);
  }

  private async takeBack(manager: EntityManager, which: string, value: string): Promise<DueNow[]> {
    return manager.query(
      `with back as (
         update leases set state = 'revoking', end_reason = 'not_received', due_at = now(), claim_id = null
         where ${which} and credential_type = 'iam_user' returning id, mount_id
       ) select id, mount_id as "mountId" from back`,
      [value],
    );
  }
}

function lapsed(): OutOfTime {
  return new OutOfTime('The lease could not be handed over in time; it is being taken back.');
}
