import type { Client } from 'pg';

/**
 * The time of the model: it leaps when the model says so, for every process alike. PostgreSQL's `now()` and this process's
 * clocks, wall and monotonic, go ahead of the machine by the same span.
 */
export class Time {
  private aheadMs = 0;
  private readonly wall = Date.now;
  private readonly monotonic = performance.now.bind(performance);

  private constructor(private readonly database: Client) {
    Date.now = () => this.wall() + this.aheadMs;
    performance.now = () => this.monotonic() + this.aheadMs;
  }

  /** Before any table is made: their defaults are bound to the `now()` that is found first. */
  static async of(database: Client, name: string): Promise<Time> {
    await database.query(`
      create schema model;
      create table model.time (ahead interval not null);
      insert into model.time values (interval '0');
      create function model.now() returns timestamptz language sql stable as
        'select pg_catalog.now() + ahead from model.time';
      alter database ${name} set search_path = model, pg_catalog, public;
      set search_path = model, pg_catalog, public`);
    return new Time(database);
  }

  async leap(ms: number): Promise<void> {
    this.aheadMs += ms;
    await this.database.query(`update model.time set ahead = ahead + $1 * interval '1 ms'`, [ms]);
  }

  /** The machine's own time again. */
  restore(): void {
    Date.now = this.wall;
    delete (performance as { now?: unknown }).now;
  }
}
