import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';

/**
 * What this worker is at work with: versions of root configurations that some piece of its work has read. Told to the others
 * through the table `workers`, so that a rotated key is not removed under anybody's hands (docs/decisions/0023).
 */
@Injectable()
export class RootUses {
  private readonly id = randomUUID();
  private readonly counts = new Map<string, number>();

  constructor(private readonly manager: EntityManager) {}

  /** Notes that `work` works with this version until it is over. */
  async during<T>({ version }: { version: string }, work: () => Promise<T>): Promise<T> {
    this.count(version, 1);
    try {
      return await work();
    } finally {
      this.count(version, -1);
    }
  }

  /** Tells what it is at work with now, and forgets workers that have said nothing for an hour. */
  async tell(name: string): Promise<void> {
    await this.manager.query(
      `insert into workers (id, name, root_versions) values ($1, $2, $3)
       on conflict (id) do update set root_versions = excluded.root_versions, seen_at = now()`,
      [this.id, name, [...this.counts.keys()]],
    );
    await this.manager.query(`delete from workers where seen_at < now() - interval '1 hour'`);
  }

  /** It ends, and is at work with nothing any more. */
  async leave(): Promise<void> {
    await this.manager.query(`delete from workers where id = $1`, [this.id]);
  }

  private count(version: string, by: 1 | -1): void {
    const count = (this.counts.get(version) ?? 0) + by;
    if (count > 0) this.counts.set(version, count);
    else this.counts.delete(version);
  }
}
