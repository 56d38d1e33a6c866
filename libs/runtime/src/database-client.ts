import pg from 'pg';

/** Statements that a process names; what comes after them is planned anew each time, so no connection grows without end. */
const mostNamed = 500;

/** What PostgreSQL answers when a named statement is no longer what it was: after a migration, or behind a pool that resets. */
const outdated = new Set(['0A000', '26000']);

const names = new Map<string, string>();

/**
 * A connection that names its statements with parameters, so that PostgreSQL parses and plans each once per connection, and
 * whose loss never ends the process: TypeORM listens for its errors from a moment after it has been given it, and one that breaks
 * in that moment, as at a failover, would be an event that nobody hears. The next statement tells of it.
 */
export class DatabaseClient extends pg.Client {
  constructor(config?: pg.ClientConfig) {
    super(config);
    this.on('error', () => undefined);
    const query = this.query.bind(this) as (...given: unknown[]) => unknown;
    this.query = ((text: unknown, values: unknown, ...rest: unknown[]) => {
      const name = typeof text === 'string' && Array.isArray(values) && rest.length === 0 ? nameOf(text) : undefined;
      if (name === undefined) return query(text, values, ...rest);
      return (query({ name, text, values }) as Promise<unknown>).catch((error: { code?: string }) => {
        // The pool gives out no connection that has ended.
        if (outdated.has(error.code ?? '')) void this.end().catch(() => undefined);
        throw error;
      });
    }) as typeof this.query;
  }
}

function nameOf(text: string): string | undefined {
  const known = names.get(text);
  if (known !== undefined || names.size >= mostNamed) return known;
  const name = `leasehold_${names.size}`;
  names.set(text, name);
  return name;
}
