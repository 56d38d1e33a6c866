import { z } from 'zod';

/** What an answer of one status looks like, for the documents. It is closed: what is not named is not sent. */
export type AnswerShape =
  | { kind: 'nothing' }
  /**
   * In the envelope (contract.md 1.6); `flat`: the keys of the data stand beside it too; `orNothing`: or no body at all; `auth`:
   * the token that it gives.
   */
  | { kind: 'data'; schema: z.ZodType; flat?: boolean; orNothing?: boolean; auth?: z.ZodType }
  | { kind: 'bare'; schema: z.ZodType }
  | { kind: 'text'; type: string }
  /** A wrapping token alone. */
  | { kind: 'wrap' }
  /** What another path would have answered. */
  | { kind: 'anything' };

/** The answers of an operation that are no errors, by status; `any`: of whichever status. */
export type Answers = { [status: number]: AnswerShape; any?: AnswerShape };

/** 204: there is nothing to say. */
export const noContent: Answers = { 204: { kind: 'nothing' } };

/** 200 with these data. */
export const withData = (schema: z.ZodType): Answers => ({ 200: { kind: 'data', schema } });

/** 200 with these data, which stand beside the envelope too. */
export const withFlatData = (schema: z.ZodType): Answers => ({ 200: { kind: 'data', schema, flat: true } });

/** 200 with a body that has no envelope. */
export const withBody = (schema: z.ZodType): Answers => ({ 200: { kind: 'bare', schema } });

/** 204 when it is done, 202 when it goes on by itself. */
export const doneOrGoingOn: Answers = { ...noContent, 202: { kind: 'data', schema: z.null(), orNothing: true } };

/** 204, or 200 with warnings. */
export const noContentOrWarnings: Answers = { ...noContent, 200: { kind: 'data', schema: z.null() } };

/** Names of a list. */
export const withKeys = withData(z.strictObject({ keys: z.array(z.string()) }));

/** 200 with a wrapping token. */
export const withWrap: Answers = { 200: { kind: 'wrap' } };

/** What was wrapped, as it would have been sent. */
export const withAnything: Answers = { ...noContent, 200: { kind: 'anything' } };
