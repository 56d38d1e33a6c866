import { Inject, Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { Alarms, type Due } from './alarms.js';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';
import type { EndReason } from './lease.entity.js';

/** Rows per statement, so that no sweep holds many locks for long. */
const batch = 1_000;

/** The timed pass over what needs no call to AWS: ends of STS leases, alarms for what comes near, and forgetting. */
@Injectable()
export class Sweeping {
  constructor(
    private readonly manager: EntityManager,
    private readonly alarms: Alarms,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /** Ends STS leases whose time is over; AWS ends the credentials themselves. */
  async endSts(): Promise<void> {
    await this.endStsWhere(`due_at <= now()`, 'expired');
    // One that was stored while its mount was being taken down would hold the mount back until it expires.
    await this.endStsWhere(
      `mount_id in (select id from mounts where tainted_at is not null and removed_at is null)`,
      'unmounted',
    );
  }

  private async endStsWhere(condition: string, reason: EndReason): Promise<void> {
    await this.repeat(
      `with due as (
         select id from leases where ${condition} and credential_type <> 'iam_user' and state = 'active'
         limit ${batch} for update skip locked
       ), ended as (
         update leases set state = 'ended', ended_at = now(), due_at = null, end_reason = $1
         from due where leases.id = due.id returning 1
       ) select count(*)::int as count from ended`,
      [reason],
    );
  }

  /**
   * Moves what an unmount has left to `revoking`: whoever asked for it may have died between the end of the mount and the
   * end of its leases.
   */
  async endUnmounted(): Promise<void> {
    await this.repeat(
      `with left_over as (
         select id from leases
         where mount_id in (select id from mounts where tainted_at is not null and removed_at is null)
           and credential_type = 'iam_user' and state in ('issuing', 'pooled', 'offered', 'active')
         limit ${batch} for update skip locked
       ), asked as (
         update leases set state = 'revoking', due_at = now(), claim_id = null, end_reason = 'unmounted',
           expires_at = least(expires_at, now()),
           looks_left = case when state = 'issuing' then $1::smallint else looks_left end
         from left_over where leases.id = left_over.id returning 1
       ) select count(*)::int as count from asked`,
      [this.timing.tombstoneLooksMs.length],
    );
  }

  /** Sets alarms for what comes due within the horizon and has none. */
  async setAlarms(): Promise<void> {
    for (;;) {
      const near = (await this.manager.query(
        `with near as (
           select id from leases
           where due_at between now() and now() + $1 * interval '1 ms' and armed_for is distinct from due_at
             and credential_type = 'iam_user' and claim_id is null
           order by due_at limit ${batch} for update skip locked
         ), armed as (
           update leases set armed_for = due_at from near where leases.id = near.id returning leases.id, mount_id, due_at
         ) select id, mount_id as "mountId", due_at as "dueAt", extract(epoch from due_at - now())::float8 * 1000 as "dueInMs" from armed`,
        [this.timing.alarmHorizonMs],
      )) as Due[];
      await this.alarms.set(near);
      if (near.length < batch) return;
    }
  }

  /**
   * Forgets kept answers at the end of their window, command ids a day after their lease, ended rows after the retention time,
   * ended tokens when no lease names them any more, and secret ids that open nothing.
   */
  async forget(): Promise<void> {
    await this.repeat(
      `with old as (select id from idempotent_answers where ends_at <= now() limit ${batch} for update skip locked),
         gone as (delete from idempotent_answers k using old where k.id = old.id returning 1)
       select count(*)::int as count from gone`,
      [],
    );
    await this.repeat(
      `with old as (select id from commands where forget_at <= now() limit ${batch} for update skip locked),
         gone as (delete from commands using old where commands.id = old.id returning 1)
       select count(*)::int as count from gone`,
      [],
    );
    await this.repeat(
      `with old as (select id from leases where ended_at <= now() - $1 * interval '1 ms' and due_at is null
                    limit ${batch} for update skip locked),
         gone as (delete from leases using old where leases.id = old.id returning 1)
       select count(*)::int as count from gone`,
      [this.timing.retentionMs],
    );
    await this.forgetTokens();
  }

  private async forgetTokens(): Promise<void> {
    await this.repeat(
      `with old as (select use from token_uses where forget_at <= now() limit ${batch} for update skip locked),
         gone as (delete from token_uses u using old where u.use = old.use returning 1)
       select count(*)::int as count from gone`,
      [],
    );
    await this.repeat(
      `with old as (
         select id, exists (select 1 from leases where token_id = tokens.id) as named
         from tokens where forget_at <= now() limit ${batch} for update skip locked
       ), kept as (
         update tokens set forget_at = now() + $1 * interval '1 ms' from old where tokens.id = old.id and old.named
       ), gone as (
         delete from tokens using old where tokens.id = old.id and not old.named
       ) select count(*)::int as count from old`,
      [this.timing.commandMemoryMs],
    );
    await this.repeat(
      `with old as (select hash from app_role_secret_ids where expires_at <= now() limit ${batch} for update skip locked),
         gone as (delete from app_role_secret_ids s using old where s.hash = old.hash returning 1)
       select count(*)::int as count from gone`,
      [],
    );
  }

  private async repeat(sql: string, values: unknown[]): Promise<void> {
    for (;;) {
      const [row] = (await this.manager.query(sql, values)) as { count: number }[];
      if (row!.count < batch) return;
    }
  }
}
