import { z } from 'zod';

const whole = (most: number) => z.number().int().min(1).max(most);
const ms = () => whole(3_600_000);

/** What one server takes from its callers (contract.md 1.3, 1.4). Everything has a default. */
export const wireLimitsSchema = z.strictObject({
  /** Of one body. */
  bodyBytes: whole(256 * 1024 * 1024).default(32 * 1024 * 1024),
  /** Of all bodies that are held in memory at once; what exceeds it is refused, and may be sent again. */
  bodiesBytes: whole(16 * 1024 ** 3).default(256 * 1024 * 1024),
  /** Keys and texts in one body. */
  strings: whole(1_000_000).default(1_000),
  /** What one body comes to once it is parsed, estimated. */
  parsedBytes: whole(1024 ** 3).default(34_078_720),
  /** Objects and arrays within each other. */
  depth: whole(10_000).default(100),
  /** Request line and headers together. */
  headerBytes: whole(1024 * 1024).default(16 * 1024),
  headers: whole(2_000).default(100),
  /** Requests at work at once; what exceeds it is refused, and may be sent again. */
  requests: whole(1_000_000).default(2_000),
  connections: whole(1_000_000).default(10_000),
  /** Time for the headers of a request, and for a TLS session to begin. */
  headersMs: ms().default(10_000),
  /** Time for a whole request to arrive. */
  receiveMs: ms().default(30_000),
  /** How long a connection may say nothing between requests: longer than a Go client keeps one, or it is reset under a request. */
  idleMs: ms().default(300_000),
  /** How long a connection may stand still while a request of it is answered. */
  requestMs: ms().default(90_000),
});

export type WireLimits = z.output<typeof wireLimitsSchema>;

export const defaultLimits: WireLimits = wireLimitsSchema.parse({});
