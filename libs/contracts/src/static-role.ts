import { z } from 'zod';
import { command, fromGateway, text } from './command.js';

/** Which static role a command is about. */
const named = {
  /** Path of the mount with its slash, such as `aws/`. */
  mount: text,
  role: text,
};

/** Creates a static role, whose IAM user gets a key that is rotated from now on, or changes its period (contract.md 2.8). */
export const writeStaticRole = {
  pattern: 'static-role.write',
  request: z.object({
    ...command,
    ...named,
    /** The IAM user's name, which must be given for a new role and is fixed afterwards. */
    username: text.optional(),
    rotationPeriodSeconds: z.int().optional(),
    ...fromGateway,
  }),
  reply: z.object({
    username: z.string(),
    /** IAM's own id of the user. */
    userId: z.string(),
    rotationPeriodSeconds: z.int(),
    /** False: AWS does not accept its first key yet; it is served by itself once it does. */
    hasKey: z.boolean(),
  }),
};
export type WriteStaticRoleRequest = z.infer<typeof writeStaticRole.request>;
export type WriteStaticRoleReply = z.infer<typeof writeStaticRole.reply>;

/** Removes the keys of a static role from AWS, and then the role. */
export const deleteStaticRole = {
  pattern: 'static-role.delete',
  request: z.object({ ...command, ...named, ...fromGateway }),
  reply: z.object({
    /** False: it goes on by itself. */
    isGone: z.boolean(),
  }),
};
export type DeleteStaticRoleRequest = z.infer<typeof deleteStaticRole.request>;
export type DeleteStaticRoleReply = z.infer<typeof deleteStaticRole.reply>;
