import { z } from 'zod';

/** The root key of a mount was rotated: the new one is in use. No key, not even its id, is in it. */
export const rootEvent = z.object({
  name: z.literal('root.rotated'),
  /** The message's id too. An event may come more than once, always under the same id, and in any order. */
  id: z.uuid(),
  /** When it happened, by Postgres's clock. */
  at: z.iso.datetime(),
  /** Path of the mount with its slash, such as `aws/`. */
  mount: z.string(),
  /** The AWS account of the key. */
  accountId: z.string(),
  /** Of the request that asked for it; one of its own where the rotation was due. */
  requestId: z.string(),
});
