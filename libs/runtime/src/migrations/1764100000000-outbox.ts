import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The outbox of events, and the triggers that fill it in the transaction of the change they tell (docs/decisions/0009).
 *
 * An event is what libs/contracts' `leaseEvent` says. The conditions are the triggers' own, so that the many updates of a
 * lease that tell nothing call no function.
 */
export class Outbox1764100000000 implements MigrationInterface {
  readonly name = 'Outbox1764100000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table outbox (
        id          uuid primary key default gen_random_uuid(),
        name        text not null,
        body        jsonb not null,
        created_at  timestamptz not null default now()
      );
      create index outbox_created_at on outbox (created_at);

      create function tell_of_lease() returns trigger language plpgsql as $$
      declare
        event_id  uuid := gen_random_uuid();
        iso       constant text := 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"';
      begin
        insert into outbox (id, name, body)
        select event_id, tg_argv[0], jsonb_strip_nulls(jsonb_build_object(
          'id', event_id,
          'name', tg_argv[0],
          'at', to_char(now() at time zone 'utc', iso),
          'leaseId', new.id,
          'mount', mounts.path,
          'role', new.role_name,
          'credentialType', new.credential_type,
          'accountId', new.account_id,
          'expiresAt', to_char(new.expires_at at time zone 'utc', iso),
          'reason', new.end_reason,
          'requestId', new.request_id))
        from mounts where mounts.id = new.mount_id;
        return null;
      end $$;

      create trigger issued after update of state on leases for each row
        when (new.state = 'active' and old.state <> 'active')
        execute function tell_of_lease('lease.issued');
      create trigger issued_at_once after insert on leases for each row
        when (new.state = 'active')
        execute function tell_of_lease('lease.issued');
      create trigger renewed after update of last_renewed_at on leases for each row
        when (new.last_renewed_at is distinct from old.last_renewed_at)
        execute function tell_of_lease('lease.renewed');
      create trigger irrevocable after update of state on leases for each row
        when (new.state = 'irrevocable' and old.state <> 'irrevocable')
        execute function tell_of_lease('lease.irrevocable');
      -- What nobody was ever given ends untold; so does every look at a tombstone, which has ended before.
      create trigger expired after update of state on leases for each row
        when (new.state = 'ended' and old.state <> 'ended' and new.accepted_at is not null
              and new.end_reason = 'expired')
        execute function tell_of_lease('lease.expired');
      create trigger revoked after update of state on leases for each row
        when (new.state = 'ended' and old.state <> 'ended' and new.accepted_at is not null
              and new.end_reason is distinct from 'expired')
        execute function tell_of_lease('lease.revoked');
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop function tell_of_lease() cascade;
      drop table outbox;
    `);
  }
}
