import type { EntityManager, ObjectType } from 'typeorm';

/** An entity as a hand-written statement reads it, beside what else that statement reads. */
export class Rows<Entity extends object> {
  /**
   * @param alias the name that its table has in the statement; its columns are read under names that begin with it.
   */
  constructor(
    private readonly manager: EntityManager,
    private readonly entity: ObjectType<Entity>,
    private readonly alias: string,
  ) {}

  /** All its columns, for the `select` of the statement. */
  get columns(): string {
    return this.metadata.columns
      .map(({ databaseName }) => `${this.alias}.${databaseName} as ${this.alias}_${databaseName}`)
      .join(', ');
  }

  /** The entity that a row of the statement holds, a new one at each call; null where an outer join found none. */
  of(row: Record<string, unknown>): Entity | null {
    const { driver } = this.manager.connection;
    const entity = this.metadata.create() as Entity;
    for (const column of this.metadata.columns) {
      const value = row[`${this.alias}_${column.databaseName}`];
      if (column.isPrimary && value === null) return null;
      column.setEntityValue(entity, driver.prepareHydratedValue(value, column));
    }
    return entity;
  }

  private get metadata() {
    return this.manager.connection.getMetadata(this.entity);
  }
}

/**
 * The value that `jsonb_to_recordset` reads as these rows. What it does not take in a text is replaced as anywhere else on the way to
 * PostgreSQL: half a pair of surrogates, as where a text was cut, and NUL.
 */
export function recordset(rows: Record<string, unknown>[]): string {
  return JSON.stringify(rows, (_, value: unknown) =>
    typeof value === 'string' ? value.replace(/\p{Surrogate}|\0/gu, '\ufffd') : value,
  );
}
