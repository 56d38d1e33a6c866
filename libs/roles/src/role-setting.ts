import { parseArn, partitionOf } from './arn.js';
import type { RootConfig } from './root-config.entity.js';
import { defaultTemplate } from './username-template.js';

/** What a role is written into, as far as it is known without asking AWS. */
export interface RoleSetting {
  roleName: string;
  /** Of config/root. */
  usernameTemplate: string;
  /** The partition that the mount works in; undefined = not known. */
  partition?: string;
  /**
   * The mount's own credentials are temporary: a role's session, for one. Such credentials get neither federation tokens nor
   * session tokens, and of other roles an hour at most (aws-facts.md, Limits).
   */
  isTemporary: boolean;
}

/** @param root the current version of the mount's config/root; null = never written */
export function settingOf(root: Pick<RootConfig, 'settings' | 'identityArn'> | null, roleName: string): RoleSetting {
  const { usernameTemplate = defaultTemplate, region = '', accessKey = '' } = root?.settings ?? {};
  const identity = parseArn(root?.identityArn ?? '');
  const isSession = !('fault' in identity) && /^(assumed-role|federated-user)\//.test(identity.resource);
  return {
    roleName,
    usernameTemplate,
    partition: 'fault' in identity ? partitionOf(region) : identity.partition,
    isTemporary: isSession || accessKey.startsWith('ASIA'),
  };
}
