import { z } from 'zod';
import { command, fromGateway, text } from './command.js';

/**
 * Asks an issuer to rotate the root key of a mount: a new one is made, tried until AWS accepts it, and switched to; the earlier
 * one is removed later, by itself. Whoever asks while one is under way is answered with that one.
 */
export const rotateRoot = {
  pattern: 'root.rotate',
  request: z.object({
    ...command,
    /** Path of the mount with its slash, such as `aws/`. */
    mount: text,
    ...fromGateway,
  }),
  reply: z.object({
    accessKeyId: z.string(),
    /** False: AWS does not accept the new key everywhere yet; it is switched to by itself. */
    inUse: z.boolean(),
  }),
};
export type RotateRootRequest = z.infer<typeof rotateRoot.request>;
export type RotateRootReply = z.infer<typeof rotateRoot.reply>;
