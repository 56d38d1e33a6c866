import { z } from 'zod';

/** What a caller may choose as its key: 1 to 255 characters of printable ASCII. */
export const idempotencyKey = z
  .string()
  .regex(/^[\x20-\x7e]{1,255}$/, 'An Idempotency-Key must have 1 to 255 printable ASCII characters.');
