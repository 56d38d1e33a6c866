import pg from 'pg';
import { eventually } from '../support/world.js';

/** What commits are stopped at: a change of one table that fits an SQL condition on `new` (and `old`). */
export interface Change {
  table?: 'leases' | 'mounts' | 'outbox' | 'idempotent_answers' | 'rotations';
  on: 'insert' | 'update' | 'delete';
  when: string;
}

const key = 7_364_201;
const waiting = `select pid from pg_locks join pg_stat_activity using (pid)
  where locktype = 'advisory' and objid = ${key} and not granted`;

/**
 * A gate before the commit of a change, or of any of several: a deferred trigger, which runs when all statements of the transaction have run, and
 * waits for a lock that is held here. The service behind it can be killed there; then its commit stands, or is lost.
 */
export class Gate {
  private constructor(
    private readonly client: pg.Client,
    private readonly triggers: { name: string; table: string }[],
  ) {}

  static async before(databaseUrl: string, ...changes: Change[]): Promise<Gate> {
    const client = new pg.Client({ connectionString: databaseUrl, application_name: 'chaos' });
    await client.connect();
    await client.query(`select pg_advisory_lock(${key})`);
    await client.query(
      `create or replace function chaos_gate() returns trigger language plpgsql as $$
       begin perform pg_advisory_xact_lock(${key}); return null; end $$`,
    );
    const triggers = changes.map(({ table = 'leases' }, nth) => ({ name: `chaos_gate_${nth}`, table }));
    for (const [nth, { on, when }] of changes.entries()) {
      const { name, table } = triggers[nth]!;
      await client.query(
        `create constraint trigger ${name} after ${on} on ${table} deferrable initially deferred
         for each row when (${when}) execute function chaos_gate()`,
      );
    }
    return new Gate(client, triggers);
  }

  /** Resolves when a commit stands before it, or so many. */
  async reached(withinMs: number, commits = 1): Promise<void> {
    await eventually(async () => (await this.client.query(waiting)).rows.length >= commits, withinMs);
  }

  /** Lets the commits happen, whether somebody still waits for them or not. */
  async stand(): Promise<void> {
    await this.open();
  }

  /** Ends the connections of those that wait: nothing of their transactions remains. */
  async lose(): Promise<void> {
    const { rows: now } = await this.client.query<{ at: string }>(`select clock_timestamp()::text as at`);
    // One that waited for a row of the first comes up to the gate only when the first has gone; who begins later, such as a
    // caller who asks again, has no part in it.
    for (let looks = 0; looks < 3; looks += 1) {
      const { rows } = await this.client.query<{ pid: number }>(`${waiting} and xact_start <= $1`, [now[0]!.at]);
      for (const { pid } of rows) await this.client.query('select pg_terminate_backend($1, 2000)', [pid]);
      if (rows.length > 0) looks = 0;
    }
    await this.open();
  }

  private async open(): Promise<void> {
    await this.client.query(`select pg_advisory_unlock(${key})`);
    for (const { name, table } of this.triggers) await this.client.query(`drop trigger ${name} on ${table}`);
    await this.client.end();
  }
}
