import { z } from 'zod';
import { CodedError, type ErrorCode } from './errors.js';

/** What crosses. */
export const codedErrorWire = z.object({
  code: z.string(),
  message: z.string(),
  retryable: z.boolean(),
  retryAfterSeconds: z.int().positive().optional(),
});

/** The form in which an error crosses a process. */
export type CodedErrorWire = z.infer<typeof codedErrorWire>;

/** Code, message and retryable of an error with a code; nothing of any other error but that it happened. */
export function toWire(error: unknown): CodedErrorWire {
  if (error instanceof CodedError) {
    const { code, message, retryable, retryAfterSeconds } = error;
    return { code, message, retryable, ...(retryAfterSeconds && { retryAfterSeconds }) };
  }
  return { code: 'internal', message: 'internal error', retryable: false };
}

/** The error that another process threw, or null when `value` is not one. */
export function fromWire(value: unknown): CodedError | null {
  const parsed = codedErrorWire.safeParse(value);
  if (!parsed.success) return null;
  const { code, message, ...rest } = parsed.data;
  return new CodedError(code as ErrorCode, message, rest);
}
